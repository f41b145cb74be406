/* acts.h - int8 activations: how a row of x becomes codes (docs/numerics.md section 9). */
#ifndef NIB_ACTS_H
#define NIB_ACTS_H

#include "rule.h"

/* One scale for a row whose admitted values lie in min..max: rule asym_zero with zero points,
 * sym_restricted without, 8 bits, scale in f32. */
NIB_FN nib_cell nib_acts_cell(nib_i32 zeros, float min, float max)
{
    nib_args a;
    a.bits = 8;
    a.scale_type = NIB_T_F32;
    a.offset = zeros ? NIB_O_ZERO : NIB_O_NONE;
    a.range = zeros ? NIB_RANGE_SPAN0 : NIB_RANGE_ABS;
    a.divisor = zeros ? NIB_DIVISOR_LEVELS : NIB_DIVISOR_HALF;
    a.low = zeros ? 0 : 1;
    a.empty = zeros ? NIB_EMPTY_EPS : NIB_EMPTY_ZERO;
    return nib_cell_make(a, min, max);
}

/* What encodes with a scale and zero point that the caller gives. A scale that is not finite, or
 * below 2^-126, encodes everything as 0. */
NIB_FN nib_cell nib_acts_given(float scale, nib_i32 zero)
{
    nib_cell c = nib_cell_limits(8, NIB_O_ZERO, 0);
    c.scale = nib_is_finite(scale) ? nib_flush(scale) : 0.0f;
    c.zero = (float)zero;
    return c;
}

/* The signed code of an admitted value. */
NIB_FN nib_i32 nib_acts_code(nib_cell c, float x) { return (nib_i32)nib_encode(c, x) - 128; }

/* y of an int32 sum with one scale of w and one of x: the same roundings everywhere. */
NIB_FN float nib_scaled(nib_i32 sum, float w_scale, float x_scale)
{
    return (float)sum * w_scale * x_scale;
}

#endif
