/* acts.cu - activations as matmul kernels want them: int8 codes with a scale a row, or the elements
 * of another type, padded. docs/numerics.md section 9; where the parts lie: ../common/args.h.
 *
 *   a block takes a row of prepared x:  x row -> range -> scale, zero -> codes -> sums of groups
 *
 * Bound: memory: two reads of x, the second from the L2, and one write of each code. */
#include "device.cuh"

#include "../common/acts.h"

/* What encodes row `row`, whose range is r; *scale_ret is what is stored. */
DEVICE nib_cell row_cell(const nib_spans &s, const nib_args &a, nib_i64 row, const range &r,
                         float *scale_ret)
{
    nib_i64 at = a.p.x_one ? 0 : row;
    if (a.p.acts == NIB_A_DYNAMIC) {
        nib_cell c = nib_acts_cell(a.p.x_zeros, r.min, r.max);
        if (r.nonfinite) c.zero = 0.0f;
        *scale_ret = c.scale;
        return c;
    }
    *scale_ret = ((const float *)s.scales)[at];
    return nib_acts_given(*scale_ret, a.p.x_zeros ? ((const nib_i32 *)s.offsets)[at] : 0);
}

/* Sums of the codes of each group, a warp a group. */
DEVICE void store_sums(const nib_args &a, const signed char *codes, nib_i32 *sums)
{
    int lane = threadIdx.x % 32;
    for (nib_i64 g = threadIdx.x / 32; g < a.scale_cols; g += NIB_THREADS / 32) {
        nib_i64 end = (g + 1) * a.group < a.cols ? (g + 1) * a.group : a.cols;
        nib_i32 sum = 0;
        for (nib_i64 k = g * a.group + lane; k < end; k += 32) sum += codes[k];
        sum = __reduce_add_sync(~0u, sum);
        if (lane == 0) sums[g] = sum;
    }
}

/* Rows behind the last are zeros, with scale 0. */
DEVICE void prepare_codes(const nib_spans &s, const nib_args &a, nib_i64 row)
{
    nib_u8 *out = (nib_u8 *)s.out;
    signed char *codes = (signed char *)out + row * a.p.pack_cols;
    nib_i64 cols = row < a.p.m ? a.cols : 0, from = row * a.p.x_pitch;
    nib_cell c = nib_acts_given(0.0f, 0);
    range r = range_empty();
    float scale = 0.0f;
    if (cols && a.p.acts != NIB_A_CODES) {
        for (nib_i64 k = threadIdx.x; k < cols; k += NIB_THREADS)
            range_take(r, load_element(s.x, a.x_type, from + k), NIB_N_ERROR, a.x_type);
        r = range_reduce_block(r);
    }
    if (cols) c = row_cell(s, a, row, r, &scale);
    for (nib_i64 k = threadIdx.x; k < a.p.pack_cols; k += NIB_THREADS) {
        nib_i32 code = 0;
        if (k < cols && a.p.acts == NIB_A_CODES) code = ((const signed char *)s.x)[from + k];
        else if (k < cols && !r.nonfinite)
            code = nib_acts_code(
                c, nib_admit(load_element(s.x, a.x_type, from + k), NIB_N_ERROR, a.x_type));
        codes[k] = (signed char)code;
    }
    if (threadIdx.x == 0) {
        ((float *)(out + NIB_X_SCALES_AT(a)))[row] =
            r.nonfinite ? NIB_BITS_F32(NIB_QNAN_F32) : scale;
        ((nib_i32 *)(out + NIB_X_ZEROS_AT(a)))[row] = (nib_i32)c.zero;
    }
    if (a.offset == NIB_O_NONE) return;
    __syncthreads(); /* all codes of the row are there */
    store_sums(a, codes, (nib_i32 *)(out + NIB_X_SUMS_AT(a)) + row * a.scale_cols);
}

DEVICE void prepare_elements(const nib_spans &s, const nib_args &a, nib_i64 row)
{
    nib_i64 cols = row < a.p.m ? a.cols : 0;
    for (nib_i64 k = threadIdx.x; k < a.p.pack_cols; k += NIB_THREADS) {
        float x = k < cols ? load_element(s.x, a.x_type, row * a.p.x_pitch + k) : 0.0f;
        store_raw(s.out, a.p.x_form, row * a.p.pack_cols + k, nib_to_type(a.p.x_form, x));
    }
}

NIB_CUDA_KERNEL(nib_cuda_acts)
{
    for (nib_i64 row = blockIdx.x; row < items; row += gridDim.x)
        if (a.p.x_form == NIB_T_I8) prepare_codes(s, a, row);
        else prepare_elements(s, a, row);
}
