/* group.h - the groups that share a scale: their range, their planes' entries and their line in the
 * report. */
#ifndef NIB_OPENCL_GROUP_H
#define NIB_OPENCL_GROUP_H

#include "../common/rule.h"
#include "spans.h"

/* A range in the making: of admitted values, and whether any value was NaN or infinite. */
typedef struct nib_extent {
    float min, max;
    nib_i32 nonfinite;
} nib_extent;

NIB_FN nib_extent nib_extent_none(void)
{
    nib_extent e = {INFINITY, -INFINITY, 0};
    return e;
}

NIB_FN nib_extent nib_extent_join(nib_extent e, nib_extent other)
{
    e.min = other.min < e.min ? other.min : e.min;
    e.max = other.max > e.max ? other.max : e.max;
    e.nonfinite |= other.nonfinite;
    return e;
}

NIB_FN nib_i32 nib_is_poisoned(nib_args a, nib_extent e)
{
    return e.nonfinite && a.nonfinite == NIB_N_ERROR;
}

/* nib_report in nibble.h, as words. */
enum { NIB_R_NONFINITE, NIB_R_FIRST, NIB_R_EMPTY, NIB_R_UNDERFLOW, NIB_R_SATURATED };

/* Group `cell` holds a NaN or an infinity. */
NIB_FN void nib_report_nonfinite(__global uchar *report, nib_args a, nib_i64 cell)
{
    __global uint *count = (__global uint *)report;
    if (!a.has_report) return;
    atomic_inc(&count[NIB_R_NONFINITE]);
    atomic_min(&count[NIB_R_FIRST], (uint)min(cell, (nib_i64)0xfffffffeL));
}

/* A group that is not poisoned has become `c`. */
NIB_FN void nib_report_cell(__global uchar *report, nib_args a, nib_cell c)
{
    __global uint *count = (__global uint *)report;
    if (!a.has_report) return;
    if (c.empty) atomic_inc(&count[c.has_range ? NIB_R_UNDERFLOW : NIB_R_EMPTY]);
    if (c.saturated) atomic_inc(&count[NIB_R_SATURATED]);
}

/* The zero point's byte: zeros are a byte each wherever kernels compute on them. */
NIB_FN nib_i64 nib_zero_byte(nib_args a, nib_i64 cell)
{
    if (a.other.pitch == a.scale_cols) return cell;
    nib_i64 row = nib_quotient(cell, a.scale_cols);
    return row * a.other.pitch + cell - row * a.scale_cols;
}

/* Stores the parameters of group `cell` whose range is `e`, reports it, and returns them as they
 * read back; a poisoned group has scale NaN. */
NIB_FN nib_cell nib_write_cell(__global uchar *scales, __global uchar *offsets,
                               __global uchar *report, nib_args a, nib_i64 cell, nib_extent e)
{
    nib_i32 poisoned = nib_is_poisoned(a, e);
    nib_cell c = nib_cell_limits(a.bits, a.offset, a.low);
    if (e.nonfinite) nib_report_nonfinite(report, a, cell);
    if (poisoned) {
        c.scale = c.min = NIB_BITS_F32(NIB_QNAN_F32);
        c.zero = (float)-c.bias;
    } else {
        c = nib_cell_make(a, e.min, e.max);
        nib_report_cell(report, a, c);
    }
    nib_store(scales, a.scale_type, cell, c.scale);
    if (a.offset == NIB_O_MIN) nib_store(offsets, a.scale_type, cell, c.min);
    if (a.offset == NIB_O_ZERO)
        offsets[nib_zero_byte(a, cell)] = (uchar)((c.bias + (nib_i32)c.zero) ^ a.other.flip);
    return c;
}

/* The parameters of group `cell` as its planes hold them. */
NIB_FN nib_cell nib_read_cell(__global const uchar *scales, __global const uchar *offsets,
                              nib_args a, nib_i64 cell)
{
    nib_cell c = nib_cell_limits(a.bits, a.offset, a.low);
    c.scale = nib_load(scales, a.scale_type, cell);
    if (a.offset == NIB_O_MIN) c.min = nib_load(offsets, a.scale_type, cell);
    if (a.offset == NIB_O_ZERO)
        c.zero = (float)((nib_i32)(offsets[nib_zero_byte(a, cell)] ^ a.other.flip) - c.bias);
    return c;
}

#endif
