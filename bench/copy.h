/* copy.h - the machine's copy and read bandwidth: what a kernel's bytes per second are held
 * against. */
#ifndef NIB_BENCH_COPY_H
#define NIB_BENCH_COPY_H

#include <stddef.h>

/* Copies `bytes` bytes with `threads` threads, each a part: with memcpy, or (`stream`) with stores
 * that go around the caches. Both addresses are multiples of 64. Returns 0 where a thread cannot
 * start. */
int copy_all(void *dst, const void *src, size_t bytes, int threads, int stream);

/* Reads `bytes` bytes with `threads` threads, each a part as `streams` (1, 2, 4 or 8) streams at
 * once, fetched 1 KiB ahead. Returns 0 where a thread cannot start. */
int read_all(const void *src, size_t bytes, int threads, int streams);

#endif
