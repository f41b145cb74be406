/* errors.cl - error sums in the one order that docs/numerics.md section 6 fixes.
 *
 *   work-group = one block of at most 1024 elements of a segment of a row
 *
 *       element  0  1 ... 31 | 32 33 ... 63 | ...
 *       lane     0  1 ... 31 |  0  1 ... 31 | ...      then a tree: strides 16, 8, 4, 2, 1
 *
 * Bound: memory; reads x and the codes (or y) once. */
#include "group.h"

#define LANES 32

typedef struct nib_sums {
    float xx, yy, xy, ee, max;
} nib_sums;

NIB_FN float nib_larger(float max, float next)
{
    return isnan(max) ? max : isnan(next) || next > max ? next : max;
}

NIB_FN nib_sums nib_sums_take(nib_sums s, float x, float y)
{
    float d = x - y;
    s.xx = s.xx + x * x;
    s.yy = s.yy + y * y;
    s.xy = s.xy + x * y;
    s.ee = s.ee + d * d;
    s.max = nib_larger(s.max, NIB_BITS_F32(NIB_F32_BITS(d) & 0x7fffffffu));
    return s;
}

NIB_FN nib_sums nib_sums_meet(nib_sums s, nib_sums other)
{
    s.xx += other.xx;
    s.yy += other.yy;
    s.xy += other.xy;
    s.ee += other.ee;
    s.max = nib_larger(s.max, other.max);
    return s;
}

NIB_FN uint nib_plain(float x) { return isnan(x) ? NIB_QNAN_F32 : NIB_F32_BITS(x); }

/* The group of the element `past` elements (at most 1023) after a group's element `within`: how many
 * groups later. */
NIB_FN nib_i64 nib_groups_on(nib_args a, nib_i64 within, nib_i32 past)
{
    if (a.group >= 1024) return within + past >= a.group;
    return ((nib_u32)within + (nib_u32)past) / (nib_u32)a.group;
}

NIB_KERNEL(errors_blocks, LANES)
{
    NIB_ENTER;
    __local nib_sums shared[LANES];
    nib_i64 block = get_group_id(0);
    nib_i32 lane = (nib_i32)get_local_id(0);
    nib_i64 segments = (a.cols + a.segment - 1) / a.segment;
    nib_i64 row = block / (segments * a.segment_blocks);
    nib_i64 segment = block / a.segment_blocks % segments;
    nib_i64 first = segment * a.segment + block % a.segment_blocks * 1024;
    nib_i32 count = (nib_i32)clamp(min(a.cols, (segment + 1) * a.segment) - first, (nib_i64)0,
                                   (nib_i64)1024);
    nib_i64 cell = a.bits ? row % a.period * a.scale_cols + first / a.group : 0;
    nib_i64 within = a.bits ? first % a.group : 0;
    nib_sums s = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (nib_i32 i = lane; i < count; i += LANES) {
        nib_i64 at_element = row * a.cols + first + i;
        float decoded;
        if (a.bits) {
            nib_cell c = nib_read_cell(scales, offsets, a, cell + nib_groups_on(a, within, i));
            decoded = nib_decode_in(a, c, nib_get(codes, a.codes, row, first + i));
        } else {
            decoded = nib_load(y, a.y_type, at_element);
        }
        s = nib_sums_take(s, nib_load(x, a.x_type, at_element), decoded);
    }
    shared[lane] = s;
    for (nib_i32 stride = LANES / 2; stride > 0; stride /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < stride) shared[lane] = nib_sums_meet(shared[lane], shared[lane + stride]);
    }
    if (lane) return;
    __global uint *result = (__global uint *)out + 5 * block; /* nib_error_block */
    result[0] = nib_plain(shared[0].xx);
    result[1] = nib_plain(shared[0].yy);
    result[2] = nib_plain(shared[0].xy);
    result[3] = nib_plain(shared[0].ee);
    result[4] = nib_plain(shared[0].max);
}
