/* matmul_tiles.cl - y = x * dequant(W)^T + bias for many rows of x.
 *
 *   work-group = 64 rows of W x 64 rows of x; 64 parts of 16 x 4 elements of y, one (or, on a
 *   CPU, all) of which a lane keeps in registers:
 *
 *                   rows of W  0..15   16..31   32..47   48..63
 *       rows of x    0..3      part 0  part 1   part 2   part 3
 *                    4..7      part 4  ...
 *
 *   K goes by in steps of 32 columns. Each step decodes 64 x 32 weights (product.h) and as much of x
 *   into local memory, as floats, columns along rows:
 *
 *       w[32][64], x[32][64 + 1]
 *
 * Weights are staged scaled. Where the sum must be exact they are staged as integers: 32
 * products of at most 255 * 255 are below 2^24, and the step's sums are added as integers.
 *
 * Bound: multiply-adds: a lane reads 20 floats of local memory for 64 of them. */
#include "product.h"

#define TILE_N 64
#define TILE_M 64
#define STEP 32
#define PARTS (64 / NIB_LANES) /* of a lane */
#define X_PITCH (TILE_M + 1)   /* lanes that store columns of x meet no bank twice */

/* Part -> 4 rows of W and 8 columns. */
NIB_INLINE void nib_stage_weights(__global const uchar *weights, nib_args a, nib_i64 n, nib_i64 k,
                                  nib_i32 share, __local float *w)
{
    nib_i32 r = share % (TILE_N / 4) * 4, c = share / (TILE_N / 4) * 8, in_panel = r % NIB_PANEL;
    nib_i64 panel = (n + r) / NIB_PANEL, g = nib_scale_col(a, k + c);
    nib_i64 cell = (panel * a.scale_cols + g) * NIB_PANEL + in_panel;
    __global const uint *words = nib_words(weights, a, panel) + in_panel;
    float4 scale = vload4(0, (__global const float *)(weights + a.p.scales_at) + cell);
    float4 least = 0.0f, centre;
    centre = (float)(8388608 + nib_excess(a));
    if (a.offset == NIB_O_ZERO)
        centre += convert_float4(vload4(0, (__global const char *)weights + a.p.offsets_at + cell));
    if (a.offset == NIB_O_MIN) {
        centre -= (float)(1 << (a.bits - 1));
        least = vload4(0, (__global const float *)(weights + a.p.offsets_at) + cell);
    }
    if (nib_is_exact(a)) scale = 1.0f;
    words += (k + c) / 8 * (a.p.pack_bits * NIB_PANEL / 4);
    uint4 low = vload4(0, words), high = low;
    if (a.p.pack_bits == 8) high = vload4(0, words + NIB_PANEL);
    for (nib_i32 i = 0; i < 8; i++) {
        float4 value = a.p.pack_bits == 4
                           ? NIB_FIELD(4, low, nib_shift_of(i), 0xfu, centre)
                           : NIB_FIELD(4, i < 4 ? low : high, 8 * (i & 3), 0xffu, centre);
        vstore4(NIB_MAD(value, scale, least), 0, w + (c + i) * TILE_N + r);
    }
}

NIB_INLINE void nib_stage_x(__global const uchar *x, nib_args a, nib_i64 m, nib_i64 k, nib_i32 lane,
                            __local float *to)
{
    for (nib_i32 i = lane; i < TILE_M * STEP / 8; i += NIB_LANES) {
        nib_i32 row = i / (STEP / 8), c = i % (STEP / 8) * 8;
        float some[8];
        vstore8(nib_x_8(x, a, m + row, k + c), 0, some);
        for (nib_i32 j = 0; j < 8; j++) to[(c + j) * X_PITCH + row] = some[j];
    }
}

/* The part's 4 sums += products of STEP columns. */
NIB_INLINE void nib_multiply_step(__local const float *w, __local const float *x, nib_i32 exact,
                                  float16 *sum)
{
    float16 part[4];
    for (nib_i32 i = 0; i < 4; i++) part[i] = exact ? (float16)0.0f : sum[i];
    for (nib_i32 c = 0; c < STEP; c++) {
        float16 column = vload16(0, w + c * TILE_N);
#pragma unroll
        for (nib_i32 i = 0; i < 4; i++)
            part[i] = NIB_MAD(column, (float16)x[c * X_PITCH + i], part[i]);
    }
    for (nib_i32 i = 0; i < 4; i++)
        sum[i] = exact ? as_float16(as_int16(sum[i]) + convert_int16(part[i])) : part[i];
}

NIB_INLINE void nib_store_part(__global const uchar *x, __global const uchar *weights,
                               __global const uchar *bias, __global uchar *y, nib_args a, nib_i64 m,
                               nib_i64 n, const float16 *sum)
{
    for (nib_i32 i = 0; i < 4 && m + i < a.p.m; i++) {
        float some[NIB_PANEL];
        vstore16(sum[i], 0, some);
        for (nib_i32 r = 0; r < NIB_PANEL && n + r < a.rows; r++)
            nib_finish(x, weights, bias, y, a, m + i, n + r, some[r]);
    }
}

NIB_KERNEL(matmul_tiles, NIB_LANES)
{
    NIB_ENTER;
    __local float w[STEP * TILE_N], xs[STEP * X_PITCH];
    nib_i32 lane = (nib_i32)get_local_id(0), exact = nib_is_exact(a);
    nib_i64 tiles = (a.rows + TILE_N - 1) / TILE_N, item = get_group_id(0);
    nib_i64 block = nib_quotient(item, tiles), n = (item - block * tiles) * TILE_N;
    float16 sum[PARTS][4];
    for (nib_i32 p = 0; p < PARTS; p++)
        for (nib_i32 i = 0; i < 4; i++) sum[p][i] = 0.0f;
    for (nib_i64 k = 0; k < a.p.pack_cols; k += STEP) {
        barrier(CLK_LOCAL_MEM_FENCE);
        for (nib_i32 p = 0; p < PARTS; p++)
            nib_stage_weights(codes, a, n, k, lane + p * NIB_LANES, w);
        nib_stage_x(x, a, block * TILE_M, k, lane, xs);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (nib_i32 p = 0; p < PARTS; p++) {
            nib_i32 at = lane + p * NIB_LANES;
            nib_multiply_step(w + at % 4 * NIB_PANEL, xs + at / 4 * 4, exact, sum[p]);
        }
    }
    for (nib_i32 p = 0; p < PARTS; p++) {
        nib_i32 at = lane + p * NIB_LANES;
        nib_store_part(x, codes, offsets, y, a, block * TILE_M + at / 4 * 4, n + at % 4 * NIB_PANEL,
                       sum[p]);
    }
}
