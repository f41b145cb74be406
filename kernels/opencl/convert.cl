/* convert.cl - elements from one type to another.
 *
 *   work-item = 8 consecutive elements
 *
 * Bound: memory; reads and writes 2 or 4 bytes an element. */
#include "octet.h"

NIB_KERNEL(convert_octets, 64)
{
    NIB_ENTER;
    nib_i64 id = get_global_id(0), row = nib_octet_row(a, id);
    if (row >= a.rows) return;
    nib_i64 col = nib_octet_col(a, id, row);
    nib_i32 count = nib_octet_count(col, a.cols);
    nib_store_8(y, a.y_type, row * a.cols + col, count,
                nib_load_8(x, a.x_type, row * a.cols + col, count));
}
