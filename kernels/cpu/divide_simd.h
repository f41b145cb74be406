/* divide_simd.h - x / s, correctly rounded, without a division per element: division proper takes
 * 5 cycles a vector on Zen 5 (measured), these two to five operations of half a cycle. r is 1 / s
 * correctly rounded. Nothing may overflow; where something underflows the result is still far below
 * 1/2, as x / s is. */
#ifndef NIB_CPU_DIVIDE_SIMD_H
#define NIB_CPU_DIVIDE_SIMD_H

/* Numbers of at most 11 significant bits, as f16 and bf16 have, are short. Both of the following
 * give the bits of x / s for every mantissa of x with every mantissa of s that they are for
 * (tests/test_divide_simd_avx2.c). */

/* x and s short. */
INLINE floats divide_shorts(floats x, floats s, floats r)
{
    floats rest = f_mul(f_fnma(r, s, f_splat(1.0f)), r); /* of 1 / s: once per group */
    return f_fma(x, r, f_mul(x, rest));
}

/* x short, any s. */
INLINE floats divide_short(floats x, floats s, floats r)
{
    floats q = f_mul(x, r);
    return f_fma(f_fnma(q, s, x), r, q);
}

/* Any x and s: the first step leaves q within one unit in its last place, from where the second is
 * exact (Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor",
 * IBM Journal of Research and Development 34, 1990, theorem 7). */
INLINE floats divide(floats x, floats s, floats r)
{
    floats q = divide_short(x, s, r);
    return f_fma(f_fnma(q, s, x), r, q);
}

#endif
