/* blocks_256.cu - elements to ggml's blocks of 256 (docs/schemes/k_blocks.md), 8 or 16 lanes a
 * block.
 *
 * Bound: the searches' arithmetic. On sm_90a by nvcc 13.0, without spills or local memory;
 * instructions a weight without and with an importance (bench/predicted.py says how counted):
 *
 *            registers  shared bytes   warps   instructions   of which the search
 *                       of 4 warps     a unit
 *   q2_K     142        11072          12       441  1418     16 steps of 22, or 37
 *   q3_K     142        11264          12       309   688     5 passes of 48, or 18 steps of 13
 *   q4_K     150        23040          12       534   983     21 steps of 22, or 37
 *   q5_K     150        23552          12       427   984     16 steps of 22, or 37
 *   q6_K      86        12096          20       344   329     18 steps of 15
 *   iq4_xs   156        22912          12      1020  1047     16 steps of 61 */
#include "block_quantize.cuh"

QUANTIZE(Q2_K, q2_K, 3, true)
QUANTIZE(Q3_K, q3_K, 3, true)
QUANTIZE(Q4_K, q4_K, 3, true)
QUANTIZE(Q5_K, q5_K, 3, true)
QUANTIZE(Q6_K, q6_K, 5, true)
QUANTIZE(IQ4_XS, iq4_xs, 3, true)
