/* histogram.c - how often each code occurs.
 *
 *   codes: rows of LSB-first bits  ->  out: uint32 [2^bits], added to
 *
 * Bound: one addition per byte; widths that divide 8 count whole bytes first. */
#include "access.h"
#include "kernels.h"

/* Four tables, as additions to one counter wait for each other. */
typedef struct byte_counts {
    nib_u32 of[4][256];
} byte_counts;

static void count_bytes(byte_counts *counts, const nib_u8 *p, nib_i64 bytes)
{
    nib_i64 i = 0;
    for (; i + 4 <= bytes; i += 4)
        for (int j = 0; j < 4; j++) counts->of[j][p[i + j]]++;
    for (; i < bytes; i++) counts->of[0][p[i]]++;
}

/* Splits counts of bytes into counts of the codes in them. */
static void add_bytes(nib_u32 codes[256], const byte_counts *counts, nib_place p)
{
    nib_u32 mask = (1u << p.width) - 1u;
    for (nib_u32 byte = 0; byte < 256; byte++) {
        nib_u32 n =
            counts->of[0][byte] + counts->of[1][byte] + counts->of[2][byte] + counts->of[3][byte];
        for (int shift = 0; shift < 8; shift += p.width)
            codes[(byte >> shift & mask) ^ (nib_u32)p.flip] += n;
    }
}

NIB_CPU_KERNEL(nib_cpu_histogram)
{
    nib_place p = args->codes;
    nib_i64 runs = (args->cols + 31) / 32;
    nib_u32 codes[256] = {0}, *shared = span[NIB_OUT];
    byte_counts counts = {{{0}}};
    int by_bytes = 8 % p.width == 0;
    for (nib_i64 item = begin, next; item < end; item = next) {
        nib_i64 row = item / runs, k = item % runs * 32;
        next = min_i64(end, (row + 1) * runs);
        nib_i64 stop = min_i64(args->cols, k + (next - item) * 32);
        if (by_bytes) {
            nib_i64 bytes = (stop - k) * p.width / 8;
            count_bytes(&counts, (const nib_u8 *)span[NIB_CODES] + row * p.pitch + k * p.width / 8,
                        bytes);
            k += bytes * 8 / p.width;
        }
        for (; k < stop; k++) codes[load_bits(span[NIB_CODES], p, row, k)]++;
    }
    if (by_bytes) add_bytes(codes, &counts, p);
    for (int i = 0; i < 1 << args->bits; i++)
        if (codes[i]) __atomic_fetch_add(&shared[i], codes[i], __ATOMIC_RELAXED);
}
