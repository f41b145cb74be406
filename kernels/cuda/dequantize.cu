/* dequantize.cu - planes to elements: docs/numerics.md section 4.
 *
 *   octets_*  4 or 8 bits, rows and groups of whole octets: a thread reads 4 or 8 bytes of codes
 * and writes 8 elements in 16-byte accesses; neighbouring threads write neighbouring bytes. any 8
 * elements of a row a thread, element by element.
 *
 * Bound: memory; int4 g128 to bf16 moves 2.516 bytes an element, most of them written. */
#include "device.cuh"

template <int type, int bits>
DEVICE void dequantize_octets(const nib_spans &s, const nib_args &a, nib_i64 items)
{
    nib_i64 octets = a.cols / 8;
    for (nib_i64 item = grid_thread(); item < items; item += grid_threads()) {
        nib_i64 row = item / octets, k = item - row * octets;
        const char *codes = (const char *)s.codes + row * a.codes.pitch;
        nib_u64 packed = bits == 4 ? __ldg((const nib_u32 *)codes + k) : 0;
        if (bits == 8) {
            uint2 both = __ldg((const uint2 *)codes + k);
            packed = (nib_u64)both.y << 32 | both.x;
        }
        nib_cell c = cell_load(s, a, row * a.scale_cols + k * 8 / a.group);
        float value[8];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            nib_u32 code =
                ((nib_u32)(packed >> (bits * i)) & ((1u << bits) - 1u)) ^ (nib_u32)a.codes.flip;
            value[i] = nib_decode(code, cell_zero(c), c.scale, c.min, a.offset);
        }
        store_octet<type>(s.y, item, value);
    }
}

#define OCTETS(type, bits)                                                                         \
    NIB_CUDA_KERNEL(nib_cuda_dequantize_##type##_##bits)                                           \
    {                                                                                              \
        dequantize_octets<NIB_T_##type, bits>(s, a, items);                                        \
    }
OCTETS(F32, 4)
OCTETS(F16, 4)
OCTETS(BF16, 4)
OCTETS(F32, 8)
OCTETS(F16, 8)
OCTETS(BF16, 8)

NIB_CUDA_KERNEL(nib_cuda_dequantize)
{
    nib_i64 octets = (a.cols + 7) / 8;
    for (nib_i64 item = grid_thread(); item < items; item += grid_threads()) {
        nib_i64 row = item / octets, first = item % octets * 8, cell = -1;
        int count = (int)(a.cols - first < 8 ? a.cols - first : 8);
        nib_u64 packed = load_octet_codes(s.codes, a, row, first / 8);
        nib_cell c = nib_cell_limits(a.bits, a.offset, a.low);
        for (int i = 0; i < count; i++) {
            nib_i64 k = first + i, at = row % a.period * a.scale_cols + k / a.group;
            if (at != cell) c = cell_load(s, a, cell = at);
            float y = nib_decode(octet_code(packed, a, i), cell_zero(c), c.scale, c.min, a.offset);
            store_raw(s.y, a.y_type, row * a.cols + k, nib_to_type(a.y_type, y));
        }
    }
}
