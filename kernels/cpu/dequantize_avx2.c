/* dequantize_avx2.c - dequantize_simd.h on AVX2. */
#include "vec_avx2.h"

#include "dequantize_simd.h"
