/* acts.cl - activations as the matmuls read them: padded rows of floats, or of int8 codes with
 * their scales, zero points and sums (docs/numerics.md section 9).
 *
 *   work-group = a row; lanes stride over it 8 elements at a time: the range, a tree in local memory,
 *   the codes; then over its groups: the sums
 *
 * Bound: memory; reads x once, and codes again from cache. */
#include "product.h"

/* How the row is encoded, and the scale that belongs to it. */
NIB_FN nib_cell nib_row_cell(__global const uchar *scales, __global const uchar *zeros, nib_args a,
                             nib_i64 m, nib_extent e, float *scale_ret)
{
    nib_i64 at = a.p.x_one ? 0 : m;
    nib_cell c;
    if (a.p.acts == NIB_A_DYNAMIC) {
        c = nib_acts_cell(a.p.x_zeros, e.min, e.max);
        if (e.nonfinite) c.zero = 0.0f;
        *scale_ret = c.scale;
    } else {
        *scale_ret = ((__global const float *)scales)[at];
        c = nib_acts_given(*scale_ret, a.p.x_zeros ? ((__global const int *)zeros)[at] : 0);
    }
    if (e.nonfinite) *scale_ret = NIB_BITS_F32(NIB_QNAN_F32);
    return c;
}

/* Signed codes of `count` elements from column k of row m; 0 behind them. */
NIB_FN char8 nib_codes_8(__global const uchar *x, nib_args a, nib_i64 m, nib_i64 k, nib_cell c,
                         nib_i32 poisoned)
{
    const int8 place = (int8)(0, 1, 2, 3, 4, 5, 6, 7);
    nib_i32 count = (nib_i32)min((nib_i64)8, a.cols - k);
    nib_i64 at = m * a.p.x_pitch + k;
    if (count <= 0 || poisoned) return (char8)0;
    if (a.p.acts == NIB_A_CODES) {
        char some[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        for (nib_i32 i = 0; i < count; i++) some[i] = ((__global const char *)x)[at + i];
        return vload8(0, some);
    }
    nib_args b;
    b.bits = 8;
    b.offset = a.p.acts == NIB_A_STATIC || a.p.x_zeros ? NIB_O_ZERO : NIB_O_NONE;
    b.low = b.offset == NIB_O_NONE;
    b.nonfinite = NIB_N_ERROR;
    b.x_type = a.x_type;
    uint8 code = nib_encode_8(b, nib_cells_same(c), nib_load_8(x, a.x_type, at, count));
    return convert_char8(place < count ? as_int8(code) - 128 : (int8)0);
}

NIB_FN void nib_store_codes(__global char *to, nib_i32 count, char8 code)
{
    char some[8];
    vstore8(code, 0, some);
    if (count == 8) vstore8(code, 0, to);
    else
        for (nib_i32 i = 0; i < count; i++) to[i] = some[i];
}

/* The row as floats of type x_form. */
NIB_FN void nib_prepare_floats(__global const uchar *x, __global uchar *out, nib_args a, nib_i64 m,
                               nib_i32 lane)
{
    nib_i64 cols = m < a.p.m ? a.cols : 0;
    for (nib_i64 k = 8 * lane; k < a.p.pack_cols; k += 8 * NIB_LANES) {
        nib_i32 count = (nib_i32)min((nib_i64)8, cols - k);
        float8 value = 0.0f;
        if (count > 0) value = nib_load_8(x, a.x_type, m * a.p.x_pitch + k, count);
        nib_store_8(out, a.p.x_form, m * a.p.pack_cols + k, nib_octet_count(k, a.p.pack_cols),
                    value);
    }
}

/* The range of row m, whole in every lane. */
NIB_FN nib_extent nib_row_extent(__global const uchar *x, nib_args a, nib_i64 m, nib_i32 lane,
                                 __local nib_extent *shared)
{
    nib_extent e = nib_extent_none();
    nib_i64 cols = m < a.p.m && a.p.acts != NIB_A_CODES ? a.cols : 0;
    for (nib_i64 k = 8 * lane; k < cols; k += 8 * NIB_LANES) {
        nib_i32 count = nib_octet_count(k, cols);
        e = nib_extent_add_8(e, a, nib_load_8(x, a.x_type, m * a.p.x_pitch + k, count), count);
    }
    shared[lane] = e;
    for (nib_i32 stride = NIB_LANES / 2; stride > 0; stride /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < stride) shared[lane] = nib_extent_join(shared[lane], shared[lane + stride]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return shared[0];
}

NIB_KERNEL(acts_rows, NIB_LANES)
{
    NIB_ENTER;
    __local nib_extent shared[NIB_LANES];
    nib_i64 m = get_group_id(0);
    nib_i32 lane = (nib_i32)get_local_id(0), real = m < a.p.m && a.cols > 0;
    nib_extent e = nib_row_extent(x, a, m, lane, shared);
    if (a.p.x_form != NIB_T_I8) {
        nib_prepare_floats(x, out, a, m, lane);
        return;
    }
    float scale = 0.0f;
    nib_cell c = nib_acts_given(0.0f, 0);
    if (real) c = nib_row_cell(scales, offsets, a, m, e, &scale);
    __global char *to = (__global char *)out + m * a.p.pack_cols;
    for (nib_i64 k = 8 * lane; k < a.p.pack_cols; k += 8 * NIB_LANES)
        nib_store_codes(to + k, nib_octet_count(k, a.p.pack_cols),
                        real ? nib_codes_8(x, a, m, k, c, e.nonfinite) : (char8)0);
    if (lane == 0) {
        ((__global float *)(out + NIB_X_SCALES_AT(a)))[m] = scale;
        ((__global int *)(out + NIB_X_ZEROS_AT(a)))[m] = (int)c.zero;
    }
    if (a.offset == NIB_O_NONE) return;
    barrier(CLK_GLOBAL_MEM_FENCE);
    __global int *sums = (__global int *)(out + NIB_X_SUMS_AT(a)) + m * a.scale_cols;
    for (nib_i64 g = lane; g < a.scale_cols; g += NIB_LANES) {
        int sum = 0;
        for (nib_i64 k = g * a.group; k < min(a.cols, (g + 1) * a.group); k++) sum += to[k];
        sums[g] = sum;
    }
}
