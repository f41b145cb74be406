/* bench_matmul.c - how fast the cpu's products are, beside the machine's read bandwidth and
 * other libraries (peers.h).
 *
 * For each shape and M, the arms run in turn within each round: reading memory, nibble's four
 * kinds of product, the peers. The weights are copies of one matrix, more than 512 MB of them
 * where M is small, so that each product reads its own from memory. A product of nibble's counts
 * what its run does: quantizing x where it is quantized. An arm is timed only if its y is that
 * of f32, within what its quantization may cost. --cpu-time counts processor time, all threads
 * together: with one thread it says how fast products are on a machine that others use too. */
#include "../include/nibble_matmul.h"
#include "copy.h"
#include "peers.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_ROUNDS = 101, MOST_ARMS = 16, MOST_RUNS = 256, MOST_M = 512, READS = 4 };
static const int64_t ms[] = {1, 8, 64, 512};
static const int64_t shapes[][2] = {{4096, 4096}, {11008, 4096}};

/* nibble's kinds of product: weights, and what they are multiplied with. */
typedef struct kind {
    const char *name;
    int bits;
    int64_t group;
    nib_acts acts;
    int tolerance; /* percent of |y| */
} kind;
static const kind kinds[] = {{"int4 g128, a16", 4, 128, NIB_ACTS_FLOAT, 20},
                             {"int4 g128, a8", 4, 128, NIB_ACTS_DYNAMIC, 20},
                             {"int8, a16", 8, 0, NIB_ACTS_FLOAT, 5},
                             {"int8, a8", 8, 0, NIB_ACTS_DYNAMIC, 5}};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

typedef struct ours {
    nib_matmul *plan;
    nib_mem weights[MOST_RUNS], workspace;
    size_t bytes; /* of one copy's packed weights */
    int copies, next;
} ours;

typedef struct arm {
    const char *name;
    const kind *kind;
    const peer *peer;
    int streams; /* a reader */
    void *state; /* ours, or the peer's */
    double seconds[MAX_ROUNDS];
} arm;

static struct {
    const char *revision, *json;
    nib_dtype type;
    int threads, rounds, megabytes, cpu_time;
    int64_t only_m;
    nib_ctx *ctx, *ref;
    nib_stream *stream, *ref_stream;
    problem p;
    nib_mem x, y; /* in `type`; f32 */
    unsigned char *read;
    float *expected;
    arm arms[MOST_ARMS];
    int arm_count;
} bench = {.revision = "", .type = NIB_BF16, .rounds = 11, .megabytes = 512};

static void must(nib_status status, const char *what)
{
    if (status == NIB_OK) return;
    fprintf(stderr, "bench_matmul: %s: %s\n", what, nib_last_error());
    exit(nib_status_exit_code(status));
}

static void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!memory) {
        fprintf(stderr, "bench_matmul: no memory for %zu bytes\n", bytes);
        exit(4);
    }
    memset(memory, 1, bytes);
    return memory;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(bench.cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the problem ---- */

static float *noise(int64_t count, float scale)
{
    static uint64_t state = 1;
    float *values = allocate((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t r = state >> 16;
        float sum = (float)(r & 0xffff) + (float)(r >> 16 & 0xffff) + (float)(r >> 32 & 0xffff);
        values[i] = (sum - 98302.5f) * 3e-5f * scale;
    }
    return values;
}

static void make_problem(int64_t n, int64_t k)
{
    problem *p = &bench.p;
    float *w = noise(n * k, 0.02f), *x = noise(MOST_M * k, 1.0f);
    size_t x_bytes = (size_t)(MOST_M * k) * (size_t)nib_dtype_bits(bench.type) / 8;
    *p = (problem){n, k, MOST_M, 0, bench.threads, w, x};
    bench.x = nib_wrap(allocate(x_bytes), x_bytes);
    bench.y = nib_wrap(allocate((size_t)(MOST_M * n) * 4), (size_t)(MOST_M * n) * 4);
    must(nib_convert(bench.ref_stream, MOST_M * k, NIB_F32, nib_wrap(x, (size_t)(MOST_M * k) * 4),
                     bench.type, bench.x),
         "convert");
    bench.expected = allocate(2 * (size_t)n * sizeof *bench.expected);
}

/* What the first and the last of m rows of y must be. */
static void expect_rows(int64_t m)
{
    const problem *p = &bench.p;
    for (int64_t e = 0; e < 2 * p->n; e++) {
        const float *x = p->x + (e < p->n ? 0 : m - 1) * p->k, *w = p->w + e % p->n * p->k;
        double sum = 0.0;
        for (int64_t j = 0; j < p->k; j++) sum += (double)w[j] * (double)x[j];
        bench.expected[e] = (float)sum;
    }
}

static int copies_of(size_t bytes) { return (int)(((size_t)bench.megabytes << 20) / bytes) + 1; }

/* ---- nibble ---- */

static void *ours_open(const kind *of)
{
    const problem *p = &bench.p;
    ours *o = allocate(sizeof *o);
    nib_mem planes[NIB_PLANES] = {{0}}, none = {0};
    nib_matmul_desc d = {.size = sizeof d, .max_m = MOST_M, .acts = of->acts};
    d.x_type = bench.type, d.y_type = NIB_F32;
    d.weights = (nib_quant){.bits = of->bits,
                            .scale_type = NIB_F16,
                            .rule = NIB_RULE_SYM_FULL,
                            .layout = NIB_LAYOUT_CANONICAL};
    must(nib_grid_rows(p->n, p->k, of->group, &d.weights.grid), "grid");
    for (int i = 0; i < NIB_PLANES; i++) {
        size_t bytes;
        must(nib_plane_bytes(&d.weights, (nib_plane)i, &bytes), "plane");
        if (bytes) planes[i] = nib_wrap(allocate(bytes), bytes);
    }
    must(nib_quantize(bench.stream, &d.weights, NIB_F32,
                      nib_wrap((void *)(uintptr_t)p->w, (size_t)(p->n * p->k) * 4),
                      NIB_NONFINITE_ERROR, planes, none),
         "quantize");
    must(nib_matmul_plan_open(bench.ctx, &d, &o->plan), of->name);
    o->bytes = nib_matmul_weights_bytes(o->plan);
    o->copies = copies_of(o->bytes);
    if (o->copies > MOST_RUNS) o->copies = MOST_RUNS;
    o->next = 0;
    double begin = now();
    for (int i = 0; i < o->copies; i++) {
        must(nib_alloc(bench.ctx, o->bytes, &o->weights[i]), "memory");
        must(nib_matmul_pack(bench.stream, o->plan, planes, o->weights[i]), "pack");
    }
    fprintf(stderr, "%s: packed at %.2f GB/s\n", of->name,
            (double)o->bytes * o->copies / (now() - begin) * 1e-9);
    must(nib_alloc(bench.ctx, nib_matmul_workspace_bytes(o->plan) + 64, &o->workspace), "memory");
    must(nib_matmul_prepare(bench.stream, o->plan, o->workspace), "prepare");
    for (int i = 0; i < NIB_PLANES; i++) free(planes[i].handle);
    return o;
}

static void ours_run(ours *o, int64_t m, int runs)
{
    for (int i = 0; i < runs; i++, o->next = (o->next + 1) % o->copies) {
        nib_matmul_args args = {.size = sizeof args,
                                .m = m,
                                .x = bench.x,
                                .weights = o->weights[o->next],
                                .y = bench.y,
                                .workspace = o->workspace};
        must(nib_matmul_run(bench.stream, o->plan, &args), "run");
    }
    must(nib_sync(bench.stream), "sync");
}

static void ours_close(ours *o)
{
    for (int i = 0; i < o->copies; i++) nib_free(bench.ctx, &o->weights[i]);
    nib_free(bench.ctx, &o->workspace);
    nib_matmul_plan_close(o->plan);
    free(o);
}

/* ---- arms ---- */

static size_t weight_bytes(const arm *a)
{
    size_t elements = (size_t)(bench.p.n * bench.p.k);
    if (a->kind) return ((const ours *)a->state)->bytes;
    return a->streams ? (size_t)bench.megabytes << 20 : elements * a->peer->bytes_of_32 / 32;
}

/* How many products a round has: all copies while memory is the limit. */
static int runs_of(const arm *a, int64_t m)
{
    int copies = copies_of(weight_bytes(a));
    if (a->streams) return 1;
    return m > 64 ? 1 : m > 8 ? 4 : copies > MOST_RUNS ? MOST_RUNS : copies;
}

static double run_arm(arm *a, int64_t m)
{
    int runs = runs_of(a, m);
    double begin = now();
    if (a->streams) {
        if (!read_all(bench.read, (size_t)bench.megabytes << 20, bench.threads, a->streams)) {
            fprintf(stderr, "bench_matmul: cannot start %d threads\n", bench.threads);
            exit(4);
        }
    } else if (a->kind) ours_run(a->state, m, runs);
    else a->peer->run(a->state, m, runs);
    return (now() - begin) / runs;
}

/* How far a row of y is from that of f32, in percent. */
static double percent_off(const float *y, const float *expected)
{
    double error = 0.0, size = 0.0;
    for (int64_t i = 0; i < bench.p.n; i++) {
        error += pow((double)(y[i] - expected[i]), 2.0);
        size += pow((double)expected[i], 2.0);
    }
    return 100.0 * sqrt(error / size);
}

/* Whether the first and the last row of y are those of f32, as far as the arm may differ. */
static void check(arm *a, int64_t m)
{
    float *y = bench.y.handle;
    if (a->streams) return;
    memset(y, 0xff, (size_t)(m * bench.p.n) * sizeof *y);
    run_arm(a, m);
    if (a->peer) a->peer->result(a->state, m, y);
    int tolerance = a->kind ? a->kind->tolerance : a->peer->tolerance;
    double first = percent_off(y, bench.expected),
           last = percent_off(y + (m - 1) * bench.p.n, bench.expected + bench.p.n);
    fprintf(stderr, "%s, M = %lld: y differs from f32 by %.2f %% and %.2f %%\n", a->name,
            (long long)m, first, last);
    if (first <= tolerance && last <= tolerance) return;
    fprintf(stderr, "bench_matmul: %s: more than %d %%: not timed\n", a->name, tolerance);
    exit(1);
}

static void open_arms(void)
{
    static const char *const names[READS] = {"read, 1 stream", "read, 2 streams", "read, 4 streams",
                                             "read, 8 streams"};
    bench.arm_count = 0;
    for (int i = 0; i < READS; i++)
        bench.arms[bench.arm_count++] = (arm){.name = names[i], .streams = 1 << i};
    for (int i = 0; i < KINDS; i++)
        bench.arms[bench.arm_count++] =
            (arm){.name = kinds[i].name, .kind = &kinds[i], .state = ours_open(&kinds[i])};
    for (int i = 0; i < peer_count; i++) {
        size_t elements = (size_t)(bench.p.n * bench.p.k);
        arm a = {.name = peers[i].name, .peer = &peers[i]};
        bench.p.copies = copies_of(elements * peers[i].bytes_of_32 / 32);
        problem *own = allocate(sizeof *own);
        *own = bench.p;
        a.state = peers[i].open(&peers[i], own);
        if (a.state) bench.arms[bench.arm_count++] = a;
        else fprintf(stderr, "%s: not here\n", a.name);
    }
}

static void close_arms(void)
{
    for (int i = 0; i < bench.arm_count; i++) {
        arm *a = &bench.arms[i];
        if (a->kind) ours_close(a->state);
        else if (a->peer) a->peer->close(a->state);
    }
    free(bench.x.handle), free(bench.y.handle), free(bench.expected);
    free((void *)(uintptr_t)bench.p.w), free((void *)(uintptr_t)bench.p.x);
}

/* ---- results ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_arm(FILE *json, arm *a, int64_t m, double read_gbps)
{
    const nib_device_info *info = nib_ctx_device(bench.ctx);
    double *s = a->seconds, bytes = (double)weight_bytes(a);
    qsort(s, (size_t)bench.rounds, sizeof *s, by_value);
    double median = s[bench.rounds / 2], gbps = bytes / median * 1e-9,
           gops = a->streams ? 0.0 : 2.0 * (double)(m * bench.p.n * bench.p.k) / median * 1e-9;
    printf("| %lld x %lld | %lld | %s | %.3f | %.3f..%.3f | %.1f | %.0f | %.0f |\n",
           (long long)bench.p.n, (long long)bench.p.k, (long long)m, a->name, median * 1e3,
           s[0] * 1e3, s[bench.rounds - 1] * 1e3, gbps, 100.0 * gbps / read_gbps, gops);
    if (!json) return;
    fprintf(json,
            "{\"bench\":\"matmul\",\"version\":\"%s\",\"revision\":\"%s\",\"model\":\"%s\","
            "\"features\":\"%s\",\"clock\":\"%s\",\"threads\":%d,\"x_type\":\"%s\",\"n\":%lld,"
            "\"k\":%lld,\"m\":%lld,"
            "\"arm\":\"%s\",\"weight_bytes\":%.0f,\"rounds\":%d,\"ms_median\":%.4f,\"ms_min\":%.4f,"
            "\"ms_max\":%.4f,\"gbps\":%.2f,\"percent_of_read\":%.1f,\"gops\":%.1f}\n",
            nib_version(), bench.revision, info->model, info->features,
            bench.cpu_time ? "cpu" : "wall", bench.threads, nib_dtype_name(bench.type),
            (long long)bench.p.n, (long long)bench.p.k, (long long)m, a->name, bytes, bench.rounds,
            median * 1e3, s[0] * 1e3, s[bench.rounds - 1] * 1e3, gbps, 100.0 * gbps / read_gbps,
            gops);
}

/* All arms in turn, `rounds` times, after one round that is not counted. */
static void measure(int64_t m)
{
    double best = INFINITY;
    expect_rows(m);
    for (int i = 0; i < bench.arm_count; i++) check(&bench.arms[i], m);
    for (int round = -1; round < bench.rounds; round++)
        for (int i = 0; i < bench.arm_count; i++) {
            double seconds = run_arm(&bench.arms[i], m);
            if (round >= 0) bench.arms[i].seconds[round] = seconds;
        }
    for (int i = 0; i < READS; i++) {
        double sorted[MAX_ROUNDS];
        memcpy(sorted, bench.arms[i].seconds, sizeof sorted);
        qsort(sorted, (size_t)bench.rounds, sizeof *sorted, by_value);
        if (sorted[bench.rounds / 2] < best) best = sorted[bench.rounds / 2];
    }
    double gbps = (double)((size_t)bench.megabytes << 20) / best * 1e-9;
    FILE *json = bench.json ? fopen(bench.json, "a") : NULL;
    for (int i = 0; i < bench.arm_count; i++) print_arm(json, &bench.arms[i], m, gbps);
    if (json) fclose(json);
    fflush(stdout);
}

static int number(const char *text, int low, int high)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end != text && !*end && value >= low && value <= high) return (int)value;
    fprintf(stderr, "bench_matmul: %s is not a number from %d to %d\n", text, low, high);
    exit(2);
}

static int only_shape = -1;

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {{"type", 1, NULL, 't'},      {"threads", 1, NULL, 'n'},
                                            {"rounds", 1, NULL, 'r'},    {"m", 1, NULL, 'm'},
                                            {"megabytes", 1, NULL, 'w'}, {"revision", 1, NULL, 'v'},
                                            {"shape", 1, NULL, 's'},     {"json", 1, NULL, 'j'},
                                            {"cpu-time", 0, NULL, 'c'},  {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 't') bench.type = nib_dtype_find(optarg, strlen(optarg));
        else if (c == 'n') bench.threads = number(optarg, 1, 1024);
        else if (c == 'r') bench.rounds = number(optarg, 1, MAX_ROUNDS);
        else if (c == 'm') bench.only_m = number(optarg, 1, MOST_M);
        else if (c == 'w') bench.megabytes = number(optarg, 1, 1 << 20);
        else if (c == 's') only_shape = number(optarg, 0, 1);
        else if (c == 'v') bench.revision = optarg;
        else if (c == 'j') bench.json = optarg;
        else if (c == 'c') bench.cpu_time = 1;
        else {
            fprintf(stderr, "usage: bench_matmul [--type F32|F16|BF16] [--threads N] [--rounds N] "
                            "[--m M] [--shape 0|1] [--megabytes N] [--revision TEXT] "
                            "[--cpu-time] [--json FILE]\n");
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    setenv("OPENBLAS_THREAD_TIMEOUT", "16", 0); /* else idle threads of other libraries hold the */
    setenv("GOMP_SPINCOUNT", "1000", 0);        /* cores during the next arm */
    nib_options options = {.size = sizeof options, .threads = bench.threads};
    must(nib_open("cpu", &options, &bench.ctx), "cpu");
    must(nib_open("ref", NULL, &bench.ref), "ref");
    must(nib_stream_open(bench.ctx, &bench.stream), "stream");
    must(nib_stream_open(bench.ref, &bench.ref_stream), "stream");
    if (!bench.threads) bench.threads = nib_ctx_device(bench.ctx)->units;
    bench.read = allocate((size_t)bench.megabytes << 20);
    const nib_device_info *info = nib_ctx_device(bench.ctx);
    printf("%s (%s), %d threads; nibble %s %s; x %s, %d rounds\n\n", info->model, info->features,
           bench.threads, nib_version(), bench.revision, nib_dtype_name(bench.type), bench.rounds);
    printf("| N x K | M | arm | ms, median | lowest..highest | GB/s of weights | %% of read | GOPS "
           "|\n|---|---:|---|---:|---:|---:|---:|---:|\n");
    for (int s = 0; s < 2; s++) {
        if (only_shape >= 0 && only_shape != s) continue;
        make_problem(shapes[s][0], shapes[s][1]);
        open_arms();
        for (size_t i = 0; i < sizeof ms / sizeof ms[0] && !bench.only_m; i++) measure(ms[i]);
        if (bench.only_m) measure(bench.only_m);
        close_arms();
    }
    return 0;
}
