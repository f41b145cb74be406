/* operands_512.h - what products on 512-bit vectors (matmul_direct_512.h) and on tiles
 * (matmul_amx.c) multiply x with: a step's columns of 16 rows of W, 4 bytes a row, made of a
 * 64-byte block of codes. A step is four codes, two bf16 or one f32. */
#ifndef NIB_CPU_OPERANDS_512_H
#define NIB_CPU_OPERANDS_512_H

#include "matmul_simd.h"

enum { MOST_WIDE = 4 /* panels that are decoded side by side */ };

/* How codes become operands: as they are; bf16 by a table; by a table, less zeros that leave
 * -16..15; by arithmetic. */
enum { AS_CODES, BY_TABLE, LESS_ZEROS, BY_VALUE };

typedef struct decoder {
    vi table;            /* 32 bf16 */
    vi zeros[MOST_WIDE]; /* twice in every lane */
    vf bias[MOST_WIDE];  /* 2^23 + zero */
} decoder;

INLINE int step_codes(int form) { return form == STEP_S8 ? 4 : form == STEP_BF16 ? 2 : 1; }
INLINE int block_steps(int form, int bits) { return (bits == 4 ? 8 : 4) / step_codes(form); }

/* Entry i: of codes, i - base; of differences, i as a signed number of 5 bits. */
INLINE vi make_table(int base, int how)
{
    nib_u16 entries[32];
    for (int i = 0; i < 32; i++) {
        float value = (float)(how == LESS_ZEROS ? (i ^ 16) - 16 : (i & 15) - base);
        entries[i] = (nib_u16)(NIB_F32_BITS(value) >> 16);
    }
    return v_load(entries);
}

/* The code at `shift` of every lane as f32, less its zero: exact. */
INLINE vf value_at(vi w, int shift, vf bias, int bits)
{
    vu code = (vu)w >> shift & (bits == 4 ? 15u : 255u);
    return (vf)(code | 0x4b000000u) - bias;
}

/* Columns 2i and 2i + 1 of a block as bf16: integers of up to 8 bits are. */
INLINE vi pair_at(vi w, int i, const decoder *d, int v, int how, int bits)
{
    vuw index = (vuw)w >> 4 * i;
    if (how == LESS_ZEROS) index = (index & 15) - (vuw)d->zeros[v];
    if (how != BY_VALUE) return (vi)_mm512_permutexvar_epi16((__m512i)index, (__m512i)d->table);
    int even = bits == 4 ? 4 * i : 16 * i, odd = even + (bits == 4 ? 16 : 8);
    const __m512i high =
        _mm512_add_epi32(_mm512_set1_epi32(0x00210001),
                         _mm512_mullo_epi32((__m512i)v_iota(), _mm512_set1_epi32(0x00020002)));
    return (vi)_mm512_permutex2var_epi16((__m512i)value_at(w, even, d->bias[v], bits), high,
                                         (__m512i)value_at(w, odd, d->bias[v], bits));
}

/* Step j of a block. */
INLINE vi operand(vi w, int j, const decoder *d, int v, int form, int how, int bits)
{
    if (form == STEP_S8) {
        if (bits == 8) return w;
        return j ? (vi)((vu)w >> 4 & 0x0f0f0f0fu) : w & 0x0f0f0f0f;
    }
    if (form == STEP_BF16) return pair_at(w, j, d, v, how, bits);
    if (how == BY_VALUE) return (vi)value_at(w, bits == 4 ? nibble_at(j) : 8 * j, d->bias[v], bits);
    vi pair = pair_at(w, j / 2, d, v, how, bits);
    return j % 2 ? pair & (int)0xffff0000 : pair << 16;
}

/* Zeros of a group, and whether they leave differences that a table of 32 has. */
INLINE int load_decoder(decoder *d, const nib_args *a, const panels *p, nib_i64 g, int first,
                        int wide)
{
    vi outside = v_splat_int(0);
    UNROLL for (int v = 0; v < wide; v++)
    {
        vi zeros = load_zeros(p, a, g, first + v);
        outside |= (vi)((vu)zeros > 16u);
        d->zeros[v] = zeros * 0x00010001;
        d->bias[v] = v_convert(zeros) + 0x1p23f;
    }
    return v_mask(outside) == 0;
}

#endif
