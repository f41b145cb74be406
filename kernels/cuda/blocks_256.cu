/* blocks_256.cu - elements to ggml's blocks of 256 (docs/schemes/k_blocks.md), 8 or 16 lanes a block.
 *
 * Bound: the searches' arithmetic. On sm_90a, without spills or local memory (ptxas; instructions
 * counted in SASS, without an importance):
 *
 *            registers  shared bytes  warps    instructions  of which
 *                       a block       a unit   a weight      search
 *   q2_K     147        11072         12       440           16 steps of 23
 *   q3_K     153        11264         12       315           5 passes of 47 at most
 *   q4_K     150        23040         12       520           21 steps of 21
 *   q5_K     150        23552         12       420           16 steps of 21
 *   q6_K      90        12096         20       340           18 steps of 14
 *   iq4_xs   160        22912         12       690           16 steps of 39 */
#include "block_quantize.cuh"

QUANTIZE(Q2_K, q2_K, 3, true)
QUANTIZE(Q3_K, q3_K, 3, true)
QUANTIZE(Q4_K, q4_K, 3, true)
QUANTIZE(Q5_K, q5_K, 3, true)
QUANTIZE(Q6_K, q6_K, 5, true)
QUANTIZE(IQ4_XS, iq4_xs, 3, true)
