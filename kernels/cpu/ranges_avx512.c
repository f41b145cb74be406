/* ranges_avx512.c - ranges_simd.h on AVX-512. */
#include "vec_avx512.h"

#include "ranges_simd.h"
