/* matmul.h - what the cpu's matmul kernels share: codes and cells of planes as packs want them, and
 * rows of x prepared element by element. */
#ifndef NIB_CPU_MATMUL_H
#define NIB_CPU_MATMUL_H

#include "../common/acts.h"
#include "access.h"

/* ---- weights ---- */

/* w' = u - 2^(bits-1) of element (n, k); 0 outside the matrix. */
static inline nib_i32 packed_code(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 n,
                                  nib_i64 k)
{
    if (n >= a->rows || k >= a->cols) return 0;
    return (nib_i32)load_bits(span[NIB_CODES], a->codes, n, k) - (1 << (a->bits - 1));
}

/* Writes scale and offset of group g of row n as number `at` of their sections, in f32 and int8;
 * zeros where there is no such row. A cell that decodes to NaN gets the scale NaN. */
static inline void pack_cell(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 n,
                             nib_i64 g, nib_i64 at)
{
    nib_u8 *to = span[NIB_Y];
    cell_decode c = {0.0f, 0.0f, 1 << (a->bits - 1)};
    if (n < a->rows) c = load_cell(span, a, n % a->period, g);
    if (!nib_is_finite(c.scale) || !nib_is_finite(c.min)) c.scale = NIB_BITS_F32(NIB_QNAN_F32);
    ((float *)(void *)(to + a->p.scales_at))[at] = c.scale;
    if (a->offset == NIB_O_MIN) ((float *)(void *)(to + a->p.offsets_at))[at] = c.min;
    if (a->offset == NIB_O_ZERO)
        ((int8_t *)(to + a->p.offsets_at))[at] = (int8_t)(c.zero - (1 << (a->bits - 1)));
}

/* ---- activations ---- */

/* The range of row m of x; *poisoned_ret: it holds a NaN or an infinity. */
static inline void row_range(const void *x, const nib_args *a, float *min_ret, float *max_ret,
                             int *poisoned_ret)
{
    float min = INFINITY, max = -INFINITY;
    int poisoned = 0;
    for (nib_i64 k = 0; k < a->cols; k++) {
        float value = load_element(x, a->x_type, k);
        poisoned |= !nib_is_finite(value);
        value = nib_admit(value, NIB_N_ERROR, a->x_type);
        if (value < min) min = value;
        if (value > max) max = value;
    }
    *min_ret = min, *max_ret = max, *poisoned_ret = poisoned;
}

/* Row m of x as int8 codes, with its scale, zero point and sums. Rows behind the last are zero. */
static inline void prepare_codes(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 m)
{
    nib_u8 *out = span[NIB_OUT];
    nib_i64 x_bytes = a->x_type == NIB_T_I8 ? 1 : NIB_X_BYTES(a->x_type);
    const void *x = (const nib_u8 *)span[NIB_X] + m * a->p.x_pitch * x_bytes;
    int8_t *codes = (int8_t *)out + m * a->p.pack_cols;
    nib_cell c = nib_acts_given(0.0f, 0);
    float scale = 0.0f, min, max;
    nib_i64 at = a->p.x_one ? 0 : m, cols = m < a->p.m ? a->cols : 0;
    int poisoned = 0;
    if (cols && a->p.acts != NIB_A_CODES) row_range(x, a, &min, &max, &poisoned);
    if (cols && a->p.acts == NIB_A_DYNAMIC) {
        c = nib_acts_cell(a->p.x_zeros, min, max);
        if (poisoned) c.zero = 0.0f;
        scale = c.scale;
    } else if (cols) {
        scale = ((const float *)span[NIB_SCALES])[at];
        c = nib_acts_given(scale, a->p.x_zeros ? ((const nib_i32 *)span[NIB_OFFSETS])[at] : 0);
    }
    for (nib_i64 k = 0; k < a->p.pack_cols; k++) {
        if (k >= cols || poisoned) codes[k] = 0;
        else if (a->p.acts == NIB_A_CODES) codes[k] = ((const int8_t *)x)[k];
        else
            codes[k] = (int8_t)nib_acts_code(
                c, nib_admit(load_element(x, a->x_type, k), NIB_N_ERROR, a->x_type));
    }
    ((float *)(void *)(out + NIB_X_SCALES_AT(*a)))[m] =
        poisoned ? NIB_BITS_F32(NIB_QNAN_F32) : scale;
    ((nib_i32 *)(void *)(out + NIB_X_ZEROS_AT(*a)))[m] = (nib_i32)c.zero;
    if (a->offset == NIB_O_NONE) return;
    nib_i32 *sums = (nib_i32 *)(void *)(out + NIB_X_SUMS_AT(*a)) + m * a->scale_cols;
    for (nib_i64 g = 0; g < a->scale_cols; g++) {
        sums[g] = 0;
        for (nib_i64 k = g * a->group; k < min_i64(a->cols, (g + 1) * a->group); k++)
            sums[g] += codes[k];
    }
}

/* Row m of x in the type that the kernel multiplies, zeros behind it. */
static inline void prepare_row(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 m)
{
    if (a->p.x_form == NIB_T_I8) {
        prepare_codes(span, a, m);
        return;
    }
    nib_i64 cols = m < a->p.m ? a->cols : 0, to = m * a->p.pack_cols;
    for (nib_i64 k = 0; k < cols; k++)
        store_element(span[NIB_OUT], a->p.x_form, to + k,
                      load_element(span[NIB_X], a->x_type, m * a->p.x_pitch + k));
    for (nib_i64 k = cols; k < a->p.pack_cols; k++)
        store_element(span[NIB_OUT], a->p.x_form, to + k, 0.0f);
}

#endif
