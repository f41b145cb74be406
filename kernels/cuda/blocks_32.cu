/* blocks_32.cu - elements to ggml's blocks of 32 (docs/schemes/legacy_blocks.md), a block a lane.
 *
 * Bound: memory without an importance; the searches' arithmetic with one, and for iq4_nl. Reading
 * F16 at 90 % of an H200's bandwidth leaves time for 17 instructions a weight of q4_0, 21 of q8_0.
 * On sm_90a by nvcc 13.0, without spills or local memory (bench/predicted.py says how counted):
 *
 *                     registers    shared bytes     warps    instructions
 *                                  of 4 warps       a unit   a weight
 *   q4_0, q5_0         77,  75     18816, 19328     24       13.5, 14.9
 *   q4_1, q5_1         80,  80     19072, 19584     24       16.1, 17.4
 *   q8_0               80          20864            24       16.3
 *   weighted q4_0     131          18816            12       263
 *   weighted q5_0     131          19328            12       264
 *   weighted q4_1     139          19072            12       832
 *   weighted q5_1     136          19584            12       833
 *   iq4_nl            148          18816            12       1013; 1034 with an importance
 *   block_sums         38          16896            48 */
#include "block_quantize.cuh"

/* With an importance, before the blocks: the mean square of each row, into the first four bytes of
 * each of its blocks, from where the block's lane takes it. Eight rows a warp, 128 columns at a
 * time; lane r adds row r in order. */
DEVICE float row_squares(float (*part)[132], const nib_spans &s, const nib_args &a, nib_i64 row,
                         nib_i64 rows)
{
    float sum = 0.0f;
    int lane = lane_number();
    for (nib_i64 k = 0; k < a.cols; k += 128) {
#pragma unroll
        for (int i = 0; i < 32; i++) {
            nib_i64 r = row + i / 4, c = k + i % 4 * 32 + lane;
            float x = r < rows && c < a.cols ? load_element(s.x, a.x_type, r * a.cols + c) : 0.0f;
            if (!nib_is_finite(x)) x = nib_substitute(x, a.nonfinite, a.x_type);
            part[i / 4][i % 4 * 32 + lane] = x;
        }
        __syncwarp();
#pragma unroll 8
        for (int c = 0; c < 128 && lane < 8; c++) sum = sum + part[lane][c] * part[lane][c];
        __syncwarp();
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(NIB_BLOCK_THREADS)
    nib_cuda_block_sums(nib_spans s, nib_args a, nib_i64 items)
{
    typedef float rows[8][132];
    SHARED_ARRAY(rows, parts, [NIB_BLOCK_THREADS / 32]);
    if (a.weights != NIB_W_ROW) return;
    for (nib_i64 row = grid_warp() * 8; row < items; row += grid_warps() * 8) {
        float sum = row_squares(parts[threadIdx.x / 32], s, a, row, items);
        float mean = nib_ratio(sum, (float)a.cols);
        for (int r = 0; r < 8; r++) {
            nib_u32 bits = __shfl_sync(~0u, NIB_F32_BITS(mean), r);
            if (row + r >= items) continue;
            for (nib_i64 i = lane_number(); i < a.scale_cols; i += 32)
                put_word((nib_u16 *)s.out + ((row + r) * a.scale_cols + i) * (a.form.bytes / 2),
                         bits);
        }
    }
}

QUANTIZE(Q4_0, q4_0, 6, false)
QUANTIZE(Q4_1, q4_1, 6, false)
QUANTIZE(Q5_0, q5_0, 6, false)
QUANTIZE(Q5_1, q5_1, 6, false)
QUANTIZE(Q8_0, q8_0, 6, false)
QUANTIZE(Q4_0, weighted_q4_0, 3, true)
QUANTIZE(Q4_1, weighted_q4_1, 3, true)
QUANTIZE(Q5_0, weighted_q5_0, 3, true)
QUANTIZE(Q5_1, weighted_q5_1, 3, true)
QUANTIZE(IQ4_NL, iq4_nl, 3, true)
