/* errors_avx2.c - errors_simd.h on AVX2. */
#include "vec_avx2.h"

#include "errors_simd.h"
