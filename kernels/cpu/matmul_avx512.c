/* matmul_avx512.c - products on AVX-512 without VNNI, and of f32 activations: bytes are
 * multiplied as words, since two products of 255 * 127 do not fit in 16 bits; codes of 4 bits
 * are small enough. */
#include "vec_avx512.h"

#include "matmul_simd.h"

INLINE vi add_bytes(vi sum, vi w, vi x, int bits)
{
    if (bits == 4) return v_wrap_add(sum, v_madd(v_maddubs(w, x), (vw)v_splat_int(0x00010001)));
    vi even = v_madd((vw)(w & 0x00ff00ff), (vw)((vuw)x << 8) >> 8);
    return v_wrap_add(sum, even + v_madd((vw)((vuw)w >> 8), (vw)x >> 8));
}
INLINE vf add_floats(vf sum, vi w, vi x, int bits)
{
    (void)bits;
    return v_fma((vf)w, (vf)x, sum);
}

#include "matmul_direct_512.h"

CODES_KERNEL(nib_cpu_matmul_codes_avx512)
FLOATS_KERNEL(nib_cpu_matmul_floats_avx512, STEP_F32)
