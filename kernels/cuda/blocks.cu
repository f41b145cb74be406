/* blocks.cu - ggml's blocks to elements or to planes.
 *
 *   thread = 8 codes of a row, which lie in one group of one block
 *
 * Bound: memory; blocks are read by the byte, from the cache lines that neighbours share. */
#include "block.cuh"

/* Eight codes of a row: their block's bytes, the number of the first in it, and their group. */
struct eight {
    const nib_u8 *bytes;
    nib_i32 first, group;
};

DEVICE eight eight_of(const nib_spans &s, const nib_args &a, nib_i64 item)
{
    nib_i64 octets = a.form.elements / 8, block = item / octets;
    int first = (int)(item - block * octets) * 8;
    return {(const nib_u8 *)s.x + block * a.form.bytes, first, first / a.form.group};
}

DEVICE nib_i32 get_parts(const nib_u8 *bytes, nib_parted p)
{
    return nib_join(p, bytes[p.low.at], bytes[p.high.at]);
}

DEVICE nib_u32 eight_code(const eight &e, const nib_block_form &f, int i)
{
    return nib_plane_code(f, get_parts(e.bytes, nib_code_at(f, e.first + i)));
}

/* Scale (min 0) or min of the group. */
DEVICE float eight_cell(const eight &e, const nib_block_form &f, int min)
{
    nib_i32 sub = 0;
    if (min && f.m_at == NIB_NOWHERE) return 0.0f;
    if (f.sub != NIB_SUB_NONE) sub = get_parts(e.bytes, nib_sub_at(f, min, e.group));
    if (!min) sub = nib_sub_value(f, sub);
    return nib_block_product(f, block_half(e.bytes, f.d_at), block_half(e.bytes, f.m_at), min, sub);
}

NIB_CUDA_KERNEL(nib_cuda_dequantize_blocks)
{
    nib_i32 zero = a.offset == NIB_O_MIN ? 0 : 1 << (a.bits - 1);
    for (nib_i64 item = grid_thread(); item < items; item += grid_threads()) {
        eight e = eight_of(s, a, item);
        float scale = eight_cell(e, a.form, 0), min = eight_cell(e, a.form, 1);
        for (int i = 0; i < 8; i++) {
            float y = nib_decode(eight_code(e, a.form, i), zero, scale, min, a.offset);
            store_raw(s.y, a.y_type, item * 8 + i, nib_to_type(a.y_type, y));
        }
    }
}

/* Codes of 8 elements are `bits` bytes; the first eight of a group also write its scale. */
NIB_CUDA_KERNEL(nib_cuda_unpack_blocks)
{
    for (nib_i64 item = grid_thread(); item < items; item += grid_threads()) {
        eight e = eight_of(s, a, item);
        nib_u64 packed = 0;
        for (int i = 0; i < 8; i++) packed |= (nib_u64)eight_code(e, a.form, i) << (i * a.bits);
        for (int i = 0; i < a.bits; i++)
            ((nib_u8 *)s.codes)[item * a.bits + i] = (nib_u8)(packed >> (8 * i));
        if (e.first % a.form.group) continue;
        nib_i64 cell = item * 8 / a.form.group;
        store_raw(s.scales, a.scale_type, cell,
                  nib_to_type(a.scale_type, eight_cell(e, a.form, 0)));
        if (a.offset == NIB_O_MIN)
            store_raw(s.offsets, a.scale_type, cell,
                      nib_to_type(a.scale_type, eight_cell(e, a.form, 1)));
    }
}
