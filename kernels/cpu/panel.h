/* panel.h - packed weights "panel", which every vector kernel of the cpu reads: 16 rows of W
 * side by side, so that one vector of 16 lanes holds codes of 16 rows, and x is a broadcast.
 *
 *   codes    [N/16][K/8][16 rows][4 bytes], 4 bits: byte b of a block holds k = b in its low half and
 *            k = 4 + b in its high half; for float x: half i of word h (2 bytes) holds k = 2i + h,
 *            so that a shift leaves pairs of columns
 *            [N/16][K/4][16 rows][4 bytes], 8 bits: byte b holds k = b
 *   scales   [N/16][G][16], as stored (f16, bf16 or f32); offsets likewise: z' int8, or mins
 *
 * Codes are unsigned: w' + 8 or w' + 128; 0 behind K, so that they add nothing to sums. N is
 * rounded up to 64, four panels: one work item of a product, and four streams of memory for a
 * thread. */
#ifndef NIB_CPU_PANEL_H
#define NIB_CPU_PANEL_H

#include "access.h"

enum { PANEL_ROWS = 16, PANEL_BLOCK = 64, ITEM_ROWS = 64, ITEM_PANELS = ITEM_ROWS / PANEL_ROWS };

/* Elements of K in a block of 64 bytes. */
static inline nib_i64 block_codes(const nib_args *a) { return a->p.pack_bits == 4 ? 8 : 4; }

/* The bit where column k of a block begins, 4 bits for float x. */
static inline int nibble_at(int k) { return 16 * (k % 2) + 4 * (k / 2); }

/* What makes w' unsigned. */
static inline nib_i32 panel_half(const nib_args *a) { return a->p.pack_bits == 4 ? 8 : 128; }

/* What u - z subtracts from an unsigned packed code, less z'. */
static inline nib_i32 panel_base(const nib_args *a)
{
    return panel_half(a) - (a->offset == NIB_O_MIN ? 1 << (a->bits - 1) : 0);
}

/* The first and last columns of group g as the pack has them: the last runs to its end. */
static inline nib_i64 group_end(const nib_args *a, nib_i64 g)
{
    return g == a->scale_cols - 1 ? a->p.pack_cols : (g + 1) * a->group;
}

/* Columns of W in group g. */
static inline nib_i32 group_count(const nib_args *a, nib_i64 g)
{
    return (nib_i32)(min_i64(a->cols, (g + 1) * a->group) - g * a->group);
}

/* Panels `first` to first + 3. */
typedef struct panels {
    const nib_u8 *codes, *scales, *offsets;
    nib_i64 code_step, scale_step, offset_step; /* bytes from one panel to the next */
    nib_i32 scale_type, scale_bytes;            /* of 16 scales */
    nib_i32 offset_bytes;                       /* of 16 offsets */
} panels;

static inline panels panels_at(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 first)
{
    const nib_u8 *from = span[NIB_WEIGHTS];
    panels p;
    p.scale_type = a->scale_type;
    p.scale_bytes = PANEL_ROWS * a->p.scale_bytes;
    p.offset_bytes = a->offset == NIB_O_MIN ? p.scale_bytes : PANEL_ROWS;
    p.code_step = a->p.pack_cols / block_codes(a) * PANEL_BLOCK;
    p.scale_step = a->scale_cols * p.scale_bytes;
    p.offset_step = a->scale_cols * p.offset_bytes;
    p.codes = from + first * p.code_step;
    p.scales = from + a->p.scales_at + first * p.scale_step;
    p.offsets = from + a->p.offsets_at + first * p.offset_step;
    return p;
}

#endif
