/* matmul.c - pack, prepare x and multiply in plain C: what runs where no vector kernel does.
 *
 *   packed "plain"   w' = u - 2^(bits-1) as int8 [N][K] | scales f32 [N][G] | z' int8 or mins f32
 *                    [N][G] | sums of w' over each group, int32 [N][G]
 *
 * An item of a product is one element of y: K products in index order, one f32 sum a group.
 * Bound: one multiplication and addition at a time. */
#include "matmul.h"

#include "kernels.h"

/* ---- weights ---- */

NIB_CPU_KERNEL(nib_cpu_pack_plain)
{
    const nib_args *a = args;
    nib_u8 *to = span[NIB_Y];
    for (nib_i64 n = begin; n < end; n++)
        for (nib_i64 g = 0; g < a->scale_cols; g++) {
            nib_i64 at = n * a->scale_cols + g;
            pack_cell(span, a, n, g, at);
            nib_i32 sum = 0;
            for (nib_i64 k = g * a->group; k < min_i64(a->cols, (g + 1) * a->group); k++) {
                nib_i32 w = packed_code(span, a, n, k);
                ((int8_t *)to)[n * a->cols + k] = (int8_t)w;
                sum += w;
            }
            ((nib_i32 *)(to + a->p.sums_at))[at] = sum;
        }
}

/* ---- activations ---- */

NIB_CPU_KERNEL(nib_cpu_acts)
{
    for (nib_i64 m = begin; m < end; m++) prepare_row(span, args, m);
}

/* ---- products ---- */

typedef struct plain_row {
    const int8_t *code;
    const float *scale;
    const nib_u8 *offset;
} plain_row;

static plain_row row_of(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 n)
{
    const nib_u8 *from = span[NIB_WEIGHTS];
    nib_i64 at = n * a->scale_cols, size = a->offset == NIB_O_MIN ? 4 : 1;
    return (plain_row){(const int8_t *)from + n * a->cols,
                       (const float *)(const void *)(from + a->p.scales_at) + at,
                       from + a->p.offsets_at + at * size};
}

static void store_sum(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 m, nib_i64 n,
                      float sum)
{
    if (a->p.bias_type) sum += load_element(span[NIB_BIAS], a->p.bias_type, n);
    store_element(span[NIB_Y], a->y_type, m * a->p.y_pitch + n, sum);
}

NIB_CPU_KERNEL(nib_cpu_matmul_float)
{
    const nib_args *a = args;
    nib_i32 half = a->offset == NIB_O_MIN ? 1 << (a->bits - 1) : 0;
    for (nib_i64 item = begin; item < end; item++) {
        nib_i64 m = item / a->rows, n = item % a->rows;
        plain_row w = row_of(span, a, n);
        const float *x = (const float *)span[NIB_X] + m * a->p.pack_cols;
        float sum = 0.0f;
        for (nib_i64 g = 0; g < a->scale_cols; g++) {
            nib_i32 zero = a->offset == NIB_O_ZERO ? ((const int8_t *)w.offset)[g] : -half;
            float part = 0.0f, ones = 0.0f;
            for (nib_i64 k = g * a->group; k < min_i64(a->cols, (g + 1) * a->group); k++) {
                part += (float)(w.code[k] - zero) * x[k];
                ones += x[k];
            }
            sum += part * w.scale[g];
            if (half) sum += ones * ((const float *)(const void *)w.offset)[g];
        }
        store_sum(span, a, m, n, sum);
    }
}

/* Sums of group g: of x * w and of x alone, x less its zero point. */
static nib_i32 dot_group(const plain_row *w, const int8_t *x, nib_i32 x_zero, nib_i32 w_zero,
                         nib_i64 from, nib_i64 to, nib_i32 *ones_ret)
{
    nib_i32 dot = 0, ones = 0;
    for (nib_i64 k = from; k < to; k++) {
        dot += (x[k] - x_zero) * (w->code[k] - w_zero);
        ones += x[k] - x_zero;
    }
    *ones_ret = ones;
    return dot;
}

NIB_CPU_KERNEL(nib_cpu_matmul_int8)
{
    const nib_args *a = args;
    const nib_u8 *prepared = span[NIB_X];
    nib_i32 half = a->offset == NIB_O_MIN ? 1 << (a->bits - 1) : 0;
    for (nib_i64 item = begin; item < end; item++) {
        nib_i64 m = item / a->rows, n = item % a->rows;
        plain_row w = row_of(span, a, n);
        const int8_t *x = (const int8_t *)prepared + m * a->p.pack_cols;
        nib_i32 x_zero = ((const nib_i32 *)(const void *)(prepared + NIB_X_ZEROS_AT(*a)))[m];
        float x_scale = ((const float *)(const void *)(prepared + NIB_X_SCALES_AT(*a)))[m],
              sum = 0.0f;
        for (nib_i64 g = 0; g < a->scale_cols; g++) {
            nib_i32 ones, zero = a->offset == NIB_O_ZERO ? ((const int8_t *)w.offset)[g] : -half;
            nib_i32 dot = dot_group(&w, x, x_zero, zero, g * a->group,
                                    min_i64(a->cols, (g + 1) * a->group), &ones);
            if (a->scale_cols == 1 && !half) {
                sum = nib_scaled(dot, w.scale[0], x_scale);
                break;
            }
            sum += (float)dot * w.scale[g];
            if (half) sum += (float)ones * ((const float *)(const void *)w.offset)[g];
        }
        if (a->scale_cols != 1 || half) sum *= x_scale;
        store_sum(span, a, m, n, sum);
    }
}
