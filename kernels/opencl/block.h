/* block.h - one block by one work-item: quantize, and its line in the report. */
#ifndef NIB_OPENCL_BLOCK_H
#define NIB_OPENCL_BLOCK_H

#include "block_source.h"
#include "group.h"

NIB_FN void nib_report_block(__global uchar *report, nib_args a, nib_i64 item, nib_i32 nonfinite,
                             nib_i32 zeros, nib_u32 d, nib_u32 m)
{
    __global uint *count = (__global uint *)report;
    if (nonfinite) nib_report_nonfinite(report, a, item);
    if (!a.has_report || (nonfinite && a.nonfinite == NIB_N_ERROR)) return;
    if (zeros) atomic_inc(&count[NIB_R_EMPTY]);
    else if ((d & 0x7fffu) == 0u) atomic_inc(&count[NIB_R_UNDERFLOW]);
    if ((d & 0x7c00u) == 0x7c00u || (m & 0x7c00u) == 0x7c00u) atomic_inc(&count[NIB_R_SATURATED]);
}

/* Block `item` of the launch. `block`: a constant; `weighted`: there may be an importance. */
NIB_FN void nib_quantize_item(__global uchar *x, __global uchar *importance, __global uchar *out,
                              __global uchar *report, nib_args a, nib_i64 item, nib_i32 block,
                              nib_i32 weighted)
{
    nib_source s;
    uchar bytes[256];
    nib_i32 elements = a.form.elements, nonfinite = 0, zeros = 1;
    if (item >= a.rows * a.scale_cols) return;
    nib_i64 row = nib_quotient(item, a.scale_cols);
    s.x = x;
    s.importance = (__global const float *)importance + (item - row * a.scale_cols) * elements;
    s.first = item * elements;
    s.type = a.x_type;
    s.nonfinite = a.nonfinite;
    s.weighted = weighted && a.weights != NIB_W_NONE;
    s.mean = 0.0f;
    out += item * a.form.bytes;
    if (a.weights == NIB_W_ROW)
        s.mean =
            as_float((uint)out[0] | (uint)out[1] << 8 | (uint)out[2] << 16 | (uint)out[3] << 24);
    for (nib_i32 i = 0; i < elements; i++) {
        nonfinite |= !nib_is_finite(nib_load(x, a.x_type, s.first + i));
        zeros &= nib_source_x(s, i) == 0.0f;
    }
    if (nonfinite && a.nonfinite == NIB_N_ERROR) {
        for (nib_i32 i = 0; i < a.form.bytes; i++) bytes[i] = 0;
        nib_put_half(bytes, a.form.d_at, 0x7e00u);
        nib_put_half(bytes, a.form.m_at, 0x7e00u);
    } else nib_block_quantize(s, block, a.form, bytes);
    nib_u32 d = (nib_u32)bytes[a.form.d_at] | (nib_u32)bytes[a.form.d_at + 1] << 8, m = 0u;
    if (a.form.m_at != NIB_NOWHERE)
        m = (nib_u32)bytes[a.form.m_at] | (nib_u32)bytes[a.form.m_at + 1] << 8;
    for (nib_i32 i = 0; i < a.form.bytes; i++) out[i] = bytes[i];
    nib_report_block(report, a, item, nonfinite, zeros, d, m);
}

#define QUANTIZE(ID, weighted)                                                                     \
    NIB_KERNEL(quantize_blocks_##ID, 64)                                                           \
    {                                                                                              \
        NIB_ENTER;                                                                                 \
        nib_quantize_item(x, scales, out, report, a, get_global_id(0), NIB_B_##ID, weighted);      \
    }

#endif
