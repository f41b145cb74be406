/* matmul_large_simd.h - products of many rows of x: a block of weights and a block of x are laid out
 * in the cache, then multiplied; one text for each instruction set.
 *
 *   block of weights   [VECTORS_WIDE columns of y ..][STEPS][4 bytes a lane]: codes as u8, i16, bf16 or f32
 *   block of x         [96 rows][STEPS][4 bytes], rows apart by 64 bytes more than a power of two, which
 *                      would put all rows into one set of the cache
 *   sums               [96][64] of the group that is open, and of y
 *
 * A step is 4 bytes of x: one broadcast, multiplied with a vector of W. Each pass of ROWS rows by WIDE vectors
 * keeps its sums in registers for a piece: the part of a block that lies in one group.
 * Bound: the products. Laying out costs a multiplication in 96 for W and one in 64 for x. */
#ifndef NIB_CPU_MATMUL_LARGE_SIMD_H
#define NIB_CPU_MATMUL_LARGE_SIMD_H

#include "matmul_simd.h"

enum {
    STEPS = 128,
    TILE_M = 96,
    X_PITCH = 4 * STEPS + 64,
    MOST_PIECES = 64,
    MOST_WIDE = 4,
    MOST_PASS = 24
};

INLINE int step_codes(int form) { return form == STEP_U8 ? 4 : form == STEP_F32 ? 1 : 2; }
INLINE int is_float(int form) { return form >= STEP_BF16; }

/* 172 KiB, on the stack of the thread. */
typedef struct blocks {
    _Alignas(64) nib_u8 w[ITEM_ROWS * STEPS * 4];
    _Alignas(64) nib_u8 x[TILE_M * X_PITCH];
    _Alignas(
        64) nib_i32 open[TILE_M][ITEM_ROWS]; /* the sums of a group that goes on, int32 or f32 */
    _Alignas(64) float totals[TILE_M][ITEM_ROWS];        /* y, before x's scale and the bias */
    _Alignas(64) nib_i32 packed[MOST_PIECES][ITEM_ROWS]; /* sums of packed codes, for zeros of x */
    nib_i32 ones[MOST_PIECES][TILE_M];                   /* sums of x (int32 or f32) */
} blocks;

typedef struct piece {
    int index;        /* in the block */
    nib_i64 g;        /* its group */
    nib_i64 from, to; /* columns */
    nib_i64 block;    /* the block's first column */
    int begins, ends; /* its group */
} piece;

/* The piece at column `from` of the block at `block`, which ends at `stop`. */
INLINE piece piece_at(const nib_args *a, int index, nib_i64 from, nib_i64 block, nib_i64 stop)
{
    piece p = {index, min_i64(from / a->group, a->scale_cols - 1), from, 0, block, 0, 0};
    nib_i64 end = group_end(a, p.g);
    p.to = min_i64(end, stop);
    p.begins = from == p.g * a->group;
    p.ends = p.to == end;
    return p;
}

/* ---- laying out ---- */

/* Where step s of vector v of the item lies. */
INLINE nib_u8 *place_of(blocks *b, int v, nib_i64 s, int wide)
{
    return b->w + ((v / wide * STEPS + s) * wide + v % wide) * (LANES * 4);
}

/* Codes at `shift` and `shift` + 8 of every lane as f32, less zeros, and as pairs of bf16, which are
 * exact: integers of up to 8 bits. */
INLINE vf code_values(vi w, int shift, int bits, vi zeros)
{
    return v_convert((vi)((vu)w >> shift & (bits == 4 ? 15u : 255u)) - zeros);
}
INLINE vi bf16_pair(vf even, vf odd) { return (vi)(((vu)even >> 16) | ((vu)odd & 0xffff0000u)); }

/* Four codes of every lane, one a byte, to steps from `s` on. */
INLINE void lay_bytes(blocks *b, int v, nib_i64 s, vi w, vi zeros, int form, int wide)
{
    if (form == STEP_U8) v_store(place_of(b, v, s, wide), w);
    if (form == STEP_I16) {
        v_store(place_of(b, v, s, wide), (vi)(((vu)w & 255u) | ((vu)w & 0xff00u) << 8));
        v_store(place_of(b, v, s + 1, wide), (vi)(((vu)w >> 16 & 255u) | ((vu)w >> 24) << 16));
    }
    vf values[4];
    UNROLL for (int j = 0; j < 4; j++) values[j] = code_values(w, 8 * j, 8, zeros);
    if (form == STEP_BF16) {
        v_store(place_of(b, v, s, wide), bf16_pair(values[0], values[1]));
        v_store(place_of(b, v, s + 1, wide), bf16_pair(values[2], values[3]));
    }
    if (form == STEP_F32) {
        UNROLL for (int j = 0; j < 4; j++) v_store(place_of(b, v, s + j, wide), (vi)values[j]);
    }
}

INLINE void lay_piece(blocks *b, const panels *p, const nib_args *a, const piece *part, int form,
                      int wide, int bits)
{
    int codes = step_codes(form), step = bits == 4 ? 8 : 4;
    for (int v = 0; v < ITEM_VECTORS; v++) {
        vi zeros = load_zeros(p, a, part->g, v);
        const nib_u8 *from = codes_of(p, v) + part->from / step * PANEL_BLOCK;
        for (nib_i64 k = part->from; k < part->to; k += step, from += PANEL_BLOCK) {
            nib_i64 s = (k - part->block) / codes;
            vi w = v_load(from);
            if (bits == 8) {
                lay_bytes(b, v, s, w, zeros, form, wide);
                continue;
            }
            lay_bytes(b, v, s, w & 0x0f0f0f0f, zeros, form, wide);
            lay_bytes(b, v, s + 4 / codes, (vi)((vu)w >> 4 & 0x0f0f0f0fu), zeros, form, wide);
        }
    }
}

/* Sums of packed codes over a piece: as a product with ones. */
INLINE void total_piece(blocks *b, const piece *part, int form, int wide)
{
    vi one = v_splat_int(form == STEP_U8 ? 0x01010101 : 0x00010001);
    nib_i64 codes = step_codes(form), from = (part->from - part->block) / codes;
    for (int v = 0; v < ITEM_VECTORS; v++) {
        vi sum = v_splat_int(0);
        for (nib_i64 s = from; s < (part->to - part->block) / codes; s++)
            sum = add_step(sum, v_load(place_of(b, v, s, wide)), one, form);
        v_store(&b->packed[part->index][v * LANES], sum);
    }
}

/* Row r of the block of x, and its sums over the block's pieces. */
INLINE void lay_row(blocks *b, const nib_args *a, const nib_u8 *x, int r, nib_i64 block,
                    nib_i64 stop, int form)
{
    nib_i64 size = form == STEP_F32 ? 4 : form == STEP_BF16 ? 2 : 1;
    const nib_u8 *from = x + block * size;
    nib_u8 *to = b->x + r * X_PITCH;
    if (form == STEP_I16) widen_codes((int16_t *)(void *)to, (const int8_t *)from, stop - block);
    else memcpy(to, from, (size_t)((stop - block) * size));
    if (is_float(form) && a->offset != NIB_O_MIN) return;
    piece part = {0};
    for (nib_i64 k = block; k < stop; k = part.to) {
        part = piece_at(a, k == block ? 0 : part.index + 1, k, block, stop);
        if (!is_float(form)) {
            b->ones[part.index][r] = total_codes((const int8_t *)x + k, part.to - k);
            continue;
        }
        float sum = form == STEP_F32
                        ? total_floats((const float *)(const void *)x + k, part.to - k)
                        : total_bf16((const nib_u16 *)(const void *)x + k, part.to - k);
        memcpy(&b->ones[part.index][r], &sum, sizeof sum);
    }
}

/* ---- multiplying ---- */

/* Ends a piece of int32 sums for vector v of the item, row r of the tile. */
INLINE void end_codes(blocks *b, const nib_args *a, const panels *p, const piece *part,
                      const x_rows *x, nib_i64 m, int r, int v, vi sum, vi zeros, vf scales)
{
    nib_i32 zero = x->zeros[m + r], last = (nib_i32)min_i64(part->to, a->cols);
    nib_i32 ones = b->ones[part->index][r] - wrap_mul(zero, last - (nib_i32)part->from);
    float *total = &b->totals[r][v * LANES];
    if (a->offset == NIB_O_ZERO) sum = v_wrap_sub(sum, v_wrap_mul(zeros, ones));
    else sum = v_wrap_sub(sum, v_splat_int(wrap_mul(panel_base(a), ones)));
    if (a->p.x_zeros)
        sum = v_wrap_sub(sum, v_wrap_mul(v_load(&b->packed[part->index][v * LANES]), zero));
    if (!part->ends) {
        v_store(&b->open[r][v * LANES], sum);
        return;
    }
    vf y = v_convert(sum);
    y = part->g ? v_fma(y, scales, (vf)v_load(total)) : y * scales;
    if (a->offset == NIB_O_MIN) {
        nib_i32 group =
            x->sums[(m + r) * a->scale_cols + part->g] - wrap_mul(zero, group_count(a, part->g));
        y = v_fma(v_splat((float)group), load_mins(p, part->g, v), y);
    }
    v_store(total, (vi)y);
}

/* The same of f32 sums. */
INLINE void end_floats(blocks *b, const nib_args *a, const panels *p, const piece *part, int r,
                       int v, vf sum, vf scales)
{
    float *total = &b->totals[r][v * LANES];
    vf y = (vf)v_load(total);
    if (part->ends) y = v_fma(sum, scales, y);
    else v_store(&b->open[r][v * LANES], (vi)sum);
    if (a->offset == NIB_O_MIN) {
        float ones;
        memcpy(&ones, &b->ones[part->index][r], sizeof ones);
        y = v_fma(v_splat(ones), load_mins(p, part->g, v), y);
    }
    v_store(total, (vi)y);
}

/* Rows r.. of the tile by vectors first.. of the item, over one piece. */
INLINE void multiply(blocks *b, const nib_args *a, const panels *p, const piece *part,
                     const x_rows *x, nib_i64 m, int r0, int first, int form, int rows, int wide)
{
    nib_i64 codes = step_codes(form), from = (part->from - part->block) / codes,
            to = (part->to - part->block) / codes;
    vi sums[MOST_PASS];
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < wide; v++) sums[r * wide + v] =
            part->begins ? v_splat_int(0) : v_load(&b->open[r0 + r][(first + v) * LANES]);
    }
    const nib_u8 *w = place_of(b, first, from, wide), *q = b->x + r0 * X_PITCH + from * 4;
    for (nib_i64 s = from; s < to; s++, w += wide * LANES * 4, q += 4) {
        vi vectors[MOST_WIDE];
        UNROLL for (int v = 0; v < wide; v++) vectors[v] = v_load(w + v * LANES * 4);
        UNROLL for (int r = 0; r < rows; r++)
        {
            nib_i32 step;
            memcpy(&step, q + r * X_PITCH, sizeof step);
            vi splat = v_splat_int(step);
            UNROLL for (int v = 0; v < wide; v++) sums[r * wide + v] =
                add_step(sums[r * wide + v], vectors[v], splat, form);
        }
    }
    UNROLL for (int v = 0; v < wide; v++)
    {
        vf scales = load_scales(p, part->g, first + v);
        vi zeros = is_float(form) ? v_splat_int(0) : load_zeros(p, a, part->g, first + v);
        UNROLL for (int r = 0; r < rows; r++)
        {
            vi sum = sums[r * wide + v];
            if (is_float(form)) end_floats(b, a, p, part, r0 + r, first + v, (vf)sum, scales);
            else end_codes(b, a, p, part, x, m, r0 + r, first + v, sum, zeros, scales);
        }
    }
}

/* ---- items ---- */

/* One block of columns, for `rows_used` rows of the tile. */
INLINE void add_block(blocks *b, void *const span[NIB_SPANS], const nib_args *a, const panels *p,
                      nib_i64 m, int rows_used, nib_i64 block, int form, int rows, int wide)
{
    nib_i64 stop = min_i64(a->p.pack_cols, block + STEPS * step_codes(form));
    nib_i64 size = form == STEP_F32 ? 4 : form == STEP_BF16 ? 2 : 1;
    x_rows x = x_rows_of(span[NIB_X], a);
    for (int r = 0; r < rows_used; r++)
        lay_row(b, a, (const nib_u8 *)span[NIB_X] + (m + r) * a->p.pack_cols * size, r, block, stop,
                form);
    piece part = {0};
    for (nib_i64 k = block; k < stop; k = part.to) {
        part = piece_at(a, k == block ? 0 : part.index + 1, k, block, stop);
        if (a->p.pack_bits == 4) lay_piece(b, p, a, &part, form, wide, 4);
        else lay_piece(b, p, a, &part, form, wide, 8);
        if (!is_float(form) && a->p.x_zeros) total_piece(b, &part, form, wide);
    }
    for (int first = 0; first < ITEM_VECTORS; first += wide)
        for (int r = 0; r < rows_used; r += rows)
            for (nib_i64 k = block; k < stop; k = part.to) {
                part = piece_at(a, k == block ? 0 : part.index + 1, k, block, stop);
                multiply(b, a, p, &part, &x, m, r, first, form, rows, wide);
            }
}

INLINE void large_item(void *const span[NIB_SPANS], const nib_args *a, nib_i64 item, int form,
                       int rows, int wide)
{
    blocks b;
    nib_i64 tiles = (a->rows + ITEM_ROWS - 1) / ITEM_ROWS;
    nib_i64 m = item / tiles * TILE_M, n = item % tiles * ITEM_ROWS;
    int count = (int)min_i64(TILE_M, a->p.m - m), used = (count + rows - 1) / rows * rows;
    panels p = panels_at(span, a, n / PANEL_ROWS);
    memset(b.totals, 0, (size_t)used * sizeof b.totals[0]);
    for (nib_i64 k = 0; k < a->p.pack_cols; k += STEPS * step_codes(form))
        add_block(&b, span, a, &p, m, used, k, form, rows, wide);
    x_rows x = x_rows_of(span[NIB_X], a);
    for (int r = 0; r < count; r++)
        for (int v = 0; v < ITEM_VECTORS; v++)
            end_row(span, a, m + r, n + v * LANES, (vf)v_load(&b.totals[r][v * LANES]),
                    is_float(form) ? NULL : &x.scales[m + r]);
}

#define LARGE_KERNEL(name, form, pass_rows, wide)                                                  \
    NIB_CPU_KERNEL(name)                                                                           \
    {                                                                                              \
        for (nib_i64 item = begin; item < end; item++)                                             \
            large_item(span, args, item, form, pass_rows, wide);                                   \
    }

#endif
