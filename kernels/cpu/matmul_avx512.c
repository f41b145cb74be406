/* matmul_avx512.c - products on AVX-512 without VNNI. Its maddubs saturates at two products of 255 * 127, so that bytes
 * are multiplied as 16-bit numbers; nibbles are small enough for it. */
#include "vec_avx512.h"

#include "matmul_simd.h"

/* Codes 0 and 2 of four, and 1 and 3, as 16-bit numbers; and all four as bytes. */
typedef struct xcodes {
    __m512i even, odd, bytes;
} xcodes;

INLINE xcodes x_codes(const int8_t *x)
{
    int four;
    memcpy(&four, x, sizeof four);
    __m512i bytes = _mm512_set1_epi32(four);
    return (xcodes){_mm512_srai_epi16(_mm512_slli_epi16(bytes, 8), 8), _mm512_srai_epi16(bytes, 8),
                    bytes};
}

INLINE vi dot_bytes(vi sum, vi w, xcodes x)
{
    __m512i even = _mm512_and_si512((__m512i)w, _mm512_set1_epi16(255));
    __m512i odd = _mm512_srli_epi16((__m512i)w, 8);
    __m512i pairs =
        _mm512_add_epi32(_mm512_madd_epi16(even, x.even), _mm512_madd_epi16(odd, x.odd));
    return (vi)_mm512_add_epi32((__m512i)sum, pairs);
}

/* Four products of 15 * 128 are below 2^15. */
INLINE vi dot_nibbles(vi sum, vi w, xcodes low, xcodes high)
{
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i first = _mm512_and_si512((__m512i)w, mask),
            second = _mm512_and_si512(_mm512_srli_epi16((__m512i)w, 4), mask);
    __m512i sums_16 = _mm512_add_epi16(_mm512_maddubs_epi16(first, low.bytes),
                                       _mm512_maddubs_epi16(second, high.bytes));
    __m512i pairs = _mm512_madd_epi16(sums_16, _mm512_set1_epi16(1));
    return (vi)_mm512_add_epi32((__m512i)sum, pairs);
}

INLINE vf v_fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }

typedef vf table16;
INLINE table16 make_table(int base) { return v_convert(v_iota() - base); }
/* Of the index only the low four bits count. */
INLINE vf nibble_values(vi w, int shift, table16 values)
{
    return (vf)_mm512_permutexvar_ps((__m512i)((vu)w >> shift), (__m512)values);
}

INLINE vi subtract_words(vi a, vi b) { return (vi)_mm512_sub_epi16((__m512i)a, (__m512i)b); }
INLINE vi subtract_bytes(vi a, int b)
{
    return (vi)_mm512_sub_epi8((__m512i)a, _mm512_set1_epi8((char)b));
}
INLINE vi add_codes(vi sum, vi w, vi x)
{
    return (vi)_mm512_add_epi32((__m512i)sum, _mm512_madd_epi16((__m512i)w, (__m512i)x));
}
INLINE vf add_floats(vf sum, vi w, vi x) { return v_fma((vf)w, (vf)x, sum); }

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
