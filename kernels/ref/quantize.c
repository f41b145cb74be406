/* quantize.c - the operations on groups: ranges, quantize, dequantize; docs/numerics.md sections 3,
 * 4 and 7. Groups are visited in scale order, elements within one row by row. */
#include "witness.h"

NIB_REF_KERNEL(nib_ref_ranges)
{
    (void)begin, (void)end;
    for (int64_t p = 0; p < a->period; p++)
        for (int64_t c = 0; c < a->scale_cols; c++) {
            int64_t cell = p * a->scale_cols + c;
            nib_ref_group g = nib_ref_measure(span[NIB_X], a, p, c);
            float *range = (float *)span[NIB_OUT] + 3 * cell; /* nib_range: min, max, absmax */
            nib_ref_report(span[NIB_REPORT], &g, cell, 0);
            range[0] = g.min;
            range[1] = g.max;
            range[2] = -g.min > g.max ? -g.min : g.max;
            for (int i = 0; g.poisoned && i < 3; i++) range[i] = nib_ref_float(0x7fc00000u);
        }
}

static void write_group(void *const span[NIB_HOST_SPANS], const nib_args *a, const nib_ref_group *g,
                        int64_t p, int64_t c)
{
    int64_t cell = p * a->scale_cols + c;
    float nan = nib_ref_float(0x7fc00000u);
    nib_ref_write(span[NIB_SCALES], a->scale_type, cell, g->poisoned ? nan : g->s);
    if (a->offset == NIB_O_MIN)
        nib_ref_write(span[NIB_OFFSETS], a->scale_type, cell, g->poisoned ? nan : g->m);
    if (a->offset == NIB_O_ZERO)
        nib_ref_put(span[NIB_OFFSETS], &a->other, p, c,
                    g->poisoned ? 0 : (int64_t)(g->bias + g->z));
    for (int64_t r = p; r < a->rows; r += a->period)
        for (int64_t k = c * a->group; k < a->cols && k < (c + 1) * a->group; k++) {
            float x = nib_ref_read(span[NIB_X], a->x_type, r * a->cols + k);
            x = nib_ref_admit(x, a->x_type, a->nonfinite);
            nib_ref_put(span[NIB_CODES], &a->codes, r, k, nib_ref_code(g, x));
        }
}

NIB_REF_KERNEL(nib_ref_quantize)
{
    (void)begin, (void)end;
    nib_ref_clear(span[NIB_CODES], &a->codes);
    if (a->offset == NIB_O_ZERO) nib_ref_clear(span[NIB_OFFSETS], &a->other);
    for (int64_t p = 0; p < a->period; p++)
        for (int64_t c = 0; c < a->scale_cols; c++) {
            nib_ref_group g = nib_ref_measure(span[NIB_X], a, p, c);
            if (!g.poisoned) nib_ref_parameters(&g, a);
            nib_ref_report(span[NIB_REPORT], &g, p * a->scale_cols + c, 1);
            write_group(span, a, &g, p, c);
        }
}

NIB_REF_KERNEL(nib_ref_dequantize)
{
    (void)begin, (void)end;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t k = 0; k < a->cols; k++)
            nib_ref_write(span[NIB_Y], a->y_type, r * a->cols + k, nib_ref_decoded(span, a, r, k));
}
