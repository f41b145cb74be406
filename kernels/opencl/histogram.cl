/* histogram.cl - how often each code occurs.
 *
 *   work-group = 1024 consecutive elements; work-item = 16 of them
 *   counts     : one set per work-group in local memory, then added to the caller's
 *
 * Bound: atomics; memory where codes are many (8 bits). */
#include "spans.h"

#define LANES 64
#define SHARE (1024 / LANES)

NIB_KERNEL(histogram_chunks, LANES)
{
    NIB_ENTER;
    __local uint local_counts[256];
    nib_i32 lane = (nib_i32)get_local_id(0), codes_count = 1 << a.bits;
    for (nib_i32 code = lane; code < codes_count; code += LANES) local_counts[code] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    nib_i64 element = (nib_i64)get_group_id(0) * 1024 + lane * SHARE;
    nib_i64 row = nib_quotient(element, a.cols), col = element - row * a.cols;
    for (nib_i32 i = 0; i < SHARE && row < a.rows; i++) {
        atomic_inc(&local_counts[nib_get(codes, a.codes, row, col)]);
        if (++col == a.cols) {
            col = 0;
            row++;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (nib_i32 code = lane; code < codes_count; code += LANES)
        if (local_counts[code]) atomic_add(&((__global uint *)out)[code], local_counts[code]);
}
