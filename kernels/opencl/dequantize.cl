/* dequantize.cl - codes, scales and offsets to elements.
 *
 *   work-item = 8 codes of a row (octet.h), whatever the groups are
 *
 * Bound: memory; reads `bits` bytes and writes 16 or 32 a work-item. */
#include "octet.h"

NIB_KERNEL(dequantize_octets, 64)
{
    NIB_ENTER;
    nib_i64 id = get_global_id(0), row = nib_octet_row(a, id);
    if (row >= a.rows) return;
    nib_i64 col = nib_octet_col(a, id, row);
    nib_i32 count = nib_octet_count(col, a.cols);
    nib_cells c = nib_read_cells(scales, offsets, a, row, col, count);
    float8 decoded = nib_decode_8(a, c, nib_get_8(codes, a.codes, row, col));
    nib_store_8(y, a.y_type, row * a.cols + col, count, decoded);
}
