/* lane.h - the numbers that the searches of search.h compute with: one here, a vector of LANES
 * blocks in kernels/cpu/lane_simd.h, which defines the same names. The text over them has no branch
 * on a value, so that it is one for both; a mask is what a comparison gives. NaN compares false. */
#ifndef NIB_LANE_H
#define NIB_LANE_H

#include "number.h"

typedef float nib_f;
typedef nib_i32 nib_n; /* an integer per lane */
typedef nib_i32 nib_m; /* a mask per lane */

NIB_FN nib_f nib_same(float x) { return x; }
NIB_FN nib_n nib_same_n(nib_i32 x) { return x; }
NIB_FN nib_m nib_less(nib_f a, nib_f b) { return a < b; }
NIB_FN nib_m nib_equal(nib_f a, nib_f b) { return a == b; }
NIB_FN nib_m nib_less_n(nib_n a, nib_n b) { return a < b; }
NIB_FN nib_m nib_both(nib_m a, nib_m b) { return a & b; }
NIB_FN nib_m nib_either(nib_m a, nib_m b) { return a | b; }
NIB_FN nib_m nib_not(nib_m a) { return !a; }
NIB_FN nib_i32 nib_any(nib_m a) { return a; }
NIB_FN nib_f nib_select(nib_m m, nib_f a, nib_f b) { return m ? a : b; }
NIB_FN nib_n nib_select_n(nib_m m, nib_n a, nib_n b) { return m ? a : b; }
NIB_FN nib_n nib_clamp_n(nib_n x, nib_i32 low, nib_i32 high)
{
    return x < low ? low : x > high ? high : x;
}
NIB_FN nib_f nib_cut_f(nib_f x, float low, float high) /* x: a number */
{
#if defined(__CUDACC__) /* two instructions, not four */
    return fminf(fmaxf(x, low), high);
#else
    return x < low ? low : x > high ? high : x;
#endif
}
/* The larger; b where a is NaN, and either of two zeros. */
NIB_FN nib_f nib_larger(nib_f a, nib_f b)
{
#if defined(__CUDACC__)
    return fmaxf(a, b);
#else
    return a > b ? a : b;
#endif
}
NIB_FN nib_f nib_abs(nib_f x)
{
#if defined(__CUDACC__)
    return fabsf(x);
#else
    return NIB_BITS_F32(NIB_F32_BITS(x) & 0x7fffffffu);
#endif
}
NIB_FN nib_f nib_from_n(nib_n x) { return (float)x; }

/* a / b and the square root, correctly rounded, of any numbers. */
NIB_FN nib_f nib_ratio(nib_f a, nib_f b)
{
#if defined(NIB_DIVIDE_LONG)
    nib_u32 n = NIB_F32_BITS(a) & 0x7fffffffu, d = NIB_F32_BITS(b) & 0x7fffffffu;
    nib_u32 sign = (NIB_F32_BITS(a) ^ NIB_F32_BITS(b)) & 0x80000000u;
    if (n > 0x7f800000u || d > 0x7f800000u || (n == d && (n == 0u || n == 0x7f800000u)))
        return NIB_BITS_F32(NIB_QNAN_F32);
    if (d == 0x7f800000u) return NIB_BITS_F32(sign);
    if (d == 0u) return NIB_BITS_F32(sign | 0x7f800000u);
#endif
    return nib_divide(a, b);
}

NIB_FN nib_f nib_root(nib_f x)
{
#if defined(NIB_DIVIDE_LONG)
    nib_u32 u = NIB_F32_BITS(x);
    if (u >= 0x7f800000u)
        return u == 0x80000000u ? x : u == 0x7f800000u ? x : NIB_BITS_F32(NIB_QNAN_F32);
    if (u == 0u) return x;
    nib_i32 exponent = -150;
    if (u < 0x00800000u) { /* a subnormal is u * 2^-149 */
        u = NIB_F32_BITS((float)(nib_i32)u);
        exponent = -299;
    }
    exponent += (nib_i32)(u >> 23);
    nib_u64 rest = (nib_u64)((u & 0x7fffffu) | 0x800000u) << (26 + (exponent & 1));
    exponent = (exponent - (exponent & 1)) / 2 - 13; /* x = rest * 2^(2 * exponent) */
    nib_u64 root = 0;
    for (nib_u64 bit = (nib_u64)1 << 25; bit; bit >>= 1)
        if ((root + bit) * (root + bit) <= rest) root += bit;
    /* 25 or 26 bits; no root is half way between two floats */
    nib_u32 shift = root >> 25 ? 2u : 1u, bits = (nib_u32)root >> (shift - 1u);
    nib_u32 rounded = (bits >> 1) + (bits & 1u);
    return NIB_BITS_F32(((nib_u32)(exponent + (nib_i32)shift + 150 - 1) << 23) + rounded);
#elif defined(__OPENCL_C_VERSION__)
    return sqrt(x);
#elif defined(__CUDACC__)
    return __fsqrt_rn(x);
#else
    return sqrtf(x);
#endif
}

/* To the nearest integer, as ggml does: adds 1.5 * 2^23 and takes the low bits, which beyond 2^22
 * leaves some integer; 0 for NaN. */
NIB_FN nib_n nib_nearest(nib_f x)
{
    nib_u32 bits = NIB_F32_BITS(x + 12582912.0f);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0;
    return (nib_i32)(bits & 0x007fffffu) - 0x00400000;
}

/* The integer part in 8 bits; 0 where x does not fit 32 (ggml converts it unchecked; so does x86).
 * On CUDA x fits: its kernel puts 0 into all codes of a block where it may not. */
NIB_FN nib_n nib_truncated(nib_f x)
{
#if defined(__CUDACC__)
    return __float2int_rz(x) & 255;
#else
    return nib_abs(x) < 2147483648.0f ? (nib_i32)x & 255 : 0;
#endif
}

/* Likewise, of x >= 0, and at most `most`. */
NIB_FN nib_n nib_truncated_to(nib_f x, nib_i32 most)
{
#if defined(__CUDACC__)
    return __float2int_rz(fminf(x, (float)most));
#else
    return nib_clamp_n(nib_truncated(x), 0, most);
#endif
}

/* To the bits of the nearest f16, and back. What is no number becomes 0xfe00, as on x86. */
#if defined(__CUDACC__)
NIB_FN nib_n nib_half(nib_f x) { return x == x ? __half_as_ushort(__float2half_rn(x)) : 0xfe00; }
NIB_FN nib_f nib_from_half(nib_n h) { return __half2float(__ushort_as_half((nib_u16)h)); }
#else
NIB_FN nib_n nib_half(nib_f x) { return x == x ? (nib_i32)nib_to_f16(x) : 0xfe00; }
NIB_FN nib_f nib_from_half(nib_n h) { return nib_from_f16((nib_u32)h); }
#endif

#endif
