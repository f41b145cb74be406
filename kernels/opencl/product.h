/* product.h - what the matmuls share: packed weights, 16 rows at a time, and prepared x.
 *
 *   packed "panel"   rows of W in panels of 16, columns in words of 8 codes (4 bits) or 4 (8 bits):
 *
 *       panel p, word i    | row 0: uint | row 1 | ... | row 15 |     64 bytes, one vector or one
 *                                                                     cache line
 *       4 bits  byte b     | column 8i + b (low half), 8i + 4 + b (high half)      b = 0..3
 *       8 bits  byte b     | column 4i + b
 *
 *   A field holds w' + E, E = 8 or 128 (w' = 0 behind N and K), so that or-ing it into the float 2^23
 *   makes 2^23 + E + w', and one subtraction of 2^23 + E + z' makes u - z, exactly.
 *   scales f32, then z' int8 or mins f32: [panel][group][16 rows]; 0 behind N.
 *
 * Prepared x: kernels/common/args.h. */
#ifndef NIB_OPENCL_PRODUCT_H
#define NIB_OPENCL_PRODUCT_H

#include "../common/acts.h"
#include "octet.h"

#define NIB_PANEL 16

/* A CPU's work-group is one work-item, whose vectors fill its SIMD and which streams its memory; a
 * GPU's are 64. */
#ifdef NIB_CPU
#define NIB_LANES 1
#else
#define NIB_LANES 64
/* Of 4 unsigned and 4 signed bytes: the sum of the products. */
#ifdef __opencl_c_integer_dot_product_input_4x8bit_packed
#define NIB_DOT_4(u, s) dot_4x8packed_us_int(u, s)
#endif
#endif

/* Functions of a kernel's inner loop, whose constant arguments make loops straight. */
#define NIB_INLINE static inline __attribute__((always_inline))

/* a * b + c, in one rounding or in two: either is within the bound, and exact where integers
 * are. */
#if defined(FP_FAST_FMAF) || defined(__FMA__) /* clang for x86 */
#define NIB_MAD(a, b, c) fma(a, b, c)
#else
#define NIB_MAD(a, b, c) ((a) * (b) + (c))
#endif

/* E. */
NIB_FN nib_i32 nib_excess(nib_args a) { return a.p.pack_bits == 4 ? 8 : 128; }

/* The sums must be added as integers: one scale a row makes every device's result the same. */
NIB_FN nib_i32 nib_is_exact(nib_args a)
{
    return a.p.x_form == NIB_T_I8 && a.scale_cols == 1 && a.offset != NIB_O_MIN;
}

/* ---- weights ---- */

NIB_FN __global const uint *nib_words(__global const uchar *weights, nib_args a, nib_i64 panel)
{
    return (__global const uint *)(weights +
                                   panel * a.p.pack_cols * (a.p.pack_bits * NIB_PANEL / 8));
}

/* The group of column k; the last for columns behind K. */
NIB_FN nib_i64 nib_scale_col(nib_args a, nib_i64 k)
{
    return a.scale_cols == 1 ? 0 : min(nib_quotient(k, a.group), a.scale_cols - 1);
}

/* What to subtract from 2^23 + field, for u - z or, where there are mins, for u: of 16 rows. */
NIB_FN float16 nib_centre_16(__global const uchar *weights, nib_args a, nib_i64 cell)
{
    nib_i32 excess = nib_excess(a);
    if (a.offset == NIB_O_ZERO)
        return (float)(8388608 + excess) +
               convert_float16(vload16(cell, (__global const char *)(weights + a.p.offsets_at)));
    return (float16)(float)(8388608 + excess - (a.offset == NIB_O_MIN ? 1 << (a.bits - 1) : 0));
}

NIB_FN float16 nib_scale_16(__global const uchar *weights, nib_args a, nib_i64 cell)
{
    return ((__global const float16 *)(weights + a.p.scales_at))[cell];
}

NIB_FN float16 nib_min_16(__global const uchar *weights, nib_args a, nib_i64 cell)
{
    return ((__global const float16 *)(weights + a.p.offsets_at))[cell];
}

/* The field at `shift` of 16 words, less its centre. */
#define NIB_FIELD(type, words, shift, mask, centre)                                                \
    (as_float##type((((words) >> (uint)(shift)) & (mask)) | 0x4b000000u) - (centre))

/* Where column c (0..7) of 8 lies in a word of 4-bit codes. */
NIB_FN uint nib_shift_of(nib_i32 c) { return (uint)(8 * (c & 3) + (c & 4)); }

/* ---- x ---- */

/* Columns k..k+7 of row m of prepared x: floats, or codes less their zero point, 0 behind K. */
NIB_FN float8 nib_x_8(__global const uchar *x, nib_args a, nib_i64 m, nib_i64 k)
{
    const int8 place = (int8)(0, 1, 2, 3, 4, 5, 6, 7);
    nib_i64 at = m * a.p.pack_cols + k;
    if (a.p.x_form == NIB_T_F32) return vload8(0, (__global const float *)x + at);
    int8 code = convert_int8(vload8(0, (__global const char *)x + at));
    code -= ((__global const int *)(x + NIB_X_ZEROS_AT(a)))[m];
    return convert_float8(place < (int)min((nib_i64)8, a.cols - k) ? code : (int8)0);
}

/* ---- y ---- */

/* Ends the sum of row n of W and row m of x, and stores it. An exact sum comes as an integer's
 * bits. */
NIB_FN void nib_finish(__global const uchar *x, __global const uchar *weights,
                       __global const uchar *bias, __global uchar *y, nib_args a, nib_i64 m,
                       nib_i64 n, float sum)
{
    if (a.p.x_form == NIB_T_I8) {
        float x_scale = ((__global const float *)(x + NIB_X_SCALES_AT(a)))[m];
        if (nib_is_exact(a))
            sum = nib_scaled((nib_i32)NIB_F32_BITS(sum),
                             ((__global const float *)(weights + a.p.scales_at))[n], x_scale);
        else sum = sum * x_scale;
    }
    if (a.p.bias_type) sum = sum + nib_load(bias, a.p.bias_type, n);
    nib_store(y, a.y_type, m * a.p.y_pitch + n, sum);
}

#endif
