/* matmul_bf16.c - products of bf16 activations on AVX-512 BF16: dpbf16ps adds two products to a
 * lane, at twice the rate of f32. Codes less their zero points are integers of up to 8 bits,
 * exact in bf16; scales meet the f32 sums, group by group. Products and sums below 2^-126 are
 * flushed to 0. */
#include "vec_avx512.h"

#include "matmul_simd.h"

INLINE vi add_bytes(vi sum, vi w, vi x, int bits)
{
    (void)bits;
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)x);
}
INLINE vf add_floats(vf sum, vi w, vi x, int bits)
{
    (void)bits;
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(__m512i)w, (__m512bh)(__m512i)x);
}

#include "matmul_direct_512.h"

FLOATS_KERNEL(nib_cpu_matmul_floats_bf16, STEP_BF16)
