/* matmul_any.cu - what runs where no tensor-core kernel does: any group, any types, f32 x. Weights
 * are packed "plain" (matmul.cuh).
 *
 *   float   a block takes 64 x 64 elements of y; W, decoded to f32, and x pass shared memory,
 *           16 columns at a time; a thread adds 4 x 4 of them in order of K
 *   int8    a block takes 16 x 16 elements of y, a thread one of them
 *
 * Bound: fused multiply-adds in f32 (float), memory accesses of single bytes (int8). */
#include "matmul.cuh"

enum { TILE = 64, STEP = 16, THREADS = 256 };

/* Four columns from k of row n of W, decoded; 0 outside the matrix. */
DEVICE void decode_four(const nib_spans &s, const nib_args &a, nib_i64 n, nib_i64 k, float w[4])
{
    const nib_u8 *from = (const nib_u8 *)s.codes;
    nib_i64 g = k / a.group, left = (g + 1) * a.group - k;
    nib_i32 half = 1 << (a.bits - 1);
    for (int i = 0; i < 4; i++, left--) {
        w[i] = 0.0f;
        if (n >= a.rows || k + i >= a.cols) continue;
        if (left == 0) g++, left = a.group;
        nib_i64 at = n * a.scale_cols + g;
        nib_i32 code = ((const signed char *)from)[n * a.p.pack_cols + k + i];
        if (a.offset == NIB_O_MIN) code += half;
        if (a.offset == NIB_O_ZERO) code -= ((const signed char *)from)[a.p.offsets_at + at];
        w[i] = __fmul_rn((float)code, ((const float *)(from + a.p.scales_at))[at]);
        if (a.offset == NIB_O_MIN)
            w[i] = __fadd_rn(w[i], ((const float *)(from + a.p.offsets_at))[at]);
    }
}

NIB_TILE_KERNEL(nib_cuda_matmul_float, THREADS, 2)
{
    SHARED_ARRAY(float, x_part, [STEP][TILE + 4]);
    SHARED_ARRAY(float, w_part, [STEP][TILE + 4]);
    int row = threadIdx.x / 4, four = threadIdx.x % 4 * 4;
    int m_at = threadIdx.x / 16 * 4, n_at = threadIdx.x % 16 * 4;
    tile_place p = place_tile(a);
    float sum[4][4] = {};
    for (nib_i64 k = 0; k < a.cols; k += STEP) {
        float w[4];
        decode_four(s, a, p.n + row, k + four, w);
        for (int i = 0; i < 4; i++) {
            bool there = p.m + row < a.p.m && k + four + i < a.cols;
            nib_i64 at = (p.m + row) * a.p.x_pitch + k + four + i;
            x_part[four + i][row] = there ? load_element(s.x, a.x_type, at) : 0.0f;
            w_part[four + i][row] = w[i];
        }
        __syncthreads();
        for (int step = 0; step < STEP; step++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    sum[i][j] =
                        __fmaf_rn(x_part[step][m_at + i], w_part[step][n_at + j], sum[i][j]);
        __syncthreads(); /* all have read before the next columns come */
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            if (p.m + m_at + i < a.p.m && p.n + n_at + j < a.rows)
                store_y(s, a, p.m + m_at + i, p.n + n_at + j, sum[i][j]);
}

/* D and O of one group, with x less its zero point. */
DEVICE void dot_group(const signed char *x, const signed char *w, nib_i32 x_zero, nib_i32 w_zero,
                      nib_i64 count, nib_i32 *dot_ret, nib_i32 *ones_ret)
{
    nib_i32 dot = 0, ones = 0;
    for (nib_i64 k = 0; k < count; k++) {
        dot += (x[k] - x_zero) * (w[k] - w_zero);
        ones += x[k] - x_zero;
    }
    *dot_ret = dot, *ones_ret = ones;
}

DEVICE float int8_element(const nib_spans &s, const nib_args &a, nib_i64 m, nib_i64 n)
{
    const nib_u8 *x = (const nib_u8 *)s.x, *w = (const nib_u8 *)s.codes;
    const float *scales = (const float *)(w + a.p.scales_at) + n * a.scale_cols;
    const float *mins = (const float *)(w + a.p.offsets_at) + n * a.scale_cols;
    nib_i32 x_zero = ((const nib_i32 *)(x + NIB_X_ZEROS_AT(a)))[m];
    float x_scale = ((const float *)(x + NIB_X_SCALES_AT(a)))[m], sum = 0.0f;
    for (nib_i64 g = 0; g < a.scale_cols; g++) {
        nib_i64 k = g * a.group, count = a.cols - k < a.group ? a.cols - k : a.group;
        nib_i32 dot, ones, zero = a.offset == NIB_O_MIN ? -(1 << (a.bits - 1)) : 0;
        if (a.offset == NIB_O_ZERO)
            zero = ((const signed char *)w)[a.p.offsets_at + n * a.scale_cols + g];
        dot_group((const signed char *)x + m * a.p.pack_cols + k,
                  (const signed char *)w + n * a.p.pack_cols + k, x_zero, zero, count, &dot, &ones);
        if (exact_sums(a)) return nib_scaled(dot, scales[0], x_scale);
        sum = __fmaf_rn((float)dot, scales[g], sum);
        if (a.offset == NIB_O_MIN) sum = __fmaf_rn((float)ones, mins[g], sum);
    }
    return __fmul_rn(sum, x_scale);
}

NIB_TILE_KERNEL(nib_cuda_matmul_int8, THREADS, 2)
{
    tile_place p = place_tile(a);
    nib_i64 m = p.m + threadIdx.x / 16, n = p.n + threadIdx.x % 16;
    if (m < a.p.m && n < a.rows) store_y(s, a, m, n, int8_element(s, a, m, n));
}
