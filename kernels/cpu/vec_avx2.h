/* vec_avx2.h - a run of 32 values as AVX2 vectors; the twin of vec_avx512.h, which describes the
 * types. Here the order of BF16 floats is even and odd elements of each half. */
#ifndef NIB_CPU_VEC_AVX2_H
#define NIB_CPU_VEC_AVX2_H

#include "../common/number.h"

#include <immintrin.h>

#define ISA(name) name##_avx2
#define INLINE static inline __attribute__((always_inline))

enum { PARTS = 4 };
#define EACH_PART(X) X(0) X(1) X(2) X(3)

typedef struct words {
    __m256i v[2];
} words;
typedef struct floats {
    __m256 v[PARTS];
} floats;

/* ---- arithmetic, lane by lane ---- */

#define FLOATS(expression)                                                                         \
    floats result;                                                                                 \
    for (int i = 0; i < PARTS; i++) result.v[i] = expression;                                      \
    return result
#define WORDS(expression)                                                                          \
    words result;                                                                                  \
    for (int i = 0; i < 2; i++) result.v[i] = expression;                                          \
    return result

INLINE floats f_add(floats a, floats b) { FLOATS(_mm256_add_ps(a.v[i], b.v[i])); }
INLINE floats f_sub(floats a, floats b) { FLOATS(_mm256_sub_ps(a.v[i], b.v[i])); }
INLINE floats f_mul(floats a, floats b) { FLOATS(_mm256_mul_ps(a.v[i], b.v[i])); }
/* a * b + c */
INLINE floats f_fma(floats a, floats b, floats c)
{
    FLOATS(_mm256_fmadd_ps(a.v[i], b.v[i], c.v[i]));
}
/* c - a * b */
INLINE floats f_fnma(floats a, floats b, floats c)
{
    FLOATS(_mm256_fnmadd_ps(a.v[i], b.v[i], c.v[i]));
}
INLINE floats f_splat(float x) { FLOATS(_mm256_set1_ps(x)); }

INLINE words w_splat(int x) { WORDS(_mm256_set1_epi16((short)x)); }
INLINE words w_add(words a, words b) { WORDS(_mm256_add_epi16(a.v[i], b.v[i])); }
INLINE words w_sub(words a, words b) { WORDS(_mm256_sub_epi16(a.v[i], b.v[i])); }
INLINE words w_xor(words a, words b) { WORDS(_mm256_xor_si256(a.v[i], b.v[i])); }
/* ---- elements ---- */

INLINE __m256i load_256(const void *p, int i) { return _mm256_loadu_si256((const __m256i *)p + i); }

INLINE floats f_load(const void *p, int type)
{
    if (type == NIB_T_F32) {
        FLOATS(_mm256_castsi256_ps(load_256(p, i)));
    } else if (type == NIB_T_F16) {
        FLOATS(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p + i)));
    } else {
        FLOATS(_mm256_castsi256_ps(
            i % 2 ? _mm256_and_si256(load_256(p, i / 2), _mm256_set1_epi32((int)0xffff0000u))
                  : _mm256_slli_epi32(load_256(p, i / 2), 16)));
    }
}

/* To nearest even, in the upper half of each lane; no NaN may be among them. */
INLINE __m256i round_bf16(__m256 v)
{
    __m256i u = _mm256_castps_si256(v);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    return _mm256_add_epi32(_mm256_add_epi32(u, odd), _mm256_set1_epi32(0x7fff));
}

INLINE void store_128(void *p, __m128i v, int stream)
{
    if (stream) _mm_stream_si128(p, v);
    else _mm_storeu_si128(p, v);
}

INLINE void store_256(void *p, int i, __m256i v, int stream)
{
    if (stream) _mm256_stream_si256((__m256i *)p + i, v);
    else _mm256_storeu_si256((__m256i *)p + i, v);
}

/* No NaN may be among them. `stream`: around the caches; p is then a multiple of 64. */
INLINE void f_store(void *p, int type, floats f, int stream)
{
    for (int i = 0; type == NIB_T_F32 && i < PARTS; i++)
        store_256(p, i, _mm256_castps_si256(f.v[i]), stream);
    for (int i = 0; type == NIB_T_F16 && i < 2; i++) {
        __m128i low = _mm256_cvtps_ph(f.v[2 * i], _MM_FROUND_TO_NEAREST_INT);
        __m128i high = _mm256_cvtps_ph(f.v[2 * i + 1], _MM_FROUND_TO_NEAREST_INT);
        store_256(p, i, _mm256_set_m128i(high, low), stream);
    }
    for (int i = 0; type == NIB_T_BF16 && i < 2; i++) {
        __m256i even = _mm256_srli_epi32(round_bf16(f.v[2 * i]), 16);
        store_256(p, i, _mm256_blend_epi16(even, round_bf16(f.v[2 * i + 1]), 0xaa), stream);
    }
}

/* ---- words and floats ---- */

/* To the nearest integers, ties to even, cut to 16 bits. */
INLINE words w_round(floats f, int type)
{
    words w;
    for (int i = 0; i < 2; i++) {
        __m256i a = _mm256_cvtps_epi32(f.v[2 * i]), b = _mm256_cvtps_epi32(f.v[2 * i + 1]);
        w.v[i] = type == NIB_T_BF16 ? _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa)
                                    : _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    }
    return w;
}

/* The low 16 bits of each. */
INLINE words w_from_low(floats f, int type)
{
    const __m256i low = _mm256_set1_epi32(0xffff);
    words w;
    for (int i = 0; i < 2; i++) {
        __m256i a = _mm256_castps_si256(f.v[2 * i]), b = _mm256_castps_si256(f.v[2 * i + 1]);
        __m256i pairs = _mm256_packus_epi32(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
        w.v[i] = type == NIB_T_BF16 ? _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa)
                                    : _mm256_permute4x64_epi64(pairs, 0xd8);
    }
    return w;
}

INLINE floats f_from_words(words w, int type)
{
    floats f;
    for (int i = 0; i < 2; i++) {
        __m256i low, high;
        if (type == NIB_T_BF16) {
            low = _mm256_srai_epi32(_mm256_slli_epi32(w.v[i], 16), 16);
            high = _mm256_srai_epi32(w.v[i], 16);
        } else {
            low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(w.v[i]));
            high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(w.v[i], 1));
        }
        f.v[2 * i] = _mm256_cvtepi32_ps(low);
        f.v[2 * i + 1] = _mm256_cvtepi32_ps(high);
    }
    return f;
}

/* ---- codes of 8 and 4 bits; the other widths are common to both sets ---- */

typedef struct code_limits {
    int low, high, positive, turn, bits;
} code_limits;

/* In each 128-bit lane eight of the first half and eight of the second. */
INLINE __m256i w_to_bytes(words w, code_limits c)
{
    __m256i bytes =
        c.positive ? _mm256_packus_epi16(w.v[0], w.v[1]) : _mm256_packs_epi16(w.v[0], w.v[1]);
    if (c.bits == 8 && c.positive) return _mm256_xor_si256(bytes, _mm256_set1_epi8((char)c.turn));
    bytes = _mm256_max_epi8(bytes, _mm256_set1_epi8((char)c.low));
    if (c.bits < 8) bytes = _mm256_min_epi8(bytes, _mm256_set1_epi8((char)c.high));
    return _mm256_xor_si256(bytes, _mm256_set1_epi8((char)c.turn));
}

INLINE void w_store_bytes(nib_u8 *p, words w, code_limits c, int stream)
{
    store_256(p, 0, _mm256_permute4x64_epi64(w_to_bytes(w, c), 0xd8), stream);
}
INLINE void w_store_bytes_2(nib_u8 *p, words a, words b, code_limits c, int stream)
{
    w_store_bytes(p, a, c, stream);
    w_store_bytes(p + 32, b, c, stream);
}

INLINE words w_load_bytes(const nib_u8 *p)
{
    WORDS(_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p + i)));
}

/* Octets: eight bytes each, in order. */
INLINE void w_to_octets(words w, code_limits c, uint64_t octets[4])
{
    __m256i bytes = w_to_bytes(w, c);
    octets[0] = (uint64_t)_mm256_extract_epi64(bytes, 0);
    octets[1] = (uint64_t)_mm256_extract_epi64(bytes, 2);
    octets[2] = (uint64_t)_mm256_extract_epi64(bytes, 1);
    octets[3] = (uint64_t)_mm256_extract_epi64(bytes, 3);
}
INLINE words w_from_octets(const uint64_t octets[4])
{
    WORDS(_mm256_cvtepu8_epi16(_mm_set_epi64x((int64_t)octets[2 * i + 1], (int64_t)octets[2 * i])));
}

/* Code 2i into the low half of byte i, code 2i + 1 into its high half, as words. */
INLINE __m256i nibble_pairs(words w, code_limits c)
{
    __m256i bytes = _mm256_and_si256(w_to_bytes(w, c), _mm256_set1_epi8(15));
    return _mm256_maddubs_epi16(bytes, _mm256_set1_epi16(0x1001));
}

INLINE void w_store_nibbles_2(nib_u8 *p, words a, words b, code_limits c, int stream)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i packed = _mm256_packus_epi16(nibble_pairs(a, c), nibble_pairs(b, c));
    store_256(p, 0, _mm256_permutevar8x32_epi32(packed, order), stream);
}
INLINE void w_store_nibbles(nib_u8 *p, words w, code_limits c, int stream)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
    __m256i pairs = nibble_pairs(w, c), packed = _mm256_packus_epi16(pairs, pairs);
    packed = _mm256_permutevar8x32_epi32(packed, order);
    store_128(p, _mm256_castsi256_si128(packed), stream);
}

INLINE __m256i nibble_words(const nib_u8 *p)
{
    __m256i pairs = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
    pairs = _mm256_or_si256(pairs, _mm256_slli_epi32(pairs, 12));
    return _mm256_and_si256(pairs, _mm256_set1_epi16(15));
}

INLINE words w_load_nibbles(const nib_u8 *p) { WORDS(nibble_words(p + 8 * i)); }

/* ---- tables of 16 elements of 16 bits, looked up by 4-bit codes ---- */

typedef struct table {
    __m256i low, high; /* bytes of the elements, in each lane */
} table;

INLINE table t_load(const nib_u16 entries[16])
{
    __m128i a = _mm_loadu_si128((const __m128i *)entries);
    __m128i b = _mm_loadu_si128((const __m128i *)entries + 1), mask = _mm_set1_epi16(255);
    __m128i low = _mm_packus_epi16(_mm_and_si128(a, mask), _mm_and_si128(b, mask));
    __m128i high = _mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8));
    return (table){_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high)};
}

/* 32 elements for a run of codes: 64 bytes, at a multiple of 32 where `stream`. */
INLINE void t_look_up(void *p, table t, const nib_u8 *codes, int stream)
{
    __m256i bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)codes));
    bytes = _mm256_or_si256(bytes, _mm256_slli_epi16(bytes, 4));
    bytes = _mm256_and_si256(bytes, _mm256_set1_epi8(15));
    __m256i low = _mm256_shuffle_epi8(t.low, bytes), high = _mm256_shuffle_epi8(t.high, bytes);
    __m256i a = _mm256_unpacklo_epi8(low, high), b = _mm256_unpackhi_epi8(low, high);
    store_256(p, 0, _mm256_permute2x128_si256(a, b, 0x20), stream);
    store_256(p, 1, _mm256_permute2x128_si256(a, b, 0x31), stream);
}

/* ---- single vectors, in the compiler's own arithmetic ---- */

enum { LANES = 8 };
typedef float vf __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));
typedef uint32_t vu __attribute__((vector_size(32)));
typedef int16_t vw __attribute__((vector_size(32))); /* words and bytes of the same vector */
typedef uint16_t vuw __attribute__((vector_size(32)));
typedef uint8_t vub __attribute__((vector_size(32)));

/* a * b + c, rounded once. */
INLINE vf v_fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
/* Products of words, and of u8 x s8, two and two added; the latter saturate. */
INLINE vi v_madd(vw a, vw b) { return (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b); }
INLINE vw v_maddubs(vi u, vi s) { return (vw)_mm256_maddubs_epi16((__m256i)u, (__m256i)s); }

/* b where either is NaN. */
INLINE vf v_max(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vf v_min(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE vf v_rint(vf x) { return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT); }
INLINE vi v_to_f16(vf x)
{
    return (vi)_mm256_cvtepu16_epi32(_mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT));
}
INLINE vf v_from_f16(vi raw)
{
    __m256i pairs = _mm256_packus_epi32((__m256i)raw, (__m256i)raw);
    return (vf)_mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(pairs, 0xd8)));
}

INLINE vi v_load16(const void *p)
{
    return (vi)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
}
INLINE void v_store16(void *p, vi v)
{
    __m256i pairs = _mm256_packus_epi32((__m256i)v, (__m256i)v);
    pairs = _mm256_permute4x64_epi64(pairs, 0xd8);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(pairs));
}

INLINE vi v_least(vi a, vi b) { return (vi)_mm256_min_epi32((__m256i)a, (__m256i)b); }
INLINE vi v_most(vi a, vi b) { return (vi)_mm256_max_epi32((__m256i)a, (__m256i)b); }

/* ---- masks of single vectors: -1 or 0 ---- */

typedef vi vm;
INLINE vm m_less(vf a, vf b) { return a < b; }
INLINE vm m_equal(vf a, vf b) { return a == b; }
INLINE vm m_less_int(vi a, vi b) { return a < b; }
INLINE vm m_both(vm a, vm b) { return a & b; }
INLINE vm m_either(vm a, vm b) { return a | b; }
INLINE vm m_not(vm a) { return ~a; }
INLINE int m_any(vm a) { return _mm256_movemask_ps((__m256)a) != 0; }
INLINE unsigned m_bits(vm a) { return (unsigned)_mm256_movemask_ps((__m256)a); }
INLINE int m_lane(vm a, int lane) { return a[lane] & 1; }
INLINE vf m_select(vm m, vf a, vf b)
{
    return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m);
}
INLINE vi m_select_int(vm m, vi a, vi b)
{
    return (vi)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m);
}
INLINE vf v_sqrt(vf x) { return (vf)_mm256_sqrt_ps((__m256)x); }
/* 1 / x within 2^-11 of itself, where that is a normal number. */
INLINE vf v_rough_inverse(vf x) { return (vf)_mm256_rcp_ps((__m256)x); }
INLINE vf v_from_int(vi x) { return (vf)_mm256_cvtepi32_ps((__m256i)x); }
/* Towards zero; 0x80000000 where that does not fit. */
INLINE vi v_truncate(vf x) { return (vi)_mm256_cvttps_epi32((__m256)x); }
/* Lane i: p[index of lane i]. */
INLINE vf v_gather(const float *p, vi index)
{
    return (vf)_mm256_i32gather_ps(p, (__m256i)index, 4);
}
/* LANES rows of LANES numbers, `pitch` apart, turned: lane r of turned[i] is number i of row r. */
INLINE void v_turn(const float *rows, int pitch, vf turned[LANES])
{
    for (int i = 0; i < LANES; i += 4) {
        __m256 row[4];
        for (int k = 0; k < 4; k++) {
            const float *from = rows + k * pitch + i;
            row[k] = _mm256_castps128_ps256(_mm_loadu_ps(from));
            row[k] = _mm256_insertf128_ps(row[k], _mm_loadu_ps(from + 4 * pitch), 1);
        }
        __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(row[0], row[1]));
        __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(row[0], row[1]));
        __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(row[2], row[3]));
        __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(row[2], row[3]));
        turned[i] = (vf)_mm256_unpacklo_pd(a, c);
        turned[i + 1] = (vf)_mm256_unpackhi_pd(a, c);
        turned[i + 2] = (vf)_mm256_unpacklo_pd(b, d);
        turned[i + 3] = (vf)_mm256_unpackhi_pd(b, d);
    }
}
/* LANES bytes, each a lane; and the low byte of each lane. */
INLINE vi v_load_bytes(const nib_u8 *p)
{
    return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}
INLINE void v_store_bytes(nib_u8 *p, vi v)
{
    __m256i pairs = _mm256_packus_epi32((__m256i)(v & 255), (__m256i)(v & 255));
    __m256i bytes = _mm256_packus_epi16(pairs, pairs);
    uint32_t low = (uint32_t)_mm256_extract_epi32(bytes, 0);
    uint32_t high = (uint32_t)_mm256_extract_epi32(bytes, 4);
    memcpy(p, &low, 4);
    memcpy(p + 4, &high, 4);
}

/* Lane i takes in lane i + stride for strides 4, 2, 1; and the same for maxima. */
INLINE float v_meet(vf v)
{
    __m128 four =
        _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float v_largest(vf v)
{
    __m128 four =
        _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* Bit i is set where lane i is -1. */
INLINE unsigned v_mask(vi v) { return (unsigned)_mm256_movemask_ps((__m256)v); }

/* ---- ranges: the smallest and the largest key; `absolute`: minus and plus the largest magnitude
 * ---- */

typedef struct span_keys {
    __m256i low, high;
} span_keys;

INLINE __m256i key_256(__m256i u, int type, int absolute)
{
    __m256i magnitude =
        type == NIB_T_F32 ? _mm256_set1_epi32(0x7fffffff) : _mm256_set1_epi16(0x7fff);
    __m256i sign = type == NIB_T_F32 ? _mm256_srai_epi32(u, 31) : _mm256_srai_epi16(u, 15);
    if (absolute) return _mm256_and_si256(u, magnitude);
    return _mm256_xor_si256(u, _mm256_and_si256(sign, magnitude));
}

INLINE span_keys k_start(int type)
{
    if (type == NIB_T_F32)
        return (span_keys){_mm256_set1_epi32(INT32_MAX), _mm256_set1_epi32(INT32_MIN)};
    return (span_keys){_mm256_set1_epi16(INT16_MAX), _mm256_set1_epi16(INT16_MIN)};
}

/* Takes in the 32 elements at p. */
INLINE void k_take(span_keys *k, const void *p, int type, int absolute)
{
    for (int i = 0; i < (type == NIB_T_F32 ? 4 : 2); i++) {
        __m256i key = key_256(load_256(p, i), type, absolute);
        k->high =
            type == NIB_T_F32 ? _mm256_max_epi32(k->high, key) : _mm256_max_epi16(k->high, key);
        if (absolute) continue;
        k->low = type == NIB_T_F32 ? _mm256_min_epi32(k->low, key) : _mm256_min_epi16(k->low, key);
    }
}

INLINE int32_t least_word(__m256i v)
{
    __m128i b = _mm_min_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    b = _mm_minpos_epu16(_mm_xor_si128(b, _mm_set1_epi16(INT16_MIN)));
    return (int16_t)(_mm_cvtsi128_si32(b) ^ 0x8000);
}

INLINE int32_t least_int(__m256i v)
{
    __m128i b = _mm_min_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    b = _mm_min_epi32(b, _mm_shuffle_epi32(b, 0x4e));
    b = _mm_min_epi32(b, _mm_shuffle_epi32(b, 0xb1));
    return _mm_cvtsi128_si32(b);
}

INLINE void k_end(span_keys k, int type, int absolute, int32_t *low_ret, int32_t *high_ret)
{
    __m256i turned = _mm256_xor_si256(k.high, _mm256_set1_epi32(-1)); /* max(k) = ~min(~k) */
    *high_ret = type == NIB_T_F32 ? ~least_int(turned) : ~least_word(turned);
    *low_ret = absolute ? ~*high_ret : type == NIB_T_F32 ? least_int(k.low) : least_word(k.low);
}

#endif
