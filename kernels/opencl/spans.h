/* spans.h - how a kernel gets its launch: seven buffers, where each span begins in its buffer, and
 * the numbers of kernels/common/args.h by value. A buffer is NULL where the request lacks the span.
 * Elements and codes are read and written here and nowhere else. */
#ifndef NIB_OPENCL_SPANS_H
#define NIB_OPENCL_SPANS_H

#include "../common/layout.h"
#include "../common/number.h"

typedef struct nib_starts {
    ulong x, codes, scales, offsets, y, out, report;
} nib_starts;

/* The host fills nib_args by memcpy: a device whose compiler lays it out otherwise must not run. */
typedef char nib_args_is_320_bytes[sizeof(nib_args) == 320 ? 1 : -1];

#define NIB_KERNEL(name, lanes)                                                                    \
    __kernel __attribute__((reqd_work_group_size(lanes, 1, 1))) void name(                         \
        __global uchar *x, __global uchar *codes, __global uchar *scales, __global uchar *offsets, \
        __global uchar *y, __global uchar *out, __global uchar *report, nib_starts at, nib_args a)

/* The first statement of a kernel. */
#define NIB_ENTER                                                                                  \
    x += at.x, codes += at.codes, scales += at.scales, offsets += at.offsets, y += at.y,           \
        out += at.out, report += at.report

/* a / b of numbers >= 0: 64-bit division costs a GPU some hundred instructions, and is hardly ever
 * needed. */
NIB_FN nib_i64 nib_quotient(nib_i64 a, nib_i64 b)
{
    if (((a | b) >> 32) == 0) return (nib_i64)((nib_u32)a / (nib_u32)b);
    return a / b;
}

NIB_FN float nib_load(__global const uchar *array, nib_i32 type, nib_i64 index)
{
    if (type == NIB_T_F32) return ((__global const float *)array)[index];
    return nib_from_type(type, ((__global const ushort *)array)[index]);
}

NIB_FN void nib_store(__global uchar *array, nib_i32 type, nib_i64 index, float value)
{
    if (type == NIB_T_F32) ((__global uint *)array)[index] = NIB_F32_BITS(value);
    else ((__global ushort *)array)[index] = (ushort)nib_to_type(type, value);
}

/* Element `index` of a stream, at most 8 bits wide, as the unsigned integer it stands for. */
NIB_FN nib_u32 nib_get(__global const uchar *plane, nib_place p, nib_i64 stream, nib_i64 index)
{
    nib_i64 bit = index * p.width;
    nib_u32 shift = (nib_u32)(bit & 7);
    nib_u32 bits = plane[nib_place_byte(p, stream, bit >> 3)];
    if (shift + (nib_u32)p.width > 8u)
        bits |= (nib_u32)plane[nib_place_byte(p, stream, (bit >> 3) + 1)] << 8;
    return ((bits >> shift) & ((1u << p.width) - 1u)) ^ (nib_u32)p.flip;
}

#endif
