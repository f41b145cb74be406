/* blocks_plain_simd.h - blocks of 32 without an importance: nothing there is a sum, so a block lies
 * along the lanes, and LANES blocks make their scales together.
 *
 *   x: 32 elements a block --smallest and largest key (vec_*.h)--> a lane's range
 *   ranges of LANES blocks --> d, m, 1 / d;   x * (1 / d), truncated --> codes
 *
 * Bound: reading x and writing the blocks; about 50 cycles a block. */
#ifndef NIB_CPU_BLOCKS_PLAIN_SIMD_H
#define NIB_CPU_BLOCKS_PLAIN_SIMD_H

#include "blocks.h"
#include "lane_simd.h"

/* What LANES blocks encode with. */
typedef struct plain_cells {
    vf inverse, min;
    vi d, m;
} plain_cells;

/* The first of the elements whose magnitude is `magnitude`. */
static inline float first_of(const nib_u8 *x, nib_i32 type, float magnitude)
{
    for (nib_i32 i = 0; i < 32; i++) {
        float value = load_element(x, type, i);
        if (NIB_BITS_F32(NIB_F32_BITS(value) & 0x7fffffffu) == magnitude) return value;
    }
    return magnitude;
}

/* The value of a key (key.h). */
INLINE vf key_as_value(vi key, int type)
{
    int magnitude = type == NIB_T_F32 ? 0x7fffffff : 0x7fff;
    vi raw = key ^ (key >> 31 & magnitude);
    return v_from_type(type == NIB_T_F32 ? raw : raw & 0xffff, type);
}

/* Ranges of the blocks at x; 0 where one holds a NaN or an infinity. */
INLINE int plain_ranges(const nib_u8 *x, int type, vf *min_ret, vf *max_ret)
{
    vi low, high;
    int size = type == NIB_T_F32 ? 128 : 64;
    for (int lane = 0; lane < LANES; lane++) {
        int32_t least, most;
        span_keys k = k_start(type);
        k_take(&k, x + lane * size, type, 0);
        k_end(k, type, 0, &least, &most);
        low[lane] = least;
        high[lane] = most;
    }
    vi infinite = v_splat_int(type == NIB_T_F32 ? 0x7f800000 : type == NIB_T_F16 ? 0x7c00 : 0x7f80);
    vm bad = m_either(m_less_int(infinite - 1, high), m_less_int(low, -infinite));
    *min_ret = key_as_value(low, type);
    *max_ret = key_as_value(high, type);
    return !m_any(bad);
}

/* What ggml takes for the extreme (or the min) where two elements tie: the first. */
INLINE void settle_ties(const nib_u8 *x, int type, vm ties, vf *value)
{
    int size = type == NIB_T_F32 ? 128 : 64;
    if (!m_any(ties)) return;
    for (int lane = 0; lane < LANES; lane++)
        if (m_lane(ties, lane))
            (*value)[lane] = first_of(x + lane * size, type, nib_abs(*value)[lane]);
}

INLINE plain_cells plain_cells_of(const nib_u8 *x, int type, nib_i32 block, vf min, vf max)
{
    plain_cells c;
    vf d, zero = v_splat(0.0f);
    int limit = nib_limit_of(block);
    if (block == NIB_B_Q4_1 || block == NIB_B_Q5_1) {
        settle_ties(x, type, m_equal(min, zero), &min); /* which zero */
        d = (max - min) / v_splat((float)limit);
    } else if (block == NIB_B_Q8_0) {
        d = v_above(nib_abs(min), nib_abs(max)) / v_splat(127.0f);
    } else {
        vf extreme = m_select(m_less(nib_abs(max), nib_abs(min)), min, max);
        vm ties = m_both(m_equal(min, -max), m_not(m_equal(max, zero)));
        settle_ties(x, type, ties, &extreme);
        extreme = m_select(m_equal(extreme, zero), zero, extreme); /* not -0 */
        d = extreme / v_splat(-(float)limit);
    }
    c.inverse = nib_inverse_or_0(d);
    c.min = min;
    c.d = nib_half(d);
    c.m = nib_half(min);
    return c;
}

/* LANES codes from element i on. */
INLINE vi plain_codes(const nib_u8 *x, int type, nib_i32 block, int i, vf inverse, vf min)
{
    nib_parts p;
    p.step[0] = inverse;
    p.low[0] = min;
    const nib_u8 *from = x + i * (type == NIB_T_F32 ? 4 : 2);
    return nib_plain_code(block, &p, v_from_type(v_load_raw(from, type), type));
}

INLINE void plain_store(const nib_u8 *x, int type, nib_block_form f, vf inverse, vf min,
                        nib_u8 *out)
{
    uint32_t high = 0;
    for (int i = 0; i < 32 && f.low_bits == 8; i += LANES)
        v_store_bytes(out + f.low_at + i, plain_codes(x, type, f.block, i, inverse, min));
    for (int i = 0; i < 16 && f.low_bits == 4; i += LANES) {
        vi a = plain_codes(x, type, f.block, i, inverse, min);
        vi b = plain_codes(x, type, f.block, i + 16, inverse, min);
        v_store_bytes(out + f.low_at + i, (a & 15) | (b & 15) << 4);
        high |= (uint32_t)v_mask(a << 27) << i | (uint32_t)v_mask(b << 27) << (i + 16);
    }
    if (f.high_bits) memcpy(out + f.high_at, &high, sizeof high);
}

INLINE void report_plain(cell_report *report, const nib_args *a, nib_i64 item, plain_cells c,
                         vf min, vf max)
{
    vf zero = v_splat(0.0f);
    vm zeros = m_both(m_equal(min, zero), m_equal(max, zero));
    vi d = c.d & 0x7fff, m = a->offset == NIB_O_MIN ? c.m & 0x7fff : d;
    vm odd = m_either(m_less_int(d, v_splat_int(1)), m_less_int(v_splat_int(0x7bff), v_most(d, m)));
    for (int lane = 0; m_any(odd) && lane < LANES; lane++)
        report_block(report, a, item + lane, 0, m_lane(zeros, lane), (nib_u32)d[lane],
                     (nib_u32)m[lane]);
}

/* Blocks of one element type; what holds a NaN, and the tail, go to the plain kernel. */
INLINE void plain_blocks(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 begin,
                         nib_i64 end, nib_block_form f, int type)
{
    cell_report report = CELL_REPORT_EMPTY;
    int size = type == NIB_T_F32 ? 128 : 64;
    for (; end - begin >= LANES; begin += LANES) {
        const nib_u8 *x = (const nib_u8 *)span[NIB_X] + begin * size;
        nib_u8 *out = (nib_u8 *)span[NIB_OUT] + begin * f.bytes;
        vf min, max;
        if (!plain_ranges(x, type, &min, &max)) {
            nib_cpu_quantize_blocks(span, a, begin, begin + LANES);
            continue;
        }
        plain_cells c = plain_cells_of(x, type, f.block, min, max);
        report_plain(&report, a, begin, c, min, max);
        for (int lane = 0; lane < LANES; lane++, x += size, out += f.bytes) {
            nib_put_half(out, f.d_at, (nib_u32)c.d[lane]);
            nib_put_half(out, f.m_at, (nib_u32)c.m[lane]);
            plain_store(x, type, f, v_splat(c.inverse[lane]), v_splat(c.min[lane]), out);
        }
    }
    report_add(span[NIB_REPORT], &report);
    nib_cpu_quantize_blocks(span, a, begin, end);
}

INLINE void quantize_plain(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 begin,
                           nib_i64 end, nib_block_form f)
{
    if (a->x_type == NIB_T_F32) plain_blocks(span, a, begin, end, f, NIB_T_F32);
    else if (a->x_type == NIB_T_F16) plain_blocks(span, a, begin, end, f, NIB_T_F16);
    else plain_blocks(span, a, begin, end, f, NIB_T_BF16);
}

#endif
