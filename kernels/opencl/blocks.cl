/* blocks.cl - ggml's blocks to elements or to planes.
 *
 *   work-item = 8 codes of a row, which lie in one group of one block
 *
 * Bound: memory. */
#include "group.h"

/* Eight codes of a row: their block's bytes, the number of the first in it, and their group. */
typedef struct nib_eight {
    __global const uchar *bytes;
    nib_i64 at; /* element of the matrix */
    nib_i32 first, group;
} nib_eight;

NIB_FN nib_eight nib_eight_of(__global const uchar *blocks, nib_args a, nib_i64 id)
{
    nib_eight e;
    nib_i64 block = nib_quotient(id * 8, a.form.elements);
    e.at = id * 8;
    e.bytes = blocks + block * a.form.bytes;
    e.first = (nib_i32)(e.at - block * a.form.elements);
    e.group = e.first / a.form.group;
    return e;
}

NIB_FN nib_i32 nib_get_parts(__global const uchar *bytes, nib_parted p)
{
    return nib_join(p, bytes[p.low.at], bytes[p.high.at]);
}

NIB_FN nib_u32 nib_get_half(__global const uchar *bytes, nib_i32 at)
{
    return at == NIB_NOWHERE ? 0u : (nib_u32)bytes[at] | (nib_u32)bytes[at + 1] << 8;
}

/* Scale (min 0) or min of the group. */
NIB_FN float nib_eight_cell(nib_eight e, nib_block_form f, nib_i32 min)
{
    nib_i32 sub = 0;
    if (min && f.m_at == NIB_NOWHERE) return 0.0f;
    if (f.sub != NIB_SUB_NONE) sub = nib_get_parts(e.bytes, nib_sub_at(f, min, e.group));
    if (!min) sub = nib_sub_value(f, sub);
    return nib_block_product(f, nib_get_half(e.bytes, f.d_at), nib_get_half(e.bytes, f.m_at), min,
                             sub);
}

NIB_KERNEL(dequantize_blocks, 64)
{
    NIB_ENTER;
    nib_i64 id = get_global_id(0);
    nib_i32 zero = a.offset == NIB_O_MIN ? 0 : 1 << (a.bits - 1);
    if (id * 8 >= a.rows * a.cols) return;
    nib_eight e = nib_eight_of(x, a, id);
    float scale = nib_eight_cell(e, a.form, 0), min = nib_eight_cell(e, a.form, 1);
    for (nib_i32 i = 0; i < 8; i++) {
        nib_i32 stored = nib_get_parts(e.bytes, nib_code_at(a.form, e.first + i));
        nib_store(y, a.y_type, e.at + i,
                  nib_decode(nib_plane_code(a.form, stored), zero, scale, min, a.offset));
    }
}

/* Codes of 8 elements are `bits` bytes; the first eight of a group also write its scale. */
NIB_KERNEL(unpack_blocks, 64)
{
    NIB_ENTER;
    nib_i64 id = get_global_id(0);
    ulong packed = 0;
    if (id * 8 >= a.rows * a.cols) return;
    nib_eight e = nib_eight_of(x, a, id);
    for (nib_i32 i = 0; i < 8; i++) {
        nib_i32 stored = nib_get_parts(e.bytes, nib_code_at(a.form, e.first + i));
        packed |= (ulong)nib_plane_code(a.form, stored) << (i * a.bits);
    }
    for (nib_i32 i = 0; i < a.bits; i++) codes[id * a.bits + i] = (uchar)(packed >> (8 * i));
    if (e.first % a.form.group) return;
    nib_i64 cell = e.at / a.form.group;
    nib_store(scales, a.scale_type, cell, nib_eight_cell(e, a.form, 0));
    if (a.offset == NIB_O_MIN) nib_store(offsets, a.scale_type, cell, nib_eight_cell(e, a.form, 1));
}
