/* copy.h - the machine's copy bandwidth: what a kernel's bytes per second are held against. */
#ifndef NIB_BENCH_COPY_H
#define NIB_BENCH_COPY_H

#include <stddef.h>

/* Copies `bytes` bytes with `threads` threads, each a part: with memcpy, or (`stream`) with stores
 * that go around the caches. Both addresses are multiples of 64. Returns 0 where a thread cannot
 * start. */
int copy_all(void *dst, const void *src, size_t bytes, int threads, int stream);

#endif
