/* acts_avx2.c - acts_simd.h on AVX2. */
#include "vec_avx2.h"

#include "acts_simd.h"
