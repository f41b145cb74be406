/* ranges.cu - the smallest, largest and largest absolute value of each cell: docs/numerics.md
 * section 7.
 *
 * Bound: memory, one read of each element. Groups of 32 to 256 along the row use the lanes of
 * quantize.cu's drawing; a whole row is a block's work; anything else takes a warp a cell. */
#include "device.cuh"

DEVICE void store_range(const nib_spans &s, const nib_args &a, nib_i64 cell, const range &r)
{
    bool poisoned = r.nonfinite && a.nonfinite == NIB_N_ERROR;
    if (r.nonfinite && a.has_report) report_nonfinite(s.report, cell);
    float *out = (float *)s.out + 3 * cell, nan = NIB_BITS_F32(NIB_QNAN_F32);
    out[0] = poisoned ? nan : r.min;
    out[1] = poisoned ? nan : r.max;
    out[2] = poisoned ? nan : -r.min > r.max ? -r.min : r.max;
}

template <int type> DEVICE void ranges_groups(const nib_spans &s, const nib_args &a, nib_i64 items)
{
    int lanes = (int)a.group / 8, lane = threadIdx.x % 32;
    float value[8];
    for (nib_i64 base = grid_thread() - lane; base < items; base += grid_threads()) {
        nib_i64 at = base + lane;
        range r = range_empty();
        range_take_octet<type>(r, load_octet<type>(s.x, at < items ? at : items - 1), a.nonfinite,
                               value);
        r = range_reduce(r, lanes);
        if (at < items && lane % lanes == 0) store_range(s, a, at / lanes, r);
    }
}

template <int type> DEVICE void ranges_rows(const nib_spans &s, const nib_args &a, nib_i64 items)
{
    nib_i64 octets = a.cols / 8;
    for (nib_i64 row = blockIdx.x; row < items; row += gridDim.x) {
        range r = range_empty();
        for (nib_i64 k = threadIdx.x; k < octets; k += NIB_THREADS) {
            float value[8];
            range_take_octet<type>(r, load_octet<type>(s.x, row * octets + k), a.nonfinite, value);
        }
        r = range_reduce_block(r);
        if (threadIdx.x == 0) store_range(s, a, row, r);
    }
}

#define TYPE(type)                                                                                 \
    NIB_CUDA_KERNEL(nib_cuda_ranges_groups_##type) { ranges_groups<NIB_T_##type>(s, a, items); }   \
    NIB_CUDA_KERNEL(nib_cuda_ranges_rows_##type) { ranges_rows<NIB_T_##type>(s, a, items); }
TYPE(F32)
TYPE(F16)
TYPE(BF16)

NIB_CUDA_KERNEL(nib_cuda_ranges)
{
    int lane = threadIdx.x % 32;
    for (nib_i64 cell = grid_thread() / 32; cell < items; cell += grid_threads() / 32) {
        range r = range_of_cell(s, a, cell, lane);
        if (lane == 0) store_range(s, a, cell, r);
    }
}
