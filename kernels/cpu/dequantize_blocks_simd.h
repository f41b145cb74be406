/* dequantize_blocks_simd.h - ggml's blocks back to elements, one block after the other; one text
 * for each vec_*.h.
 *
 *   a block's planes --shifted apart--> codes[elements] --(u - zero) * scale, or u * scale + min-->
 *   y, LANES elements of a group at a time
 *
 * Bound: writing y; as measured, the shifts and the few parameters of each group. */
#ifndef NIB_CPU_DEQUANTIZE_BLOCKS_SIMD_H
#define NIB_CPU_DEQUANTIZE_BLOCKS_SIMD_H

#include "blocks.h"
#include "kernels.h"
#include "lanes_simd.h"

typedef uint8_t bytes16 __attribute__((vector_size(16)));

/* The codes' parts of `bits` bits that the plane at `bytes` holds in runs, into bits from `shift`
 * up; the plane of bit 0 comes first. */
INLINE void take_runs(const nib_u8 *bytes, nib_u8 *code, int elements, int shift, int bits, int run)
{
    int of_byte = 8 / bits, mask = (1 << bits) - 1;
    for (int chunk = 0; chunk < elements; chunk += run * of_byte)
        for (int l = 0; l < run; l += 16, bytes += 16) {
            bytes16 from, to;
            memcpy(&from, bytes, sizeof from);
            for (int k = 0; k < of_byte; k++) {
                nib_u8 *at = code + chunk + k * run + l;
                bytes16 part = (from >> (k * bits) & (nib_u8)mask) << shift;
                if (shift) memcpy(&to, at, sizeof to);
                to = shift ? to | part : part;
                memcpy(at, &to, sizeof to);
            }
        }
}

/* Bit i of the plane into bit `shift` of code i, eight codes in a word: byte k of a word keeps bit
 * k of the byte that it is filled with, and 127 more carries it into bit 7. */
INLINE void take_bits(const nib_u8 *bytes, nib_u8 *code, int elements, int shift)
{
    for (int i = 0; i < elements; i += 8) {
        nib_u64 kept = (bytes[i / 8] * 0x0101010101010101u) & 0x8040201008040201u, codes;
        memcpy(&codes, code + i, sizeof codes);
        codes |= ((kept + 0x7f7f7f7f7f7f7f7fu) & 0x8080808080808080u) >> 7 << shift;
        memcpy(code + i, &codes, sizeof codes);
    }
}

/* The codes of the planes (nib_plane_code). */
INLINE void take_codes(const nib_u8 *bytes, nib_block_form f, nib_u8 *code)
{
    take_runs(bytes + f.low_at, code, f.elements, 0, f.low_bits, f.low_run);
    if (f.high_bits && f.high_run > 1)
        take_runs(bytes + f.high_at, code, f.elements, f.low_bits, f.high_bits, f.high_run);
    else if (f.high_bits) take_bits(bytes + f.high_at, code, f.elements, f.low_bits);
    for (int i = 0; i < f.elements && f.codes != NIB_CODES_PLAIN; i++)
        code[i] = (nib_u8)nib_plane_code(f, code[i]);
}

/* A group's values. */
INLINE void put_group(nib_u8 *y, int type, const nib_u8 *code, int count, int zero, float scale,
                      float min, int mins)
{
    int size = type == NIB_T_F32 ? 4 : 2;
    if (!nib_is_finite(scale) || !nib_is_finite(min)) {
        for (int i = 0; i < count; i++) store_element(y, type, i, NIB_BITS_F32(NIB_QNAN_F32));
        return;
    }
    for (int i = 0; i < count; i += LANES) {
        vf value = v_from_int(v_load_bytes(code + i) - zero) * scale;
        if (mins) value += min;
        v_store_raw(y + i * size, v_to_type(value, type), type);
    }
}

INLINE void dequantize_form(void *const span[NIB_HOST_SPANS], nib_i64 begin, nib_i64 end,
                            nib_block_form f, int bits, int type)
{
    int mins = f.m_at != NIB_NOWHERE, zero = mins ? 0 : 1 << (bits - 1);
    int size = type == NIB_T_F32 ? 4 : 2;
    const nib_u8 *bytes = (const nib_u8 *)span[NIB_X] + begin * f.bytes;
    nib_u8 *y = (nib_u8 *)span[NIB_Y] + begin * f.elements * size, code[256];
    for (; begin < end; begin++, bytes += f.bytes) {
        take_codes(bytes, f, code);
        for (int j = 0; j < f.elements / f.group; j++, y += f.group * size) {
            float scale, min;
            block_cell(bytes, f, j, &scale, &min);
            put_group(y, type, code + j * f.group, f.group, zero, scale, min, mins);
        }
    }
}

/* One function a type, compiled for its numbers. */
#define NIB_BLOCK(ID, name, wire, elements, bytes, bits, group, rule, scale, low_at, low_bits,     \
                  low_run, high_at, high_bits, high_run, d_at, m_at, sub_at, sub, codes, text)     \
    static void dequantize_##ID(void *const span[NIB_HOST_SPANS], const nib_args *a,               \
                                nib_i64 begin, nib_i64 end)                                        \
    {                                                                                              \
        const nib_block_form f = {wire,     elements, bytes,   group,         low_at,              \
                                  low_bits, low_run,  high_at, high_bits,     high_run,            \
                                  d_at,     m_at,     sub_at,  NIB_SUB_##sub, NIB_CODES_##codes};  \
        if (a->y_type == NIB_T_F32) dequantize_form(span, begin, end, f, bits, NIB_T_F32);         \
        else if (a->y_type == NIB_T_F16) dequantize_form(span, begin, end, f, bits, NIB_T_F16);    \
        else dequantize_form(span, begin, end, f, bits, NIB_T_BF16);                               \
    }
#include "../../include/nibble_schemes.def"

NIB_CPU_KERNEL(ISA(nib_cpu_dequantize_blocks))
{
    switch (args->form.block) {
#define NIB_BLOCK(ID, ...)                                                                         \
    case NIB_B_##ID:                                                                               \
        dequantize_##ID(span, args, begin, end);                                                   \
        break;
#include "../../include/nibble_schemes.def"
    default: break;
    }
}

#endif
