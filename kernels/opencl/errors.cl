/* errors.cl - error sums in the one order that docs/numerics.md section 6 fixes.
 *
 *   a block of at most 1024 elements of a segment of a row = 4 work-items with 8 of its 32 lanes
 * each
 *
 *       element    0 ... 7 | 8 ... 15 | 16 ... 23 | 24 ... 31 | 32 ... 39 | ...
 *       work-item     0    |    1     |     2     |     3     |     0     | ...
 *
 *   then a tree of lanes: strides 16 and 8 between work-items, 4, 2 and 1 within one
 *
 * Elements past the block's end count as x = y = 0, which changes no sum: none is ever -0.
 * Bound: memory; reads x and the codes (or y) once. */
#include "octet.h"

#define LANES 64

typedef struct nib_sums {
    float8 xx, yy, xy, ee, max;
} nib_sums;

NIB_FN float8 nib_larger_8(float8 max, float8 next)
{
    float8 larger = isnan(next) || next > max ? next : max;
    return isnan(max) ? max : larger;
}

NIB_FN nib_sums nib_sums_take(nib_sums s, float8 x, float8 y)
{
    float8 d = x - y;
    s.xx = s.xx + x * x;
    s.yy = s.yy + y * y;
    s.xy = s.xy + x * y;
    s.ee = s.ee + d * d;
    s.max = nib_larger_8(s.max, as_float8(as_uint8(d) & 0x7fffffffu));
    return s;
}

NIB_FN nib_sums nib_sums_meet(nib_sums s, nib_sums other)
{
    s.xx = s.xx + other.xx;
    s.yy = s.yy + other.yy;
    s.xy = s.xy + other.xy;
    s.ee = s.ee + other.ee;
    s.max = nib_larger_8(s.max, other.max);
    return s;
}

/* The last three strides, and any NaN made one. */
NIB_FN uint nib_fold(float8 lanes)
{
    float4 four = lanes.lo + lanes.hi;
    float2 two = four.lo + four.hi;
    float one = two.x + two.y;
    return isnan(one) ? NIB_QNAN_F32 : NIB_F32_BITS(one);
}

NIB_FN uint nib_fold_max(float8 lanes)
{
    float8 m = nib_larger_8(lanes, lanes.s45670123);
    m = nib_larger_8(m, m.s23016745);
    m = nib_larger_8(m, m.s10325476);
    return isnan(m.s0) ? NIB_QNAN_F32 : NIB_F32_BITS(m.s0);
}

/* Codes from a column that is no multiple of 8. */
NIB_FN uint8 nib_gather_8(__global const uchar *codes, nib_place p, nib_i64 row, nib_i64 col,
                          nib_i32 count)
{
    uint some[8] = {0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u};
    for (nib_i32 i = 0; i < count; i++) some[i] = nib_get(codes, p, row, col + i);
    return vload8(0, some);
}

NIB_FN float8 nib_decoded_8(__global const uchar *codes, __global const uchar *scales,
                            __global const uchar *offsets, nib_args a, nib_i64 row, nib_i64 col,
                            nib_i32 count)
{
    const int8 place = (int8)(0, 1, 2, 3, 4, 5, 6, 7);
    nib_cells c = nib_read_cells(scales, offsets, a, row, col, count);
    uint8 code = col & 7 ? nib_gather_8(codes, a.codes, row, col, count)
                         : nib_get_8(codes, a.codes, row, col);
    return place < count ? nib_decode_8(a, c, code) : (float8)0.0f;
}

NIB_KERNEL(errors_blocks, LANES)
{
    NIB_ENTER;
    __local nib_sums shared[LANES];
    nib_i64 block = get_global_id(0) / 4;
    nib_i32 lane = (nib_i32)get_local_id(0), quarter = lane & 3;
    nib_i64 segments = nib_quotient(a.cols + a.segment - 1, a.segment);
    nib_i64 row = nib_quotient(block, segments * a.segment_blocks);
    nib_i64 in_row = block - row * segments * a.segment_blocks;
    nib_i64 segment = nib_quotient(in_row, a.segment_blocks);
    nib_i64 first = segment * a.segment + (in_row - segment * a.segment_blocks) * 1024;
    nib_i64 stop = min(min(a.cols, (segment + 1) * a.segment), first + 1024);
    nib_sums s;
    s.xx = s.yy = s.xy = s.ee = s.max = (float8)0.0f;
    if (row >= a.rows) stop = 0;
    for (nib_i64 col = first + 8 * quarter; col < stop; col += 32) {
        nib_i32 count = nib_octet_count(col, stop);
        float8 given = nib_load_8(x, a.x_type, row * a.cols + col, count), decoded;
        if (a.bits) decoded = nib_decoded_8(codes, scales, offsets, a, row, col, count);
        else decoded = nib_load_8(y, a.y_type, row * a.cols + col, count);
        s = nib_sums_take(s, given, decoded);
    }
    shared[lane] = s;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (quarter < 2) shared[lane] = nib_sums_meet(shared[lane], shared[lane + 2]);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (quarter || row >= a.rows) return;
    s = nib_sums_meet(shared[lane], shared[lane + 1]);
    __global uint *result = (__global uint *)out + 5 * block; /* nib_error_block */
    result[0] = nib_fold(s.xx);
    result[1] = nib_fold(s.yy);
    result[2] = nib_fold(s.xy);
    result[3] = nib_fold(s.ee);
    result[4] = nib_fold_max(s.max);
}
