/* convert.cl - elements from one type to another.
 *
 *   work-group = 1024 consecutive elements; work-item = every 64th of them
 *
 * Bound: memory; reads and writes 2 or 4 bytes an element. */
#include "spans.h"

#define LANES 64

NIB_KERNEL(convert_chunks, LANES)
{
    NIB_ENTER;
    nib_i64 count = a.rows * a.cols, first = (nib_i64)get_group_id(0) * 1024;
    nib_i64 stop = min(count, first + 1024);
    for (nib_i64 i = first + (nib_i64)get_local_id(0); i < stop; i += LANES)
        nib_store(y, a.y_type, i, nib_load(x, a.x_type, i));
}
