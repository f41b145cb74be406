/* matmul_small_simd.h - products of few rows of x: codes go from memory into the sums (AVX2).
 *
 *   4 panels (panel.h) x 1 to 4 rows of x at once  ->  y [rows, 64]
 *
 * Bound: reading the weights once. A thread reads several panels at once, since one stream of
 * memory is slower than four, and asks for lines AHEAD bytes before it needs them; behind a
 * panel's end those are the next item's. */
#ifndef NIB_CPU_MATMUL_SMALL_SIMD_H
#define NIB_CPU_MATMUL_SMALL_SIMD_H

#include "matmul_simd.h"

enum { AHEAD = 1024, MOST_SUMS = 8, MOST_ROWS = 4 };

/* How far ahead of block `at` of a panel to fetch: past its end, in the panel of the next item. */
INLINE nib_i64 ahead_of(const panels *p, nib_i64 at)
{
    return AHEAD + (at + AHEAD < p->code_step ? 0 : (ITEM_PANELS - 1) * p->code_step);
}

INLINE void fetch(const nib_u8 *p, int v)
{
    if (v % VECTORS == 0) _mm_prefetch((const char *)p, _MM_HINT_T0);
}

/* A kernel for tiles of `tile_rows` rows of x and 64 of W: `vectors` vectors of W meet `at_once`
 * rows after the other while they are in the cache. */
#define SMALL_KERNEL(name, item_of, tile_rows, at_once, vectors)                                   \
    NIB_CPU_KERNEL(name)                                                                           \
    {                                                                                              \
        const nib_args *a = args;                                                                  \
        nib_i64 tiles = (a->rows + ITEM_ROWS - 1) / ITEM_ROWS;                                     \
        for (nib_i64 item = begin; item < end; item++) {                                           \
            nib_i64 m = item / tiles * tile_rows, n = item % tiles * ITEM_ROWS;                    \
            panels p = panels_at(span, a, n / PANEL_ROWS);                                         \
            for (int first = 0; first < ITEM_VECTORS; first += vectors)                            \
                for (int r = 0; r < tile_rows && m + r < a->p.m; r += at_once)                     \
                    item_of(span, a, m + r, n + first * LANES, &p, first, at_once, vectors);       \
        }                                                                                          \
    }

#endif
