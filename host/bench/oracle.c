/* oracle.c - the check: some elements of y, one from each corner among them, against sums in
 * double, within the bound of the kernel's error class (docs/numerics.md section 9). */
#include "engine.h"

#include <math.h>
#include <stdlib.h>

/* First, last, and some between. */
static int64_t pick(int64_t count, int64_t picked[BENCH_SAMPLES])
{
    if (count <= BENCH_SAMPLES) {
        for (int64_t i = 0; i < count; i++) picked[i] = i;
        return count;
    }
    for (int64_t i = 0; i < BENCH_SAMPLES; i++) picked[i] = i * (count - 1) / (BENCH_SAMPLES - 1);
    return BENCH_SAMPLES;
}

int bench_oracle_make(bench *b, int64_t m, int64_t n, int64_t k, bench_oracle *o)
{
    *o = (bench_oracle){.k = k, .error_class = NIB_ERROR_F32};
    o->m_count = pick(m, o->m);
    o->n_count = pick(n, o->n);
    o->x = bench_memory(b, (size_t)(o->m_count * k) * sizeof *o->x);
    o->w = o->x ? bench_memory(b, (size_t)(o->n_count * k) * sizeof *o->w) : NULL;
    return o->w ? 0 : 4;
}

void bench_oracle_free(bench_oracle *o) { free(o->x), free(o->w); }

static float from_16(uint16_t raw, nib_dtype type)
{
    union {
        uint32_t bits;
        float value;
    } u = {.bits = (uint32_t)raw << 16};
    if (type == NIB_BF16) return u.value;
    int exponent = raw >> 10 & 31, mantissa = raw & 1023;
    double size = exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                  : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                 : ldexp(mantissa, -24);
    return (float)(raw >> 15 ? -size : size);
}

static double element(const void *row, nib_dtype type, int64_t i)
{
    if (type == NIB_I32) return ((const int32_t *)row)[i];
    if (type == NIB_F32) return (double)((const float *)row)[i];
    return (double)from_16(((const uint16_t *)row)[i], type);
}

/* Half a step of the type at `value`, which its one rounding may move it. oneDNN's int32 has been
 * through f32. */
static double rounding(nib_dtype type, double value)
{
    if (type == NIB_I32) return fabs(value) <= 0x1p24 ? 0.0 : fabs(value) * 0x1p-24;
    double digits = type == NIB_F32 ? 24 : type == NIB_F16 ? 11 : 8;
    return fmax(fabs(value) * exp2(-digits) * 1.001, type == NIB_F16 ? 0x1p-25 : 0x1p-150);
}

int bench_oracle_check(bench *b, bench_record *r, const bench_oracle *o,
                       const void *const rows[BENCH_SAMPLES], nib_dtype y_type)
{
    static const double weight_rounding[] = {0, 0, 0x1p-11, 0x1p-8};
    r->worst = 0.0;
    for (int64_t i = 0; i < o->m_count; i++)
        for (int64_t j = 0; j < o->n_count; j++) {
            double sum = 0.0, size = 0.0;
            for (int64_t k = 0; k < o->k; k++) {
                double product = o->x[i * o->k + k] * o->w[j * o->k + k];
                sum += product, size += fabs(product);
            }
            double share = ((double)o->k + 8.0) * 0x1p-23 + weight_rounding[o->error_class];
            double bound = (y_type == NIB_I32 ? 0.0 : size * share) + rounding(y_type, sum);
            double got = element(rows[i], y_type, o->n[j]), off = fabs(got - sum);
            if (!(off <= bound))
                return bench_fail(b, 1,
                                  "%s by %s on %s (%s), %s, M = %lld: y[%lld, %lld] is %.9g, not "
                                  "%.9g within %.3g: not timed",
                                  r->column, r->by, r->device, r->kernel, r->shape.name,
                                  (long long)r->m, (long long)o->m[i], (long long)o->n[j], got, sum,
                                  bound);
            if (bound > 0.0 && off / bound > r->worst) r->worst = off / bound;
        }
    return 0;
}
