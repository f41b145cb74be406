/* roofs_cpu.h - loops that do one thing as fast as a core can, each on its own part of memory. */
#ifndef NIB_BENCH_ROOFS_CPU_H
#define NIB_BENCH_ROOFS_CPU_H

#include "bench.h"

enum { BENCH_PROBE_UNIT = 1 << 16 }; /* parts are multiples of this many bytes */

typedef void bench_probe(char *memory, size_t bytes);

bench_probe bench_probe_read; /* every line once */
bench_probe bench_probe_copy; /* one half to the other, past the caches: reads and writes `bytes` */

/* A loop of multiply-adds on registers, and how many operations (two each) it does; NULL where this
 * CPU or build has none. */
bench_probe *bench_probe_peak(bench_peak peak, double *operations_ret);

#endif
