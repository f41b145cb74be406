/* ranges.cl - smallest, largest and absolutely largest value of each group.
 *
 *   ranges_groups   any grid: work-group = a group; lanes stride over it, then a tree in local
 * memory ranges_rows     rows with groups of their own of 8n elements: work-group = a row, tile by
 * tile (octet.h); one lane a group joins its lanes
 *
 * Bound: memory; reads every element once. */
#include "octet.h"

#define LANES 64

NIB_FN void nib_write_range(__global uchar *out, __global uchar *report, nib_args a, nib_i64 cell,
                            nib_extent e)
{
    __global uint *range = (__global uint *)out + 3 * cell; /* nib_range */
    nib_i32 poisoned = nib_is_poisoned(a, e);
    if (e.nonfinite) nib_report_nonfinite(report, a, cell);
    range[0] = poisoned ? NIB_QNAN_F32 : NIB_F32_BITS(e.min);
    range[1] = poisoned ? NIB_QNAN_F32 : NIB_F32_BITS(e.max);
    range[2] = poisoned ? NIB_QNAN_F32 : NIB_F32_BITS(-e.min > e.max ? -e.min : e.max);
}

NIB_KERNEL(ranges_groups, LANES)
{
    NIB_ENTER;
    __local nib_extent shared[LANES];
    nib_i64 cell = get_group_id(0);
    nib_i32 lane = (nib_i32)get_local_id(0);
    nib_extent e = nib_group_extent(x, a, cell, lane, LANES, shared);
    if (lane == 0) nib_write_range(out, report, a, cell, e);
}

NIB_KERNEL(ranges_rows, TILE_LANES)
{
    NIB_ENTER;
    __local nib_extent extents[TILE_LANES];
    nib_i64 row = get_group_id(0), cell = row * a.scale_cols;
    nib_i32 lane = (nib_i32)get_local_id(0), groups = nib_tile_groups(a);
    for (nib_i64 start = 0; start < a.cols; start += groups * a.group, cell += groups) {
        nib_i64 stop = min(a.cols, start + groups * a.group);
        extents[lane] = nib_tile_extent(x, a, row, start, stop, lane);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < groups && start + lane * a.group < a.cols)
            nib_write_range(out, report, a, cell + lane, nib_tile_join(a, start, lane, extents));
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
