/* matmul.cl - y = x * dequant(W)^T + bias for few rows of x, and for weights that no other
 * kernel takes.
 *
 *   matmul_few_1, _4   work-group = 16 rows of W (product.h) x 1 or 4 rows of x; lanes stride over K, 8
 *                      columns at a time; their sums meet in local memory, in lane order
 *   matmul_any         work-item = one element of y, K in index order
 *
 * A chunk of x is staged in local memory as floats. Int8 products are floats too: 8 of them are
 * below 2^24, so their sum is exact, and sums of 8 are added as integers. Where the device has
 * integer dot products and x has no zero points, x is staged as it is, and the bytes of a word,
 * masked to their low or high halves where codes have 4 bits, meet 4 neighbouring columns of it.
 *
 * Bound: memory, the packed weights once; on a CPU about as much by instructions: 4 for each 16
 * codes (shift, mask, subtract, multiply-add). */
#include "product.h"

#define CHUNK 1024
#define PITCH (NIB_PANEL + 1) /* so that lanes that store 16 sums meet no bank twice */
#define TOKENS 4
#define SHARED(tokens) ((tokens) * (NIB_LANES * PITCH > CHUNK ? NIB_LANES * PITCH : CHUNK))

/* part[t] += the products of 8 columns of 16 rows with x[t]. */
NIB_INLINE void nib_multiply_8(__global const uint *words, const nib_i32 bits, float16 centre,
                               __local const float *x, float16 *part, const nib_i32 tokens)
{
    uint16 low = *(__global const uint16 *)words, high = low;
    if (bits == 8) high = ((__global const uint16 *)words)[1];
#pragma unroll
    for (nib_i32 c = 0; c < 8; c++) {
        float16 w = bits == 4 ? NIB_FIELD(16, low, nib_shift_of(c), 0xfu, centre)
                    : c < 4   ? NIB_FIELD(16, low, 8 * c, 0xffu, centre)
                              : NIB_FIELD(16, high, 8 * (c - 4), 0xffu, centre);
#pragma unroll
        for (nib_i32 t = 0; t < tokens; t++)
            part[t] = NIB_MAD(w, (float16)x[t * CHUNK + c], part[t]);
    }
}

/* What 16 rows and one group need, up to column `edge`. */
typedef struct nib_group_16 {
    nib_i64 edge;
    float16 centre, scale, least;
} nib_group_16;

NIB_INLINE nib_group_16 nib_enter_group(__global const uchar *weights, nib_args a, nib_i64 panel,
                                        nib_i64 k)
{
    nib_group_16 group;
    nib_i64 g = nib_scale_col(a, k), cell = panel * a.scale_cols + g;
    group.edge = g + 1 == a.scale_cols ? a.p.pack_cols : (g + 1) * a.group;
    group.centre = nib_centre_16(weights, a, cell);
    group.scale = nib_scale_16(weights, a, cell);
    group.least = 0.0f;
    if (a.offset == NIB_O_MIN) group.least = nib_min_16(weights, a, cell);
    return group;
}

/* sum[t] += `part` times its scale, or as integers, and the sum of 8 columns of x times the min. */
NIB_INLINE void nib_add_8(nib_args a, nib_group_16 group, const float16 *part,
                          __local const float *x, float16 *sum, const nib_i32 tokens)
{
    nib_i32 exact = nib_is_exact(a), mins = a.offset == NIB_O_MIN;
#pragma unroll
    for (nib_i32 t = 0; t < tokens; t++) {
        if (exact) sum[t] = as_float16(as_int16(sum[t]) + convert_int16(part[t]));
        else sum[t] = NIB_MAD(part[t], group.scale, sum[t]);
        if (!mins) continue;
        float8 eight = vload8(0, x + t * CHUNK);
        float4 four = eight.lo + eight.hi;
        sum[t] = NIB_MAD(group.least, (float16)(four.x + four.y + four.z + four.w), sum[t]);
    }
}

/* sum[t] += the products of a chunk of x from column `start` on, which the lanes share. */
NIB_INLINE void nib_add_chunk(__global const uchar *weights, nib_args a, nib_i64 panel,
                              nib_i64 start, nib_i32 count, const nib_i32 bits, nib_i32 lane,
                              __local const float *x, float16 *sum, const nib_i32 tokens)
{
    __global const uint *words = nib_words(weights, a, panel) + start / 8 * (bits * NIB_PANEL / 4);
    nib_group_16 group;
    group.edge = 0;
    for (nib_i32 k = 8 * lane; k < count; k += 8 * NIB_LANES) {
        float16 part[TOKENS];
        if (start + k >= group.edge) group = nib_enter_group(weights, a, panel, start + k);
        for (nib_i32 t = 0; t < tokens; t++) part[t] = 0.0f;
        nib_multiply_8(words + k / 8 * (bits * NIB_PANEL / 4), bits, group.centre, x + k, part,
                       tokens);
        nib_add_8(a, group, part, x + k, sum, tokens);
    }
}

/* Adds the lanes' sums and stores 16 * tokens elements of y. */
NIB_INLINE void nib_end_few(__global const uchar *x, __global const uchar *weights,
                            __global const uchar *bias, __global uchar *y, nib_args a, nib_i64 m,
                            nib_i64 n, __local float *shared, nib_i32 lane, const float16 *sum,
                            const nib_i32 tokens)
{
    barrier(CLK_LOCAL_MEM_FENCE);
    for (nib_i32 t = 0; t < tokens; t++)
        vstore16(sum[t], 0, shared + (t * NIB_LANES + lane) * PITCH);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (nib_i32 i = lane; i < NIB_PANEL * tokens; i += NIB_LANES) {
        nib_i32 t = i / NIB_PANEL, r = i % NIB_PANEL;
        __local const float *part = shared + t * NIB_LANES * PITCH + r;
        float total = part[0];
        for (nib_i32 l = 1; l < NIB_LANES; l++) {
            float next = part[l * PITCH];
            total = nib_is_exact(a) ? as_float(as_int(total) + as_int(next)) : total + next;
        }
        if (m + t < a.p.m && n + r < a.rows)
            nib_finish(x, weights, bias, y, a, m + t, n + r, total);
    }
}

/* sum[t] += the products of rows m + t of x with 16 rows of W, a chunk of columns at a time. */
NIB_INLINE void nib_add_floats(__global const uchar *x, __global const uchar *weights, nib_args a,
                               nib_i64 m, nib_i64 panel, __local float *shared, nib_i32 lane,
                               float16 *sum, const nib_i32 tokens)
{
    for (nib_i64 start = 0; start < a.p.pack_cols; start += CHUNK) {
        nib_i32 count = (nib_i32)min((nib_i64)CHUNK, a.p.pack_cols - start);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (nib_i32 t = 0; t < tokens; t++)
            for (nib_i32 k = 8 * lane; k < count; k += 8 * NIB_LANES)
                vstore8(nib_x_8(x, a, m + t, start + k), 0, shared + t * CHUNK + k);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (a.p.pack_bits == 4)
            nib_add_chunk(weights, a, panel, start, count, 4, lane, shared, sum, tokens);
        else nib_add_chunk(weights, a, panel, start, count, 8, lane, shared, sum, tokens);
    }
}

#ifdef NIB_DOT_4

/* 4 columns of 16 rows with 4 of x. */
NIB_INLINE int16 nib_dots(uint16 w, uint x)
{
    return (int16)(NIB_DOT_4(w.s0, x), NIB_DOT_4(w.s1, x), NIB_DOT_4(w.s2, x), NIB_DOT_4(w.s3, x),
                   NIB_DOT_4(w.s4, x), NIB_DOT_4(w.s5, x), NIB_DOT_4(w.s6, x), NIB_DOT_4(w.s7, x),
                   NIB_DOT_4(w.s8, x), NIB_DOT_4(w.s9, x), NIB_DOT_4(w.sa, x), NIB_DOT_4(w.sb, x),
                   NIB_DOT_4(w.sc, x), NIB_DOT_4(w.sd, x), NIB_DOT_4(w.se, x), NIB_DOT_4(w.sf, x));
}

/* nib_add_chunk of int8 x: 4 columns a word. */
NIB_INLINE void nib_dot_chunk(__global const uchar *weights, nib_args a, nib_i64 panel,
                              nib_i64 start, nib_i32 count, const nib_i32 bits, nib_i32 lane,
                              __local const uint *x, float16 *sum, const nib_i32 tokens)
{
    __global const uint *words = nib_words(weights, a, panel) + start / 8 * (bits * NIB_PANEL / 4);
    nib_group_16 group;
    group.edge = 0;
    for (nib_i32 k = 8 * lane; k < count; k += 8 * NIB_LANES) {
        __global const uint16 *at =
            (__global const uint16 *)(words + k / 8 * (bits * NIB_PANEL / 4));
        uint16 first = at[0], second = first;
        if (bits == 4) first = at[0] & 0x0f0f0f0fu, second = (at[0] >> 4u) & 0x0f0f0f0fu;
        else second = at[1];
        if (start + k >= group.edge) group = nib_enter_group(weights, a, panel, start + k);
        int16 centre = convert_int16(group.centre) - 8388608;
#pragma unroll
        for (nib_i32 t = 0; t < tokens; t++) {
            uint2 eight = vload2(0, x + t * (CHUNK / 4) + k / 4);
            int ones = NIB_DOT_4(0x01010101u, eight.x) + NIB_DOT_4(0x01010101u, eight.y);
            int16 dot = nib_dots(first, eight.x) + nib_dots(second, eight.y) - centre * ones;
            if (nib_is_exact(a)) sum[t] = as_float16(as_int16(sum[t]) + dot);
            else sum[t] = NIB_MAD(convert_float16(dot), group.scale, sum[t]);
            if (a.offset == NIB_O_MIN) sum[t] = NIB_MAD(group.least, (float16)(float)ones, sum[t]);
        }
    }
}

/* nib_add_floats of int8 x without zero points. */
NIB_INLINE void nib_add_dots(__global const uchar *x, __global const uchar *weights, nib_args a,
                             nib_i64 m, nib_i64 panel, __local uint *shared, nib_i32 lane,
                             float16 *sum, const nib_i32 tokens)
{
    for (nib_i64 start = 0; start < a.p.pack_cols; start += CHUNK) {
        nib_i32 count = (nib_i32)min((nib_i64)CHUNK, a.p.pack_cols - start);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (nib_i32 t = 0; t < tokens; t++)
            for (nib_i32 k = 8 * lane; k < count; k += 8 * NIB_LANES) {
                uchar8 codes = vload8(0, x + (m + t) * a.p.pack_cols + start + k);
                vstore2(as_uint2(codes), 0, shared + t * (CHUNK / 4) + k / 4);
            }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (a.p.pack_bits == 4)
            nib_dot_chunk(weights, a, panel, start, count, 4, lane, shared, sum, tokens);
        else nib_dot_chunk(weights, a, panel, start, count, 8, lane, shared, sum, tokens);
    }
}

#endif

NIB_INLINE void nib_few(__global const uchar *x, __global const uchar *weights,
                        __global const uchar *bias, __global uchar *y, nib_args a,
                        __local float *shared, const nib_i32 tokens)
{
    nib_i32 lane = (nib_i32)get_local_id(0), dots = 0;
    nib_i64 panels = (a.rows + NIB_PANEL - 1) / NIB_PANEL, item = get_group_id(0);
    nib_i64 block = nib_quotient(item, panels), panel = item - block * panels, m = block * tokens;
    float16 sum[TOKENS];
    for (nib_i32 t = 0; t < tokens; t++) sum[t] = 0.0f;
#ifdef NIB_DOT_4
    dots = a.p.x_form == NIB_T_I8 && !a.p.x_zeros;
    if (dots) nib_add_dots(x, weights, a, m, panel, (__local uint *)shared, lane, sum, tokens);
#endif
    if (!dots) nib_add_floats(x, weights, a, m, panel, shared, lane, sum, tokens);
    nib_end_few(x, weights, bias, y, a, m, panel * NIB_PANEL, shared, lane, sum, tokens);
}

NIB_KERNEL(matmul_few_1, NIB_LANES)
{
    NIB_ENTER;
    __local float shared[SHARED(1)];
    nib_few(x, codes, offsets, y, a, shared, 1);
}

NIB_KERNEL(matmul_few_4, NIB_LANES)
{
    NIB_ENTER;
    __local float shared[SHARED(4)];
    nib_few(x, codes, offsets, y, a, shared, 4);
}

/* ---- any ---- */

/* Group g of row n of plain weights with row m of x, scaled; *exact_ret: the unscaled integer. */
NIB_FN float nib_group_product(__global const uchar *x, __global const uchar *weights, nib_args a,
                               nib_i64 m, nib_i64 n, nib_i64 g, nib_i32 *exact_ret)
{
    nib_i64 cell = n * a.scale_cols + g, at = m * a.p.pack_cols;
    __global const char *code = (__global const char *)weights + n * a.cols;
    nib_i32 zero = a.offset == NIB_O_MIN ? -(1 << (a.bits - 1)) : 0, dot = 0, ones = 0, x_zero = 0;
    if (a.offset == NIB_O_ZERO) zero = ((__global const char *)(weights + a.p.offsets_at))[cell];
    if (a.p.x_form == NIB_T_I8) x_zero = ((__global const int *)(x + NIB_X_ZEROS_AT(a)))[m];
    float part = 0.0f, part_ones = 0.0f;
    for (nib_i64 k = g * a.group; k < min(a.cols, (g + 1) * a.group); k++) {
        if (a.p.x_form == NIB_T_I8) {
            nib_i32 q = ((__global const char *)x)[at + k] - x_zero;
            dot += q * (code[k] - zero);
            ones += q;
        } else {
            float value = ((__global const float *)x)[at + k];
            part += (float)(code[k] - zero) * value;
            part_ones += value;
        }
    }
    *exact_ret = dot;
    if (a.p.x_form == NIB_T_I8) part = (float)dot, part_ones = (float)ones;
    float sum = part * ((__global const float *)(weights + a.p.scales_at))[cell];
    if (a.offset == NIB_O_MIN)
        sum += part_ones * ((__global const float *)(weights + a.p.offsets_at))[cell];
    return sum;
}

NIB_KERNEL(matmul_any, 64)
{
    NIB_ENTER;
    nib_i64 id = get_global_id(0), m = nib_quotient(id, a.rows), n = id - m * a.rows;
    if (m >= a.p.m) return;
    float sum = 0.0f;
    nib_i32 exact = 0;
    for (nib_i64 g = 0; g < a.scale_cols; g++)
        sum += nib_group_product(x, codes, a, m, n, g, &exact);
    if (nib_is_exact(a)) sum = NIB_BITS_F32((nib_u32)exact);
    nib_finish(x, codes, offsets, y, a, m, n, sum);
}
