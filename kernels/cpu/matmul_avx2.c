/* matmul_avx2.c - products on AVX2. */
#include "vec_avx2.h"

#include "matmul_words_simd.h"

typedef vi table16;
INLINE table16 make_table(int base) { return v_splat_int(base); }
INLINE vf nibble_values(vi w, int shift, table16 values)
{
    return v_convert((vi)((vu)w >> shift & 15u) - values);
}

#include "matmul_large_simd.h"
#include "matmul_small_codes_simd.h"
#include "matmul_small_floats_simd.h"

SMALL_KERNEL(nib_cpu_matmul_codes_m1_avx2, codes_item, 1, 8)
SMALL_KERNEL(nib_cpu_matmul_codes_m4_avx2, codes_item, 4, 2)
SMALL_KERNEL(nib_cpu_matmul_floats_m1_avx2, floats_item, 1, 8)
SMALL_KERNEL(nib_cpu_matmul_floats_m4_avx2, floats_item, 4, 2)
LARGE_KERNEL(nib_cpu_matmul_codes_avx2, STEP_I16, 6, 2)
LARGE_KERNEL(nib_cpu_matmul_floats_avx2, STEP_F32, 6, 2)
