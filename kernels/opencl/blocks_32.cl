/* blocks_32.cl - elements to ggml's blocks of 32 (docs/schemes/legacy_blocks.md).
 *
 *   work-item = a block; with an importance, before that, work-item = a row: its mean square
 *
 * Bound: memory without an importance (and then not reached: a work-item reads 64 or 128 bytes in a
 * row); the searches' arithmetic with one. */
#include "block.h"

/* Intel's runtime for CPUs (2026.2) makes vectors of the sum of a row, in another order; not of
 * this. */
#if defined(NIB_CPU)
#define IN_ORDER volatile
#else
#define IN_ORDER
#endif

/* Into the first four bytes of each block of the row, from where the block's item takes it. */
NIB_KERNEL(block_sums, 64)
{
    NIB_ENTER;
    nib_source s;
    nib_i64 row = get_global_id(0);
    float sum = 0.0f;
    if (row >= a.rows || a.weights != NIB_W_ROW) return;
    s.x = x;
    s.type = a.x_type;
    s.nonfinite = a.nonfinite;
    s.first = row * a.cols;
    for (nib_i64 k = 0; k < a.cols; k++, s.first++) {
        float value = nib_source_x(s, 0);
        IN_ORDER float square = value * value;
        sum += square;
    }
    uint mean = as_uint(nib_ratio(sum, (float)a.cols));
    out += row * a.scale_cols * a.form.bytes;
    for (nib_i64 i = 0; i < a.scale_cols; i++, out += a.form.bytes)
        for (nib_i32 k = 0; k < 4; k++) out[k] = (uchar)(mean >> (8 * k));
}

QUANTIZE(Q4_0, 1)
QUANTIZE(Q4_1, 1)
QUANTIZE(Q5_0, 1)
QUANTIZE(Q5_1, 1)
QUANTIZE(Q8_0, 0)
QUANTIZE(IQ4_NL, 1)
