/* errors.c - error sums per block in their fixed order (docs/numerics.md section 6), in plain C.
 *
 *   row -> segments -> blocks of 1024 -> 32 lanes, element i in lane i % 32 -> a tree of lanes
 *   x, and codes or y  ->  out: nib_error_block {xx, yy, xy, ee, max} per block
 *
 * Bound: reading x and the codes; here, one element at a time. */
#include "block.h"
#include "kernels.h"

static void take(error_lanes *l, int lane, float x, float y)
{
    float d = x - y;
    l->sum[XX][lane] += x * x;
    l->sum[YY][lane] += y * y;
    l->sum[XY][lane] += x * y;
    l->sum[EE][lane] += d * d;
    l->max[lane] = larger(l->max[lane], NIB_BITS_F32(NIB_F32_BITS(d) & 0x7fffffffu));
}

NIB_CPU_KERNEL(nib_cpu_errors)
{
    const nib_args *a = args;
    for (nib_i64 item = begin; item < end; item++) {
        error_block_at b = error_block_find(a, item);
        error_lanes l = {{{0.0f}}, {0.0f}};
        float y[BLOCK];
        if (a->bits) decode_row(span, a, b.row, b.begin, b.end, y);
        for (nib_i64 k = b.begin; k < b.end; k++) {
            nib_i64 at = b.row * a->cols + k, i = k - b.begin;
            take(&l, (int)(i % LANES_OF_ERRORS), load_element(span[NIB_X], a->x_type, at),
                 a->bits ? y[i] : load_element(span[NIB_Y], a->y_type, at));
        }
        error_lanes_meet(&l, (float *)span[NIB_OUT] + item * (SUMS + 1));
    }
}
