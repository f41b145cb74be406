/* quantize_avx2.c - quantize_simd.h on AVX2. */
#include "vec_avx2.h"

#include "quantize_simd.h"
