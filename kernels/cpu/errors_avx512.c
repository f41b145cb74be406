/* errors_avx512.c - errors_simd.h on AVX-512. */
#include "vec_avx512.h"

#include "errors_simd.h"
