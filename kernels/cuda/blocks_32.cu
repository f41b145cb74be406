/* blocks_32.cu - elements to ggml's blocks of 32 (docs/schemes/legacy_blocks.md).
 *
 *   thread = a block; with an importance, before that, thread = a row: its mean square
 *
 * Bound: memory without an importance (a thread reads 64 or 128 bytes in a row, so the caches must
 * hold them until it is done); the searches' arithmetic with one. */
#include "block.cuh"

/* Into the first four bytes of each block of the row, from where the block's thread takes it. */
NIB_CUDA_KERNEL(nib_cuda_block_sums)
{
    if (a.weights != NIB_W_ROW) return;
    for (nib_i64 row = grid_thread(); row < items; row += grid_threads()) {
        nib_source source = {s.x, nullptr, row * a.cols, a.x_type, a.nonfinite, 0, 0.0f};
        float sum = 0.0f;
        for (nib_i64 k = 0; k < a.cols; k++, source.first++) {
            float x = nib_source_x(source, 0);
            sum += x * x;
        }
        nib_u32 mean = NIB_F32_BITS(nib_ratio(sum, (float)a.cols));
        nib_u16 *out = (nib_u16 *)s.out + row * a.scale_cols * (a.form.bytes / 2);
        for (nib_i64 i = 0; i < a.scale_cols; i++, out += a.form.bytes / 2) {
            out[0] = (nib_u16)mean;
            out[1] = (nib_u16)(mean >> 16);
        }
    }
}

QUANTIZE(Q4_0, q4_0, 18, false)
QUANTIZE(Q4_1, q4_1, 20, false)
QUANTIZE(Q5_0, q5_0, 22, false)
QUANTIZE(Q5_1, q5_1, 24, false)
QUANTIZE(Q8_0, q8_0, 34, false)
QUANTIZE(Q4_0, weighted_q4_0, 18, true)
QUANTIZE(Q4_1, weighted_q4_1, 20, true)
QUANTIZE(Q5_0, weighted_q5_0, 22, true)
QUANTIZE(Q5_1, weighted_q5_1, 24, true)
QUANTIZE(IQ4_NL, iq4_nl, 18, true)
