/* blocks_layout.c - where each bit of a block's numbers lies: docs/schemes/legacy_blocks.md and
 * k_blocks.md. */
#include "blocks.h"

#include <string.h>

nib_ref_shape nib_ref_block_shape(int block)
{
    switch (block) { /* elements, bytes, code bits, groups, sub bits, has min, d at, m at */
    case REF_Q4_0: return (nib_ref_shape){32, 18, 4, 0, 0, 0, 0, 0};
    case REF_Q4_1: return (nib_ref_shape){32, 20, 4, 0, 0, 1, 0, 2};
    case REF_Q5_0: return (nib_ref_shape){32, 22, 5, 0, 0, 0, 0, 0};
    case REF_Q5_1: return (nib_ref_shape){32, 24, 5, 0, 0, 1, 0, 2};
    case REF_Q8_0: return (nib_ref_shape){32, 34, 8, 0, 0, 0, 0, 0};
    case REF_Q2_K: return (nib_ref_shape){256, 84, 2, 16, 4, 1, 80, 82};
    case REF_Q3_K: return (nib_ref_shape){256, 110, 3, 16, 6, 0, 108, 0};
    case REF_Q4_K: return (nib_ref_shape){256, 144, 4, 8, 6, 1, 0, 2};
    case REF_Q5_K: return (nib_ref_shape){256, 176, 5, 8, 6, 1, 0, 2};
    case REF_Q6_K: return (nib_ref_shape){256, 210, 6, 16, 8, 0, 208, 0};
    case REF_IQ4_NL: return (nib_ref_shape){32, 18, 4, 0, 0, 0, 0, 0};
    default: return (nib_ref_shape){256, 136, 4, 8, 6, 0, 0, 0}; /* iq4_xs */
    }
}

/* Bit b of code i, counted from the block's first bit. */
static int code_bit(int block, int i, int b)
{
    switch (block) {
    case REF_Q4_0:
    case REF_IQ4_NL: return 8 * (2 + i % 16) + 4 * (i / 16) + b;
    case REF_Q4_1: return 8 * (4 + i % 16) + 4 * (i / 16) + b;
    case REF_Q5_0: return b < 4 ? 8 * (6 + i % 16) + 4 * (i / 16) + b : 8 * 2 + i;
    case REF_Q5_1: return b < 4 ? 8 * (8 + i % 16) + 4 * (i / 16) + b : 8 * 4 + i;
    case REF_Q8_0: return 8 * (2 + i) + b;
    case REF_Q2_K: return 8 * (16 + i / 128 * 32 + i % 32) + 2 * (i / 32 % 4) + b;
    case REF_Q3_K:
        return b < 2 ? 8 * (32 + i / 128 * 32 + i % 32) + 2 * (i / 32 % 4) + b
                     : 8 * (i % 32) + i / 32;
    case REF_Q4_K: return 8 * (16 + i / 64 * 32 + i % 32) + 4 * (i / 32 % 2) + b;
    case REF_Q5_K:
        return b < 4 ? 8 * (48 + i / 64 * 32 + i % 32) + 4 * (i / 32 % 2) + b
                     : 8 * (16 + i % 32) + i / 32;
    case REF_Q6_K:
        return b < 4 ? 8 * (i / 128 * 64 + i % 64) + 4 * (i / 64 % 2) + b
                     : 8 * (128 + i / 128 * 32 + i % 32) + 2 * (i / 32 % 4) + (b - 4);
    default: return 8 * (8 + i / 32 * 16 + i % 16) + 4 * (i / 16 % 2) + b; /* iq4_xs */
    }
}

/* Bit b of the factor of group j: of d (min 0) or of m (min 1). */
static int sub_bit(int block, int min, int j, int b)
{
    switch (block) {
    case REF_Q2_K: return 8 * j + 4 * min + b;
    case REF_Q3_K:
        return b < 4 ? 8 * (96 + j % 8) + 4 * (j / 8) + b
                     : 8 * (104 + j % 4) + 2 * (j / 4) + (b - 4);
    case REF_Q4_K:
    case REF_Q5_K:
        if (j < 4) return 8 * (4 + 4 * min + j) + b;
        return b < 4 ? 8 * (8 + j) + 4 * min + b : 8 * (j + 4 * min) + 6 + (b - 4);
    case REF_Q6_K: return 8 * (192 + j) + b;
    default: return b < 4 ? 8 * (4 + j / 2) + 4 * (j % 2) + b : 8 * 2 + 2 * j + (b - 4);
    }
}

static void put(uint8_t *bytes, int bit, int value)
{
    bytes[bit / 8] = (uint8_t)(bytes[bit / 8] | (value & 1) << (bit % 8));
}

static int get(const uint8_t *bytes, int bit) { return bytes[bit / 8] >> (bit % 8) & 1; }

void nib_ref_block_pack(int block, const nib_ref_block *b, uint8_t *bytes)
{
    nib_ref_shape s = nib_ref_block_shape(block);
    memset(bytes, 0, (size_t)s.bytes);
    for (int i = 0; i < s.elements; i++)
        for (int bit = 0; bit < s.code_bits; bit++)
            put(bytes, code_bit(block, i, bit), b->code[i] >> bit);
    for (int j = 0; j < s.groups; j++)
        for (int bit = 0; bit < s.sub_bits; bit++) {
            put(bytes, sub_bit(block, 0, j, bit), b->sub[j] >> bit);
            if (s.has_min) put(bytes, sub_bit(block, 1, j, bit), b->sub_min[j] >> bit);
        }
    for (int bit = 0; bit < 16; bit++) {
        put(bytes, 8 * s.d_at + bit, (int)(b->d >> bit));
        if (s.has_min) put(bytes, 8 * s.m_at + bit, (int)(b->m >> bit));
    }
}

void nib_ref_block_unpack(int block, const uint8_t *bytes, nib_ref_block *b)
{
    nib_ref_shape s = nib_ref_block_shape(block);
    memset(b, 0, sizeof *b);
    for (int i = 0; i < s.elements; i++)
        for (int bit = 0; bit < s.code_bits; bit++)
            b->code[i] |= get(bytes, code_bit(block, i, bit)) << bit;
    for (int j = 0; j < s.groups; j++)
        for (int bit = 0; bit < s.sub_bits; bit++) {
            b->sub[j] |= get(bytes, sub_bit(block, 0, j, bit)) << bit;
            if (s.has_min) b->sub_min[j] |= get(bytes, sub_bit(block, 1, j, bit)) << bit;
        }
    for (int bit = 0; bit < 16; bit++) {
        b->d |= (uint32_t)get(bytes, 8 * s.d_at + bit) << bit;
        if (s.has_min) b->m |= (uint32_t)get(bytes, 8 * s.m_at + bit) << bit;
    }
}
