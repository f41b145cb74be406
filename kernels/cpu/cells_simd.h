/* cells_simd.h - the parameters of as many groups as a vector has lanes: nib_cell_make of
 * kernels/common/rule.h step by step, without branches on values. */
#ifndef NIB_CPU_CELLS_SIMD_H
#define NIB_CPU_CELLS_SIMD_H

#include "../common/rule.h"
#include "lanes_simd.h"

/* The value of a key (key.h), flushed. */
INLINE vf v_key_value(vi key, int type)
{
    int magnitude = type == NIB_T_F32 ? 0x7fffffff : 0x7fff;
    vi raw = key ^ (key >> 31 & magnitude);
    return v_flush(v_from_type(type == NIB_T_F32 ? raw : raw & 0xffff, type));
}

typedef struct cells {
    vi scale_bits, min_bits; /* as stored */
    vf scale, inverse, min, zero;
    vi empty, has_range, saturated; /* -1 or 0 */
} cells;

INLINE vf cells_extent(const nib_args *a, vf low, vf high)
{
    if (a->range == NIB_RANGE_ABS) return v_above(-low, high);
    if (a->range == NIB_RANGE_SIGNED) return v_select(-low >= high, low, high);
    return high - low;
}

INLINE float cells_divisor(const nib_args *a)
{
    float levels = (float)((1 << a->bits) - 1), half_ = (float)(1 << (a->bits - 1));
    return a->divisor == NIB_DIVISOR_HALF     ? half_ - 1.0f
           : a->divisor == NIB_DIVISOR_FULL   ? levels / 2.0f
           : a->divisor == NIB_DIVISOR_SIGNED ? -half_
                                              : levels;
}

/* min and max: of values that are finite and not subnormal. */
INLINE cells cells_make(const nib_args *a, vf min, vf max)
{
    nib_cell limits = nib_cell_limits(a->bits, a->offset, a->low);
    float half_ = (float)(1 << (a->bits - 1)), limit = nib_type_max(a->scale_type);
    int span0 = a->range == NIB_RANGE_SPAN0;
    vf zero = v_splat(0.0f), bound = v_splat(limit);
    vf low = span0 ? v_below(min, zero) : min, high = span0 ? v_above(max, zero) : max;
    cells c;
    vf extent = cells_extent(a, low, high), exact = extent / cells_divisor(a);
    c.has_range = extent != zero;
    c.saturated = (exact > bound) | (exact < -bound);
    c.scale_bits = v_to_type(v_above(v_below(exact, bound), -bound), a->scale_type);
    c.scale = v_from_type(c.scale_bits, a->scale_type);
    c.empty = v_is_subnormal(c.scale);
    float least = a->empty == NIB_EMPTY_EPS ? nib_type_epsilon(a->scale_type) : 0.0f;
    c.scale = v_select(c.empty, v_splat(least), c.scale);
    c.scale_bits = v_to_type(c.scale, a->scale_type);
    c.inverse = 1.0f / c.scale;
    c.min = c.zero = zero;
    c.min_bits = v_splat_int(0);
    if (a->offset == NIB_O_MIN) {
        c.saturated |= (min > bound) | (min < -bound);
        vf cut = v_above(v_below(min, bound), -bound);
        c.min = v_flush(v_from_type(v_to_type(cut, a->scale_type), a->scale_type));
        c.min_bits = v_to_type(c.min, a->scale_type);
    }
    if (a->offset == NIB_O_ZERO) {
        vf quotient = v_select(c.empty, zero, low) / c.scale;
        quotient = v_select(c.scale == zero, zero, quotient);
        vf z = v_splat(-half_) - quotient;
        c.zero = v_rint(v_below(v_above(z, v_splat(limits.low)), v_splat(limits.high)));
    }
    return c;
}

#endif
