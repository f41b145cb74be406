/* ranges.c - min, max and absmax per scale, in plain C.
 *
 *   x [rows, cols]  ->  out: nib_range {min, max, absmax} per cell
 *
 * Bound: reading x once; here, one element at a time. */
#include "kernels.h"
#include "range.h"

NIB_CPU_KERNEL(nib_cpu_ranges)
{
    cell_report report = CELL_REPORT_EMPTY;
    float *out = span[NIB_OUT];
    for (nib_i64 cell = begin; cell < end; cell++) {
        cell_range r = range_cell(span, args, cell);
        if (r.nonfinite) report_nonfinite(&report, cell);
        if (r.nonfinite && args->nonfinite == NIB_N_ERROR)
            r.min = r.max = NIB_BITS_F32(NIB_QNAN_F32);
        out[3 * cell] = r.min;
        out[3 * cell + 1] = r.max;
        out[3 * cell + 2] = -r.min > r.max ? -r.min : r.max;
    }
    report_add(span[NIB_REPORT], &report);
}
