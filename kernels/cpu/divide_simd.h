/* divide_simd.h - x / s, correctly rounded, without a division per element. r is 1 / s correctly
 * rounded; nothing may overflow, and where something underflows only the nearest integer of the
 * quotient is right, which is 0. Division proper takes 16 cycles a vector on Sapphire Rapids and 5
 * on Zen 5, these take 2.5 and 1.5. */
#ifndef NIB_CPU_DIVIDE_SIMD_H
#define NIB_CPU_DIVIDE_SIMD_H

/* For x of at most 11 significant bits, as f16 and bf16 have: every mantissa of x with every
 * mantissa of s gives the bits of x / s (tests/test_divide_simd_avx2.c). */
INLINE floats divide_short(floats x, floats s, floats r)
{
    floats q = f_mul(x, r);
    return f_fma(f_fnma(q, s, x), r, q);
}

/* For any x: the first step leaves q within one unit in its last place, from where the second is
 * exact (Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor",
 * IBM Journal of Research and Development 34, 1990, theorem 7). */
INLINE floats divide(floats x, floats s, floats r)
{
    floats q = divide_short(x, s, r);
    return f_fma(f_fnma(q, s, x), r, q);
}

#endif
