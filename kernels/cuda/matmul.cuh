/* matmul.cuh - how packed weights lie, and what the matmul kernels share.
 *
 * Pack "fragments": each lane of a warp finds the tensor cores' operand A in 16 bytes of its own.
 * Rows come in panels of 64, which are 4 tiles of 16; K in units of 64 (4-bit codes) or 32 (8-bit):
 *
 *   codes    [panel][unit][tile][lane] x 16 bytes: 2 KiB of a panel's unit are contiguous
 *
 *   Lane 4g + t of a tile holds rows g and g + 8, and of each 32 columns 8t to 8t + 7: the 16 bytes
 *   of x that a lane wants are contiguous then, and x needs no ldmatrix. Of 32 columns, in words:
 *
 *   8 bits   w0 row g,     8t + 0 1 2 3     4 bits   w0: 8t + 0..3, both rows, nibble 0 lowest
 *            w1 row g + 8, 8t + 0 1 2 3                  g:0  g':0  g:2  g':2  g:1  g':1  g:3  g':3
 *            w2 row g,     8t + 4 5 6 7              w1: 8t + 4..7 likewise   (g' is g + 8)
 *            w3 row g + 8, 8t + 4 5 6 7              w2, w3: the next 32 columns
 *
 *   So a nibble and the one 4 places higher are two neighbours along K of one row, as f16 operands
 *   want them, and every second nibble is a row's 4 columns (in the order 0 2 1 3), as int8 wants.
 *   A code is w' = u - 2^(bits-1) in two's complement; padding is 0.
 *
 *   scales, offsets, sums    [group][row], rows of a tile in order 0 8 1 9 .. 7 15: a lane's two
 *                            are neighbours; scales and mins as stored, z' int8, sums int32
 *
 * Pack "plain": codes int8 [N][K], scales f32, z' int8 or mins f32, sums int32, all [N][G]. */
#pragma once

#include "device.cuh"

#include "../common/acts.h"

/* A block takes one work item, the one of its own number. */
#define NIB_TILE_KERNEL(name, threads, blocks)                                                     \
    extern "C" __global__ void __launch_bounds__(threads, blocks)                                  \
        name(nib_spans s, nib_args a, nib_i64)

enum { PANEL = 64 };

/* Where row n of a group stands among its scales. */
DEVICE nib_i64 packed_row(nib_i64 n) { return n / 16 * 16 + n % 8 * 2 + n / 8 % 2; }

/* One group a row and no mins: int32 sums to the end, the same bits on every device. */
DEVICE bool exact_sums(const nib_args &a) { return a.scale_cols == 1 && a.offset != NIB_O_MIN; }

DEVICE float type_value(nib_u32 raw, nib_i32 type)
{
    return type == NIB_T_F32   ? NIB_BITS_F32(raw)
           : type == NIB_T_F16 ? __half2float(__ushort_as_half((nib_u16)raw))
                               : NIB_BITS_F32(raw << 16);
}

DEVICE void store_value(void *p, nib_i32 type, nib_i64 at, float value)
{
    nib_u32 raw = type == NIB_T_F32   ? NIB_F32_BITS(value)
                  : type == NIB_T_F16 ? __half_as_ushort(__float2half_rn(value))
                                      : __bfloat16_as_ushort(__float2bfloat16_rn(value));
    store_raw(p, type, at, value == value ? raw : type_nan(type));
}

/* Element (m, n) of y, without its bias. */
DEVICE void store_y(const nib_spans &s, const nib_args &a, nib_i64 m, nib_i64 n, float sum)
{
    if (a.p.bias_type) sum = __fadd_rn(sum, load_element(s.offsets, a.p.bias_type, n));
    store_value(s.y, a.y_type, m * a.p.y_pitch + n, sum);
}

/* ---- work items ---- */

/* Tiles are counted in 32 bits: 2^31 of the smallest, 16 x 16, would be a y of 2^39 elements. */
struct tile_place {
    int tile, share; /* its number, and which part of K */
    nib_i64 m, n;    /* its first row and column of y */
};

/* Tiles in bands of 8 along M, so that blocks that run together share rows of W and of x. */
DEVICE tile_place place_tile(const nib_args &a)
{
    int item = blockIdx.x;
    int n_tiles = (int)((a.rows + a.p.tile_n - 1) / a.p.tile_n),
        m_tiles = (int)((a.p.m + a.p.tile_m - 1) / a.p.tile_m), tiles = n_tiles * m_tiles;
    int tile = item % tiles, n = tile, m = 0;
    if (m_tiles > 1) {
        int band = tile / (8 * n_tiles), inside = tile % (8 * n_tiles),
            high = m_tiles - 8 * band < 8 ? m_tiles - 8 * band : 8;
        m = 8 * band + inside % high, n = inside / high;
    }
    return {tile, item / tiles, (nib_i64)m * a.p.tile_m, (nib_i64)n * a.p.tile_n};
}

/* Columns that must stay together when K is cut: whole groups where each needs its exact sum. */
template <int form> DEVICE nib_i64 cut_of(const nib_args &a)
{
    if (form != NIB_T_I8 || exact_sums(a)) return 128;
    if (a.scale_cols == 1) return a.p.pack_cols;
    nib_i64 low = a.group & -a.group;
    return a.group / (low < 128 ? low : 128) * 128;
}

struct columns {
    int first, end;
};

/* The columns of part `part` of `parts`. Rows of fragments have at most 2^30 (cuda_kernels.def). */
template <int form> DEVICE columns cut_columns(const nib_args &a, int part, int parts)
{
    nib_i64 cut = cut_of<form>(a), cuts = cut ? (a.p.pack_cols + cut - 1) / cut : 0;
    nib_i64 first = cuts * part / parts * cut, end = cuts * (part + 1) / parts * cut;
    return {(int)first, (int)(end < a.p.pack_cols ? end : a.p.pack_cols)};
}

/* ---- scales ---- */

/* Scale and min of rows g and g + 8 of a tile, as they lie in memory until they are used. */
struct cell_pair {
    nib_u32 scale[2], min[2];
};

DEVICE void load_pair(nib_u32 raw[2], const void *from, nib_i32 bytes, nib_i64 at)
{
    if (bytes == 4) {
        uint2 both = __ldg((const uint2 *)((const nib_u32 *)from + at));
        raw[0] = both.x, raw[1] = both.y;
    } else {
        nib_u32 both = __ldg((const nib_u32 *)((const nib_u16 *)from + at));
        raw[0] = both & 0xffffu, raw[1] = both >> 16;
    }
}

/* Number of the lane's two rows of a tile in group `group`. */
DEVICE nib_i64 cells_at(const nib_args &a, int group, int tile)
{
    return group * a.p.pack_rows + (nib_i64)tile * 16 + threadIdx.x % 32 / 4 * 2;
}

template <bool mins> DEVICE cell_pair load_cells(const nib_spans &s, const nib_args &a, nib_i64 at)
{
    cell_pair c = {{0, 0}, {0, 0}};
    const nib_u8 *w = (const nib_u8 *)s.codes;
    load_pair(c.scale, w + a.p.scales_at, a.p.scale_bytes, at);
    if (mins && a.offset == NIB_O_MIN) load_pair(c.min, w + a.p.offsets_at, a.p.scale_bytes, at);
    return c;
}

/* z' of both, in two bytes; 0 where there is none, and -2^(bits-1), which leaves u, with mins. */
DEVICE nib_u32 load_z(const nib_spans &s, const nib_args &a, nib_i64 at)
{
    if (a.offset == NIB_O_ZERO)
        return __ldg((const nib_u16 *)((const nib_u8 *)s.codes + a.p.offsets_at + at));
    return a.offset == NIB_O_MIN ? (256u - (1u << (a.bits - 1))) * 0x101u : 0u;
}

DEVICE nib_i32 z_of(nib_u32 both, int h) { return (signed char)(both >> (8 * h)); }

/* ---- operands ---- */

DEVICE nib_u32 subtract_pair(nib_u32 a, nib_u32 b, bool f16)
{
    if (f16) {
        __half2 d = __hsub2(*(const __half2 *)&a, *(const __half2 *)&b);
        return *(const nib_u32 *)&d;
    }
    __nv_bfloat162 d = __hsub2(*(const __nv_bfloat162 *)&a, *(const __nv_bfloat162 *)&b);
    return *(const nib_u32 *)&d;
}

/* z' of both rows plus 8 or 128, as `expand` wants them. */
template <int bits> DEVICE nib_u32 centres_of(nib_u32 z)
{
    return bits == 4 ? (z ^ 0x0808u) & 0x0f0fu : z ^ 0x8080u;
}

/* Operand A of the k16 step `step` of 32 columns: w' - z' in f16 or bf16, exactly. Code and z'
 * become the low bits of one power of two, 1024 (f16), 128 (bf16) or 2^23 (f32, for bytes in bf16),
 * which the difference loses. */
template <int form, int bits>
DEVICE void expand(nib_u32 (&a)[4], const nib_u32 *word, int step, nib_u32 centres)
{
    const bool f16 = form == NIB_T_F16;
    const nib_u32 power = f16 ? 0x64646464u : 0x43434343u, power23 = 0x4b000000u;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int row = i % 2, pair = i / 2;
        nib_u32 z = __byte_perm(centres, power, row ? 0x4141 : 0x4040);
        if (bits == 4) { /* nibble ^ 8 */
            const nib_u32 base = f16 ? 0x64086408u : 0x43084308u;
            a[i] = subtract_pair(
                lop3<(0xf0 & 0xcc) ^ 0xaa>(word[step] >> (4 * i), 0x000f000fu, base), z, f16);
            continue;
        }
        nib_u32 w = word[2 * step + row] ^ 0x80808080u;
        if (f16) {
            a[i] = subtract_pair(__byte_perm(w, power, pair ? 0x4342 : 0x4140), z, true);
            continue;
        }
        float from = NIB_BITS_F32(__byte_perm(centres, power23, 0x7440 + row)),
              low = NIB_BITS_F32(__byte_perm(w, power23, 0x7440 + 2 * pair)),
              high = NIB_BITS_F32(__byte_perm(w, power23, 0x7441 + 2 * pair));
        low = __fsub_rn(low, from), high = __fsub_rn(high, from);
        a[i] = __byte_perm(NIB_F32_BITS(low), NIB_F32_BITS(high), 0x7632);
    }
}

/* Operand A of 32 columns in int8: w', times 16 where codes have 4 bits. */
template <int bits> DEVICE void expand_int8(nib_u32 (&a)[4], const nib_u32 *word)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        a[i] = bits == 8 ? word[i] : (i % 2 ? word[i / 2] : word[i / 2] << 4) & 0xf0f0f0f0u;
}

/* The columns of x in the order that `expand_int8` has. */
template <int bits> DEVICE nib_u32 order_int8(nib_u32 x)
{
    return bits == 8 ? x : __byte_perm(x, 0, 0x3120);
}

template <int form>
DEVICE void multiply(float (&d)[4], const nib_u32 (&a)[4], nib_u32 b0, nib_u32 b1)
{
    const nib_u32 b[2] = {b0, b1};
    if (form == NIB_T_F16) mma_m16n8k16_f16(d, a, b);
    else mma_m16n8k16_bf16(d, a, b);
}

/* Columns k.. of a row of x (16-bit elements) into 16 bytes of shared memory by plain loads; zeros
 * behind the row's end. For rows that are not aligned to 16 bytes, and ends. */
DEVICE void gather_x(void *to, const nib_u16 *row, int k, nib_i64 cols)
{
    nib_u32 word[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (k + i < cols) word[i / 2] |= (nib_u32)row[k + i] << (i % 2 * 16);
    *(uint4 *)to = make_uint4(word[0], word[1], word[2], word[3]);
}

/* Whether rows of x begin at multiples of 16 bytes. */
DEVICE bool aligned_x(const nib_spans &s, const nib_args &a)
{
    return (((uintptr_t)s.x | (uintptr_t)a.p.x_pitch * 2) & 15) == 0;
}

/* ---- sums of a group ---- */

/* The lane's share of the integer sums of one group, for one row of W and one of x: D and O of
 * docs/numerics.md. p is the sum of q * w'. */
struct int_group {
    nib_i32 z, w_sum, count; /* of the row of W */
};

DEVICE nib_i32 centred_sum(const nib_args &a, nib_i32 p, const int_group &w, nib_i32 x_zero,
                           nib_i32 x_sum)
{
    nib_i32 d = p;
    if (a.offset != NIB_O_NONE) d -= w.z * x_sum;
    if (a.p.x_zeros) d += x_zero * (w.z * w.count - w.w_sum);
    return d;
}

/* ---- the end of a tile ---- */

/* y from the sum of a whole tile's element; of int32 sums (exact), `value` holds the bits. */
template <int form>
DEVICE void finish_element(const nib_spans &s, const nib_args &a, nib_i64 m, nib_i64 n, float value)
{
    if (form == NIB_T_I8) {
        const nib_u8 *x = (const nib_u8 *)s.x, *w = (const nib_u8 *)s.codes;
        float x_scale = ((const float *)(x + NIB_X_SCALES_AT(a)))[m];
        if (exact_sums(a)) {
            nib_i64 at = packed_row(n);
            nib_i32 z = 0, x_sum = 0, x_zero = 0, w_sum = 0;
            if (a.offset == NIB_O_ZERO) {
                z = ((const signed char *)(w + a.p.offsets_at))[at];
                x_sum = ((const nib_i32 *)(x + NIB_X_SUMS_AT(a)))[m];
            }
            if (a.p.x_zeros) {
                x_zero = ((const nib_i32 *)(x + NIB_X_ZEROS_AT(a)))[m];
                w_sum = ((const nib_i32 *)(w + a.p.sums_at))[at];
            }
            const int_group group = {z, w_sum, (nib_i32)a.cols};
            nib_i32 d = centred_sum(a, (nib_i32)NIB_F32_BITS(value), group, x_zero, x_sum);
            value = nib_scaled(d, load_element(w + a.p.scales_at, a.scale_type, at), x_scale);
        } else value = __fmul_rn(value, x_scale);
    }
    store_y(s, a, m, n, value);
}

template <int form> DEVICE float add_sums(const nib_args &a, float x, float y)
{
    if (form == NIB_T_I8 && exact_sums(a)) return NIB_BITS_F32(NIB_F32_BITS(x) + NIB_F32_BITS(y));
    return __fadd_rn(x, y);
}

/* Adds the warps' sums (`parts` arrays of [tile_m][tile_n + 4] in shared memory, `stride` floats
 * apart) and stores y; where several blocks share the tile, the last to arrive adds what all of
 * them left in NIB_PARTIALS, in the order of their shares. Every thread of the block calls it,
 * after a barrier. */
template <int form, int tile_m, int tile_n, int threads>
DEVICE void finish_tile(const nib_spans &s, const nib_args &a, const float *sums, int parts,
                        int stride)
{
    tile_place p = place_tile(a);
    SHARED_ARRAY(nib_u32, arrived, [1]);
    const int size = tile_m * tile_n, split = a.p.split;
    float *shares = (float *)s.report + (nib_i64)p.tile * split * size;
    for (int e = (int)threadIdx.x; e < size; e += threads) {
        int m = e / tile_n, n = e % tile_n;
        if (p.m + m >= a.p.m || p.n + n >= a.rows) continue;
        const float *at = sums + m * (tile_n + 4) + n;
        float value = at[0];
        for (int part = 1; part < parts; part++)
            value = add_sums<form>(a, value, at[part * stride]);
        if (split > 1) shares[p.share * size + e] = value;
        else finish_element<form>(s, a, p.m + m, p.n + n, value);
    }
    if (split == 1) return;
    __threadfence(); /* this thread's sums before its block's arrival */
    __syncthreads();
    if (threadIdx.x == 0) arrived[0] = atomicAdd((nib_u32 *)s.out + p.tile, 1u);
    __syncthreads();
    if ((int)arrived[0] != split - 1) return;
    __threadfence(); /* the other blocks' sums after their arrivals */
    if (threadIdx.x == 0) ((nib_u32 *)s.out)[p.tile] = 0; /* for the next run */
    for (int e = (int)threadIdx.x; e < size; e += threads) {
        int m = e / tile_n, n = e % tile_n;
        if (p.m + m >= a.p.m || p.n + n >= a.rows) continue;
        float value = shares[e];
        for (int share = 1; share < split; share++)
            value = add_sums<form>(a, value, shares[share * size + e]);
        finish_element<form>(s, a, p.m + m, p.n + n, value);
    }
}
