/* matmul_vnni.c - products of int8 activations on AVX-512 VNNI: dpbusd adds four products u8 x s8 to a
 * lane, exactly, at the rate of one multiplication. */
#include "vec_avx512.h"

#include "matmul_simd.h"

typedef __m512i xcodes;

INLINE xcodes x_codes(const int8_t *x)
{
    int four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

INLINE vi dot_bytes(vi sum, vi w, xcodes x)
{
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, x);
}

INLINE vi dot_nibbles(vi sum, vi w, xcodes low, xcodes high)
{
    sum = dot_bytes(sum, w & 0x0f0f0f0f, low);
    return dot_bytes(sum, (vi)((vu)w >> 4 & 0x0f0f0f0fu), high);
}

INLINE vi add_codes(vi sum, vi w, vi x)
{
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)w);
}
INLINE vf add_floats(vf sum, vi w, vi x) { return v_fma((vf)w, (vf)x, sum); }

#include "matmul_large_simd.h"
#include "matmul_small_codes_simd.h"

SMALL_KERNEL(nib_cpu_matmul_codes_m1_vnni, codes_item, 1, 4)
SMALL_KERNEL(nib_cpu_matmul_codes_m4_vnni, codes_item, 4, 4)
SMALL_KERNEL(nib_cpu_matmul_codes_m8_vnni, codes_item, 8, 2)
LARGE_KERNEL(nib_cpu_matmul_codes_vnni, STEP_S8, 6, 4)
