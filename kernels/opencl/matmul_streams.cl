/* matmul_streams.cl - y = x * dequant(W)^T + bias for one row of x, on a CPU.
 *
 *   matmul_streams   work-group = one work-item = 64 rows of W, 4 panels (product.h): 8 columns of each in
 *                    turn, so that it reads four streams of memory and loads x once for all:
 *
 *       panel 0  | columns 0..7 | 8..15 | ...        64 bytes each, or 128 for 8-bit codes
 *       panel 1  | columns 0..7 | 8..15 | ...
 *       panel 2  ...
 *
 * x is read where it lies; no local memory and no barriers. Floats are multiplied as in
 * matmul.cl. Int8 codes are multiplied two columns at a time: a CPU adds the products of two
 * neighbouring int16 in one instruction, and the fields of a word, masked, are two such numbers,
 * columns c and c + 2:
 *
 *   4 bits  word & 0x000f000f: columns 0, 2    >> 8: 1, 3    >> 4: 4, 6    >> 12: 5, 7
 *   8 bits  word & 0x00ff00ff: columns 0, 2    >> 8: 1, 3, and the same of the next word
 *
 * Fields are w' + E; (E + z') times the sum of x comes off at the end of a group.
 *
 * Bound: memory, the packed weights once. On PoCL 3.1 and a Zen 4 the time of the CPU backend's
 * kernels, 24 to 32 GB/s of two cores (docs/benchmarks.md), where one stream and 4 instructions
 * for each 16 codes made it 1.5 to 2.4 times that. */
#include "product.h"

#define PANELS 4

/* Of pairs of int16: the sums of both products. */
#if defined(__AVX2__) && defined(__clang__) /* which does not find the instruction by itself */
#define NIB_DOT_2(w, x) __builtin_ia32_pmaddwd256(as_short16(w), as_short16(x))
#else
#define NIB_DOT_2(w, x)                                                                            \
    ((as_int8(w) << 16 >> 16) * ((x) << 16 >> 16) + (as_int8(w) >> 16) * ((x) >> 16))
#endif

/* Where a group ends, among packed columns. */
NIB_FN nib_i64 nib_group_edge(nib_args a, nib_i64 g)
{
    return g + 1 == a.scale_cols ? a.p.pack_cols : (g + 1) * a.group;
}

/* ---- floats ---- */

/* How fields become floats: 4 or 8 bits, less a centre of each row's own, or 4 bits by a table that
 * all rows share. */
#define BY_4 0
#define BY_8 1
#define BY_TABLE 2

/* The element of a table of 16 that the lowest 4 bits of each word name. */
#if defined(__AVX512F__) && defined(__clang__)
#define NIB_HAS_TABLES 1
#define NIB_LOOK_UP(table, words) __builtin_ia32_permvarsf512(table, as_int16(words))
#else
#define NIB_HAS_TABLES 0
#define NIB_LOOK_UP(table, words) (table)
#endif

/* Column c (0..7) of 16 rows. */
NIB_INLINE float16 nib_value(uint16 low, uint16 high, nib_i32 c, const nib_i32 how, float16 centre)
{
    if (how == BY_TABLE) return NIB_LOOK_UP(centre, low >> nib_shift_of(c));
    if (how == BY_4) return NIB_FIELD(16, low, nib_shift_of(c), 0xfu, centre);
    return NIB_FIELD(16, c < 4 ? low : high, 8 * (c & 3), 0xffu, centre);
}

/* Columns begin..edge-1 of 64 rows with x. */
NIB_INLINE void nib_stream_floats(__global const float *x, __global const uint *const *words,
                                  nib_i64 begin, nib_i64 edge, const nib_i32 how,
                                  const float16 *centre, float16 *part)
{
    for (nib_i64 k = begin; k < edge; k += 8) {
#pragma unroll
        for (nib_i32 p = 0; p < PANELS; p++) {
            __global const uint16 *at =
                (__global const uint16 *)words[p] + (how == BY_8 ? k / 4 : k / 8);
            uint16 low = at[0], high = low;
            if (how == BY_8) high = at[1];
#pragma unroll
            for (nib_i32 c = 0; c < 8; c++)
                part[p] =
                    NIB_MAD(nib_value(low, high, c, how, centre[p]), (float16)x[k + c], part[p]);
        }
    }
}

/* What stands for the centre of 16 rows and one group. */
NIB_INLINE float16 nib_centre(__global const uchar *weights, nib_args a, nib_i64 cell,
                              const nib_i32 how)
{
    const float16 fields = (float16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    if (how != BY_TABLE) return nib_centre_16(weights, a, cell);
    return fields - (float)(nib_excess(a) - (a.offset == NIB_O_MIN ? 1 << (a.bits - 1) : 0));
}

NIB_INLINE void nib_float_product(__global const float *x, __global const uchar *weights,
                                  nib_args a, nib_i64 panel, const nib_i32 how, float *to)
{
    __global const uint *words[PANELS];
    float16 sum[PANELS];
    for (nib_i32 p = 0; p < PANELS; p++) sum[p] = 0.0f;
    for (nib_i32 p = 0; p < PANELS; p++) words[p] = nib_words(weights, a, panel + p);
    for (nib_i64 g = 0; g < a.scale_cols; g++) {
        nib_i64 begin = g * a.group, edge = nib_group_edge(a, g);
        float16 centre[PANELS], part[PANELS];
#pragma unroll
        for (nib_i32 p = 0; p < PANELS; p++) {
            centre[p] = nib_centre(weights, a, (panel + p) * a.scale_cols + g, how);
            part[p] = 0.0f;
        }
        nib_stream_floats(x, words, begin, edge, how, centre, part);
        float ones = 0.0f;
        if (a.offset == NIB_O_MIN)
            for (nib_i64 k = begin; k < edge; k++) ones += x[k];
#pragma unroll
        for (nib_i32 p = 0; p < PANELS; p++) {
            nib_i64 cell = (panel + p) * a.scale_cols + g;
            sum[p] = NIB_MAD(part[p], nib_scale_16(weights, a, cell), sum[p]);
            if (a.offset == NIB_O_MIN)
                sum[p] = NIB_MAD(nib_min_16(weights, a, cell), (float16)ones, sum[p]);
        }
    }
    for (nib_i32 p = 0; p < PANELS; p++) vstore16(sum[p], p, to);
}

/* ---- int8 ---- */

/* Columns k..k+7 of x less its zero point, 0 behind K, in the order of the fields. */
NIB_INLINE short8 nib_pairs(__global const char *x, nib_args a, short zero, nib_i64 k)
{
    const short8 place = (short8)(0, 1, 2, 3, 4, 5, 6, 7);
    short8 v = convert_short8(vload8(0, x + k)) - zero;
    if (k + 8 > a.cols) v = place < (short8)(short)max(a.cols - k, (nib_i64)0) ? v : (short8)0;
    return v.s02134657;
}

/* part += the fields of 8 rows and 8 columns with x. */
NIB_INLINE uint8 nib_dot_8(__global const uint *words, const nib_i32 bits, int4 x, uint8 part)
{
    const uint8 low = vload8(0, words), high = bits == 8 ? vload8(2, words) : low >> 4u;
    const uint mask = bits == 8 ? 0x00ff00ffu : 0x000f000fu;
    part += as_uint8(NIB_DOT_2(low & mask, (int8)x.s0));
    part += as_uint8(NIB_DOT_2(low >> 8u & mask, (int8)x.s1));
    part += as_uint8(NIB_DOT_2(high & mask, (int8)x.s2));
    return part + as_uint8(NIB_DOT_2(high >> 8u & mask, (int8)x.s3));
}

/* Columns begin..edge-1 of 64 rows, 8 of them a part, with x; the sum of x. */
NIB_INLINE nib_i32 nib_stream_ints(__global const uchar *x, nib_args a,
                                   __global const uint *const *words, nib_i64 begin, nib_i64 edge,
                                   const nib_i32 bits, uint8 *part)
{
    short zero = (short)((__global const int *)(x + NIB_X_ZEROS_AT(a)))[0];
    int8 ones = 0;
    nib_i32 some[8], total = 0;
    for (nib_i64 k = begin; k < edge; k += 8) {
        short8 pairs = nib_pairs((__global const char *)x, a, zero, k);
        ones += convert_int8(pairs);
#pragma unroll
        for (nib_i32 p = 0; p < PANELS; p++) {
            __global const uint *at = words[p] + k / (32 / bits) * NIB_PANEL;
            part[2 * p] = nib_dot_8(at, bits, as_int4(pairs), part[2 * p]);
            part[2 * p + 1] = nib_dot_8(at + 8, bits, as_int4(pairs), part[2 * p + 1]);
        }
    }
    vstore8(ones, 0, some);
    for (nib_i32 i = 0; i < 8; i++) total += some[i];
    return total;
}

/* What a field is more than u - z or, where there are mins, than u: of 8 rows. */
NIB_INLINE int8 nib_whole_centre(__global const uchar *weights, nib_args a, nib_i64 octet)
{
    int8 centre = nib_excess(a) - (a.offset == NIB_O_MIN ? 1 << (a.bits - 1) : 0);
    if (a.offset == NIB_O_ZERO)
        centre += convert_int8(vload8(octet, (__global const char *)(weights + a.p.offsets_at)));
    return centre;
}

NIB_INLINE void nib_int_product(__global const uchar *x, __global const uchar *weights, nib_args a,
                                nib_i64 panel, const nib_i32 bits, float *to)
{
    __global const uint *words[PANELS];
    __global const float *scales = (__global const float *)(weights + a.p.scales_at),
                         *mins = (__global const float *)(weights + a.p.offsets_at);
    float8 sum[2 * PANELS];
    for (nib_i32 p = 0; p < PANELS; p++) words[p] = nib_words(weights, a, panel + p);
    for (nib_i32 h = 0; h < 2 * PANELS; h++) sum[h] = 0.0f;
    for (nib_i64 g = 0; g < a.scale_cols; g++) {
        uint8 part[2 * PANELS];
#pragma unroll
        for (nib_i32 h = 0; h < 2 * PANELS; h++) part[h] = 0u;
        nib_i32 ones = nib_stream_ints(x, a, words, g * a.group, nib_group_edge(a, g), bits, part);
#pragma unroll
        for (nib_i32 h = 0; h < 2 * PANELS; h++) {
            nib_i64 octet = 2 * ((panel + h / 2) * a.scale_cols + g) + h % 2;
            uint8 more = as_uint8(nib_whole_centre(weights, a, octet)) * (uint)ones;
            int8 dot = as_int8(part[h] - more);
            if (nib_is_exact(a)) sum[h] = as_float8(dot);
            else sum[h] = NIB_MAD(convert_float8(dot), vload8(octet, scales), sum[h]);
            if (a.offset == NIB_O_MIN)
                sum[h] = NIB_MAD(vload8(octet, mins), (float8)(float)ones, sum[h]);
        }
    }
    for (nib_i32 h = 0; h < 2 * PANELS; h++) vstore8(sum[h], h, to);
}

/* ---- the kernel ---- */

NIB_KERNEL(matmul_streams, 1)
{
    NIB_ENTER;
    nib_i64 panel = (nib_i64)get_group_id(0) * PANELS, n = panel * NIB_PANEL;
    float sum[PANELS * NIB_PANEL];
    __global const float *row = (__global const float *)x;
    if (a.p.x_form == NIB_T_I8) {
        if (a.p.pack_bits == 4) nib_int_product(x, codes, a, panel, 4, sum);
        else nib_int_product(x, codes, a, panel, 8, sum);
    } else if (a.p.pack_bits == 8) {
        nib_float_product(row, codes, a, panel, BY_8, sum);
    } else if (NIB_HAS_TABLES && a.offset != NIB_O_ZERO) {
        nib_float_product(row, codes, a, panel, BY_TABLE, sum);
    } else {
        nib_float_product(row, codes, a, panel, BY_4, sum);
    }
    for (nib_i32 r = 0; r < PANELS * NIB_PANEL && n + r < a.rows; r++)
        nib_finish(x, codes, offsets, y, a, 0, n + r, sum[r]);
}
