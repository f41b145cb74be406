/* matmul_small_codes_simd.h - few rows of int8 x: matmul_small_simd.h with the products of x_codes,
 * dot_bytes and dot_nibbles (matmul_avx2.c). Bound: reading the weights once. */
#ifndef NIB_CPU_MATMUL_SMALL_CODES_SIMD_H
#define NIB_CPU_MATMUL_SMALL_CODES_SIMD_H

#include "matmul_small_simd.h"

/* Adds the products of columns from..to-1, `vectors` vectors by `rows` rows. */
INLINE void add_dots(vi *sums, const panels *p, int first, const int8_t *x, nib_i64 pitch,
                     nib_i64 from, nib_i64 to, int rows, int vectors, int bits)
{
    int step = bits == 4 ? 8 : 4;
    nib_i64 at = from / step * PANEL_BLOCK, ahead = ahead_of(p, at);
    for (nib_i64 k = from; k < to; k += step, at += PANEL_BLOCK) {
        UNROLL for (int v = 0; v < vectors; v++)
        {
            const nib_u8 *block = codes_of(p, first + v) + at;
            vi w = v_load(block);
            fetch(block + ahead, v);
            UNROLL for (int r = 0; r < rows; r++)
            {
                const int8_t *codes = x + r * pitch + k;
                vi *sum = &sums[r * vectors + v];
                if (bits == 8) *sum = dot_bytes(*sum, w, x_codes(codes));
                else *sum = dot_nibbles(*sum, w, x_codes(codes), x_codes(codes + 4));
            }
        }
    }
}

/* Sums of the packed codes of columns from..to-1: what zero points of x multiply. */
INLINE vi total_packed(const panels *p, int v, nib_i64 from, nib_i64 to, int bits)
{
    static const int8_t ones[4] = {1, 1, 1, 1};
    int step = bits == 4 ? 8 : 4;
    xcodes one = x_codes(ones);
    vi sum = v_splat_int(0);
    for (nib_i64 k = from; k < to; k += step) {
        vi w = v_load(codes_of(p, v) + k / step * PANEL_BLOCK);
        sum = bits == 8 ? dot_bytes(sum, w, one) : dot_nibbles(sum, w, one, one);
    }
    return sum;
}

INLINE void codes_tile(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 m, nib_i64 n,
                       const panels *p, int first, int rows, int vectors, int bits)
{
    x_rows x = x_rows_of(span[NIB_X], a);
    vf totals[MOST_SUMS];
    UNROLL for (int i = 0; i < rows * vectors; i++) totals[i] = v_splat(0.0f);
    for (nib_i64 g = 0; g < a->scale_cols; g++) {
        nib_i64 from = g * a->group, to = group_end(a, g);
        const int8_t *codes = x.codes + m * a->p.pack_cols;
        vi sums[MOST_SUMS];
        nib_i32 ones[MOST_ROWS];
        UNROLL for (int i = 0; i < rows * vectors; i++) sums[i] = v_splat_int(0);
        UNROLL for (int r = 0; r < rows; r++) ones[r] =
            total_codes(codes + r * a->p.pack_cols + from, to - from) -
            wrap_mul(x.zeros[m + r], group_count(a, g));
        add_dots(sums, p, first, codes, a->p.pack_cols, from, to, rows, vectors, bits);
        UNROLL for (int v = 0; v < vectors; v++)
        {
            vi zeros = load_zeros(p, a, g, first + v);
            vf scales = load_scales(p, g, first + v);
            vi packed = a->p.x_zeros ? total_packed(p, first + v, from, to, bits) : v_splat_int(0);
            UNROLL for (int r = 0; r < rows; r++)
            {
                vf *total = &totals[r * vectors + v];
                vi dot = v_wrap_sub(sums[r * vectors + v], v_wrap_mul(zeros, ones[r]));
                dot = v_wrap_sub(dot, v_wrap_mul(packed, x.zeros[m + r]));
                *total = g ? v_fma(v_convert(dot), scales, *total) : v_convert(dot) * scales;
                if (a->offset == NIB_O_MIN)
                    *total = v_fma(v_splat((float)ones[r]), load_mins(p, g, first + v), *total);
            }
        }
    }
    for (int r = 0; r < rows && m + r < a->p.m; r++)
        for (int v = 0; v < vectors; v++)
            end_row(span, a, m + r, n + v * LANES, totals[r * vectors + v], &x.scales[m + r]);
}

INLINE void codes_item(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 m, nib_i64 n,
                       const panels *p, int first, int rows, int vectors)
{
    if (a->p.pack_bits == 4) codes_tile(span, a, m, n, p, first, rows, vectors, 4);
    else codes_tile(span, a, m, n, p, first, rows, vectors, 8);
}

#endif
