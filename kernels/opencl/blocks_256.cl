/* blocks_256.cl - elements to ggml's blocks of 256 (docs/schemes/k_blocks.md).
 *
 *   work-item = a block, group after group
 *
 * Bound: the searches' arithmetic, some 400 f32 operations a weight. */
#include "block.h"

QUANTIZE(Q2_K, 1)
QUANTIZE(Q3_K, 1)
QUANTIZE(Q4_K, 1)
QUANTIZE(Q5_K, 1)
QUANTIZE(Q6_K, 1)
QUANTIZE(IQ4_XS, 1)
