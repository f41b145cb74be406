/* engine.h - what the files of the engine share: arms, the data of a shape, the check. */
#ifndef NIB_BENCH_ENGINE_H
#define NIB_BENCH_ENGINE_H

#include "bench.h"

typedef struct bench {
    const bench_spec *spec;
    bench_result *result;
    nib_ctx *ref, *cpu; /* what checks, and what prepares data */
    nib_stream *ref_stream, *cpu_stream;
    size_t working_set;
} bench;

/* Words into the result; returns `code`. bench_status: nib_last_error and its exit code. */
__attribute__((format(printf, 3, 4))) int bench_fail(bench *b, int code, const char *format, ...);
int bench_status(bench *b, nib_status status, const char *what);
/* Notes what is not measured, once. Returns 0, or 4 without memory. */
__attribute__((format(printf, 3, 4))) int bench_note(bench *b, const char *what, const char *format,
                                                     ...);
/* Zeroed memory at a multiple of 64; NULL after saying that there is none. free() frees it. */
void *bench_memory(bench *b, size_t bytes);
double bench_now(void);
/* The CPU's threads, as the spec says; after `cpu` is open. */
int bench_threads(const bench *b);

#define TRY(call)                                                                                  \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_) return code_;                                                                   \
    } while (0)

/* ---- arms ---- */

typedef struct bench_arm bench_arm;

/* Where an arm's work goes: queue.c. */
typedef struct bench_queue {
    nib_ctx *ctx;
    nib_stream *stream;
    void *native;    /* CUDA: the CUstream below `stream`; NULL elsewhere */
    void *events[2]; /* CUDA: around a sample */
    void *instance; /* CUDA: the graph that was captured last; NULL: runs are launched one by one */
} bench_queue;

int bench_queue_open(bench *b, nib_ctx *ctx, bench_queue *queue);
void bench_queue_close(bench_queue *queue); /* waits; a zeroed one is fine */
/* Makes the queue's graph of `repeats` runs, from copy 0 on, and launches it once. Without a
 * graph on other devices and, after a note, where a run cannot be captured. */
int bench_capture(bench_arm *arm, int64_t repeats);
/* Makes the queue's context current, and what was current again. 0: done. */
int bench_queue_enter(const bench_queue *queue);
void bench_queue_leave(void);
/* Launches the graph; the seconds between the events around it. */
int bench_replay(bench_arm *arm, double *seconds_ret);

/* What an arm can do; each returns 0 or an exit code after bench_fail. */
typedef struct bench_calls {
    int (*set_m)(bench_arm *arm, int64_t m);  /* makes ready; fills kernel, bytes, operations */
    int (*run)(bench_arm *arm, int64_t turn); /* once, with copy turn % copies */
    int (*wait)(bench_arm *arm);
    int (*check)(bench_arm *arm); /* of one run; 1 where an element is off */
    void (*close)(bench_arm *arm);
} bench_calls;

enum { BENCH_MOST_ROUNDS = 101, BENCH_MOST_ARMS = 64 };

struct bench_arm {
    bench *b;
    const bench_calls *calls;
    void *self;
    bench_queue queue; /* zeroed where a vendor's calls return when they are done */
    bench_record record;
    int64_t copies, turn;
    int64_t rounds, repeats, done;
    double samples[BENCH_MOST_ROUNDS];
};

typedef struct bench_arms {
    bench_arm at[BENCH_MOST_ARMS];
    size_t count;
} bench_arms;

/* A new arm with its record begun; NULL after saying that there are too many. */
bench_arm *bench_arm_new(bench *b, bench_arms *arms, const bench_calls *calls, size_t device);
void bench_arms_close(bench_arms *arms);
/* Seconds of a run at the arm's M, over all copies at least once where there is a graph. */
int bench_pace(bench_arm *arm, double *seconds_ret);
/* Checks every arm at this M, times them in turns, and adds their records to the result. */
int bench_measure(bench *b, bench_arms *arms, const bench_shape *shape, int64_t m);
/* How many copies of `bytes` bytes make a cold set. */
int64_t bench_copies(const bench *b, size_t bytes);

/* ---- the data of a shape: operands.c ---- */

typedef struct bench_operands {
    bench *b;
    const bench_shape *shape;
    int64_t max_m;
    float *w;        /* [n][k], near normal */
    float *x;        /* [max_m][k] */
    int8_t *x_codes; /* x as DYNAMIC quantizes it from the spec's type */
    float *x_scales;
} bench_operands;

int bench_operands_make(bench *b, const bench_shape *shape, bench_operands *operands);
void bench_operands_free(bench_operands *operands);
/* `count` floats in another type; the caller frees. NULL after saying why. */
void *bench_convert(bench *b, const float *from, int64_t count, nib_dtype type);
/* The floats of `count` elements of a type. */
int bench_floats(bench *b, const void *from, nib_dtype type, int64_t count, float *to);
/* Rows of floats, or of x, to int8, one scale a row, on the stream's device. */
int bench_quantize_rows(bench *b, nib_stream *stream, nib_dtype type, const void *x, int64_t rows,
                        int64_t cols, int8_t *codes, float *scales);
size_t bench_type_bytes(nib_dtype type);

/* How a column quantizes W. */
int bench_quant(bench *b, const bench_shape *shape, const bench_column *column, nib_quant *quant);

/* W as a column quantizes it, by the CPU's kernels: planes on the host. */
typedef struct bench_weights {
    nib_quant quant;
    void *planes[NIB_PLANES];
    size_t bytes[NIB_PLANES];
} bench_weights;

int bench_weights_make(const bench_operands *operands, const bench_column *column,
                       bench_weights *weights);
void bench_weights_free(bench_weights *weights); /* also after a failure; a zeroed one is fine */
/* Row n, decoded by `ref`. */
int bench_weights_row(bench *b, const bench_weights *weights, int64_t n, double *to);

/* x [max_m][k] and w [n][k] in a 16-bit type, or as int8 codes; the caller frees both, also after a
 * failure. And one row of such a matrix as numbers. */
int bench_plain_operands(const bench_operands *operands, nib_dtype type, void **x_ret,
                         void **w_ret);
int bench_numbers(bench *b, const void *rows, nib_dtype type, int64_t row, int64_t cols,
                  double *to);

/* ---- the check: oracle.c ---- */

enum { BENCH_SAMPLES = 6 };

/* Some rows of y and of W; sums are added in double. */
typedef struct bench_oracle {
    int64_t k, m_count, n_count, m[BENCH_SAMPLES], n[BENCH_SAMPLES];
    double *x; /* [m_count][k], as the arm sees it */
    double *w; /* [n_count][k] */
    nib_error_class error_class;
} bench_oracle;

/* Picks rows of y [m, n] and makes room for x and w. */
int bench_oracle_make(bench *b, int64_t m, int64_t n, int64_t k, bench_oracle *oracle);
void bench_oracle_free(bench_oracle *oracle);
/* Compares y's rows oracle->m, each n elements of y_type; fills record->worst. */
int bench_oracle_check(bench *b, bench_record *record, const bench_oracle *oracle,
                       const void *const rows[BENCH_SAMPLES], nib_dtype y_type);

/* ---- arms of a matmul; each adds what its device and machine have ---- */

int bench_nibble_arms(const bench_operands *operands, nib_ctx *ctx, size_t device,
                      bench_arms *arms);
int bench_openblas_arms(const bench_operands *operands, size_t device, bench_arms *arms);
int bench_onednn_arms(const bench_operands *operands, size_t device, bench_arms *arms);
int bench_cublas_arms(const bench_operands *operands, nib_ctx *ctx, size_t device,
                      bench_arms *arms);

/* ---- quantize and dequantize: codec.c ---- */

int bench_codec_arms(bench *b, const bench_shape *shape, nib_ctx *ctx, size_t device,
                     bench_arms *arms);

/* ---- roofs: roofs.c ---- */

int bench_roofs(bench *b, nib_ctx *ctx, bench_device *device);
/* Compute roofs of a GPU, on the arm's queue, whose calls it replaces; `out` is memory to write. */
int bench_cuda_peaks(bench_arm *arm, bench_device *device, nib_mem out);
/* Raises compute roofs to what an arm reached, and fills the bounds of all records. */
void bench_bounds(bench_result *result);
/* Bytes of a device's last-level cache; a guess where the system does not say. */
size_t bench_cache_bytes(const char *device);

/* ---- what the machine says about itself: clocks.c ---- */

void bench_clocks(const bench_device *device, char text[160]);
/* While the device works: widens what device->during says. */
void bench_clocks_during(bench_device *device);

#endif
