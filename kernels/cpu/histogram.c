/* histogram.c - how often each code occurs, in plain C.
 *
 *   codes: rows of LSB-first bits  ->  out: uint32 [2^bits], added to
 *
 * Bound: reading the codes; here, the chain of additions to one counter. */
#include "access.h"
#include "kernels.h"

NIB_CPU_KERNEL(nib_cpu_histogram)
{
    nib_i64 runs = (args->cols + 31) / 32;
    nib_u32 counts[256] = {0}, *shared = span[NIB_OUT];
    for (nib_i64 item = begin; item < end; item++) {
        nib_i64 row = item / runs, k = item % runs * 32, stop = min_i64(k + 32, args->cols);
        for (; k < stop; k++) counts[load_bits(span[NIB_CODES], args->codes, row, k)]++;
    }
    for (int i = 0; i < 1 << args->bits; i++)
        if (counts[i]) __atomic_fetch_add(&shared[i], counts[i], __ATOMIC_RELAXED);
}
