/* dequantize_blocks_avx512.c - dequantize_blocks_simd.h on AVX-512. */
#include "vec_avx512.h"

#include "dequantize_blocks_simd.h"
