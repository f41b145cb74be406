/* matmul_simd.h - what products on AVX2 (matmul_small_*.h, matmul_large_simd.h) and on 512-bit
 * vectors (matmul_direct_512.h) share: vectors of a panel, a group's scales, pieces of columns,
 * and the end of a row of y. Over either vec_*.h. */
#ifndef NIB_CPU_MATMUL_SIMD_H
#define NIB_CPU_MATMUL_SIMD_H

#include "kernels.h"
#include "lanes_simd.h"
#include "panel.h"

#include <string.h>

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* What a step holds in its 4 bytes: of x, or of laid-out weights. */
enum { STEP_S8, STEP_I16, STEP_BF16, STEP_F32 };

enum { VECTORS = PANEL_ROWS / LANES /* in a panel */, ITEM_VECTORS = ITEM_PANELS * VECTORS };

INLINE vi v_load(const void *p)
{
    vi v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void v_store(void *p, vi v) { memcpy(p, &v, sizeof v); }
INLINE vf v_convert(vi v) { return __builtin_convertvector(v, vf); }

/* Sums wrap on the way to totals that hold (docs/numerics.md section 9). */
INLINE vi v_wrap_add(vi a, vi b) { return (vi)((vu)a + (vu)b); }
INLINE vi v_wrap_sub(vi a, vi b) { return (vi)((vu)a - (vu)b); }
INLINE vi v_wrap_mul(vi a, nib_i32 b) { return (vi)((vu)a * (nib_u32)b); }
INLINE nib_i32 wrap_mul(nib_i32 a, nib_i32 b) { return (nib_i32)((nib_u32)a * (nib_u32)b); }

/* ---- weights: vector v of an item's 64 rows ---- */

INLINE const nib_u8 *codes_of(const panels *p, int v)
{
    return p->codes + v / VECTORS * p->code_step + v % VECTORS * (LANES * 4);
}

/* LANES scales or mins of group g. */
INLINE vf load_params(const nib_u8 *section, const panels *p, nib_i64 step, nib_i64 g, int v)
{
    const nib_u8 *from = section + v / VECTORS * step + g * p->scale_bytes +
                         v % VECTORS * (p->scale_bytes / VECTORS);
    return v_from_type(v_load_raw(from, p->scale_type), p->scale_type);
}
INLINE vf load_scales(const panels *p, nib_i64 g, int v)
{
    return load_params(p->scales, p, p->scale_step, g, v);
}
INLINE vf load_mins(const panels *p, nib_i64 g, int v)
{
    return load_params(p->offsets, p, p->offset_step, g, v);
}

/* What u - z subtracts from unsigned packed codes. */
INLINE vi load_zeros(const panels *p, const nib_args *a, nib_i64 g, int v)
{
    if (a->offset != NIB_O_ZERO) return v_splat_int(panel_base(a));
    int8_t zeros[LANES];
    vi wide;
    memcpy(zeros, p->offsets + v / VECTORS * p->offset_step + g * PANEL_ROWS + v % VECTORS * LANES,
           LANES);
    for (int i = 0; i < LANES; i++) wide[i] = zeros[i];
    return wide + panel_base(a);
}

/* ---- blocks of columns ---- */

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

/* ---- activations ---- */

INLINE nib_i32 total_codes(const int8_t *x, nib_i64 count)
{
    nib_i32 total = 0;
    for (nib_i64 k = 0; k < count; k++) total += x[k];
    return total;
}

INLINE float total_floats(const float *x, nib_i64 count)
{
    vf sum = v_splat(0.0f);
    nib_i64 k = 0;
    for (; k + LANES <= count; k += LANES) sum += (vf)v_load(x + k);
    float total = v_meet(sum);
    for (; k < count; k++) total += x[k];
    return total;
}

INLINE float total_bf16(const nib_u16 *x, nib_i64 count)
{
    vf sum = v_splat(0.0f);
    nib_i64 k = 0;
    for (; k + 2 * LANES <= count; k += 2 * LANES) {
        vi pairs = v_load(x + k);
        sum += (vf)(pairs << 16) + (vf)(pairs & (int)0xffff0000);
    }
    float total = v_meet(sum);
    for (; k < count; k++) total += NIB_BITS_F32((nib_u32)x[k] << 16);
    return total;
}

/* Codes as 16-bit numbers. */
INLINE void widen_codes(int16_t *to, const int8_t *x, nib_i64 count)
{
    for (nib_i64 k = 0; k < count; k++) to[k] = x[k];
}

/* Rows of prepared int8 x. */
typedef struct x_rows {
    const int8_t *codes;
    const float *scales;
    const nib_i32 *zeros, *sums;
} x_rows;

INLINE x_rows x_rows_of(const void *x, const nib_args *a)
{
    const nib_u8 *from = x;
    return (x_rows){(const int8_t *)from, (const float *)(const void *)(from + NIB_X_SCALES_AT(*a)),
                    (const nib_i32 *)(const void *)(from + NIB_X_ZEROS_AT(*a)),
                    (const nib_i32 *)(const void *)(from + NIB_X_SUMS_AT(*a))};
}

/* ---- results ---- */

/* NaN stays one in every type. */
INLINE void store_lanes(nib_u8 *y, vf sums, int type)
{
    vi quiet = type == NIB_T_BF16 ? v_splat_int(0x7fc0) : (vi)sums | 0x400000;
    if (type == NIB_T_F16) v_store_raw(y, v_to_type(sums, type), type);
    else v_store_raw(y, (vi)v_select(v_is_nan(sums), (vf)quiet, (vf)v_to_type(sums, type)), type);
}

/* y[m, n..] = sums * x_scale + bias: one rounding each, in this order. */
INLINE void end_row(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 m, nib_i64 n,
                    vf sums, const float *x_scale)
{
    float parts[LANES];
    nib_i64 size = a->y_type == NIB_T_F32 ? 4 : 2, bias_size = a->p.bias_type == NIB_T_F32 ? 4 : 2;
    nib_u8 *y = (nib_u8 *)span[NIB_Y] + (m * a->p.y_pitch + n) * size;
    const nib_u8 *bias = span[NIB_BIAS];
    if (x_scale) sums *= *x_scale;
    if (n + LANES <= a->rows) {
        if (a->p.bias_type)
            sums += v_from_type(v_load_raw(bias + n * bias_size, a->p.bias_type), a->p.bias_type);
        store_lanes(y, sums, a->y_type);
        return;
    }
    v_store(parts, (vi)sums);
    for (nib_i64 i = 0; n + i < a->rows; i++) {
        if (a->p.bias_type) parts[i] += load_element(bias, a->p.bias_type, n + i);
        store_element(y, a->y_type, i, parts[i]);
    }
}

#endif
