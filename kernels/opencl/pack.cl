/* pack.cl - planes of quantized weights to what the matmuls read.
 *
 *   pack_panels   work-group = 64 rows, work-item = a row: its words, 16 rows of which are neighbours
 *                 (product.h), and its scales and offsets
 *   pack_plain    work-item = a row: w' as int8 [N][K] | scales f32 [N][G] | z' int8 or mins f32 [N][G]
 *
 * Bound: memory; reads and writes each code once. */
#include "product.h"

/* Writes the scale and offset of group g of row n as number `at`; zeros where there is no such row.
 * A cell that decodes to NaN gets the scale NaN. */
NIB_FN void nib_pack_cell(__global const uchar *scales, __global const uchar *offsets,
                          __global uchar *to, nib_args a, nib_i64 n, nib_i64 g, nib_i64 at)
{
    nib_cell c = nib_cell_limits(a.bits, a.offset, 0);
    if (n < a.rows) c = nib_read_cell(scales, offsets, a, n % a.period * a.scale_cols + g);
    if (!nib_is_finite(c.scale) || !nib_is_finite(c.min)) c.scale = NIB_BITS_F32(NIB_QNAN_F32);
    ((__global float *)(to + a.p.scales_at))[at] = c.scale;
    if (a.offset == NIB_O_MIN) ((__global float *)(to + a.p.offsets_at))[at] = c.min;
    if (a.offset == NIB_O_ZERO) ((__global char *)(to + a.p.offsets_at))[at] = (char)c.zero;
}

/* Fields of columns k..k+7 of row n. */
NIB_FN uint8 nib_fields(__global const uchar *codes, nib_args a, nib_i64 n, nib_i64 k)
{
    const int8 place = (int8)(0, 1, 2, 3, 4, 5, 6, 7);
    uint excess = (uint)nib_excess(a), half_ = 1u << (a.bits - 1);
    if (n >= a.rows || k >= a.cols) return (uint8)excess;
    uint8 field = nib_get_8(codes, a.codes, n, k) + (excess - half_);
    return place < (int)min((nib_i64)8, a.cols - k) ? field : (uint8)excess;
}

NIB_FN uint nib_word(uint4 field)
{
    return field.s0 | field.s1 << 8 | field.s2 << 16 | field.s3 << 24;
}

NIB_KERNEL(pack_panels, 64)
{
    NIB_ENTER;
    nib_i64 n = get_global_id(0), panel = n / NIB_PANEL, row = n % NIB_PANEL;
    __global uint *words = (__global uint *)nib_words(y, a, panel) + row;
    for (nib_i64 k = 0; k < a.p.pack_cols; k += 8) {
        uint8 field = nib_fields(codes, a, n, k);
        if (a.p.pack_bits == 4) {
            words[k / 8 * NIB_PANEL] = nib_word(field.lo) | nib_word(field.hi) << 4;
        } else {
            words[k / 4 * NIB_PANEL] = nib_word(field.lo);
            words[k / 4 * NIB_PANEL + NIB_PANEL] = nib_word(field.hi);
        }
    }
    for (nib_i64 g = 0; g < a.scale_cols; g++)
        nib_pack_cell(scales, offsets, y, a, n, g, (panel * a.scale_cols + g) * NIB_PANEL + row);
}

NIB_KERNEL(pack_plain, 64)
{
    NIB_ENTER;
    nib_i64 n = get_global_id(0);
    if (n >= a.rows) return;
    __global char *to = (__global char *)y + n * a.cols;
    for (nib_i64 k = 0; k < a.cols; k++)
        to[k] = (char)((nib_i32)nib_get(codes, a.codes, n, k) - (1 << (a.bits - 1)));
    for (nib_i64 g = 0; g < a.scale_cols; g++)
        nib_pack_cell(scales, offsets, y, a, n, g, n * a.scale_cols + g);
}
