/* peers.h - other libraries' products, each optional at run time: what nibble's are held
 * against. y [M, N] = x [M, K] * W [N, K]^T for `copies` equal matrices W, so that weights come
 * from memory. */
#ifndef NIB_BENCH_PEERS_H
#define NIB_BENCH_PEERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct problem {
    int64_t n, k, most_m;
    int copies, threads;
    const float *w; /* [n, k] */
    const float *x; /* [most_m, k] */
} problem;

/* A library's products of one kind. `open` returns NULL where the library is not there. `run`
 * does `runs` products with m rows of x, each with the next copy of W; `y` gets the last one's
 * result. */
typedef struct peer {
    const char *name;
    int tolerance;      /* percent of |y| that quantizing may cost */
    size_t bytes_of_32; /* that 32 weights take */
    void *(*open)(const struct peer *, const problem *);
    void (*run)(void *state, int64_t m, int runs);
    void (*result)(void *state, int64_t m, float *y); /* of the last run */
    void (*close)(void *state);
    int kind; /* of its own use */
} peer;

/* OpenBLAS sgemm; oneDNN u8 x s8 (x quantized before the clock starts); ggml Q4_0 and Q8_0 from the
 * library that NIBBLE_BENCH_GGML names. */
extern const peer peers[];
extern const int peer_count;

#endif
