/* matmul_large_simd.h - products of many rows of x where vectors are few and narrow (AVX2): a
 * block of weights and a block of x are laid out in the cache, then multiplied.
 *
 *   block of weights   [128 / (WIDE * LANES)][STEPS][WIDE * LANES columns of y][4 bytes]: i16 or f32
 *   block of x         [96 rows][STEPS][4 bytes], rows apart by 64 bytes more than a power of two,
 *                      which would put all rows into one set of the cache
 *   sums               [96][128] of the group that is open, and of y
 *
 * A step is 4 bytes of x: one broadcast, multiplied with a vector of W. A pass of ROWS rows by
 * WIDE vectors keeps its sums in registers for a piece: the part of a block that lies in one
 * group. Bound: the products. Laying out costs a step in 96 for W and a step in 128 for x. */
#ifndef NIB_CPU_MATMUL_LARGE_SIMD_H
#define NIB_CPU_MATMUL_LARGE_SIMD_H

#include "matmul_simd.h"

enum {
    STEPS = 128,
    TILE_M = 96,
    TILE_N = 2 * ITEM_ROWS,
    TILE_VECTORS = TILE_N / LANES,
    X_PITCH = 4 * STEPS + 64,
    MOST_PIECES = 64,
    MOST_WIDE = 4,
    MOST_PASS = 24
};

INLINE int step_codes(int form) { return form == STEP_F32 ? 1 : 2; }

/* The thread's scratch. */
typedef struct blocks {
    _Alignas(64) nib_u8 w[TILE_N * STEPS * 4];
    _Alignas(64) nib_u8 x[TILE_M * X_PITCH];
    _Alignas(64) nib_i32 open[TILE_M][TILE_N]; /* of a group that goes on: int32, or f32 */
    _Alignas(64) float totals[TILE_M][TILE_N]; /* y, before x's scale and the bias */
    _Alignas(64) nib_i32 packed[MOST_PIECES + 1][TILE_N]; /* sums of w' from a group's begin on */
    float ones[MOST_PIECES][TILE_M];                      /* sums of float x over pieces */
    int vectors;                                          /* of the tile: fewer at the end of N */
} blocks;
_Static_assert(sizeof(blocks) <= NIB_SCRATCH_BYTES, "blocks fit the scratch");

/* ---- laying out ---- */

/* Where step s of vector v of the tile lies. */
INLINE nib_u8 *place_of(blocks *b, int v, nib_i64 s, int wide)
{
    return b->w + ((v / wide * STEPS + s) * wide + v % wide) * (LANES * 4);
}

/* The code at `shift` of every lane as f32, less its zero. */
INLINE vi value_at(vi w, int shift, int mask, vi zeros)
{
    return (vi)v_convert(((vi)((vu)w >> shift) & mask) - zeros);
}

/* Four unsigned codes of every lane, one a byte, as two steps of words w' from `s` on. */
INLINE void lay_words(blocks *b, int v, nib_i64 s, vi w, int half, int wide)
{
    vw halves = (vw)v_splat_int(half * 0x00010001);
    vi first = (vi)(((vu)w & 255u) | ((vu)w & 0xff00u) << 8);
    vi second = (vi)(((vu)w >> 16 & 255u) | ((vu)w >> 24) << 16);
    v_store(place_of(b, v, s, wide), (vi)((vw)first - halves));
    v_store(place_of(b, v, s + 1, wide), (vi)((vw)second - halves));
}

/* A block's codes, 8 of 4 bits or 4 of 8, to steps from `s` on. */
INLINE void lay_codes(blocks *b, int v, nib_i64 s, vi w, vi zeros, int form, int wide, int bits)
{
    if (form == STEP_I16 && bits == 8) lay_words(b, v, s, w, 128, wide);
    else if (form == STEP_I16) {
        lay_words(b, v, s, w & 0x0f0f0f0f, 8, wide);
        lay_words(b, v, s + 2, (vi)((vu)w >> 4 & 0x0f0f0f0fu), 8, wide);
    } else if (bits == 8) {
        UNROLL for (int j = 0; j < 4; j++)
            v_store(place_of(b, v, s + j, wide), value_at(w, 8 * j, 255, zeros));
    } else {
        UNROLL for (int j = 0; j < 8; j++)
            v_store(place_of(b, v, s + j, wide), value_at(w, nibble_at(j), 15, zeros));
    }
}

INLINE void lay_piece(blocks *b, const panels *p, const nib_args *a, const piece *part, int form,
                      int wide, int bits)
{
    int step = bits == 4 ? 8 : 4;
    for (int v = 0; v < b->vectors; v++) {
        vi zeros = load_zeros(p, a, part->g, v);
        const nib_u8 *from = codes_of(p, v) + part->from / step * PANEL_BLOCK;
        for (nib_i64 k = part->from; k < part->to; k += step, from += PANEL_BLOCK)
            lay_codes(b, v, (k - part->block) / step_codes(form), v_load(from), zeros, form, wide,
                      bits);
    }
}

/* Sums of w' from the begin of the piece's group on, as a product with ones; those of a group
 * that goes on are kept last. */
INLINE void total_piece(blocks *b, const piece *part, int wide)
{
    vi one = v_splat_int(0x00010001);
    nib_i64 codes = step_codes(STEP_I16), from = (part->from - part->block) / codes;
    for (int v = 0; v < b->vectors; v++) {
        vi sum = part->begins ? v_splat_int(0) : v_load(&b->packed[MOST_PIECES][v * LANES]);
        for (nib_i64 s = from; s < (part->to - part->block) / codes; s++)
            sum = add_codes(sum, v_load(place_of(b, v, s, wide)), one);
        v_store(&b->packed[part->index][v * LANES], sum);
        if (!part->ends) v_store(&b->packed[MOST_PIECES][v * LANES], sum);
    }
}

/* Row r of the block of x, and the sums that mins are multiplied with. */
INLINE void lay_row(blocks *b, const nib_args *a, const nib_u8 *x, int r, nib_i64 block,
                    nib_i64 stop, int form)
{
    nib_i64 size = form == STEP_F32 ? 4 : 1;
    const nib_u8 *from = x + block * size;
    nib_u8 *to = b->x + r * X_PITCH;
    if (form == STEP_I16) widen_codes((int16_t *)(void *)to, (const int8_t *)from, stop - block);
    else memcpy(to, from, (size_t)((stop - block) * size));
    if (form != STEP_F32 || a->offset != NIB_O_MIN) return;
    piece part = {0};
    for (nib_i64 k = block; k < stop; k = part.to) {
        part = piece_at(a, k == block ? 0 : part.index + 1, k, block, stop);
        b->ones[part.index][r] = total_floats((const float *)(const void *)x + k, part.to - k);
    }
}

/* ---- multiplying ---- */

/* Ends a group of int32 sums for vector v of the tile, row r of it: sum of (q - zx) (w' - z') =
 *     sum of q w' - zx * sum of w' - z' * sum of (q - zx). */
INLINE void end_codes(blocks *b, const nib_args *a, const panels *p, const piece *part,
                      const x_rows *x, nib_i64 m, int r, int v, vi sum, vi zeros, vf scales)
{
    nib_i32 zero = x->zeros[m + r], ones = 0;
    float *total = &b->totals[r][v * LANES];
    if (zero) sum = v_wrap_sub(sum, v_wrap_mul(v_load(&b->packed[part->index][v * LANES]), zero));
    if (zero && part->to > a->cols) /* codes behind K are 0, which is no w' of 0 */
        sum = v_wrap_sub(
            sum, v_splat_int(wrap_mul(zero, panel_half(a) * (nib_i32)(part->to - a->cols))));
    if (a->offset != NIB_O_NONE) {
        ones = x->sums[(m + r) * a->scale_cols + part->g] - wrap_mul(zero, group_count(a, part->g));
        sum = v_wrap_sub(sum, v_wrap_mul(zeros, ones));
    }
    vf y = v_convert(sum);
    y = part->g ? v_fma(y, scales, (vf)v_load(total)) : y * scales;
    if (a->offset == NIB_O_MIN) y = v_fma(v_splat((float)ones), load_mins(p, part->g, v), y);
    v_store(total, (vi)y);
}

/* Ends a piece of f32 sums. */
INLINE void end_floats(blocks *b, const nib_args *a, const panels *p, const piece *part, int r,
                       int v, vf sum, vf scales)
{
    float *total = &b->totals[r][v * LANES];
    vf y = (vf)v_load(total);
    if (part->ends) y = v_fma(sum, scales, y);
    else v_store(&b->open[r][v * LANES], (vi)sum);
    if (a->offset == NIB_O_MIN)
        y = v_fma(v_splat(b->ones[part->index][r]), load_mins(p, part->g, v), y);
    v_store(total, (vi)y);
}

/* The sums of a pass over `steps` steps, from those that are open or from 0. Two texts, since
 * sums that change their type between steps leave the registers (GCC 12). */
#define PASS(name, vector, add)                                                                    \
    INLINE void name(vector *sums, const blocks *b, const piece *part, int r0, int first,          \
                     const nib_u8 *w, const nib_u8 *x, nib_i64 steps, int rows, int wide)          \
    {                                                                                              \
        UNROLL for (int r = 0; r < rows; r++)                                                      \
        {                                                                                          \
            UNROLL for (int v = 0; v < wide; v++) sums[r * wide + v] =                             \
                (vector)(part->begins ? v_splat_int(0)                                             \
                                      : v_load(&b->open[r0 + r][(first + v) * LANES]));            \
        }                                                                                          \
        for (nib_i64 s = 0; s < steps; s++, w += wide * LANES * 4, x += 4) {                       \
            vi vectors[MOST_WIDE];                                                                 \
            UNROLL for (int v = 0; v < wide; v++) vectors[v] = v_load(w + v * LANES * 4);          \
            UNROLL for (int r = 0; r < rows; r++)                                                  \
            {                                                                                      \
                nib_i32 step;                                                                      \
                memcpy(&step, x + r * X_PITCH, sizeof step);                                       \
                vi splat = v_splat_int(step);                                                      \
                UNROLL for (int v = 0; v < wide; v++) sums[r * wide + v] =                         \
                    add(sums[r * wide + v], vectors[v], splat);                                    \
            }                                                                                      \
        }                                                                                          \
    }
PASS(pass_codes, vi, add_codes)
PASS(pass_floats, vf, add_floats)

INLINE void multiply_codes(blocks *b, const nib_args *a, const panels *p, const piece *part,
                           const x_rows *x, nib_i64 m, int r0, int first, int form, int rows,
                           int wide)
{
    nib_i64 codes = step_codes(form), from = (part->from - part->block) / codes;
    vi sums[MOST_PASS];
    pass_codes(sums, b, part, r0, first, place_of(b, first, from, wide),
               b->x + r0 * X_PITCH + from * 4, (part->to - part->from) / codes, rows, wide);
    UNROLL for (int v = 0; v < wide; v++)
    {
        vf scales = load_scales(p, part->g, first + v);
        vi zeros = load_zeros(p, a, part->g, first + v) - panel_half(a);
        UNROLL for (int r = 0; r < rows; r++)
        {
            vi sum = sums[r * wide + v];
            if (part->ends) end_codes(b, a, p, part, x, m, r0 + r, first + v, sum, zeros, scales);
            else v_store(&b->open[r0 + r][(first + v) * LANES], sum);
        }
    }
}

INLINE void multiply_floats(blocks *b, const nib_args *a, const panels *p, const piece *part,
                            int r0, int first, int form, int rows, int wide)
{
    nib_i64 codes = step_codes(form), from = (part->from - part->block) / codes;
    vf sums[MOST_PASS];
    pass_floats(sums, b, part, r0, first, place_of(b, first, from, wide),
                b->x + r0 * X_PITCH + from * 4, (part->to - part->from) / codes, rows, wide);
    UNROLL for (int v = 0; v < wide; v++)
    {
        vf scales = load_scales(p, part->g, first + v);
        UNROLL for (int r = 0; r < rows; r++)
            end_floats(b, a, p, part, r0 + r, first + v, sums[r * wide + v], scales);
    }
}

/* ---- items ---- */

/* One block of columns, for `count` rows of the tile. */
INLINE void add_block(blocks *b, void *const span[NIB_HOST_SPANS], const nib_args *a,
                      const panels *p, nib_i64 m, int count, nib_i64 block, int form, int rows,
                      int wide)
{
    nib_i64 stop = min_i64(a->p.pack_cols, block + STEPS * step_codes(form));
    nib_i64 size = form == STEP_F32 ? 4 : 1;
    const nib_u8 *from = (const nib_u8 *)span[NIB_X] + m * a->p.pack_cols * size;
    x_rows x = x_rows_of(span[NIB_X], a);
    piece part = {0};
    for (int r = 0; r < count; r++)
        lay_row(b, a, from + r * a->p.pack_cols * size, r, block, stop, form);
    for (nib_i64 k = block; k < stop; k = part.to) {
        part = piece_at(a, k == block ? 0 : part.index + 1, k, block, stop);
        if (a->p.pack_bits == 4) lay_piece(b, p, a, &part, form, wide, 4);
        else lay_piece(b, p, a, &part, form, wide, 8);
        if (form == STEP_I16 && a->p.x_zeros) total_piece(b, &part, wide);
    }
    for (int first = 0; first < b->vectors; first += wide)
        for (int r = 0; r < count; r += rows)
            for (nib_i64 k = block; k < stop; k = part.to) {
                part = piece_at(a, k == block ? 0 : part.index + 1, k, block, stop);
                if (form == STEP_F32) multiply_floats(b, a, p, &part, r, first, form, rows, wide);
                else multiply_codes(b, a, p, &part, &x, m, r, first, form, rows, wide);
            }
}

INLINE void large_item(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 item, int form,
                       int rows, int wide)
{
    blocks *b = span[NIB_SCRATCH];
    nib_i64 tiles = (a->rows + TILE_N - 1) / TILE_N;
    nib_i64 m = item / tiles * TILE_M, n = item % tiles * TILE_N;
    int count = (int)min_i64(TILE_M, a->p.m - m), whole = (count + rows - 1) / rows * rows;
    panels p = panels_at(span, a, n / PANEL_ROWS);
    b->vectors = (int)min_i64(TILE_N, a->p.pack_rows - n) / LANES;
    memset(b->totals, 0, (size_t)whole * sizeof b->totals[0]);
    for (nib_i64 k = 0; k < a->p.pack_cols; k += STEPS * step_codes(form))
        add_block(b, span, a, &p, m, whole, k, form, rows, wide);
    x_rows x = x_rows_of(span[NIB_X], a);
    for (int r = 0; r < count; r++)
        for (int v = 0; v < b->vectors; v++)
            end_row(span, a, m + r, n + v * LANES, (vf)v_load(&b->totals[r][v * LANES]),
                    form == STEP_F32 ? NULL : &x.scales[m + r]);
}

#define LARGE_KERNEL(name, form, pass_rows, wide)                                                  \
    NIB_CPU_KERNEL(name)                                                                           \
    {                                                                                              \
        for (nib_i64 item = begin; item < end; item++)                                             \
            large_item(span, args, item, form, pass_rows, wide);                                   \
    }

#endif
