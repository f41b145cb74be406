/* acts_avx512.c - acts_simd.h on AVX-512. */
#include "vec_avx512.h"

#include "acts_simd.h"
