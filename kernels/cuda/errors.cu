/* errors.cu - the five sums of a block of 1024 elements, in the fixed order of docs/numerics.md
 * section 6.
 *
 * A warp is a block: lane l adds elements l, l + 32, ... so loads are whole lines, and the tree of
 * the definition is shuffle-down by 16, 8, 4, 2, 1. Bound: memory. */
#include "device.cuh"

struct sums {
    float xx, yy, xy, ee, max;
};

DEVICE void sums_add(sums &t, float x, float y)
{
    float d = __fsub_rn(x, y), size = NIB_BITS_F32(NIB_F32_BITS(d) & 0x7fffffffu);
    t.xx = __fadd_rn(t.xx, __fmul_rn(x, x));
    t.yy = __fadd_rn(t.yy, __fmul_rn(y, y));
    t.xy = __fadd_rn(t.xy, __fmul_rn(x, y));
    t.ee = __fadd_rn(t.ee, __fmul_rn(d, d));
    if (size > t.max || size != size) t.max = size;
}

DEVICE sums sums_reduce(sums t)
{
    for (int distance = 16; distance > 0; distance /= 2) {
        t.xx = __fadd_rn(t.xx, __shfl_down_sync(~0u, t.xx, distance));
        t.yy = __fadd_rn(t.yy, __shfl_down_sync(~0u, t.yy, distance));
        t.xy = __fadd_rn(t.xy, __shfl_down_sync(~0u, t.xy, distance));
        t.ee = __fadd_rn(t.ee, __shfl_down_sync(~0u, t.ee, distance));
        float max = __shfl_down_sync(~0u, t.max, distance);
        if (max > t.max || max != max) t.max = max;
    }
    return t;
}

DEVICE float canonical(float v) { return v == v ? v : NIB_BITS_F32(NIB_QNAN_F32); }

/* Where block `item` starts and ends: row, first column, end column. */
struct place {
    nib_i64 row, first, end;
};

DEVICE place place_of(const nib_args &a, nib_i64 item)
{
    nib_i64 per_row = (a.cols + a.segment - 1) / a.segment * a.segment_blocks,
            within = item % per_row;
    nib_i64 segment = within / a.segment_blocks * a.segment,
            first = segment + within % a.segment_blocks * 1024;
    nib_i64 end = segment + a.segment < a.cols ? segment + a.segment : a.cols;
    return {item / per_row, first, first + 1024 < end ? first + 1024 : end};
}

NIB_CUDA_KERNEL(nib_cuda_errors)
{
    int lane = threadIdx.x % 32;
    for (nib_i64 item = grid_thread() / 32; item < items; item += grid_threads() / 32) {
        place p = place_of(a, item);
        sums t = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        nib_i64 cell = -1;
        nib_cell c = nib_cell_limits(8, a.offset, a.low);
        for (nib_i64 k = p.first + lane; k < p.end; k += 32) {
            nib_i64 at = p.row * a.cols + k;
            float x = load_element(s.x, a.x_type, at), y;
            if (a.bits) {
                nib_i64 index = p.row % a.period * a.scale_cols + k / a.group;
                if (index != cell) c = cell_load(s, a, cell = index);
                nib_u32 code =
                    octet_code(load_octet_codes(s.codes, a, p.row, k / 8), a, (int)(k % 8));
                y = nib_decode(code, cell_zero(c), c.scale, c.min, a.offset);
            } else y = load_element(s.y, a.y_type, at);
            sums_add(t, x, y);
        }
        t = sums_reduce(t);
        if (lane) continue;
        float *out = (float *)s.out + 5 * item;
        out[0] = canonical(t.xx);
        out[1] = canonical(t.yy);
        out[2] = canonical(t.xy);
        out[3] = canonical(t.ee);
        out[4] = canonical(t.max);
    }
}
