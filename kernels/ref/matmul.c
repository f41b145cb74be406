/* matmul.c - the reference of a matmul: packed weights one byte a code, prepared x, and sums in
 * double or in exact integers. docs/numerics.md section 9.
 *
 *   packed   codes w' = u - 2^(bits-1) as int8 [N][K] | scales f32 [N][G] | z' int8 or mins f32 [N][G] |
 *            sums of w' over each group, int32 [N][G] */
#include "witness.h"

#include <math.h>

/* ---- weights ---- */

NIB_REF_KERNEL(nib_ref_pack)
{
    (void)begin, (void)end;
    char *to = span[NIB_Y];
    int64_t half = 1 << (a->bits - 1);
    for (int64_t n = 0; n < a->rows; n++)
        for (int64_t g = 0; g < a->scale_cols; g++) {
            int64_t at = n * a->scale_cols + g, p = n % a->period, cell = p * a->scale_cols + g;
            float s = nib_ref_read(span[NIB_SCALES], a->scale_type, cell), m = 0.0f;
            if (a->offset == NIB_O_MIN) m = nib_ref_read(span[NIB_OFFSETS], a->scale_type, cell);
            if (!isfinite(s) || !isfinite(m)) s = nib_ref_float(0x7fc00000u);
            ((float *)(to + a->p.scales_at))[at] = s;
            if (a->offset == NIB_O_MIN) ((float *)(to + a->p.offsets_at))[at] = m;
            if (a->offset == NIB_O_ZERO)
                ((int8_t *)(to + a->p.offsets_at))[at] =
                    (int8_t)(nib_ref_get(span[NIB_OFFSETS], &a->other, p, g) - half);
            int32_t sum = 0;
            for (int64_t k = g * a->group; k < a->cols && k < (g + 1) * a->group; k++) {
                int64_t w = nib_ref_get(span[NIB_CODES], &a->codes, n, k) - half;
                ((int8_t *)to)[n * a->cols + k] = (int8_t)w;
                sum += (int32_t)w;
            }
            ((int32_t *)(to + a->p.sums_at))[at] = sum;
        }
}

/* One row of packed weights. */
typedef struct weights {
    const int8_t *code;
    const float *scale, *min;
    const int8_t *zero;
    double half;
} weights;

static weights row_of(void *const span[NIB_HOST_SPANS], const nib_args *a, int64_t n)
{
    const char *from = span[NIB_WEIGHTS];
    int64_t at = n * a->scale_cols;
    weights w = {.code = (const int8_t *)from + n * a->cols, .half = ldexp(1.0, a->bits - 1)};
    w.scale = (const float *)(from + a->p.scales_at) + at;
    if (a->offset == NIB_O_MIN) w.min = (const float *)(from + a->p.offsets_at) + at;
    if (a->offset == NIB_O_ZERO) w.zero = (const int8_t *)(from + a->p.offsets_at) + at;
    return w;
}

/* u - z of a code, or u where there are mins. */
static double centred(const weights *w, int64_t k, int64_t g)
{
    if (w->min) return w->code[k] + w->half;
    return w->zero ? w->code[k] - w->zero[g] : w->code[k];
}

/* ---- activations ---- */

/* The numbers of quantizing one row of x, as section 3 wants them. */
static nib_args row_args(const nib_args *a)
{
    nib_args row = {.rows = 1, .cols = a->cols, .period = 1, .group = a->cols, .scale_cols = 1};
    row.bits = 8;
    row.x_type = a->x_type;
    row.scale_type = NIB_T_F32;
    row.nonfinite = NIB_N_ERROR;
    row.offset = a->p.x_zeros ? NIB_O_ZERO : NIB_O_NONE;
    row.range = a->p.x_zeros ? NIB_RANGE_SPAN0 : NIB_RANGE_ABS;
    row.divisor = a->p.x_zeros ? NIB_DIVISOR_LEVELS : NIB_DIVISOR_HALF;
    row.low = a->p.x_zeros ? 0 : 1;
    row.empty = a->p.x_zeros ? NIB_EMPTY_EPS : NIB_EMPTY_ZERO;
    return row;
}

/* Scale and zero point of row `m`, and what encodes it. */
static nib_ref_group measure(void *const span[NIB_HOST_SPANS], const nib_args *a, const void *x,
                             int64_t m)
{
    nib_args row = row_args(a);
    nib_ref_group g = {0};
    if (a->p.acts != NIB_A_CODES) g = nib_ref_measure(x, &row, 0, 0);
    if (a->p.acts == NIB_A_DYNAMIC) {
        nib_ref_parameters(&g, &row);
        if (g.poisoned) g.z = 0.0;
    } else {
        int64_t at = a->p.x_one ? 0 : m;
        g.s = ((const float *)span[NIB_SCALES])[at];
        if (a->p.x_zeros) g.z = ((const int32_t *)span[NIB_OFFSETS])[at];
        g.bias = 128.0, g.low = -128.0, g.high = 127.0;
    }
    return g;
}

static int8_t code_of(const nib_ref_group *g, const nib_args *a, const void *x, int64_t k)
{
    if (a->p.acts == NIB_A_CODES) return ((const int8_t *)x)[k];
    if (g->poisoned) return 0;
    nib_ref_group finite = *g;
    if (!isfinite(g->s) || fabs((double)g->s) < ldexp(1.0, -126)) finite.s = 0.0f;
    float value = nib_ref_admit(nib_ref_read(x, a->x_type, k), a->x_type, NIB_N_ERROR);
    return (int8_t)(nib_ref_code(&finite, value) - 128);
}

static void prepare_codes(void *const span[NIB_HOST_SPANS], const nib_args *a, int64_t m)
{
    char *out = span[NIB_OUT];
    int64_t x_bytes = a->p.acts == NIB_A_CODES ? 1 : a->x_type == NIB_T_F32 ? 4 : 2;
    const char *x = (const char *)span[NIB_X] + m * a->p.x_pitch * x_bytes;
    int real = m < a->p.m && a->cols > 0;
    nib_ref_group g = real ? measure(span, a, x, m) : (nib_ref_group){.s = 0.0f};
    if (g.poisoned) g.s = nib_ref_float(0x7fc00000u);
    ((float *)(out + NIB_X_SCALES_AT(*a)))[m] = g.s;
    ((int32_t *)(out + NIB_X_ZEROS_AT(*a)))[m] = (int32_t)g.z;
    int8_t *codes = (int8_t *)out + m * a->p.pack_cols;
    for (int64_t k = 0; k < a->p.pack_cols; k++)
        codes[k] = real && k < a->cols ? code_of(&g, a, x, k) : 0;
    if (a->offset == NIB_O_NONE) return;
    int32_t *sums = (int32_t *)(out + NIB_X_SUMS_AT(*a)) + m * a->scale_cols;
    for (int64_t c = 0; c < a->scale_cols; c++) {
        sums[c] = 0;
        for (int64_t k = c * a->group; k < a->cols && k < (c + 1) * a->group; k++)
            sums[c] += codes[k];
    }
}

NIB_REF_KERNEL(nib_ref_acts)
{
    (void)begin, (void)end;
    for (int64_t m = 0; m < a->p.x_rows; m++) {
        if (a->p.x_form == NIB_T_I8) {
            prepare_codes(span, a, m);
            continue;
        }
        for (int64_t k = 0; k < a->p.pack_cols; k++) {
            float x = 0.0f;
            if (m < a->p.m && k < a->cols)
                x = nib_ref_read(span[NIB_X], a->x_type, m * a->p.x_pitch + k);
            nib_ref_write(span[NIB_OUT], a->p.x_form, m * a->p.pack_cols + k, x);
        }
    }
}

/* ---- products ---- */

static float finish(void *const span[NIB_HOST_SPANS], const nib_args *a, int64_t n, double sum)
{
    if (!a->p.bias_type) return (float)sum;
    return (float)(sum + (double)nib_ref_read(span[NIB_BIAS], a->p.bias_type, n));
}

NIB_REF_KERNEL(nib_ref_matmul_float)
{
    (void)begin, (void)end;
    for (int64_t m = 0; m < a->p.m; m++)
        for (int64_t n = 0; n < a->rows; n++) {
            weights w = row_of(span, a, n);
            double sum = 0.0;
            for (int64_t k = 0; k < a->cols; k++) {
                int64_t g = k / a->group;
                float decoded = (float)(centred(&w, k, g) * (double)w.scale[g]);
                if (w.min) decoded = (float)((double)decoded + (double)w.min[g]);
                float x = nib_ref_read(span[NIB_X], a->x_type, m * a->p.x_pitch + k);
                sum += (double)decoded * (double)x;
            }
            nib_ref_write(span[NIB_Y], a->y_type, m * a->p.y_pitch + n, finish(span, a, n, sum));
        }
}

/* Where all of a row shares one scale and there are no mins, each step is one rounding, in this
 * order, on every device: to f32, times the scale of w, times the scale of x, plus bias. */
static double scaled(const nib_args *a, const weights *w, const int8_t *x, int32_t x_zero,
                     float x_scale)
{
    double sum = 0.0;
    for (int64_t g = 0; g < a->scale_cols; g++) {
        double dot = 0.0, ones = 0.0; /* integers below 2^53: exact */
        for (int64_t k = g * a->group; k < a->cols && k < (g + 1) * a->group; k++) {
            dot += (double)(x[k] - x_zero) * centred(w, k, g);
            ones += x[k] - x_zero;
        }
        if (a->scale_cols == 1 && !w->min)
            return (double)(float)((double)(float)((double)(float)dot * (double)w->scale[0]) *
                                   (double)x_scale);
        sum += dot * (double)w->scale[g];
        if (w->min) sum += ones * (double)w->min[g];
    }
    return sum * (double)x_scale;
}

NIB_REF_KERNEL(nib_ref_matmul_int8)
{
    (void)begin, (void)end;
    const char *x = span[NIB_X];
    for (int64_t m = 0; m < a->p.m; m++)
        for (int64_t n = 0; n < a->rows; n++) {
            weights w = row_of(span, a, n);
            float x_scale = ((const float *)(x + NIB_X_SCALES_AT(*a)))[m];
            int32_t x_zero = ((const int32_t *)(x + NIB_X_ZEROS_AT(*a)))[m];
            double sum = scaled(a, &w, (const int8_t *)x + m * a->p.pack_cols, x_zero, x_scale);
            nib_ref_write(span[NIB_Y], a->y_type, m * a->p.y_pitch + n, finish(span, a, n, sum));
        }
}
