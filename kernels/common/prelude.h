/* prelude.h - what lets one text be C11, CUDA C++ and OpenCL C 1.2: value functions only, no
 * pointers, so no address spaces. NIB_FN marks a value function. Everything here is exact or one
 * correctly rounded IEEE operation; no text that includes this may be compiled with contraction
 * or fast-math (docs/numerics.md section 2). NIB_UNROLL: the loop's arrays are to live in
 * registers. */
#ifndef NIB_PRELUDE_H
#define NIB_PRELUDE_H

#if defined(__OPENCL_C_VERSION__)
#pragma OPENCL FP_CONTRACT OFF
#define NIB_FN static inline
typedef uchar nib_u8;
typedef ushort nib_u16;
typedef int nib_i32;
typedef uint nib_u32;
typedef long nib_i64;
typedef ulong nib_u64;
#define NIB_F32_BITS(f) as_uint(f)
#define NIB_BITS_F32(u) as_float(u)
#define NIB_RINT(f) rint(f)
#define NIB_FMA(a, b, c) fma(a, b, c)
#define NIB_UNROLL
#elif defined(__CUDACC__)
#define NIB_FN static __device__ __forceinline__
typedef unsigned char nib_u8;
typedef unsigned short nib_u16;
typedef int nib_i32;
typedef unsigned nib_u32;
typedef long long nib_i64;
typedef unsigned long long nib_u64;
#define NIB_F32_BITS(f) __float_as_uint(f)
#define NIB_BITS_F32(u) __uint_as_float(u)
#define NIB_RINT(f) rintf(f)
#define NIB_FMA(a, b, c) __fmaf_rn(a, b, c)
#define NIB_UNROLL _Pragma("unroll")
#else
#include <math.h>
#include <stdint.h>
#include <string.h>
#define NIB_FN static inline
typedef uint8_t nib_u8;
typedef uint16_t nib_u16;
typedef int32_t nib_i32;
typedef uint32_t nib_u32;
typedef int64_t nib_i64;
typedef uint64_t nib_u64;
static inline uint32_t nib_f32_bits_(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}
static inline float nib_bits_f32_(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
#define NIB_F32_BITS(f) nib_f32_bits_(f)
#define NIB_BITS_F32(u) nib_bits_f32_(u)
#define NIB_RINT(f) rintf(f)
#define NIB_FMA(a, b, c) fmaf(a, b, c)
#define NIB_UNROLL
#endif

#define NIB_QNAN_F32 0x7fc00000u /* the NaN that a group without a finite scale decodes to */

#endif
