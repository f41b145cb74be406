/* group.c - one group: its range, its parameters, its codes and their values. The names are those
 * of docs/numerics.md sections 1, 3 and 4. */
#include "witness.h"

#include <math.h>

float nib_ref_admit(float x, int type, int nonfinite)
{
    if (isnan(x)) return 0.0f;
    if (isinf(x)) {
        if (nonfinite != NIB_N_SATURATE) return 0.0f;
        return (float)(x < 0.0f ? -nib_ref_largest(type) : nib_ref_largest(type));
    }
    return fabs((double)x) < ldexp(1.0, -126) ? 0.0f : x;
}

nib_ref_group nib_ref_measure(const void *x, const nib_args *a, int64_t p, int64_t c)
{
    nib_ref_group g = {.min = INFINITY, .max = -INFINITY};
    for (int64_t r = p; r < a->rows; r += a->period)
        for (int64_t k = c * a->group; k < a->cols && k < (c + 1) * a->group; k++) {
            float given = nib_ref_read(x, a->x_type, r * a->cols + k);
            float value = nib_ref_admit(given, a->x_type, a->nonfinite);
            g.nonfinite |= !isfinite(given);
            if (value < g.min) g.min = value;
            if (value > g.max) g.max = value;
        }
    g.poisoned = g.nonfinite && a->nonfinite == NIB_N_ERROR;
    return g;
}

/* E and L of section 3's table. */
static double extent_of(const nib_args *a, double min, double max, double *low_end_ret)
{
    *low_end_ret = a->range == NIB_RANGE_SPAN0 ? fmin(min, 0.0) : min;
    if (a->range == NIB_RANGE_ABS) return fmax(-min, max);
    if (a->range == NIB_RANGE_SIGNED) return -min >= max ? min : max;
    if (a->range == NIB_RANGE_SPAN0) return (double)(float)(fmax(max, 0.0) - *low_end_ret);
    return (double)(float)(max - min);
}

static double divisor_of(const nib_args *a)
{
    double h = ldexp(1.0, a->bits - 1);
    if (a->divisor == NIB_DIVISOR_HALF) return h - 1.0;
    if (a->divisor == NIB_DIVISOR_FULL) return (2.0 * h - 1.0) / 2.0;
    if (a->divisor == NIB_DIVISOR_SIGNED) return -h;
    return 2.0 * h - 1.0;
}

/* x cut to the largest finite value of the type (*is_cut becomes 1 where that changes it) and
 * rounded to the type. */
static float fit(double x, int type, int *is_cut)
{
    double largest = nib_ref_largest(type);
    if (fabs(x) > largest) {
        *is_cut = 1;
        x = copysign(largest, x);
    }
    return nib_ref_value(type, nib_ref_stored(type, (float)x));
}

void nib_ref_parameters(nib_ref_group *g, const nib_args *a)
{
    double h = ldexp(1.0, a->bits - 1), low_end;
    double extent = extent_of(a, (double)g->min, (double)g->max, &low_end);
    g->bias = a->offset == NIB_O_MIN ? 0.0 : h;
    g->low = a->offset == NIB_O_MIN ? 0.0 : -h + a->low;
    g->high = a->offset == NIB_O_MIN ? 2.0 * h - 1.0 : h - 1.0;

    g->s = fit((double)(float)(extent / divisor_of(a)), a->scale_type, &g->is_cut);
    if (fabs((double)g->s) < ldexp(1.0, -126)) {
        g->is_empty = extent == 0.0;
        g->underflowed = !g->is_empty;
        g->s = a->empty == NIB_EMPTY_EPS ? (float)nib_ref_epsilon(a->scale_type) : 0.0f;
        low_end = 0.0;
    }
    if (a->offset == NIB_O_ZERO) {
        double quotient = g->s == 0.0f ? 0.0 : (double)(float)(low_end / (double)g->s);
        g->z = nearbyint(fmin(fmax((double)(float)(-h - quotient), -h), h - 1.0));
    }
    if (a->offset == NIB_O_MIN) {
        g->m = fit((double)g->min, a->scale_type, &g->is_cut);
        if (fabs((double)g->m) < ldexp(1.0, -126)) g->m = 0.0f;
    }
}

int64_t nib_ref_code(const nib_ref_group *g, float x)
{
    if (g->poisoned) return 0;
    if (g->s == 0.0f) return (int64_t)(g->bias + g->z);
    float shifted = (float)((double)x - (double)g->m);
    float quotient = (float)((double)shifted / (double)g->s);
    float placed = (float)((double)quotient + g->z);
    return (int64_t)(g->bias + nearbyint(fmin(fmax((double)placed, g->low), g->high)));
}

float nib_ref_decoded(void *const span[NIB_HOST_SPANS], const nib_args *a, int64_t r, int64_t k)
{
    int64_t p = r % a->period, c = k / a->group, cell = p * a->scale_cols + c;
    double u = (double)nib_ref_get(span[NIB_CODES], &a->codes, r, k);
    double z = ldexp(1.0, a->bits - 1), m = 0.0;
    double s = (double)nib_ref_read(span[NIB_SCALES], a->scale_type, cell);
    if (a->offset == NIB_O_ZERO) z = (double)nib_ref_get(span[NIB_OFFSETS], &a->other, p, c);
    if (a->offset == NIB_O_MIN) {
        z = 0.0;
        m = (double)nib_ref_read(span[NIB_OFFSETS], a->scale_type, cell);
    }
    if (!isfinite(s) || !isfinite(m)) return nib_ref_float(0x7fc00000u);
    float product = (float)((u - z) * s);
    return a->offset == NIB_O_MIN ? (float)((double)product + m) : product;
}

void nib_ref_report(void *report, const nib_ref_group *g, int64_t index, int quantized)
{
    if (!report) return;
    uint32_t *count = report; /* nib_report: nonfinite, first, empty, underflow, saturated */
    uint32_t place = index < 0xfffffffe ? (uint32_t)index : 0xfffffffe;
    if (g->nonfinite) {
        count[0]++;
        if (place < count[1]) count[1] = place;
    }
    if (!quantized || g->poisoned) return;
    count[2] += (uint32_t)g->is_empty;
    count[3] += (uint32_t)g->underflowed;
    count[4] += (uint32_t)g->is_cut;
}
