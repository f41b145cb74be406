/* quantize_avx512.c - quantize_simd.h on AVX-512. */
#include "vec_avx512.h"

#include "quantize_simd.h"
