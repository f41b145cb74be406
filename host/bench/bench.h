/* bench.h - the engine of `nibble bench`: what to measure, and what was measured. Like the
 * command it belongs to, it stands on include/ and nothing else. It prints nothing.
 *
 * Method. Every arm (a device and a scheme, or a vendor's plain product) is checked in the same
 * run before it is timed. Arms take turns in every round. Cold: each run takes the next of
 * several copies of its weights, together larger than the last-level cache. A sample is some
 * runs in a row and one wait; on CUDA, one graph of as many runs, between two events. Its median
 * and its 10th and 90th percentile are kept. Roofs are measured in the same run. */
#ifndef NIB_BENCH_H
#define NIB_BENCH_H

#include "../../include/nibble_matmul.h"

#include <stdio.h>

enum { BENCH_NAME = 48, BENCH_WORDS = 400, BENCH_MOST_M = 64, BENCH_MOST_SHAPES = 64 };

/* ---- what to measure ---- */

typedef enum bench_operation { BENCH_MATMUL, BENCH_QUANTIZE, BENCH_DEQUANTIZE } bench_operation;

/* Weights [n, k], as nib_matmul has them. */
typedef struct bench_shape {
    char name[BENCH_NAME]; /* "llama-8b.qkv", "4096x11008" */
    int64_t n, k;
} bench_shape;

typedef struct bench_shapes {
    bench_shape at[BENCH_MOST_SHAPES];
    size_t count;
} bench_shapes;

/* What weights become, and what they meet. */
typedef struct bench_column {
    char name[BENCH_NAME];    /* "int4", "w4a8", "q4_K" */
    const nib_scheme *scheme; /* NULL: blocks, */
    nib_block block;          /* of this type */
    int64_t group;            /* along K; 0 = the whole row */
    int32_t act_bits;         /* 16: x as it is; 8: int8 a row */
} bench_column;

typedef struct bench_spec {
    bench_operation operation;
    const bench_shapes *shapes;
    const bench_column *columns;
    size_t column_count;
    const int64_t *m; /* rising; of matmul alone */
    size_t m_count;
    const char *const *devices;
    size_t device_count;
    int32_t threads;            /* of the CPU, also of its vendors' libraries; 0 = one a core */
    nib_dtype type;             /* of x and y */
    int hot;                    /* the same weights again and again, instead of cold ones */
    int vendors;                /* whether to run them */
    int dequantize;             /* CUDA: also dequantize + cuBLASLt, in place of a fused kernel */
    int64_t rounds;             /* samples of an arm at most */
    double seconds;             /* what an arm may take for one M, after 3 samples */
    uint64_t working_set_bytes; /* what cold copies add up to; 0 = four times
                                   the last-level cache, at least 256 MiB */
    volatile int *cancel;
    void (*progress)(const char *words); /* may be NULL */
} bench_spec;

/* Each returns 0, or an exit code with what is wrong in `why`. A shape is "NxK"; a model is a
 * row of the built-in list; a directory holds a config.json; the layers are those that one of
 * `tp` devices has. `list` of M: "1,4,16-64*2,100-102" (a range steps by *F or +D; +1 without). */
int bench_add_shape(const char *text, bench_shapes *shapes, char why[BENCH_WORDS]);
int bench_add_model(const char *name, int64_t tp, bench_shapes *shapes, char why[BENCH_WORDS]);
int bench_add_directory(const char *path, int64_t tp, bench_shapes *shapes, char why[BENCH_WORDS]);
int bench_read_m(const char *list, int64_t m[BENCH_MOST_M], size_t *count_ret,
                 char why[BENCH_WORDS]);
/* `name` is a scheme, a block type, or w4a8; group -1: its own. */
int bench_read_column(const char *name, int64_t group, bench_column *column_ret,
                      char why[BENCH_WORDS]);
/* The planes of a column's weights; scales of a scheme are of `type`. Fails with E_SHAPE. */
nib_status bench_column_quant(const bench_column *column, const bench_shape *shape, nib_dtype type,
                              nib_quant *quant_ret);

/* ---- what was measured ---- */

/* Whose arithmetic bounds an arm. */
typedef enum bench_peak { BENCH_F32, BENCH_F16, BENCH_INT8, BENCH_PEAKS } bench_peak;

typedef struct bench_record {
    char device[24], column[BENCH_NAME]; /* "int4", "w8a8 codes", "bf16" */
    char by[BENCH_NAME];                 /* "nibble", "OpenBLAS 0.3.21" */
    char kernel[96];                     /* nibble's row, or the vendor's word */
    bench_shape shape;
    int64_t m;     /* 0 where the operation has none */
    int64_t group; /* weights along K that share a scale; 0: the whole row, or plain weights */
    size_t device_index; /* in bench_result.devices */
    bench_peak peak;
    int ours, baseline;        /* nibble's; a 16-bit product (f32 where a device has none) */
    double seconds, low, high; /* of one run: median, 10th and 90th percentile */
    int64_t rounds, repeats;   /* samples, and runs in each */
    int graph;                 /* a sample was one CUDA graph; else runs launched one by one */
    double bytes, operations;  /* that a run must move and do */
    double bound;              /* seconds that the roofs allow; 0 = no roof */
    int memory_bound;
    double worst; /* largest error that the check saw, as a share of what is allowed */
} bench_record;

/* What NVML said while a GPU worked: MHz, W, degrees Celsius, and its bits of what held it back. */
typedef struct bench_clock {
    unsigned low, high, power, celsius;
    unsigned long long held;
} bench_clock;

typedef struct bench_device {
    nib_device_info info;
    double read, copy, peak[BENCH_PEAKS]; /* bytes and operations a second; 0 = not measured */
    /* clocks, power, throttling; "" where nothing tells. `during`: lowest and highest of CUDA
     * graphs */
    char before[160], during[160], after[160];
    bench_clock clock;
} bench_device;

typedef struct bench_skip {
    char what[BENCH_NAME], why[200];
} bench_skip;

typedef struct bench_result {
    bench_record *records;
    size_t count;
    bench_device *devices;
    size_t device_count;
    bench_skip *skips;
    size_t skip_count;
    uint64_t working_set_bytes;
    char error[BENCH_WORDS];
} bench_result;

/* Measures. Returns 0, or an exit code with words in result->error: 1 where a check failed. The
 * caller frees the result either way. */
int bench_run(const bench_spec *spec, bench_result *result);
void bench_free(bench_result *result);

/* The share of its roof that a record reaches, in percent; 0 without a roof. */
double bench_percent(const bench_record *record);
/* The fastest 16-bit product of the record's device, shape and M; NULL where there is none. */
const bench_record *bench_baseline(const bench_result *result, const bench_record *record);
/* The git revision that this was built from; "" where it was not known. */
const char *bench_revision(void);

/* ---- a picture of it ---- */

/* Throughput against M with its bounds and crossovers, and a roofline, for every device and
 * shape of a matmul, as SVG. */
void bench_plot(const bench_result *result, const char *title, FILE *to);

#endif
