/* blocks_avx512.c - blocks_simd.h on AVX-512. */
#include "vec_avx512.h"

#include "blocks_simd.h"
