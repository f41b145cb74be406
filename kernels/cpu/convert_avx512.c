/* convert_avx512.c - convert_simd.h on AVX-512. */
#include "vec_avx512.h"

#include "convert_simd.h"
