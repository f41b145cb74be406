/* blocks_avx2.c - blocks_simd.h on AVX2. */
#include "vec_avx2.h"

#include "blocks_simd.h"
