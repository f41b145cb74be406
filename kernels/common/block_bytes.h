/* block_bytes.h - where the numbers of a block lie in its bytes: the columns of the block table, as
 * places of reading and as the value of each byte to be written. docs/schemes/legacy_blocks.md and
 * k_blocks.md draw them. */
#ifndef NIB_BLOCK_BYTES_H
#define NIB_BLOCK_BYTES_H

#include "rule.h"

/* Value k of the iq4 types. */
NIB_FN nib_i32 nib_iq4_value(nib_i32 k)
{
    nib_u64 half_ = k < 8 ? (nib_u64)0xf6eaddcfbfad9881u : (nib_u64)0x7159453526190d01u;
    nib_i32 byte = (nib_i32)(half_ >> (8 * (k & 7)) & 255u);
    return byte < 128 ? byte : byte - 256;
}

/* A number in two parts: `bits` bits of byte `at` from `shift` up, and above them those of another
 * byte; bits 0 = no such part. */
typedef struct nib_part {
    nib_i32 at, shift, bits;
} nib_part;
typedef struct nib_parted {
    nib_part low, high;
} nib_parted;

/* The part of a code in a plane of `bits` bits that begins at byte `at`, laid in runs. */
NIB_FN nib_part nib_code_part(nib_i32 i, nib_i32 at, nib_i32 bits, nib_i32 run)
{
    nib_part p = {0, 0, bits};
    if (bits == 0) return p;
    nib_i32 chunk = run * (8 / bits), in_chunk = i % chunk;
    p.at = at + i / chunk * run + in_chunk % run;
    p.shift = in_chunk / run * bits;
    return p;
}

NIB_FN nib_parted nib_code_at(nib_block_form f, nib_i32 i)
{
    nib_parted p;
    p.low = nib_code_part(i, f.low_at, f.low_bits, f.low_run);
    p.high = nib_code_part(i, f.high_at, f.high_bits, f.high_run);
    return p;
}

NIB_FN nib_part nib_part_of(nib_i32 at, nib_i32 shift, nib_i32 bits)
{
    nib_part p = {at, shift, bits};
    return p;
}

/* The factor of d (min 0) or m (min 1) of group j. */
NIB_FN nib_parted nib_sub_at(nib_block_form f, nib_i32 min, nib_i32 j)
{
    nib_parted p;
    nib_i32 at = f.sub_at;
    p.high = nib_part_of(0, 0, 0);
    switch (f.sub) {
    case NIB_SUB_NIBBLES: p.low = nib_part_of(at + j, 4 * min, 4); break;
    case NIB_SUB_SIXES:
        p.low = nib_part_of(at + j % 8, j / 8 * 4, 4);
        p.high = nib_part_of(at + 8 + j % 4, j / 4 * 2, 2);
        break;
    case NIB_SUB_PAIRS:
        p.low = j < 4 ? nib_part_of(at + 4 * min + j, 0, 6) : nib_part_of(at + j + 4, 4 * min, 4);
        if (j >= 4) p.high = nib_part_of(at + 4 * min + j - 4, 6, 2);
        break;
    case NIB_SUB_SPLIT:
        p.low = nib_part_of(at + 2 + j / 2, j % 2 * 4, 4);
        p.high = nib_part_of(at + j / 4, j % 4 * 2, 2);
        break;
    default: p.low = nib_part_of(at + j, 0, 8); /* NIB_SUB_BYTES */
    }
    return p;
}

/* The number from its bytes. */
NIB_FN nib_i32 nib_join(nib_parted p, nib_u32 low, nib_u32 high)
{
    nib_u32 value = low >> p.low.shift & ((1u << p.low.bits) - 1u);
    if (p.high.bits) value |= (high >> p.high.shift & ((1u << p.high.bits) - 1u)) << p.low.bits;
    return (nib_i32)value;
}

/* Puts a number into bytes, of a private array, that are zero there. */
NIB_FN void nib_put_parts(nib_u8 *bytes, nib_parted p, nib_i32 value)
{
    nib_u32 v = (nib_u32)value;
    bytes[p.low.at] |= (nib_u8)((v & ((1u << p.low.bits) - 1u)) << p.low.shift);
    if (p.high.bits)
        bytes[p.high.at] |=
            (nib_u8)((v >> p.low.bits & ((1u << p.high.bits) - 1u)) << p.high.shift);
}

NIB_FN void nib_put_half(nib_u8 *bytes, nib_i32 at, nib_u32 half_)
{
    if (at == NIB_NOWHERE) return;
    bytes[at] = (nib_u8)half_;
    bytes[at + 1] = (nib_u8)(half_ >> 8);
}

/* A stored factor as the number that it stands for. */
NIB_FN nib_i32 nib_sub_value(nib_block_form f, nib_i32 stored)
{
    if (f.sub == NIB_SUB_SIXES || f.sub == NIB_SUB_SPLIT) return stored - 32;
    return f.sub == NIB_SUB_BYTES ? (stored ^ 128) - 128 : stored;
}

/* Scale (min 0) or min of a group: d times its factor, or -(m times its factor), or m where there
 * are no factors; NaN where d or m is not finite. */
NIB_FN float nib_block_product(nib_block_form f, nib_u32 d, nib_u32 m, nib_i32 min, nib_i32 sub)
{
    float unit = nib_from_f16(min ? m : d);
    if ((d & 0x7c00u) == 0x7c00u || (m & 0x7c00u) == 0x7c00u) return NIB_BITS_F32(NIB_QNAN_F32);
    if (f.sub == NIB_SUB_NONE) return unit;
    return min ? -(unit * (float)sub) : unit * (float)sub;
}

/* A stored code as the code of the planes. */
NIB_FN nib_u32 nib_plane_code(nib_block_form f, nib_i32 stored)
{
    if (f.codes == NIB_CODES_IQ4) return (nib_u32)(nib_iq4_value(stored) + 128);
    return f.codes == NIB_CODES_FLIP ? (nib_u32)stored ^ 128u : (nib_u32)stored;
}

#endif
