/* convert.c - elements from one floating-point type to another, in plain C.
 *
 *   x [rows * cols] of x_type  ->  y of y_type
 *
 * Bound: reading x and writing y; here, one element at a time. */
#include "access.h"
#include "kernels.h"

NIB_CPU_KERNEL(nib_cpu_convert)
{
    nib_i64 stop = min_i64(end * 1024, args->rows * args->cols);
    for (nib_i64 i = begin * 1024; i < stop; i++)
        store_element(span[NIB_Y], args->y_type, i, load_element(span[NIB_X], args->x_type, i));
}
