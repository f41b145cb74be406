/* blocks_256.cu - elements to ggml's blocks of 256 (docs/schemes/k_blocks.md).
 *
 *   thread = a block, group after group; a group's 16 or 32 values and weights lie in registers,
 *   what is kept of all groups in local memory
 *
 * Bound: the searches' arithmetic, some 400 f32 operations a weight without contraction. */
#include "block.cuh"

QUANTIZE(Q2_K, q2_K, 84, true)
QUANTIZE(Q3_K, q3_K, 110, true)
QUANTIZE(Q4_K, q4_K, 144, true)
QUANTIZE(Q5_K, q5_K, 176, true)
QUANTIZE(Q6_K, q6_K, 210, true)
QUANTIZE(IQ4_XS, iq4_xs, 136, true)
