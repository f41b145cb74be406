/* rule.h - from the range of a group to its parameters, and from values to codes and back:
 * docs/numerics.md section 3. Every rule ends in the same numbers, so that encoding names no rule:
 *     u = bias + rne(clamp((x - min) / scale + zero, low, high)) */
#ifndef NIB_RULE_H
#define NIB_RULE_H

#include "number.h"

typedef struct nib_cell {
    float scale;     /* as its stored bits decode */
    float min;       /* likewise; 0 without a min */
    float zero;      /* the zero point less bias; 0 without one */
    float low, high; /* limits of the signed code */
    nib_i32 bias;    /* what makes it unsigned */
    nib_i32 empty; /* the scale was too small to store (report: empty, or underflow if has_range) */
    nib_i32 has_range; /* the range is not zero */
    nib_i32 saturated; /* scale or min was cut to the largest finite value of its type */
} nib_cell;

/* A scale of 0 is the only one below 2^-126 that is ever stored. */
NIB_FN nib_i32 nib_is_subnormal(float x) { return (NIB_F32_BITS(x) & 0x7fffffffu) < 0x00800000u; }

/* x cut to +-limit. */
NIB_FN float nib_cut(float x, float limit) { return x > limit ? limit : x < -limit ? -limit : x; }

NIB_FN float nib_clamp(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

/* The limits, the same for every group of a tensor. */
NIB_FN nib_cell nib_cell_limits(nib_i32 bits, nib_i32 offset, nib_i32 low)
{
    nib_cell c;
    float half_ = (float)(1 << (bits - 1)); /* `half` is a type in OpenCL */
    c.scale = c.min = c.zero = 0.0f;
    c.bias = offset == NIB_O_MIN ? 0 : 1 << (bits - 1);
    c.low = offset == NIB_O_MIN ? 0.0f : (float)low - half_;
    c.high = c.low - (float)low + (half_ - 1.0f) + half_;
    c.empty = c.has_range = c.saturated = 0;
    return c;
}

/* The parameters of a group whose admitted values (number.h) lie in min..max. An empty group (scale
 * 0, or epsilon where the rule says so) encodes every value as it encodes 0, or its min. */
NIB_FN nib_cell nib_cell_make(nib_args a, float min, float max)
{
    nib_cell c = nib_cell_limits(a.bits, a.offset, a.low);
    float levels = (float)((1 << a.bits) - 1), half_ = (float)(1 << (a.bits - 1)),
          limit = nib_type_max(a.scale_type);
    float low = a.range == NIB_RANGE_SPAN0 && min > 0.0f ? 0.0f : min;
    float high = a.range == NIB_RANGE_SPAN0 && max < 0.0f ? 0.0f : max;
    float extent = a.range == NIB_RANGE_ABS      ? (-low > high ? -low : high)
                   : a.range == NIB_RANGE_SIGNED ? (-low >= high ? low : high)
                                                 : high - low;
    float divisor = a.divisor == NIB_DIVISOR_HALF     ? half_ - 1.0f
                    : a.divisor == NIB_DIVISOR_FULL   ? levels / 2.0f
                    : a.divisor == NIB_DIVISOR_SIGNED ? -half_
                                                      : levels;
    float exact = nib_divide(extent, divisor);
    c.has_range = extent != 0.0f;
    c.saturated = exact > limit || exact < -limit;
    c.scale = nib_from_type(a.scale_type, nib_to_type(a.scale_type, nib_cut(exact, limit)));
    c.empty = nib_is_subnormal(c.scale);
    if (c.empty) {
        c.scale = a.empty == NIB_EMPTY_EPS ? nib_type_epsilon(a.scale_type) : 0.0f;
        low = 0.0f; /* the zero point of a group of zeros */
    }
    if (a.offset == NIB_O_MIN) {
        c.saturated |= min > limit || min < -limit;
        c.min =
            nib_flush(nib_from_type(a.scale_type, nib_to_type(a.scale_type, nib_cut(min, limit))));
    }
    if (a.offset == NIB_O_ZERO)
        c.zero = NIB_RINT(
            nib_clamp(-half_ - (c.scale == 0.0f ? 0.0f : nib_divide(low, c.scale)), c.low, c.high));
    return c;
}

/* The unsigned code of an admitted value. */
NIB_FN nib_u32 nib_encode(nib_cell c, float x)
{
    if (c.scale == 0.0f) return (nib_u32)(c.bias + (nib_i32)c.zero);
    return (nib_u32)(c.bias + (nib_i32)NIB_RINT(nib_clamp(nib_divide(x - c.min, c.scale) + c.zero,
                                                          c.low, c.high)));
}

/* The value of a code. `zero` is the unsigned zero point: 2^(bits-1) without zeros, 0 with a min.
 */
NIB_FN float nib_decode(nib_u32 code, nib_i32 zero, float scale, float min, nib_i32 offset)
{
    float product = (float)((nib_i32)code - zero) * scale;
    float value = offset == NIB_O_MIN ? product + min : product;
    return nib_is_finite(scale) && nib_is_finite(min) ? value : NIB_BITS_F32(NIB_QNAN_F32);
}

#endif
