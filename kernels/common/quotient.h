/* quotient.h - x / s correctly rounded for the price of three operations, where s has few
 * significant bits.
 *
 * Let r = rn(1 / s), q = rn(x * r), e = rn(x - q * s) by one fma. Then rn(q + e * r), again one
 * fma, is rn(x / s): q is within 2 units in its last place of Q = x / s, so before its rounding q +
 * e * r is within 2^-22 units of Q. A midpoint m between two floats has 25 significant bits and s
 * has at most 11, so m * s has at most 36; x differs from it by at least one of its units (x cannot
 * equal it: m is odd in its last bit, so m * s needs 25 bits and x has 24), which puts Q at least
 * 2^-12 units from m. The rounding is therefore that of Q. This holds while nothing is subnormal or
 * overflows: see nib_quotient_holds. Scales of type F16 and BF16 have 11 and 8 significant bits;
 * tests/test_quotient.c tries them all. */
#ifndef NIB_QUOTIENT_H
#define NIB_QUOTIENT_H

#include "prelude.h"

/* Whether nib_quotient may divide codes' values by s: at most 11 significant bits, and an exponent
 * from which no remainder that could change a code is subnormal (a value below 2^-20 of s encodes
 * as 0 either way) and no product overflows. */
NIB_FN nib_i32 nib_quotient_holds(float s)
{
    nib_u32 exponent = NIB_F32_BITS(s) >> 23 & 0xffu;
    return (NIB_F32_BITS(s) & 0x1fffu) == 0u && exponent > 127u - 80u && exponent < 127u + 100u;
}

/* r: 1 / s, correctly rounded. */
NIB_FN float nib_quotient(float x, float s, float r)
{
    float q = x * r;
    return NIB_FMA(NIB_FMA(-q, s, x), r, q);
}

#endif
