/* bench_blocks.c - ggml's own quantizer against nibble's blocks on the same weights: first the
 * bytes, then the time, arms alternated in one process.
 *
 *   bench_blocks LIBGGML_BASE [--weights N] [--threads T] [--rounds R] [--type NAME] [--only-bytes]
 *               [--cpu-time]
 *
 * LIBGGML_BASE: path of a libggml-base.so (docs/benchmarks.md says how to build one with its own
 * flags). Its arm is what llama-quantize does with a tensor: F16 to F32, ggml_quantize_chunk,
 * ggml_validate_row_data, on T threads with an even share of the rows each. --cpu-time: the
 * processor's time instead of the clock's, for a machine that is not alone. JSON lines. */
#include "../include/nibble.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COLS = 4096, MOST_THREADS = 64, MOST_ROUNDS = 99 };

/* ---- ggml ---- */

static struct {
    size_t (*quantize_chunk)(int type, const float *src, void *dst, int64_t start, int64_t rows,
                             int64_t cols, const float *importance);
    bool (*validate)(int type, const void *data, size_t bytes);
    void (*to_f32)(const uint16_t *x, float *y, int64_t count);
} ggml;

static int load_ggml(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return fprintf(stderr, "%s\n", dlerror()), 0;
    *(void **)&ggml.quantize_chunk = dlsym(library, "ggml_quantize_chunk");
    *(void **)&ggml.validate = dlsym(library, "ggml_validate_row_data");
    *(void **)&ggml.to_f32 = dlsym(library, "ggml_fp16_to_fp32_row");
    if (ggml.quantize_chunk && ggml.validate && ggml.to_f32) return 1;
    return fprintf(stderr, "%s: lacks a function\n", path), 0;
}

typedef struct share {
    const nib_block_type *type;
    const uint16_t *x;
    float *f32;
    unsigned char *out;
    const float *importance;
    int64_t rows;
} share;

static void *ggml_share(void *argument)
{
    const share *s = argument;
    size_t bytes = (size_t)(s->rows * COLS / s->type->elements) * (size_t)s->type->bytes;
    ggml.to_f32(s->x, s->f32, s->rows * COLS);
    ggml.quantize_chunk((int)s->type->block, s->f32, s->out, 0, s->rows, COLS, s->importance);
    if (!ggml.validate((int)s->type->block, s->out, bytes))
        fprintf(stderr, "ggml refuses its rows\n");
    return NULL;
}

static void run_ggml(const share *whole, int threads)
{
    pthread_t thread[MOST_THREADS];
    share s[MOST_THREADS];
    int64_t row = 0, of_row = COLS / whole->type->elements * whole->type->bytes;
    for (int t = 0; t < threads; t++) {
        int64_t stop = whole->rows * (t + 1) / threads;
        s[t] = *whole;
        s[t].rows = stop - row;
        s[t].x += row * COLS;
        s[t].f32 += row * COLS;
        s[t].out += row * of_row;
        row = stop;
        if (pthread_create(&thread[t], NULL, ggml_share, &s[t])) exit(1);
    }
    for (int t = 0; t < threads; t++) pthread_join(thread[t], NULL);
}

/* ---- weights ---- */

static uint64_t state;

static uint64_t next(void)
{
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static float normal(void)
{
    uint64_t r = next();
    float sum = 0.0f;
    for (int i = 0; i < 4; i++, r >>= 16) sum += (float)(r & 0xffff);
    return (sum - 131070.0f) * (1.0f / 37837.0f);
}

/* Rows of normal, uniform and heavy-tailed weights, outliers, zeros, ties and mixed magnitudes. */
static float weight(int64_t i, int kind)
{
    float x = normal();
    switch (kind) {
    case 0:
    case 1:
    case 2: return x * 0.02f;
    case 3: return x * x * x * 0.01f;
    case 4: return (float)(next() >> 40) * 0x1p-24f - 0.5f;
    case 5: return x * (i % 97 == 5 ? 50.0f : 1.0f);
    case 6: return i / 256 % 3 ? x : next() % 8 ? 0.0f : -0.0f;
    case 7: return (float)((int64_t)(next() % 511) - 255) * 0.125f;
    case 8: return x * (i / 16 % 2 ? 1e-4f : 1.0f);
    case 9: return 1.0f + 0.01f * x;
    case 10: return next() % 64 ? 0.0f : x;
    default: return -0.25f;
    }
}

static void fill(uint16_t *x, nib_ctx *cpu, nib_stream *stream, int64_t rows)
{
    float row[COLS];
    (void)cpu;
    for (int64_t r = 0; r < rows; r++) {
        int kind = (int)(next() % 12);
        for (int64_t i = 0; i < COLS; i++) row[i] = weight(i, kind);
        if (nib_convert(stream, COLS, NIB_F32, nib_wrap(row, sizeof row), NIB_F16,
                        nib_wrap(x + r * COLS, COLS * 2)) != NIB_OK)
            exit(1);
    }
}

/* ---- both arms ---- */

static struct {
    nib_ctx *ctx;
    nib_stream *stream;
    uint16_t *x;
    float *f32, *importance;
    unsigned char *ours, *theirs;
    int64_t rows;
    int threads, rounds, only_bytes, cpu_time;
} bench;

static double now(void)
{
    struct timespec t;
    clock_gettime(bench.cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, compare);
    return x[n / 2];
}

static void run_nibble(const nib_block_type *type, int weighted, size_t bytes)
{
    nib_mem none = {NULL, 0, 0};
    nib_mem importance = weighted ? nib_wrap(bench.importance, COLS * sizeof(float)) : none;
    nib_status status =
        nib_quantize_blocks(bench.stream, type->block, bench.rows, COLS, NIB_F16,
                            nib_wrap(bench.x, (size_t)bench.rows * COLS * 2), importance,
                            NIB_NONFINITE_ERROR, nib_wrap(bench.ours, bytes), none);
    if (status == NIB_OK) return;
    fprintf(stderr, "%s\n", nib_last_error());
    exit(1);
}

/* Returns how many bytes differ. */
static size_t measure(const nib_block_type *type, int weighted)
{
    share s = {type,      bench.x, bench.f32, bench.theirs, weighted ? bench.importance : NULL,
               bench.rows};
    size_t bytes = (size_t)(bench.rows * COLS / type->elements) * (size_t)type->bytes;
    size_t different = 0;
    double ours[MOST_ROUNDS] = {0}, theirs[MOST_ROUNDS] = {0};
    int rounds = bench.only_bytes ? 1 : bench.rounds;
    memset(bench.ours, 0xA5, bytes);
    for (int r = 0; r < rounds; r++) {
        double start = now();
        run_nibble(type, weighted, bytes);
        ours[r] = now() - start;
        start = now();
        run_ggml(&s, bench.threads);
        theirs[r] = now() - start;
    }
    for (size_t i = 0; i < bytes; i++) different += bench.ours[i] != bench.theirs[i];
    double a = median(ours, rounds), b = median(theirs, rounds);
    double weights = (double)bench.rows * COLS;
    printf("{\"bench\":\"blocks\",\"type\":\"%s\",\"importance\":%s,\"weights\":%.0f,"
           "\"different_bytes\":%zu,\"threads\":%d,\"clock\":\"%s\"",
           type->name, weighted ? "true" : "false", weights, different, bench.threads,
           bench.cpu_time ? "processor" : "wall");
    if (!bench.only_bytes)
        printf(",\"nibble_mweights_s\":%.1f,\"ggml_mweights_s\":%.1f,\"ratio\":%.2f",
               weights / a * 1e-6, weights / b * 1e-6, b / a);
    printf("}\n");
    fflush(stdout);
    return different;
}

int main(int argc, char **argv)
{
    const char *only = NULL;
    int64_t weights = 1 << 22;
    bench.threads = 2;
    bench.rounds = 5;
    state = 1;
    if (argc < 2 || !load_ggml(argv[1])) {
        fprintf(stderr, "usage: bench_blocks LIBGGML_BASE [--weights N] [--threads T] [--rounds R] "
                        "[--type NAME] [--seed S] [--only-bytes] [--cpu-time]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--only-bytes")) bench.only_bytes = 1;
        if (!strcmp(argv[i], "--cpu-time")) bench.cpu_time = 1;
        if (!strcmp(argv[i], "--weights")) weights = strtoll(value, NULL, 10);
        if (!strcmp(argv[i], "--threads")) bench.threads = atoi(value);
        if (!strcmp(argv[i], "--rounds")) bench.rounds = atoi(value);
        if (!strcmp(argv[i], "--seed")) state = strtoull(value, NULL, 10);
        if (!strcmp(argv[i], "--type")) only = value;
    }
    if (bench.threads < 1 || bench.threads > MOST_THREADS || bench.rounds < 1 ||
        bench.rounds > MOST_ROUNDS || weights < COLS)
        return 2;
    nib_options options = {.size = sizeof options, .threads = bench.threads};
    if (nib_open("cpu", &options, &bench.ctx) != NIB_OK ||
        nib_stream_open(bench.ctx, &bench.stream) != NIB_OK)
        return fprintf(stderr, "%s\n", nib_last_error()), 1;
    /* at most 2^24 weights at a time: more are more rounds of fresh ones, for their bytes alone */
    int64_t batch = weights < 1 << 24 ? weights : 1 << 24;
    size_t different = 0;
    bench.rows = batch / COLS;
    bench.x = malloc((size_t)bench.rows * COLS * 2);
    bench.f32 = malloc((size_t)bench.rows * COLS * 4);
    bench.importance = malloc(COLS * sizeof(float));
    bench.ours = malloc((size_t)bench.rows * COLS * 2);
    bench.theirs = malloc((size_t)bench.rows * COLS * 2);
    for (int64_t done = 0; done < weights; done += batch) {
        fill(bench.x, bench.ctx, bench.stream, bench.rows);
        for (int i = 0; i < COLS; i++) {
            float v = normal();
            bench.importance[i] = next() % 16 ? v * v * 3.0f : 0.0f;
        }
        for (size_t b = 0; b < nib_block_count(); b++)
            for (int weighted = 0; weighted < 2; weighted++) {
                const nib_block_type *type = nib_block_at(b);
                if (only && strcmp(only, type->name)) continue;
                if (weighted && type->block == NIB_BLOCK_Q8_0) continue;
                different += measure(type, weighted);
            }
    }
    free(bench.x);
    free(bench.f32);
    free(bench.importance);
    free(bench.ours);
    free(bench.theirs);
    nib_stream_close(bench.stream);
    nib_close(bench.ctx);
    return different != 0;
}
