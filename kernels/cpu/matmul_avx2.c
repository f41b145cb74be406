/* matmul_avx2.c - products on AVX2. maddubs saturates at two products of 255 * 127, so that
 * bytes are multiplied as words; nibbles are small enough for it. */
#include "vec_avx2.h"

#include "matmul_simd.h"

/* Codes 0 and 2 of four, and 1 and 3, as words; and all four as bytes. */
typedef struct xcodes {
    vw even, odd;
    vi bytes;
} xcodes;

INLINE xcodes x_codes(const int8_t *x)
{
    int four;
    memcpy(&four, x, sizeof four);
    vi bytes = v_splat_int(four);
    return (xcodes){(vw)((vuw)bytes << 8) >> 8, (vw)bytes >> 8, bytes};
}

INLINE vi dot_bytes(vi sum, vi w, xcodes x)
{
    vw even = (vw)(w & 0x00ff00ff), odd = (vw)((vuw)w >> 8);
    return v_wrap_add(sum, v_madd(even, x.even) + v_madd(odd, x.odd));
}

/* Four products of 15 * 128 are below 2^15. */
INLINE vi dot_nibbles(vi sum, vi w, xcodes low, xcodes high)
{
    vi first = w & 0x0f0f0f0f, second = (vi)((vuw)w >> 4) & 0x0f0f0f0f;
    vw sums = v_maddubs(first, low.bytes) + v_maddubs(second, high.bytes);
    return v_wrap_add(sum, v_madd(sums, (vw)v_splat_int(0x00010001)));
}

INLINE vi add_codes(vi sum, vi w, vi x) { return v_wrap_add(sum, v_madd((vw)w, (vw)x)); }
INLINE vf add_floats(vf sum, vi w, vi x) { return v_fma((vf)w, (vf)x, sum); }

#include "matmul_large_simd.h"
#include "matmul_small_codes_simd.h"
#include "matmul_small_floats_simd.h"

SMALL_KERNEL(nib_cpu_matmul_codes_m1_avx2, codes_item, 1, 1, 8)
SMALL_KERNEL(nib_cpu_matmul_codes_m4_avx2, codes_item, 4, 4, 2)
SMALL_KERNEL(nib_cpu_matmul_codes_m24_avx2, codes_item, 24, 4, 2)
SMALL_KERNEL(nib_cpu_matmul_floats_m1_avx2, floats_item, 1, 1, 8)
SMALL_KERNEL(nib_cpu_matmul_floats_m4_avx2, floats_item, 4, 4, 1)
SMALL_KERNEL(nib_cpu_matmul_floats_m8_avx2, floats_item, 8, 4, 1)
LARGE_KERNEL(nib_cpu_matmul_codes_avx2, STEP_I16, 6, 2)
LARGE_KERNEL(nib_cpu_matmul_floats_avx2, STEP_F32, 6, 2)
