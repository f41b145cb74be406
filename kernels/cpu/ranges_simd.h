/* ranges_simd.h - ranges of any grid, a span of a row at a time; one text for each vec_*.h.
 *
 *   x [rows, cols]  ->  out: nib_range {min, max, absmax} per cell
 *
 * Bound: reading x once. A cell that holds a NaN or an infinity goes to the plain kernel. */
#include "kernels.h"
#include "key.h"
#include "range.h"
#include "runs_simd.h"

INLINE void range_cell_keys(const nib_u8 *x, const nib_args *a, nib_i64 cell, int type,
                            int32_t *low_ret, int32_t *high_ret)
{
    int size = type == NIB_T_F32 ? 4 : 2;
    nib_i64 begin = cell % a->scale_cols * a->group, end = min_i64(a->cols, begin + a->group);
    span_keys keys = k_start(type);
    int32_t low = INT32_MAX, high = INT32_MIN;
    for (nib_i64 row = cell / a->scale_cols; row < a->rows; row += a->period) {
        const nib_u8 *elements = x + row * a->cols * size;
        nib_i64 k = begin;
        for (; k + 32 <= end; k += 32) k_take(&keys, elements + k * size, type, 0);
        for (; k < end; k++) {
            int32_t key = element_key(elements, type, k);
            low = key < low ? key : low;
            high = key > high ? key : high;
        }
    }
    k_end(keys, type, 0, low_ret, high_ret);
    *low_ret = low < *low_ret ? low : *low_ret;
    *high_ret = high > *high_ret ? high : *high_ret;
}

NIB_CPU_KERNEL(ISA(nib_cpu_ranges))
{
    const nib_args *a = args;
    float *out = span[NIB_OUT];
    for (nib_i64 cell = begin; cell < end; cell++) {
        int32_t low, high;
        if (a->x_type == NIB_T_F32) range_cell_keys(span[NIB_X], a, cell, NIB_T_F32, &low, &high);
        else range_cell_keys(span[NIB_X], a, cell, NIB_T_BF16, &low, &high); /* f16 alike */
        if (!keys_finite(low, high, a->x_type)) {
            nib_cpu_ranges(span, a, cell, cell + 1);
            continue;
        }
        float min = nib_flush(key_value(low, a->x_type)),
              max = nib_flush(key_value(high, a->x_type));
        out[3 * cell] = min;
        out[3 * cell + 1] = max;
        out[3 * cell + 2] = -min > max ? -min : max;
    }
}
