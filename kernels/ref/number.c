/* number.c - element types from their definitions: a sign, a biased exponent and a fraction,
 * docs/numerics.md sections 2 and 5. */
#include "witness.h"

#include <math.h>
#include <string.h>

/* IEEE 754's parameters of a binary format. */
typedef struct format {
    int exponent_bits, fraction_bits;
} format;

static format format_of(int type)
{
    if (type == NIB_T_F16) return (format){5, 10};
    if (type == NIB_T_BF16) return (format){8, 7};
    return (format){8, 23};
}

static int bias_of(format f) { return (1 << (f.exponent_bits - 1)) - 1; }

float nib_ref_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

uint32_t nib_ref_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

float nib_ref_value(int type, uint32_t stored)
{
    if (type == NIB_T_F32) return nib_ref_float(stored);
    format f = format_of(type);
    uint32_t fraction = stored % (1u << f.fraction_bits);
    int exponent = (int)((stored >> f.fraction_bits) % (1u << f.exponent_bits));
    int negative = (int)(stored >> (f.fraction_bits + f.exponent_bits));
    if (exponent == (1 << f.exponent_bits) - 1) {
        uint32_t bits = negative ? 0xff800000u : 0x7f800000u;
        if (fraction) bits |= 0x00400000u | fraction << (23 - f.fraction_bits);
        return nib_ref_float(bits);
    }
    int hidden = exponent != 0;
    double units = (double)fraction + ldexp(hidden, f.fraction_bits);
    double magnitude = ldexp(units, (hidden ? exponent : 1) - bias_of(f) - f.fraction_bits);
    return (float)(negative ? -magnitude : magnitude);
}

/* A NaN keeps its sign and as much of its payload as fits, and becomes quiet. */
static uint32_t stored_nan(format f, uint32_t bits)
{
    uint32_t quiet = 1u << (f.fraction_bits - 1);
    uint32_t fraction = (bits & 0x007fffffu) >> (23 - f.fraction_bits);
    uint32_t exponent = (1u << f.exponent_bits) - 1;
    return (bits >> 31) << (f.fraction_bits + f.exponent_bits) | exponent << f.fraction_bits |
           fraction | quiet;
}

uint32_t nib_ref_stored(int type, float x)
{
    if (type == NIB_T_F32) return nib_ref_bits(x);
    format f = format_of(type);
    if (isnan(x)) return stored_nan(f, nib_ref_bits(x));
    uint32_t sign = (nib_ref_bits(x) >> 31) << (f.fraction_bits + f.exponent_bits);
    uint32_t infinity = ((1u << f.exponent_bits) - 1) << f.fraction_bits;
    if (isinf(x)) return sign | infinity;
    if (x == 0.0f) return sign;

    /* The value lies between 2^exponent and twice that; below the smallest normal number, units
     * stay as large as there. */
    double magnitude = fabs((double)x);
    int exponent, smallest = 1 - bias_of(f);
    (void)frexp(magnitude, &exponent);
    exponent = exponent - 1 < smallest ? smallest : exponent - 1;
    double units = nearbyint(ldexp(magnitude, f.fraction_bits - exponent));
    if (units == ldexp(2.0, f.fraction_bits)) {
        units /= 2.0;
        exponent++;
    }
    if (exponent > bias_of(f)) return sign | infinity;
    double hidden = ldexp(1.0, f.fraction_bits);
    if (units < hidden) return sign | (uint32_t)units;
    uint32_t biased = (uint32_t)(exponent + bias_of(f));
    return sign | biased << f.fraction_bits | (uint32_t)(units - hidden);
}

float nib_ref_read(const void *array, int type, int64_t index)
{
    if (type == NIB_T_F32) return ((const float *)array)[index];
    return nib_ref_value(type, ((const uint16_t *)array)[index]);
}

void nib_ref_write(void *array, int type, int64_t index, float x)
{
    if (type == NIB_T_F32) ((float *)array)[index] = x;
    else ((uint16_t *)array)[index] = (uint16_t)nib_ref_stored(type, x);
}

double nib_ref_largest(int type)
{
    format f = format_of(type);
    return ldexp(2.0 - ldexp(1.0, -f.fraction_bits), bias_of(f));
}

double nib_ref_epsilon(int type) { return ldexp(1.0, -format_of(type).fraction_bits); }

NIB_REF_KERNEL(nib_ref_convert)
{
    (void)begin, (void)end;
    for (int64_t i = 0; i < a->rows * a->cols; i++)
        nib_ref_write(span[NIB_Y], a->y_type, i, nib_ref_read(span[NIB_X], a->x_type, i));
}
