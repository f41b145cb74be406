/* errors.c - error sums per block in their fixed order (docs/numerics.md section 6), in plain C.
 *
 *   row -> segments -> blocks of 1024 -> 32 lanes, element i in lane i % 32 -> a tree of lanes
 *   x, and codes or y  ->  out: nib_error_block {xx, yy, xy, ee, max} per block
 *
 * Bound: reading x and the codes; here, one element at a time. */
#include "access.h"
#include "kernels.h"

enum { BLOCK = 1024, LANES = 32, XX = 0, YY, XY, EE, SUMS };

typedef struct lanes {
    float sum[SUMS][LANES], max[LANES];
} lanes;

static int is_nan(float x) { return (NIB_F32_BITS(x) & 0x7fffffffu) > 0x7f800000u; }

/* What a maximum becomes with another value. */
static float larger(float max, float next)
{
    return is_nan(max) ? max : is_nan(next) || next > max ? next : max;
}

static void take(lanes *l, int lane, float x, float y)
{
    float d = x - y;
    l->sum[XX][lane] += x * x;
    l->sum[YY][lane] += y * y;
    l->sum[XY][lane] += x * y;
    l->sum[EE][lane] += d * d;
    l->max[lane] = larger(l->max[lane], NIB_BITS_F32(NIB_F32_BITS(d) & 0x7fffffffu));
}

static float plain_nan(float x) { return is_nan(x) ? NIB_BITS_F32(NIB_QNAN_F32) : x; }

static void meet(lanes *l, float *block)
{
    for (int stride = LANES / 2; stride > 0; stride /= 2)
        for (int i = 0; i < stride; i++) {
            for (int j = 0; j < SUMS; j++) l->sum[j][i] += l->sum[j][i + stride];
            l->max[i] = larger(l->max[i], l->max[i + stride]);
        }
    for (int j = 0; j < SUMS; j++) block[j] = plain_nan(l->sum[j][0]);
    block[SUMS] = plain_nan(l->max[0]);
}

NIB_CPU_KERNEL(nib_cpu_errors)
{
    const nib_args *a = args;
    nib_i64 segments = (a->cols + a->segment - 1) / a->segment,
            per_row = segments * a->segment_blocks;
    for (nib_i64 item = begin; item < end; item++) {
        nib_i64 row = item / per_row, segment = item % per_row / a->segment_blocks;
        nib_i64 k = segment * a->segment + item % a->segment_blocks * BLOCK;
        nib_i64 stop = min_i64(min_i64(k + BLOCK, (segment + 1) * a->segment), a->cols);
        float y[BLOCK];
        if (a->bits) decode_row(span, a, row, k, stop, y);
        lanes l = {{{0.0f}}, {0.0f}};
        for (nib_i64 i = 0; k + i < stop; i++) {
            nib_i64 at = row * a->cols + k + i;
            take(&l, (int)(i % LANES), load_element(span[NIB_X], a->x_type, at),
                 a->bits ? y[i] : load_element(span[NIB_Y], a->y_type, at));
        }
        meet(&l, (float *)span[NIB_OUT] + item * (SUMS + 1));
    }
}
