/* matmul_avx512.c - products on AVX-512 without VNNI. */
#include "vec_avx512.h"

#include "matmul_words_simd.h"

typedef vf table16;
INLINE table16 make_table(int base) { return v_convert(v_iota() - base); }
/* Of the index only the low four bits count. */
INLINE vf nibble_values(vi w, int shift, table16 values)
{
    return (vf)_mm512_permutexvar_ps((__m512i)((vu)w >> shift), (__m512)values);
}

#include "matmul_large_simd.h"
#include "matmul_small_codes_simd.h"
#include "matmul_small_floats_simd.h"

SMALL_KERNEL(nib_cpu_matmul_codes_m1_avx512, codes_item, 1, 4)
SMALL_KERNEL(nib_cpu_matmul_codes_m4_avx512, codes_item, 4, 4)
SMALL_KERNEL(nib_cpu_matmul_floats_m1_avx512, floats_item, 1, 4)
SMALL_KERNEL(nib_cpu_matmul_floats_m4_avx512, floats_item, 4, 4)
SMALL_KERNEL(nib_cpu_matmul_floats_m8_avx512, floats_item, 8, 2)
LARGE_KERNEL(nib_cpu_matmul_codes_avx512, STEP_I16, 6, 4)
LARGE_KERNEL(nib_cpu_matmul_floats_avx512, STEP_F32, 6, 4)
