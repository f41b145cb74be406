/* dequantize.cl - codes, scales and offsets to elements.
 *
 *   work-item = one run of 8 codes of a row (runs.h), whatever the groups are
 *
 * Bound: memory; reads `bits` bytes and writes 16 or 32 a work-item. */
#include "group.h"
#include "runs.h"

NIB_KERNEL(dequantize_runs, 64)
{
    NIB_ENTER;
    nib_i64 id = get_global_id(0), row = nib_run_row(a, id), col = nib_run_col(a, id);
    if (row >= a.rows) return;
    nib_i64 cell = row % a.period * a.scale_cols + col / a.group, left = a.group - col % a.group;
    nib_cell c = nib_read_cell(scales, offsets, a, cell);
    ulong word = nib_get_run(codes, a.codes, row, col);
    for (nib_i32 i = 0; i < 8 && col + i < a.cols; i++, left--) {
        if (left == 0) {
            c = nib_read_cell(scales, offsets, a, ++cell);
            left = a.group;
        }
        nib_store(y, a.y_type, row * a.cols + col + i,
                  nib_decode_in(a, c, nib_run_code(word, a.codes, i)));
    }
}
