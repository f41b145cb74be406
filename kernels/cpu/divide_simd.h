/* divide_simd.h - x / s, correctly rounded, without a division per element: division proper takes
 * 5 cycles a vector on Zen 5 (measured), these two to five operations of half a cycle. r is 1 / s
 * correctly rounded. Nothing may overflow; where something underflows the result is still far below
 * 1/2, as x / s is. */
#ifndef NIB_CPU_DIVIDE_SIMD_H
#define NIB_CPU_DIVIDE_SIMD_H

/* Numbers of at most 11 significant bits, as f16 and bf16 have, are short. */

/* rne(x / s + z) for x and s short and an integer z, without the quotient: what lies in the low
 * 16 bits of the result, as an integer. `r` is 1 / s, `z` is SHORTS_GRID + z; |x / s| and |x / s
 * + z| are at most SHORTS_MOST.
 *
 * Unless x / s is a tie between two integers, it is at least 2^-13 away from one: with x = X 2^t
 * and 2^10 <= X, s < 2^11 the distance is |2^(t+1) X - (2k+1) s| / 2s, and t >= -2 where the
 * quotient is near 1/2 or above. x r is within 512 * 2^-24 = 2^-15 of x / s. Adding SHORTS_GRID
 * rounds the sum to a multiple of 2^-13: so a tie becomes exactly that tie, and no other value
 * becomes one or crosses one. The second addition rounds to an integer, ties to even. */
#define SHORTS_GRID 1536.0f /* sums in 1024..2048 */
#define SHORTS_MOST 511.0f
INLINE floats round_shorts(floats x, floats r, floats z)
{
    const float integers = 12582912.0f; /* 1.5 * 2^23 */
    return f_add(f_fma(x, r, z), f_splat(integers - SHORTS_GRID));
}

/* The following give the bits of x / s for every mantissa of x with every mantissa of s that they
 * are for (tests/test_divide_simd_avx2.c). */

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
