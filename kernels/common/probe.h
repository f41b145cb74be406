/* probe.h - the self-test of a device's arithmetic: each probe does one thing that docs/numerics.md
 * asks of a backend, on operands made from the vector's number, so that host and device need to
 * exchange results only. */
#ifndef NIB_PROBE_H
#define NIB_PROBE_H

#include "number.h"

enum {
    NIB_PROBE_MULTIPLY,
    NIB_PROBE_ADD,
    NIB_PROBE_MULTIPLY_ADD, /* two roundings: a contraction shows */
    NIB_PROBE_DIVIDE,
    NIB_PROBE_RINT,
    NIB_PROBE_INTEGERS, /* int to float and back */
    NIB_PROBE_TO_F16,
    NIB_PROBE_TO_BF16,
    NIB_PROBE_FROM_F16,
    NIB_PROBE_COUNT
};

/* A permutation of the 32-bit numbers (Wellons, "lowbias32"). */
NIB_FN nib_u32 nib_probe_mix(nib_u32 x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

/* Operand `which` of a vector, finite. By the vector's last two bits: exponents that meet; products
 * and quotients about 2^-126, where results become subnormal; subnormals; any. */
NIB_FN float nib_probe_operand(nib_u32 vector, nib_u32 which)
{
    nib_u32 bits = nib_probe_mix(vector * 4u + which), exponent = (bits >> 23) & 255u;
    nib_u32 kind = vector & 3u;
    if (kind == 0u) exponent = 120u + (exponent & 15u);
    if (kind == 1u) exponent = (which == 0u ? 48u : 60u) + (exponent & 15u);
    if (kind == 2u && which == 0u) exponent = 0u;
    if (exponent == 255u) exponent = 254u;
    return NIB_BITS_F32((bits & 0x807fffffu) | (exponent << 23));
}

/* A divisor of a kernel: normal; small where the vector is of small numbers, so that the quotient
 * of kind 1 is large and that of kind 2 is about 2^-126. */
NIB_FN float nib_probe_divisor(nib_u32 vector)
{
    nib_u32 bits = NIB_F32_BITS(nib_probe_operand(vector, 1u));
    if ((vector & 3u) == 1u) bits = (bits & 0x807fffffu) | ((174u + (bits >> 23 & 15u)) << 23);
    if ((bits & 0x7f800000u) == 0u) bits |= 0x00800000u;
    return NIB_BITS_F32(bits);
}

/* The result's bits; any NaN is one. */
NIB_FN nib_u32 nib_probe(nib_i32 probe, nib_u32 vector)
{
    float a = nib_probe_operand(vector, 0u), b = nib_probe_operand(vector, 1u),
          c = nib_probe_operand(vector, 2u), result = 0.0f;
    if (probe == NIB_PROBE_MULTIPLY) result = a * b;
    if (probe == NIB_PROBE_ADD) result = a + b;
    if (probe == NIB_PROBE_MULTIPLY_ADD) {
        float product = a * b;
        result = product + c;
    }
    if (probe == NIB_PROBE_DIVIDE) result = nib_divide(a, nib_probe_divisor(vector));
    if (probe == NIB_PROBE_RINT) result = NIB_RINT(a * 0.5f);
    if (probe == NIB_PROBE_INTEGERS) {
        nib_i32 integer = (nib_i32)(vector * 511u) - (1 << 24);
        result = (float)(nib_i32)((float)integer * 0.5f);
    }
    if (probe == NIB_PROBE_TO_F16) return nib_to_f16(a);
    if (probe == NIB_PROBE_TO_BF16) return nib_to_bf16(a);
    if (probe == NIB_PROBE_FROM_F16) result = nib_from_f16(vector & 0xffffu);
    nib_u32 bits = NIB_F32_BITS(result);
    return (bits & 0x7fffffffu) > 0x7f800000u ? NIB_QNAN_F32 : bits;
}

#endif
