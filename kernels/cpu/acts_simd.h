/* acts_simd.h - rows of x prepared for products (prepare_row of matmul.h, LANES elements at a
 * time); one text for each vec_*.h.
 *
 *   x [M, K]  ->  codes int8, or x in another type, [x_rows][pack_cols] | scales, zeros, sums
 *
 * Bound: reading x twice, the second time from the cache. True divisions are cheap enough here:
 * a row is read by every panel of W, and prepared once. */
#include "kernels.h"
#include "lanes_simd.h"
#include "matmul.h"

#include <string.h>

typedef signed char codes_of_lanes __attribute__((vector_size(LANES)));

/* Elements k.. of a row, zeros behind the last. */
INLINE vf load_part(const nib_u8 *x, int type, nib_i64 k, nib_i64 cols)
{
    nib_u8 part[4 * LANES] = {0};
    nib_i64 size = type == NIB_T_F32 ? 4 : 2;
    if (k + LANES <= cols) return v_from_type(v_load_raw(x + k * size, type), type);
    memcpy(part, x + k * size, (size_t)((cols - k) * size));
    return v_from_type(v_load_raw(part, type), type);
}

/* The range of a row, with 0 in it, as both rules of section 9 have it; *poisoned_ret as
 * row_range. */
INLINE void lanes_range(const nib_u8 *x, int type, nib_i64 cols, float *min_ret, float *max_ret,
                        int *poisoned_ret)
{
    vf low = v_splat(0.0f), high = low;
    vi poisoned = v_splat_int(0);
    for (nib_i64 k = 0; k < cols; k += LANES) {
        vf v = load_part(x, type, k, cols);
        poisoned |= ((vi)v & 0x7fffffff) >= 0x7f800000;
        v = v_flush(v);
        low = v_below(v, low);
        high = v_above(v, high);
    }
    *poisoned_ret = v_mask(poisoned) != 0;
    *min_ret = -v_largest(-low);
    *max_ret = v_largest(high);
}

INLINE void lanes_codes(int8_t *codes, const nib_u8 *x, int type, nib_i64 cols, nib_cell c)
{
    vf s = v_splat(c.scale), z = v_splat(c.zero), low = v_splat(c.low), high = v_splat(c.high);
    for (nib_i64 k = 0; k < cols; k += LANES) {
        vf v = v_flush(load_part(x, type, k, cols)) / s + z;
        v = v_rint(v_select(v < low, low, v_select(v > high, high, v)));
        codes_of_lanes part =
            __builtin_convertvector(__builtin_convertvector(v, vi), codes_of_lanes);
        memcpy(codes + k, &part, k + LANES <= cols ? LANES : (size_t)(cols - k));
    }
}

/* A row of x as codes; whether it holds a NaN or an infinity. */
INLINE int lanes_row(int8_t *codes, const nib_u8 *x, int type, const nib_args *a, nib_cell *c)
{
    float min, max;
    int poisoned;
    lanes_range(x, type, a->cols, &min, &max, &poisoned);
    if (a->p.acts == NIB_A_DYNAMIC) *c = nib_acts_cell(a->p.x_zeros, min, max);
    if (poisoned) memset(codes, 0, (size_t)a->cols);
    else if (c->scale == 0.0f) memset(codes, (int)c->zero, (size_t)a->cols);
    else lanes_codes(codes, x, type, a->cols, *c);
    return poisoned;
}

static void lanes_sums(nib_i32 *sums, const int8_t *codes, const nib_args *a)
{
    for (nib_i64 g = 0; g < a->scale_cols; g++) {
        nib_i64 stop = min_i64(a->cols, (g + 1) * a->group);
        nib_i32 sum = 0;
        for (nib_i64 k = g * a->group; k < stop; k++) sum += codes[k];
        sums[g] = sum;
    }
}

static void lanes_prepare_codes(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 m)
{
    nib_u8 *out = span[NIB_OUT];
    nib_i64 x_bytes = a->p.acts == NIB_A_CODES ? 1 : NIB_X_BYTES(a->x_type);
    const nib_u8 *x = (const nib_u8 *)span[NIB_X] + m * a->p.x_pitch * x_bytes;
    int8_t *codes = (int8_t *)out + m * a->p.pack_cols;
    nib_i64 at = a->p.x_one ? 0 : m;
    nib_cell c = nib_acts_given(0.0f, 0);
    float scale = 0.0f;
    int poisoned = 0;
    if (a->p.acts != NIB_A_DYNAMIC) {
        scale = ((const float *)span[NIB_SCALES])[at];
        c = nib_acts_given(scale, a->p.x_zeros ? ((const nib_i32 *)span[NIB_OFFSETS])[at] : 0);
    }
    if (a->p.acts == NIB_A_CODES) memcpy(codes, x, (size_t)a->cols);
    else if (a->x_type == NIB_T_F32) poisoned = lanes_row(codes, x, NIB_T_F32, a, &c);
    else if (a->x_type == NIB_T_F16) poisoned = lanes_row(codes, x, NIB_T_F16, a, &c);
    else poisoned = lanes_row(codes, x, NIB_T_BF16, a, &c);
    memset(codes + a->cols, 0, (size_t)(a->p.pack_cols - a->cols));
    if (a->p.acts == NIB_A_DYNAMIC) scale = c.scale;
    if (poisoned) scale = NIB_BITS_F32(NIB_QNAN_F32);
    if (poisoned && a->p.acts == NIB_A_DYNAMIC) c.zero = 0.0f;
    ((float *)(void *)(out + NIB_X_SCALES_AT(*a)))[m] = scale;
    ((nib_i32 *)(void *)(out + NIB_X_ZEROS_AT(*a)))[m] = (nib_i32)c.zero;
    if (a->offset != NIB_O_NONE)
        lanes_sums((nib_i32 *)(void *)(out + NIB_X_SUMS_AT(*a)) + m * a->scale_cols, codes, a);
}

INLINE void widen_row(float *to, const nib_u8 *x, int type, nib_i64 cols)
{
    for (nib_i64 k = 0; k < cols; k += LANES) {
        vf v = load_part(x, type, k, cols);
        memcpy(to + k, &v, k + LANES <= cols ? sizeof v : (size_t)(cols - k) * sizeof *to);
    }
}

/* A row in f32, or in its own type. */
static void lanes_prepare_row(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 m)
{
    nib_i64 size = NIB_X_BYTES(a->p.x_form), from = NIB_X_BYTES(a->x_type);
    const nib_u8 *x = (const nib_u8 *)span[NIB_X] + m * a->p.x_pitch * from;
    nib_u8 *to = (nib_u8 *)span[NIB_OUT] + m * a->p.pack_cols * size;
    if (a->x_type == a->p.x_form) memcpy(to, x, (size_t)(a->cols * size));
    else if (a->x_type == NIB_T_F16) widen_row((float *)(void *)to, x, NIB_T_F16, a->cols);
    else widen_row((float *)(void *)to, x, NIB_T_BF16, a->cols);
    memset(to + a->cols * size, 0, (size_t)((a->p.pack_cols - a->cols) * size));
}

NIB_CPU_KERNEL(ISA(nib_cpu_acts))
{
    const nib_args *a = args;
    for (nib_i64 m = begin; m < end; m++) {
        int widens = a->x_type == a->p.x_form || a->p.x_form == NIB_T_F32;
        if (m >= a->p.m || a->cols == 0 || (a->p.x_form != NIB_T_I8 && !widens))
            prepare_row(span, a, m);
        else if (a->p.x_form == NIB_T_I8) lanes_prepare_codes(span, a, m);
        else lanes_prepare_row(span, a, m);
    }
}
