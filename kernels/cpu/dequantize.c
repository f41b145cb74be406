/* dequantize.c - codes, scales and offsets to elements, in plain C.
 *
 *   codes: rows of LSB-first bits, scales, offsets per cell  ->  y [rows, cols]
 *
 * Bound: writing y; here, one element at a time. */
#include "access.h"
#include "kernels.h"

NIB_CPU_KERNEL(nib_cpu_dequantize)
{
    nib_i64 runs = (args->cols + 31) / 32;
    for (nib_i64 item = begin; item < end; item++) {
        nib_i64 row = item / runs, k = item % runs * 32, stop = min_i64(k + 32, args->cols);
        float values[32];
        decode_row(span, args, row, k, stop, values);
        for (nib_i64 i = 0; i < stop - k; i++)
            store_element(span[NIB_Y], args->y_type, row * args->cols + k + i, values[i]);
    }
}
