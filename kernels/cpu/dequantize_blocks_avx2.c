/* dequantize_blocks_avx2.c - dequantize_blocks_simd.h on AVX2. */
#include "vec_avx2.h"

#include "dequantize_blocks_simd.h"
