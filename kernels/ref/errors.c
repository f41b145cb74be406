/* errors.c - error sums in their fixed order, docs/numerics.md section 6:
 *
 *   row -> segments -> blocks of 1024 -> 32 lanes, element i in lane i % 32 -> a tree of lanes */
#include "witness.h"

#include <math.h>

enum { BLOCK = 1024, LANES = 32, SUMS = 4 };

/* xx, yy, xy, ee and max of one lane. */
typedef struct lane {
    float sum[SUMS];
    float max;
} lane;

static float add(float a, float b) { return (float)((double)a + (double)b); }
static float multiply(float a, float b) { return (float)((double)a * (double)b); }

static float larger(float max, float next)
{
    if (isnan(max)) return max;
    return isnan(next) || next > max ? next : max;
}

static void take(lane *l, float x, float y)
{
    float d = add(x, -y);
    const float product[SUMS] = {multiply(x, x), multiply(y, y), multiply(x, y), multiply(d, d)};
    for (int i = 0; i < SUMS; i++) l->sum[i] = add(l->sum[i], product[i]);
    l->max = larger(l->max, fabsf(d));
}

static void meet(lane lanes[LANES])
{
    for (int stride = LANES / 2; stride > 0; stride /= 2)
        for (int i = 0; i < stride; i++) {
            const lane *other = &lanes[i + stride];
            for (int j = 0; j < SUMS; j++) lanes[i].sum[j] = add(lanes[i].sum[j], other->sum[j]);
            lanes[i].max = larger(lanes[i].max, other->max);
        }
}

static float plain_nan(float x) { return isnan(x) ? nib_ref_float(0x7fc00000u) : x; }

/* Elements k..stop-1 of row r; none where the block lies past a short last segment. */
static void measure_block(void *const span[NIB_HOST_SPANS], const nib_args *a, int64_t r, int64_t k,
                          int64_t stop, float *block)
{
    lane lanes[LANES] = {{{0.0f}, 0.0f}};
    for (int64_t i = 0; k + i < stop; i++) {
        int64_t at = r * a->cols + k + i;
        float x = nib_ref_read(span[NIB_X], a->x_type, at);
        float y =
            a->bits ? nib_ref_decoded(span, a, r, k + i) : nib_ref_read(span[NIB_Y], a->y_type, at);
        take(&lanes[i % LANES], x, y);
    }
    meet(lanes);
    for (int j = 0; j < SUMS; j++) block[j] = plain_nan(lanes[0].sum[j]);
    block[SUMS] = plain_nan(lanes[0].max); /* nib_error_block: xx, yy, xy, ee, max */
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

NIB_REF_KERNEL(nib_ref_errors)
{
    (void)begin, (void)end;
    float *block = span[NIB_OUT];
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t start = 0; start < a->cols; start += a->segment) {
            int64_t stop = smaller(start + a->segment, a->cols);
            for (int64_t b = 0; b < a->segment_blocks; b++, block += SUMS + 1) {
                int64_t k = start + b * BLOCK;
                measure_block(span, a, r, k, smaller(k + BLOCK, stop), block);
            }
        }
}
