/* ranges.cl - smallest, largest and absolutely largest value of each group.
 *
 *   work-group = one group of 1..rows*cols elements; lanes stride over it, then a tree in local
 *   memory
 *
 * Bound: reads every element once; memory bandwidth where there are many groups. */
#include "octet.h"

#define LANES 64

NIB_KERNEL(ranges_groups, LANES)
{
    NIB_ENTER;
    __local nib_extent shared[LANES];
    nib_i64 cell = get_group_id(0);
    nib_i32 lane = (nib_i32)get_local_id(0);
    nib_extent e = nib_group_extent(x, a, cell, lane, LANES, shared);
    if (lane) return;
    if (e.nonfinite) nib_report_nonfinite(report, a, cell);
    __global uint *range = (__global uint *)out + 3 * cell; /* nib_range */
    nib_i32 poisoned = nib_is_poisoned(a, e);
    range[0] = poisoned ? NIB_QNAN_F32 : NIB_F32_BITS(e.min);
    range[1] = poisoned ? NIB_QNAN_F32 : NIB_F32_BITS(e.max);
    range[2] = poisoned ? NIB_QNAN_F32 : NIB_F32_BITS(-e.min > e.max ? -e.min : e.max);
}
