/* number.h - element types as values: f16 and bf16 to and from f32 by integer arithmetic, equal to
 * F16C, NEON and CUDA conversions bit for bit (all 2^32 patterns, tests/test_number.c), whatever
 * the host's rounding mode or FTZ/DAZ. */
#ifndef NIB_NUMBER_H
#define NIB_NUMBER_H

#include "args.h"

NIB_FN nib_i32 nib_is_finite(float x) { return (NIB_F32_BITS(x) & 0x7f800000u) != 0x7f800000u; }

/* Subnormals and -0 become +0 by an integer test, so that no device's flushing can change a result.
 */
NIB_FN float nib_flush(float x) { return (NIB_F32_BITS(x) & 0x7fffffffu) < 0x00800000u ? 0.0f : x; }

NIB_FN float nib_from_f16(nib_u32 h)
{
    nib_u32 sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31u, mantissa = h & 1023u;
    if (exponent == 31u) /* infinity; NaN becomes quiet */
        return NIB_BITS_F32(sign | 0x7f800000u | (mantissa << 13) | (mantissa ? 0x400000u : 0u));
    if (exponent == 0u) { /* mantissa * 2^-24, exact */
        float magnitude = (float)mantissa * 5.9604644775390625e-8f;
        return NIB_BITS_F32(sign | NIB_F32_BITS(magnitude));
    }
    return NIB_BITS_F32(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

/* Adds half of the last kept place, less one where the kept part is even: round to nearest even. */
NIB_FN nib_u32 nib_round_shift(nib_u32 value, nib_u32 shift)
{
    return (value + ((1u << (shift - 1u)) - 1u) + ((value >> shift) & 1u)) >> shift;
}

/* x / s correctly rounded; s is finite and not 0, x no NaN. A device whose own division is not
 * (OpenCL without CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) defines NIB_DIVIDE_LONG: long division of
 * the significands in base 256, exact by its remainder, also where x or the quotient is
 * subnormal. */
NIB_FN float nib_divide(float x, float s)
{
#if defined(NIB_DIVIDE_LONG)
    nib_u32 sign = (NIB_F32_BITS(x) ^ NIB_F32_BITS(s)) & 0x80000000u;
    nib_u32 n = NIB_F32_BITS(x) & 0x7fffffffu, d = NIB_F32_BITS(s) & 0x7fffffffu;
    if (n == 0u || n >= 0x7f800000u) return NIB_BITS_F32(sign | n);
    nib_i32 exponent = 127;
    if (d < 0x00800000u) { /* likewise s */
        d = NIB_F32_BITS((float)(nib_i32)d);
        exponent += 149;
    }
    exponent -= (nib_i32)(d >> 23);
    if (n < 0x00800000u) { /* a subnormal is n * 2^-149 */
        n = NIB_F32_BITS((float)(nib_i32)n);
        exponent -= 149;
    }
    exponent += (nib_i32)(n >> 23);
    n = (n & 0x7fffffu) | 0x800000u;
    d = (d & 0x7fffffu) | 0x800000u;
    if (n < d) {
        n <<= 1;
        exponent--;
    }
    nib_u32 quotient = 1u, rest = n - d; /* n / d lies in 1..2; rest < d < 2^24 */
    for (nib_i32 digit = 0; digit < 3; digit++) {
        rest <<= 8;
        quotient = quotient << 8 | rest / d;
        rest %= d;
    }
    quotient = quotient << 1 | (rest != 0u); /* 24 bits, the half, and whether there is more */
    if (exponent >= 255) return NIB_BITS_F32(sign | 0x7f800000u);
    if (exponent >= 1)
        return NIB_BITS_F32((sign | ((nib_u32)exponent - 1u) << 23) +
                            nib_round_shift(quotient, 2u));
    nib_u32 shift = exponent > -24 ? (nib_u32)(3 - exponent) : 27u;
    return NIB_BITS_F32(sign | nib_round_shift(quotient, shift));
#elif defined(__CUDACC__)
    return __fdiv_rn(x, s);
#else
    return x / s;
#endif
}

NIB_FN nib_u32 nib_to_f16(float x)
{
    nib_u32 u = NIB_F32_BITS(x), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    if (magnitude >= 0x477ff000u) return sign | 0x7c00u; /* 65520 and above round to infinity */
    if (magnitude >= 0x38800000u) return sign | (nib_round_shift(magnitude, 13u) - (112u << 10));
    if (magnitude <= 0x33000000u) return sign; /* 2^-25 and below round to zero */
    nib_u32 shift = 126u - (magnitude >> 23);  /* 14..24: a subnormal of 2^-24 steps */
    return sign | nib_round_shift((magnitude & 0x7fffffu) | 0x800000u, shift);
}

NIB_FN float nib_from_bf16(nib_u32 h)
{
    nib_u32 u = h << 16;
    return NIB_BITS_F32((u & 0x7fffffffu) > 0x7f800000u ? u | 0x400000u : u);
}

NIB_FN nib_u32 nib_to_bf16(float x)
{
    nib_u32 u = NIB_F32_BITS(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (u >> 16) | 0x40u;
    return nib_round_shift(u, 16u);
}

/* `raw`: the element's 16 or 32 bits. */
NIB_FN float nib_from_type(nib_i32 type, nib_u32 raw)
{
    return type == NIB_T_F32   ? NIB_BITS_F32(raw)
           : type == NIB_T_F16 ? nib_from_f16(raw)
                               : nib_from_bf16(raw);
}

NIB_FN nib_u32 nib_to_type(nib_i32 type, float x)
{
    return type == NIB_T_F32 ? NIB_F32_BITS(x) : type == NIB_T_F16 ? nib_to_f16(x) : nib_to_bf16(x);
}

/* The largest finite value of the type. */
NIB_FN float nib_type_max(nib_i32 type)
{
    return NIB_BITS_F32(type == NIB_T_F32   ? 0x7f7fffffu
                        : type == NIB_T_F16 ? 0x477fe000u
                                            : 0x7f7f0000u);
}

/* 2^-23, 2^-10, 2^-7: the distance from 1 to the next value of the type. */
NIB_FN float nib_type_epsilon(nib_i32 type)
{
    return NIB_BITS_F32(type == NIB_T_F32   ? 0x34000000u
                        : type == NIB_T_F16 ? 0x3a800000u
                                            : 0x3c000000u);
}

/* What NaN and infinities become, by policy. */
NIB_FN float nib_substitute(float x, nib_i32 nonfinite, nib_i32 type)
{
    if (nonfinite != NIB_N_SATURATE || (NIB_F32_BITS(x) & 0x7fffffu)) return 0.0f;
    float limit = nib_type_max(type);
    return NIB_F32_BITS(x) >> 31 ? -limit : limit;
}

/* What quantize and ranges see of an input: NaN and infinities by policy, then flushed. The caller
 * has counted the group for the report before, under every policy. */
NIB_FN float nib_admit(float x, nib_i32 nonfinite, nib_i32 type)
{
    return nib_is_finite(x) ? nib_flush(x) : nib_substitute(x, nonfinite, type);
}

#endif
