/* matmul_avx2.c - products on AVX2. Its maddubs saturates at two products of 255 * 127, so that bytes
 * are multiplied as 16-bit numbers; nibbles are small enough for it. */
#include "vec_avx2.h"

#include "matmul_simd.h"

/* Codes 0 and 2 of four, and 1 and 3, as 16-bit numbers; and all four as bytes. */
typedef struct xcodes {
    __m256i even, odd, bytes;
} xcodes;

INLINE xcodes x_codes(const int8_t *x)
{
    int four;
    memcpy(&four, x, sizeof four);
    __m256i bytes = _mm256_set1_epi32(four);
    return (xcodes){_mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8), _mm256_srai_epi16(bytes, 8),
                    bytes};
}

INLINE vi dot_bytes(vi sum, vi w, xcodes x)
{
    __m256i even = _mm256_and_si256((__m256i)w, _mm256_set1_epi16(255));
    __m256i odd = _mm256_srli_epi16((__m256i)w, 8);
    __m256i pairs =
        _mm256_add_epi32(_mm256_madd_epi16(even, x.even), _mm256_madd_epi16(odd, x.odd));
    return (vi)_mm256_add_epi32((__m256i)sum, pairs);
}

/* Four products of 15 * 128 are below 2^15. */
INLINE vi dot_nibbles(vi sum, vi w, xcodes low, xcodes high)
{
    const __m256i mask = _mm256_set1_epi8(15);
    __m256i first = _mm256_and_si256((__m256i)w, mask),
            second = _mm256_and_si256(_mm256_srli_epi16((__m256i)w, 4), mask);
    __m256i sums_16 = _mm256_add_epi16(_mm256_maddubs_epi16(first, low.bytes),
                                       _mm256_maddubs_epi16(second, high.bytes));
    __m256i pairs = _mm256_madd_epi16(sums_16, _mm256_set1_epi16(1));
    return (vi)_mm256_add_epi32((__m256i)sum, pairs);
}

INLINE vf v_fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }

typedef vi table16;
INLINE table16 make_table(int base) { return v_splat_int(base); }
INLINE vf nibble_values(vi w, int shift, table16 values)
{
    return v_convert((vi)((vu)w >> shift & 15u) - values);
}

INLINE vi subtract_words(vi a, vi b) { return (vi)_mm256_sub_epi16((__m256i)a, (__m256i)b); }
INLINE vi subtract_bytes(vi a, int b)
{
    return (vi)_mm256_sub_epi8((__m256i)a, _mm256_set1_epi8((char)b));
}
INLINE vi add_codes(vi sum, vi w, vi x)
{
    return (vi)_mm256_add_epi32((__m256i)sum, _mm256_madd_epi16((__m256i)w, (__m256i)x));
}
INLINE vf add_floats(vf sum, vi w, vi x) { return v_fma((vf)w, (vf)x, sum); }

#include "matmul_large_simd.h"
#include "matmul_small_codes_simd.h"
#include "matmul_small_floats_simd.h"

SMALL_KERNEL(nib_cpu_matmul_codes_m1_avx2, codes_item, 1, 8)
SMALL_KERNEL(nib_cpu_matmul_codes_m4_avx2, codes_item, 4, 2)
SMALL_KERNEL(nib_cpu_matmul_floats_m1_avx2, floats_item, 1, 8)
SMALL_KERNEL(nib_cpu_matmul_floats_m4_avx2, floats_item, 4, 2)
LARGE_KERNEL(nib_cpu_matmul_codes_avx2, STEP_I16, 6, 2)
LARGE_KERNEL(nib_cpu_matmul_floats_avx2, STEP_F32, 6, 2)
