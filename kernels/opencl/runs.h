/* runs.h - runs of 8 codes along a row, which are `width` whole bytes and so one work-item's share:
 *
 *   column      8i   8i+1  ...  8i+7        of a row stream (not strided)
 *   bits        0    width ...  7*width     of a 64-bit word, least significant first
 *   bytes       i*width ... i*width + width - 1 of the row
 *
 * The last run of a row may be shorter; the bytes after it up to the pitch are zero. */
#ifndef NIB_OPENCL_RUNS_H
#define NIB_OPENCL_RUNS_H

#include "spans.h"

/* Rows of codes that are not 8 bits wide start at multiples of 4 bytes: the layouts' `align`. */
NIB_FN ulong nib_get_run(__global const uchar *codes, nib_place p, nib_i64 row, nib_i64 col)
{
    nib_i64 start = (col >> 3) * p.width, bytes = min((nib_i64)p.width, p.pitch - start);
    __global const uchar *run = codes + row * p.pitch + start;
    if (p.width == 4) return *(__global const uint *)run;
    if (bytes == 8) return as_ulong(vload8(0, run));
    ulong word = 0;
    for (nib_i32 i = 0; i < (nib_i32)bytes; i++) word |= (ulong)run[i] << (8 * i);
    return word;
}

NIB_FN void nib_put_run(__global uchar *codes, nib_place p, nib_i64 row, nib_i64 col, nib_i64 cols,
                        ulong word)
{
    nib_i64 start = (col >> 3) * p.width;
    __global uchar *run = codes + row * p.pitch + start;
    nib_i32 bytes = col + 8 < cols ? p.width : (nib_i32)(p.pitch - start);
    if (p.width == 4) {
        *(__global uint *)run = (uint)word;
        return;
    }
    if (bytes == 8) {
        vstore8(as_uchar8(word), 0, run);
        return;
    }
    for (nib_i32 i = 0; i < bytes; i++) run[i] = i < 8 ? (uchar)(word >> (8 * i)) : (uchar)0;
}

/* The code of element i of a run. */
NIB_FN nib_u32 nib_run_code(ulong word, nib_place p, nib_i32 i)
{
    return ((nib_u32)(word >> (i * p.width)) & ((1u << p.width) - 1u)) ^ (nib_u32)p.flip;
}

NIB_FN ulong nib_run_bits(nib_u32 code, nib_place p, nib_i32 i)
{
    return (ulong)(code ^ (nib_u32)p.flip) << (i * p.width);
}

/* The row and column where work-item `id` of a launch over NIB_ITEM_OCTET begins; a row past the
 * last for work-items that only fill a work-group. */
NIB_FN nib_i64 nib_run_row(nib_args a, nib_i64 id) { return id / ((a.cols + 7) >> 3); }
NIB_FN nib_i64 nib_run_col(nib_args a, nib_i64 id) { return id % ((a.cols + 7) >> 3) << 3; }

#endif
