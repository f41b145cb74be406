/* vec_avx512.h - a run of 32 values as AVX-512 vectors; the twin of vec_avx2.h, and all that the
 * *_simd.h texts know of either.
 *
 *   words   32 x i16, element i in lane i: where codes meet values
 *   floats  32 x f32 in the order that suits an element type: F32 and F16 in index order, BF16 with
 *           the even elements first, then the odd ones, so that widening and narrowing are shifts
 *   keys    f32 or 16-bit patterns as integers in the order of their values (nib_key)
 *
 * `type` is a constant wherever these are inlined. */
#ifndef NIB_CPU_VEC_AVX512_H
#define NIB_CPU_VEC_AVX512_H

#include "../common/number.h"

#include <immintrin.h>

#define ISA(name) name##_avx512
#define INLINE static inline __attribute__((always_inline))

enum { PARTS = 2 }; /* vectors of f32 in a run */
#define EACH_PART(X) X(0) X(1)

typedef __m512i words;
typedef struct floats {
    __m512 v[PARTS];
} floats;

/* ---- arithmetic, lane by lane ---- */

#define LANES_2(name, intrinsic)                                                                   \
    INLINE floats name(floats a, floats b)                                                         \
    {                                                                                              \
        return (floats){{intrinsic(a.v[0], b.v[0]), intrinsic(a.v[1], b.v[1])}};                   \
    }
#define LANES_3(name, intrinsic)                                                                   \
    INLINE floats name(floats a, floats b, floats c)                                               \
    {                                                                                              \
        return (floats){{intrinsic(a.v[0], b.v[0], c.v[0]), intrinsic(a.v[1], b.v[1], c.v[1])}};   \
    }
LANES_2(f_add, _mm512_add_ps)
LANES_2(f_sub, _mm512_sub_ps)
LANES_2(f_mul, _mm512_mul_ps)
LANES_3(f_fma, _mm512_fmadd_ps)   /* a * b + c */
LANES_3(f_fnma, _mm512_fnmadd_ps) /* c - a * b */

INLINE floats f_splat(float x) { return (floats){{_mm512_set1_ps(x), _mm512_set1_ps(x)}}; }

INLINE words w_splat(int x) { return _mm512_set1_epi16((short)x); }
INLINE words w_add(words a, words b) { return _mm512_add_epi16(a, b); }
INLINE words w_sub(words a, words b) { return _mm512_sub_epi16(a, b); }
INLINE words w_xor(words a, words b) { return _mm512_xor_si512(a, b); }
/* ---- elements ---- */

INLINE floats f_load(const void *p, int type)
{
    if (type == NIB_T_F32)
        return (floats){{_mm512_loadu_ps(p), _mm512_loadu_ps((const float *)p + 16)}};
    if (type == NIB_T_F16)
        return (floats){{_mm512_cvtph_ps(_mm256_loadu_si256(p)),
                         _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p + 1))}};
    __m512i pairs = _mm512_loadu_si512(p);
    return (floats){
        {_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)),
         _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u)))}};
}

/* To nearest even; no NaN may be among them. */
INLINE __m512i round_bf16(__m512 v)
{
    __m512i u = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    return _mm512_add_epi32(_mm512_add_epi32(u, odd), _mm512_set1_epi32(0x7fff));
}

INLINE void store_128(void *p, __m128i v, int stream)
{
    if (stream) _mm_stream_si128(p, v);
    else _mm_storeu_si128(p, v);
}

INLINE void store_512(void *p, __m512i v, int stream)
{
    if (stream) _mm512_stream_si512(p, v);
    else _mm512_storeu_si512(p, v);
}

/* No NaN may be among them. `stream`: around the caches; p is then a multiple of 64. */
INLINE void f_store(void *p, int type, floats f, int stream)
{
    if (type == NIB_T_F32) {
        store_512(p, _mm512_castps_si512(f.v[0]), stream);
        store_512((float *)p + 16, _mm512_castps_si512(f.v[1]), stream);
    } else if (type == NIB_T_F16) {
        __m256i low = _mm512_cvtps_ph(f.v[0], _MM_FROUND_TO_NEAREST_INT);
        __m256i high = _mm512_cvtps_ph(f.v[1], _MM_FROUND_TO_NEAREST_INT);
        store_512(p, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1), stream);
    } else {
        __m512i even = _mm512_srli_epi32(round_bf16(f.v[0]), 16);
        store_512(p, _mm512_mask_blend_epi16(0xaaaaaaaau, even, round_bf16(f.v[1])), stream);
    }
}

/* ---- words and floats ---- */

/* To the nearest integers, ties to even, cut to 16 bits. */
INLINE words w_round(floats f, int type)
{
    __m512i a = _mm512_cvtps_epi32(f.v[0]), b = _mm512_cvtps_epi32(f.v[1]);
    if (type == NIB_T_BF16)
        return _mm512_mask_blend_epi16(0xaaaaaaaau, a, _mm512_slli_epi32(b, 16));
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    return _mm512_permutexvar_epi64(order, _mm512_packs_epi32(a, b));
}

/* The low 16 bits of each. */
INLINE words w_from_low(floats f, int type)
{
    __m512i a = _mm512_castps_si512(f.v[0]), b = _mm512_castps_si512(f.v[1]);
    if (type == NIB_T_BF16)
        return _mm512_mask_blend_epi16(0xaaaaaaaau, a, _mm512_slli_epi32(b, 16));
    __m256i low = _mm512_cvtepi32_epi16(a), high = _mm512_cvtepi32_epi16(b);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

INLINE floats f_from_words(words w, int type)
{
    if (type == NIB_T_BF16)
        return (floats){{_mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(w, 16), 16)),
                         _mm512_cvtepi32_ps(_mm512_srai_epi32(w, 16))}};
    return (floats){{_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(w))),
                     _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(w, 1)))}};
}

/* ---- codes of 8 and 4 bits; the other widths are common to both sets ---- */

/* What makes codes of words: those outside low..high become low or high; then the low bits count,
 * with those of `turn` inverted. `positive`: low is not negative. */
typedef struct code_limits {
    int low, high, positive, turn, bits;
} code_limits;

INLINE __m256i w_to_bytes(words w, code_limits c)
{
    __m256i half = _mm512_castsi512_si256(w), other = _mm512_extracti64x4_epi64(w, 1);
    __m256i bytes = c.positive ? _mm256_permute4x64_epi64(_mm256_packus_epi16(half, other), 0xd8)
                               : _mm512_cvtsepi16_epi8(w);
    if (c.bits == 8 && c.positive) return _mm256_xor_si256(bytes, _mm256_set1_epi8((char)c.turn));
    bytes = _mm256_max_epi8(bytes, _mm256_set1_epi8((char)c.low));
    bytes = _mm256_min_epi8(bytes, _mm256_set1_epi8((char)c.high));
    return _mm256_xor_si256(bytes, _mm256_set1_epi8((char)c.turn));
}

/* Two runs: in each 128-bit lane eight of the first and eight of the second. */
INLINE __m512i w_to_bytes_2(words a, words b, code_limits c)
{
    __m512i bytes = c.positive ? _mm512_packus_epi16(a, b) : _mm512_packs_epi16(a, b);
    if (c.bits == 8 && c.positive) return _mm512_xor_si512(bytes, _mm512_set1_epi8((char)c.turn));
    bytes = _mm512_max_epi8(bytes, _mm512_set1_epi8((char)c.low));
    if (c.bits < 8) bytes = _mm512_min_epi8(bytes, _mm512_set1_epi8((char)c.high));
    return _mm512_xor_si512(bytes, _mm512_set1_epi8((char)c.turn));
}

/* `stream`: around the caches. */
INLINE void w_store_bytes(nib_u8 *p, words w, code_limits c, int stream)
{
    if (stream) _mm256_stream_si256((__m256i *)p, w_to_bytes(w, c));
    else _mm256_storeu_si256((__m256i *)p, w_to_bytes(w, c));
}
INLINE void w_store_bytes_2(nib_u8 *p, words a, words b, code_limits c, int stream)
{
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    store_512(p, _mm512_permutexvar_epi64(order, w_to_bytes_2(a, b, c)), stream);
}
INLINE words w_load_bytes(const nib_u8 *p)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p));
}

/* Octets: eight bytes each, in order. */
INLINE void w_to_octets(words w, code_limits c, uint64_t octets[4])
{
    __m256i bytes = w_to_bytes(w, c);
    octets[0] = (uint64_t)_mm256_extract_epi64(bytes, 0);
    octets[1] = (uint64_t)_mm256_extract_epi64(bytes, 1);
    octets[2] = (uint64_t)_mm256_extract_epi64(bytes, 2);
    octets[3] = (uint64_t)_mm256_extract_epi64(bytes, 3);
}
INLINE words w_from_octets(const uint64_t octets[4])
{
    return _mm512_cvtepu8_epi16(_mm256_set_epi64x((int64_t)octets[3], (int64_t)octets[2],
                                                  (int64_t)octets[1], (int64_t)octets[0]));
}

/* Code 2i into the low half of byte i, code 2i + 1 into its high half. */
INLINE void w_store_nibbles(nib_u8 *p, words w, code_limits c, int stream)
{
    __m256i bytes = _mm256_and_si256(w_to_bytes(w, c), _mm256_set1_epi8(15));
    __m256i pairs = _mm256_maddubs_epi16(bytes, _mm256_set1_epi16(0x1001));
    store_128(p, _mm256_cvtepi16_epi8(pairs), stream);
}
INLINE void w_store_nibbles_2(nib_u8 *p, words a, words b, code_limits c, int stream)
{
    __m512i bytes = _mm512_and_si512(w_to_bytes_2(a, b, c), _mm512_set1_epi8(15));
    __m512i pairs = _mm512_maddubs_epi16(bytes, _mm512_set1_epi16(0x1001));
    const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    __m256i packed = _mm256_permutevar8x32_epi32(_mm512_cvtepi16_epi8(pairs), order);
    if (stream) _mm256_stream_si256((__m256i *)p, packed);
    else _mm256_storeu_si256((__m256i *)p, packed);
}

INLINE words w_load_nibbles(const nib_u8 *p)
{
    __m512i pairs = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(pairs, 12));
    return _mm512_and_si512(pairs, _mm512_set1_epi16(15));
}

/* ---- tables of 16 elements of 16 bits, looked up by 4-bit codes ---- */

typedef __m512i table;

INLINE table t_load(const nib_u16 entries[16])
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)entries));
}

/* 32 elements for a run of codes: 64 bytes, at a multiple of 64 where `stream`. */
INLINE void t_look_up(void *p, table t, const nib_u8 *codes, int stream)
{
    __m512i pairs = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)codes));
    pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(pairs, 12)); /* bits from 5 up do not count */
    store_512(p, _mm512_permutexvar_epi16(pairs, t), stream);
}

/* ---- single vectors, in the compiler's own arithmetic ---- */

enum { LANES = 16 };
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef int16_t vw __attribute__((vector_size(64))); /* words and bytes of the same vector */
typedef uint16_t vuw __attribute__((vector_size(64)));
typedef uint8_t vub __attribute__((vector_size(64)));

/* a * b + c, rounded once. */
INLINE vf v_fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
/* Products of words, and of u8 x s8, two and two added; the latter saturate. */
INLINE vi v_madd(vw a, vw b) { return (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b); }
INLINE vw v_maddubs(vi u, vi s) { return (vw)_mm512_maddubs_epi16((__m512i)u, (__m512i)s); }

/* b where either is NaN. */
INLINE vf v_max(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vf v_min(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE vf v_rint(vf x) { return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT); }
INLINE vi v_to_f16(vf x)
{
    return (vi)_mm512_cvtepu16_epi32(_mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT));
}
INLINE vf v_from_f16(vi raw) { return (vf)_mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i)raw)); }

INLINE vi v_load16(const void *p)
{
    return (vi)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
}
INLINE void v_store16(void *p, vi v)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16((__m512i)v));
}

INLINE vi v_least(vi a, vi b) { return (vi)_mm512_min_epi32((__m512i)a, (__m512i)b); }
INLINE vi v_most(vi a, vi b) { return (vi)_mm512_max_epi32((__m512i)a, (__m512i)b); }

/* ---- masks of single vectors ---- */

typedef __mmask16 vm;
INLINE vm m_less(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }
INLINE vm m_equal(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ); }
INLINE vm m_less_int(vi a, vi b) { return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b); }
INLINE vm m_both(vm a, vm b) { return (vm)(a & b); }
INLINE vm m_either(vm a, vm b) { return (vm)(a | b); }
INLINE vm m_not(vm a) { return (vm)~a; }
INLINE int m_any(vm a) { return a != 0; }
INLINE unsigned m_bits(vm a) { return a; }
INLINE int m_lane(vm a, int lane) { return a >> lane & 1; }
INLINE vf m_select(vm m, vf a, vf b) { return (vf)_mm512_mask_blend_ps(m, (__m512)b, (__m512)a); }
INLINE vi m_select_int(vm m, vi a, vi b)
{
    return (vi)_mm512_mask_blend_epi32(m, (__m512i)b, (__m512i)a);
}
INLINE vf v_sqrt(vf x) { return (vf)_mm512_sqrt_ps((__m512)x); }
/* 1 / x within 2^-11 of itself, where that is a normal number. */
INLINE vf v_rough_inverse(vf x) { return (vf)_mm512_rcp14_ps((__m512)x); }
INLINE vf v_from_int(vi x) { return (vf)_mm512_cvtepi32_ps((__m512i)x); }
/* Towards zero; 0x80000000 where that does not fit. */
INLINE vi v_truncate(vf x) { return (vi)_mm512_cvttps_epi32((__m512)x); }
/* Lane i: p[index of lane i]. */
INLINE vf v_gather(const float *p, vi index)
{
    return (vf)_mm512_i32gather_ps((__m512i)index, p, 4);
}
/* LANES rows of LANES numbers, `pitch` apart, turned: lane r of turned[i] is number i of row r. */
INLINE void v_turn(const float *rows, int pitch, vf turned[LANES])
{
    for (int i = 0; i < LANES; i += 4) {
        __m512 row[4];
        for (int k = 0; k < 4; k++) {
            const float *from = rows + k * pitch + i;
            row[k] = _mm512_castps128_ps512(_mm_loadu_ps(from));
            row[k] = _mm512_insertf32x4(row[k], _mm_loadu_ps(from + 4 * pitch), 1);
            row[k] = _mm512_insertf32x4(row[k], _mm_loadu_ps(from + 8 * pitch), 2);
            row[k] = _mm512_insertf32x4(row[k], _mm_loadu_ps(from + 12 * pitch), 3);
        }
        __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(row[0], row[1]));
        __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(row[0], row[1]));
        __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(row[2], row[3]));
        __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(row[2], row[3]));
        turned[i] = (vf)_mm512_unpacklo_pd(a, c);
        turned[i + 1] = (vf)_mm512_unpackhi_pd(a, c);
        turned[i + 2] = (vf)_mm512_unpacklo_pd(b, d);
        turned[i + 3] = (vf)_mm512_unpackhi_pd(b, d);
    }
}
/* LANES bytes, each a lane; and the low byte of each lane. */
INLINE vi v_load_bytes(const nib_u8 *p)
{
    return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}
INLINE void v_store_bytes(nib_u8 *p, vi v)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)v));
}

/* Lane i takes in lane i + stride for strides 8, 4, 2, 1; and the same for maxima. */
INLINE float v_meet(vf v)
{
    __m256 eight =
        _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float v_largest(vf v) { return _mm512_reduce_max_ps((__m512)v); }

/* Bit i is set where lane i is -1. */
INLINE unsigned v_mask(vi v) { return _cvtmask16_u32(_mm512_movepi32_mask((__m512i)v)); }

/* ---- ranges: the smallest and the largest key; `absolute`: minus and plus the largest magnitude
 * ---- */

typedef struct span_keys {
    __m512i low, high;
} span_keys;

INLINE __m512i key_512(__m512i u, int type, int absolute)
{
    __m512i magnitude =
        type == NIB_T_F32 ? _mm512_set1_epi32(0x7fffffff) : _mm512_set1_epi16(0x7fff);
    __m512i sign = type == NIB_T_F32 ? _mm512_srai_epi32(u, 31) : _mm512_srai_epi16(u, 15);
    if (absolute) return _mm512_and_si512(u, magnitude);
    return _mm512_xor_si512(u, _mm512_and_si512(sign, magnitude));
}

INLINE span_keys k_start(int type)
{
    if (type == NIB_T_F32)
        return (span_keys){_mm512_set1_epi32(INT32_MAX), _mm512_set1_epi32(INT32_MIN)};
    return (span_keys){_mm512_set1_epi16(INT16_MAX), _mm512_set1_epi16(INT16_MIN)};
}

INLINE void k_take_512(span_keys *k, __m512i key, int type, int absolute)
{
    if (type == NIB_T_F32) {
        if (!absolute) k->low = _mm512_min_epi32(k->low, key);
        k->high = _mm512_max_epi32(k->high, key);
    } else {
        if (!absolute) k->low = _mm512_min_epi16(k->low, key);
        k->high = _mm512_max_epi16(k->high, key);
    }
}

/* Takes in the 32 elements at p. */
INLINE void k_take(span_keys *k, const void *p, int type, int absolute)
{
    for (int i = 0; i < (type == NIB_T_F32 ? 2 : 1); i++)
        k_take_512(k, key_512(_mm512_loadu_si512((const __m512i *)p + i), type, absolute), type,
                   absolute);
}

INLINE int32_t least_word(__m512i v)
{
    __m256i a = _mm256_min_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    __m128i b = _mm_min_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_minpos_epu16(_mm_xor_si128(b, _mm_set1_epi16(INT16_MIN)));
    return (int16_t)(_mm_cvtsi128_si32(b) ^ 0x8000);
}

INLINE void k_end(span_keys k, int type, int absolute, int32_t *low_ret, int32_t *high_ret)
{
    __m512i turned = _mm512_xor_si512(k.high, _mm512_set1_epi32(-1)); /* max(k) = ~min(~k) */
    *high_ret = type == NIB_T_F32 ? _mm512_reduce_max_epi32(k.high) : ~least_word(turned);
    *low_ret = absolute            ? ~*high_ret
               : type == NIB_T_F32 ? _mm512_reduce_min_epi32(k.low)
                                   : least_word(k.low);
}

#endif
