/* ranges_avx2.c - ranges_simd.h on AVX2. */
#include "vec_avx2.h"

#include "ranges_simd.h"
