/* convert_avx2.c - convert_simd.h on AVX2. */
#include "vec_avx2.h"

#include "convert_simd.h"
