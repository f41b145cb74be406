/* matmul_vnni.c - products of int8 activations on AVX-512 VNNI: dpbusd adds four products u8 x
 * s8 to a lane, exactly, at the rate of one multiplication. */
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
    return v_fma((vf)w, (vf)x, sum);
}

#include "matmul_direct_512.h"

CODES_KERNEL(nib_cpu_matmul_codes_vnni)
