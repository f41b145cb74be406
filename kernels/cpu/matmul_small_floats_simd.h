/* matmul_small_floats_simd.h - few rows of f32 x: matmul_small_simd.h with codes made f32 on the
 * way, exactly. Bound: reading the weights once, up to two rows; from there, making values of
 * codes and the products. */
#ifndef NIB_CPU_MATMUL_SMALL_FLOATS_SIMD_H
#define NIB_CPU_MATMUL_SMALL_FLOATS_SIMD_H

#include "matmul_small_simd.h"

/* `zeros`: what is subtracted from the codes of each vector. Sums are kept twice where there are
 * few, for even and for odd columns: a chain of additions is slower than reading. */
INLINE void add_products(vf *sums, const panels *p, int first, const vi *zeros, const float *x,
                         nib_i64 pitch, nib_i64 from, nib_i64 to, int rows, int vectors, int bits)
{
    int step = bits == 4 ? 8 : 4;
    nib_i64 at = from / step * PANEL_BLOCK, ahead = ahead_of(p, at);
    for (nib_i64 k = from; k < to; k += step, at += PANEL_BLOCK) {
        UNROLL for (int v = 0; v < vectors; v++) fetch(codes_of(p, first + v) + at + ahead, v);
        UNROLL for (int j = 0; j < step; j++)
        {
            int shift = bits == 4 ? nibble_at(j) : 8 * j;
            UNROLL for (int v = 0; v < vectors; v++)
            {
                vi w = v_load(codes_of(p, first + v) + at);
                vu code = (vu)w >> shift & (bits == 4 ? 15u : 255u);
                vf value = v_convert((vi)code - zeros[v]);
                UNROLL for (int r = 0; r < rows; r++)
                {
                    vf *sum = &sums[(j * rows * vectors + r * vectors + v) % MOST_SUMS];
                    *sum = v_fma(value, v_splat(x[r * pitch + k + j]), *sum);
                }
            }
        }
    }
}

INLINE void floats_tile(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 m, nib_i64 n,
                        const panels *p, int first, int rows, int vectors, int bits)
{
    const float *x = (const float *)span[NIB_X] + m * a->p.pack_cols;
    vf totals[MOST_SUMS];
    UNROLL for (int i = 0; i < rows * vectors; i++) totals[i] = v_splat(0.0f);
    for (nib_i64 g = 0; g < a->scale_cols; g++) {
        nib_i64 from = g * a->group, to = group_end(a, g);
        vf sums[MOST_SUMS];
        vi zeros[ITEM_VECTORS];
        UNROLL for (int i = 0; i < MOST_SUMS; i++) sums[i] = v_splat(0.0f);
        UNROLL for (int v = 0; v < vectors; v++) zeros[v] = load_zeros(p, a, g, first + v);
        add_products(sums, p, first, zeros, x, a->p.pack_cols, from, to, rows, vectors, bits);
        UNROLL for (int i = rows * vectors; i < MOST_SUMS; i++) sums[i % (rows * vectors)] +=
            sums[i];
        UNROLL for (int v = 0; v < vectors; v++)
        {
            vf scales = load_scales(p, g, first + v);
            UNROLL for (int r = 0; r < rows; r++)
            {
                vf *total = &totals[r * vectors + v];
                *total = v_fma(sums[r * vectors + v], scales, *total);
                if (a->offset != NIB_O_MIN) continue;
                vf ones = v_splat(total_floats(x + r * a->p.pack_cols + from, to - from));
                *total = v_fma(ones, load_mins(p, g, first + v), *total);
            }
        }
    }
    for (int r = 0; r < rows && m + r < a->p.m; r++)
        for (int v = 0; v < vectors; v++)
            end_row(span, a, m + r, n + v * LANES, totals[r * vectors + v], NULL);
}

INLINE void floats_item(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 m, nib_i64 n,
                        const panels *p, int first, int rows, int vectors)
{
    if (a->p.pack_bits == 8) floats_tile(span, a, m, n, p, first, rows, vectors, 8);
    else floats_tile(span, a, m, n, p, first, rows, vectors, 4);
}

#endif
