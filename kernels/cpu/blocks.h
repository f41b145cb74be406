/* blocks.h - what the block kernels of the cpu share: a block's values in, its bytes out. */
#ifndef NIB_CPU_BLOCKS_H
#define NIB_CPU_BLOCKS_H

#include "../common/block_bytes.h"
#include "access.h"

/* What a block turned into, for the report. */
static inline void report_block(cell_report *report, const nib_args *a, nib_i64 block,
                                int nonfinite, int zeros, nib_u32 d, nib_u32 m)
{
    if (nonfinite) report_nonfinite(report, block);
    if (nonfinite && a->nonfinite == NIB_N_ERROR) return;
    report->empty += (nib_u32)zeros;
    report->underflow += !zeros && (d & 0x7fffu) == 0;
    report->saturated += (d & 0x7c00u) == 0x7c00u || (m & 0x7c00u) == 0x7c00u;
}

static inline nib_u32 load_half(const nib_u8 *bytes, nib_i32 at)
{
    return at == NIB_NOWHERE ? 0u : bytes[at] | (nib_u32)bytes[at + 1] << 8;
}

/* The block that the policy `error` makes of a NaN. */
static inline void poison_block(nib_u8 *bytes, nib_block_form f)
{
    memset(bytes, 0, (size_t)f.bytes);
    nib_put_half(bytes, f.d_at, 0x7e00u);
    nib_put_half(bytes, f.m_at, 0x7e00u);
}

static inline nib_i32 get_parts(const nib_u8 *bytes, nib_parted p)
{
    return nib_join(p, bytes[p.low.at], bytes[p.high.at]);
}

/* Scale and min of group j as the planes hold them. */
static inline void block_cell(const nib_u8 *bytes, nib_block_form f, nib_i32 j, float *scale_ret,
                              float *min_ret)
{
    nib_u32 d = load_half(bytes, f.d_at), m = load_half(bytes, f.m_at);
    nib_i32 sub = 0, sub_min = 0;
    if (f.sub != NIB_SUB_NONE) {
        sub = nib_sub_value(f, get_parts(bytes, nib_sub_at(f, 0, j)));
        if (f.m_at != NIB_NOWHERE) sub_min = get_parts(bytes, nib_sub_at(f, 1, j));
    }
    *scale_ret = nib_block_product(f, d, m, 0, sub);
    *min_ret = f.m_at == NIB_NOWHERE ? 0.0f : nib_block_product(f, d, m, 1, sub_min);
}

#endif
