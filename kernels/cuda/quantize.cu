/* quantize.cu - elements to codes, scales and offsets. Layouts: docs/schemes/; arithmetic:
 * docs/numerics.md sections 1 to 4.
 *
 *   groups_*  scales along rows, groups of 32, 64, 128 or 256, 4 or 8 bits. A thread holds 8 elements,
 *             group / 8 neighbouring lanes share a group, everything stays in registers:
 *
 *               lane        0        1      ...     15    |    16 ...     (group 128, bf16)
 *               x        16 bytes 16 bytes       16 bytes |               one 512-byte line a warp
 *               codes     4 bytes  4 bytes        4 bytes |               one 128-byte line a warp
 *
 *             The next line is on its way while this one is encoded.
 *   row<V>_*  one scale a row, 8 bits: a block holds the row in registers, 8 elements a thread, V times.
 *   cells,    anything: a warp finds a cell's range; then a thread encodes 8 elements.
 *   codes
 *
 * Bound: memory, one read and one write of each byte; int4 g128 bf16 moves 2.516 bytes an
 * element. At an H200's 4.8 TB/s that leaves about 17 instruction slots an element, hence
 * nib_quotient. */
#include "device.cuh"

#include "../common/quotient.h"

/* Codes of 8 admitted values; a poisoned cell (NaN scale) gives zeros. */
DEVICE nib_u64 encode_octet(const nib_cell &c, const float value[8], int bits, nib_u32 flip)
{
    nib_u32 code[8];
    bool fast = nib_quotient_holds(c.scale), poisoned = !nib_is_finite(c.scale);
    float r = __frcp_rn(c.scale);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        float x = __fsub_rn(value[i], c.min), t = nib_quotient(x, c.scale, r);
        if (!fast) t = c.scale == 0.0f ? 0.0f : __fdiv_rn(x, c.scale);
        t = nib_clamp(__fadd_rn(t, c.zero), c.low, c.high);
        code[i] = (poisoned ? 0u : (nib_u32)(c.bias + __float2int_rn(t))) ^ flip;
    }
    return pack_octet(code, bits);
}

template <int bits> DEVICE void store_codes(void *codes, nib_i64 octet, nib_u64 packed)
{
    if (bits == 4) ((nib_u32 *)codes)[octet] = (nib_u32)packed;
    else ((uint2 *)codes)[octet] = make_uint2((nib_u32)packed, (nib_u32)(packed >> 32));
}

/* items: octets. group divides cols, so codes and elements are dense and octets number both. The
 * next octet is on its way while this one is encoded. */
template <int type, int bits>
DEVICE void quantize_groups(const nib_spans &s, const nib_args &a, nib_i64 items)
{
    int lanes = (int)a.group / 8, lane = threadIdx.x % 32;
    nib_i64 first = grid_thread() - lane, step = grid_threads();
    if (first >= items) return;
    octet next = load_octet<type>(s.x, first + lane < items ? first + lane : items - 1);
    for (nib_i64 base = first; base < items; base += step) {
        octet data = next;
        nib_i64 at = base + lane, ahead = at + step;
        next = load_octet<type>(s.x, ahead < items ? ahead : items - 1);
        range r = range_empty();
        float value[8];
        range_take_octet<type>(r, data, a.nonfinite, value);
        r = range_reduce(r, lanes);
        if (at >= items) continue; /* whole groups end here: every lane of a group agrees */
        nib_cell c = cell_make(s, a, at / lanes, r, lane % lanes == 0);
        store_codes<bits>(s.codes, at, encode_octet(c, value, bits, (nib_u32)a.codes.flip));
    }
}

/* items: rows; a row is at most 8 * NIB_THREADS * vectors elements, a multiple of 8. */
template <int type, int bits, int vectors>
DEVICE void quantize_rows(const nib_spans &s, const nib_args &a, nib_i64 items)
{
    nib_i64 octets = a.cols / 8;
    for (nib_i64 row = blockIdx.x; row < items; row += gridDim.x) {
        octet data[vectors];
        range r = range_empty();
#pragma unroll
        for (int v = 0; v < vectors; v++) {
            nib_i64 k = v * NIB_THREADS + (int)threadIdx.x;
            data[v] = load_octet<type>(s.x, row * octets + (k < octets ? k : octets - 1));
        }
        float value[8];
#pragma unroll
        for (int v = 0; v < vectors; v++) range_take_octet<type>(r, data[v], a.nonfinite, value);
        nib_cell c = cell_make(s, a, row, range_reduce_block(r), threadIdx.x == 0);
#pragma unroll
        for (int v = 0; v < vectors; v++) {
            nib_i64 k = v * NIB_THREADS + (int)threadIdx.x;
            if (k >= octets)
                continue; /* not break: the loop unrolls, so that data stays in registers */
            range again = range_empty(); /* the values once more: cheaper than the registers */
            range_take_octet<type>(again, data[v], a.nonfinite, value);
            nib_u64 packed = encode_octet(c, value, bits, (nib_u32)a.codes.flip);
            store_codes<bits>((char *)s.codes + row * a.codes.pitch, k, packed);
        }
    }
}

#define GROUPS(type, bits)                                                                         \
    NIB_CUDA_KERNEL(nib_cuda_quantize_groups_##type##_##bits)                                      \
    {                                                                                              \
        quantize_groups<NIB_T_##type, bits>(s, a, items);                                          \
    }
#define ROWS(type, bits, vectors)                                                                  \
    NIB_CUDA_KERNEL(nib_cuda_quantize_row##vectors##_##type##_##bits)                              \
    {                                                                                              \
        quantize_rows<NIB_T_##type, bits, vectors>(s, a, items);                                   \
    }
#define TYPES(X, ...) X(F32, __VA_ARGS__) X(F16, __VA_ARGS__) X(BF16, __VA_ARGS__)

TYPES(GROUPS, 4)
TYPES(GROUPS, 8)
TYPES(ROWS, 8, 1)
TYPES(ROWS, 8, 2)
TYPES(ROWS, 8, 4)
ROWS(F16, 8, 8)
ROWS(BF16, 8, 8)

/* Any cell: a warp each. */
NIB_CUDA_KERNEL(nib_cuda_quantize_cells)
{
    int lane = threadIdx.x % 32;
    for (nib_i64 cell = grid_thread() / 32; cell < items; cell += grid_threads() / 32)
        cell_make(s, a, cell, range_of_cell(s, a, cell, lane), lane == 0);
}

/* Any 8 elements of a row, from the cells that nib_cuda_quantize_cells stored; the last of a row
 * also clears its padding. */
NIB_CUDA_KERNEL(nib_cuda_quantize_codes)
{
    nib_i64 octets = (a.cols + 7) / 8;
    for (nib_i64 item = grid_thread(); item < items; item += grid_threads()) {
        nib_i64 row = item / octets, first = item % octets * 8, cell = -1;
        int count = (int)(a.cols - first < 8 ? a.cols - first : 8);
        nib_u64 packed = 0;
        nib_cell c = nib_cell_limits(a.bits, a.offset, a.low);
        for (int i = 0; i < count; i++) {
            nib_i64 k = first + i, at = row % a.period * a.scale_cols + k / a.group;
            if (at != cell) c = cell_load(s, a, cell = at);
            float x =
                nib_admit(load_element(s.x, a.x_type, row * a.cols + k), a.nonfinite, a.x_type);
            nib_u32 code = (nib_is_finite(c.scale) ? nib_encode(c, x) : 0u) ^ (nib_u32)a.codes.flip;
            packed |= (nib_u64)code << (i * a.codes.width);
        }
        nib_u8 *out = (nib_u8 *)s.codes + row * a.codes.pitch;
        nib_i64 byte = first / 8 * a.codes.width;
        nib_i64 end = count < 8 || first + 8 == a.cols ? a.codes.pitch : byte + a.codes.width;
        for (int i = 0; byte + i < end; i++)
            out[byte + i] = i < 8 ? (nib_u8)(packed >> (8 * i)) : (nib_u8)0;
    }
}
