/* bench_kernels.c - how fast the kernels move bytes, as a share of the machine's copy bandwidth.
 *
 * Arms, in turn within each round: two copies (libc's memcpy, and stores that go around the
 * caches), then each operation on each scheme. An arm goes once through its working set, which is
 * larger than any cache. Bytes are those in plus those out; a copy of n bytes counts 2n. A kernel
 * is timed only if sampled rows of its output are those of `ref`. */
#include "../include/nibble.h"
#include "copy.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 8192, SAMPLE = 16, MAX_ROUNDS = 201 };

typedef enum role { X, CODES, SCALES, Y, OUT, ROLES } role;
typedef enum op { MEMCPY, STREAM_COPY, QUANTIZE, DEQUANTIZE, RANGES, ERRORS, OPS } op;
static const char *const op_names[OPS] = {"memcpy",     "stream copy", "quantize",
                                          "dequantize", "ranges",      "errors"};
static const unsigned op_reads[OPS] = {[QUANTIZE] = 1u << X,
                                       [DEQUANTIZE] = 1u << CODES | 1u << SCALES,
                                       [RANGES] = 1u << X,
                                       [ERRORS] = 1u << X | 1u << CODES | 1u << SCALES};
static const unsigned op_writes[OPS] = {[QUANTIZE] = 1u << CODES | 1u << SCALES,
                                        [DEQUANTIZE] = 1u << Y,
                                        [RANGES] = 1u << OUT,
                                        [ERRORS] = 1u << OUT};

/* A scheme's code space, or a type of ggml's blocks, which are CODES alone; and its tensors, one
 * after the other in each span. */
typedef struct subject {
    const char *name;
    int bits;
    int64_t group;
    nib_block block; /* or NIB_BLOCK_NONE */
    nib_mem mem[ROLES];
} subject;

typedef struct arm {
    op op;
    const subject *on; /* NULL: a copy */
    size_t bytes;      /* in plus out, of the whole working set */
    double gbps[MAX_ROUNDS], percent[MAX_ROUNDS];
} arm;

static struct {
    const char *device, *revision, *json;
    nib_dtype type;
    int threads, rounds, tensors, repeats;
    int64_t cols;
    nib_ctx *ctx, *ref;
    nib_stream *stream, *ref_stream;
    unsigned char *host_x, *host_y; /* what the host's copies move, and the source */
} bench = {.device = "cpu",
           .revision = "",
           .type = NIB_BF16,
           .rounds = 15,
           .tensors = 12,
           .repeats = 1,
           .cols = 4096};

enum { MOST_SUBJECTS = 16, MOST_ARMS = 2 + MOST_SUBJECTS * (OPS - QUANTIZE) };
static subject subjects[MOST_SUBJECTS] = {{"int8 per channel", 8, 0, NIB_BLOCK_NONE, {{0}}},
                                          {"int4 g128", 4, 128, NIB_BLOCK_NONE, {{0}}}};
static arm arms[MOST_ARMS];
static int subject_count = 2, arm_count;

static void must(nib_status status, const char *what)
{
    if (status == NIB_OK) return;
    fprintf(stderr, "bench_kernels: %s: %s\n", what, nib_last_error());
    exit(nib_status_exit_code(status));
}

static void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!memory) {
        fprintf(stderr, "bench_kernels: no memory for %zu bytes; use fewer --tensors\n", bytes);
        exit(4);
    }
    memset(memory, 1, bytes);
    return memory;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- shapes ---- */

static nib_quant quant_of(const subject *s, int64_t rows)
{
    nib_quant q = {.bits = s->bits,
                   .scale_type = NIB_BF16,
                   .rule = NIB_RULE_SYM_FULL,
                   .layout = NIB_LAYOUT_CT_PACKED};
    must(nib_grid_rows(rows, bench.cols, s->group, &q.grid), "grid");
    return q;
}

/* Bytes of a row in each role; every plane is rows one after the other. */
static size_t row_bytes(const subject *s, op what, role r)
{
    int64_t groups = s->group ? bench.cols / s->group : 1;
    const nib_block_type *type = s->block ? nib_block_get(s->block) : NULL;
    if (type && r != X && r != Y)
        return r == CODES ? (size_t)(bench.cols / type->elements * type->bytes) : 0;
    switch (r) {
    case X:
    case Y: return (size_t)bench.cols * (size_t)nib_dtype_bits(bench.type) / 8;
    case CODES: return (size_t)bench.cols * (size_t)s->bits / 8;
    case SCALES: return (size_t)groups * 2;
    default: break;
    }
    return what == RANGES ? (size_t)groups * sizeof(nib_range)
                          : (size_t)((bench.cols + 1023) / 1024) * sizeof(nib_error_block);
}

/* Runs the operation on spans of `rows` rows. */
static nib_status run(nib_stream *stream, const subject *s, op what, int64_t rows,
                      const nib_mem mem[ROLES])
{
    const nib_mem planes[NIB_PLANES] = {mem[CODES], mem[SCALES], {0}}, none = {0};
    if (s->block && what == QUANTIZE)
        return nib_quantize_blocks(stream, s->block, rows, bench.cols, bench.type, mem[X], none,
                                   NIB_NONFINITE_ERROR, mem[CODES], none);
    if (s->block)
        return nib_dequantize_blocks(stream, s->block, rows, bench.cols, mem[CODES], bench.type,
                                     mem[Y]);
    nib_quant q = quant_of(s, rows);
    switch (what) {
    case QUANTIZE:
        return nib_quantize(stream, &q, bench.type, mem[X], NIB_NONFINITE_ERROR, planes, none);
    case DEQUANTIZE: return nib_dequantize(stream, &q, planes, bench.type, mem[Y]);
    case RANGES:
        return nib_ranges(stream, &q.grid, bench.type, mem[X], NIB_NONFINITE_ERROR, mem[OUT], none);
    case ERRORS: return nib_errors(stream, &q, bench.type, mem[X], planes, bench.cols, mem[OUT]);
    default: return NIB_OK;
    }
}

/* The spans of rows first..first+rows-1, counted over all tensors; OUT is one tensor's. */
static void rows_of(const arm *a, int64_t first, int64_t rows, nib_mem mem_ret[ROLES])
{
    for (int r = 0; r < ROLES; r++) {
        size_t bytes = row_bytes(a->on, a->op, (role)r);
        int64_t from = r == OUT ? first % ROWS : first;
        mem_ret[r] = nib_slice(a->on->mem[r], (size_t)from * bytes, (size_t)rows * bytes);
    }
}

/* Once through the working set. A device with memory of its own copies by converting to the same
 * type. */
static void pass(const arm *a)
{
    size_t bytes = a->bytes / 2;
    if (a->on) {
        for (int i = 0; i < bench.tensors; i++) {
            nib_mem mem[ROLES];
            rows_of(a, (int64_t)i * ROWS, ROWS, mem);
            must(run(bench.stream, a->on, a->op, ROWS, mem), op_names[a->op]);
        }
    } else if (!nib_host_memory(bench.ctx)) {
        must(nib_convert(bench.stream, (int64_t)(bytes / 4), NIB_F32, subjects[0].mem[X], NIB_F32,
                         subjects[0].mem[Y]),
             "copy");
    } else if (!copy_all(bench.host_y, bench.host_x, bytes, bench.threads, a->op == STREAM_COPY)) {
        fprintf(stderr, "bench_kernels: cannot start %d threads\n", bench.threads);
        exit(4);
    }
}

/* Seconds of one pass, over --repeats of them: a device's launches wait in line, the host only
 * for the last. */
static double run_arm(const arm *a)
{
    double begin = now();
    for (int i = 0; i < bench.repeats; i++) pass(a);
    must(nib_sync(bench.stream), "sync");
    return (now() - begin) / bench.repeats;
}

/* ---- the check ---- */

/* Whether SAMPLE rows of the last tensor, from `first`, are what ref makes of the same inputs. */
static int agrees(const arm *a, int64_t first)
{
    nib_mem mem[ROLES], own[ROLES] = {{NULL, 0, 0}};
    unsigned char *got[ROLES] = {NULL};
    int equal = 1;
    rows_of(a, (int64_t)(bench.tensors - 1) * ROWS + first, SAMPLE, mem);
    for (int r = 0; r < ROLES; r++) {
        if (!((op_reads[a->op] | op_writes[a->op]) >> r & 1)) continue;
        got[r] = allocate(mem[r].bytes);
        own[r] = nib_wrap(allocate(mem[r].bytes), mem[r].bytes);
        must(nib_download(bench.stream, got[r], mem[r], mem[r].bytes), "download");
        must(nib_sync(bench.stream), "sync");
        if (op_reads[a->op] >> r & 1) memcpy(own[r].handle, got[r], mem[r].bytes);
    }
    must(run(bench.ref_stream, a->on, a->op, SAMPLE, own), "ref");
    for (int r = 0; r < ROLES; r++) {
        if (op_writes[a->op] >> r & 1) equal &= !memcmp(own[r].handle, got[r], mem[r].bytes);
        free(got[r]);
        free(own[r].handle);
    }
    return equal;
}

static void check(const arm *a)
{
    run_arm(a);
    if (!a->on || (agrees(a, 0) && agrees(a, ROWS / 2 - SAMPLE) && agrees(a, ROWS - SAMPLE)))
        return;
    fprintf(stderr, "bench_kernels: %s of %s differs from ref: not timed\n", op_names[a->op],
            a->on->name);
    exit(1);
}

/* ---- setting up ---- */

/* Near-normal values, one in 64 of them eight times as large; all tensors alike. */
static void fill_source(size_t tensor_bytes)
{
    size_t count = (size_t)ROWS * (size_t)bench.cols;
    float *values = allocate(count * sizeof *values);
    uint64_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t r = state >> 16;
        float sum = (float)(r & 0xffff) + (float)(r >> 16 & 0xffff) + (float)(r >> 32 & 0xffff);
        values[i] = (sum - 98302.5f) * (i % 64 ? 1e-6f : 8e-6f);
    }
    must(nib_convert(bench.ref_stream, (int64_t)count, NIB_F32,
                     nib_wrap(values, count * sizeof *values), bench.type,
                     nib_wrap(bench.host_x, tensor_bytes)),
         "convert");
    free(values);
    for (int i = 1; i < bench.tensors; i++)
        memcpy(bench.host_x + (size_t)i * tensor_bytes, bench.host_x, tensor_bytes);
}

static void set_up(void)
{
    nib_options options = {.size = sizeof options, .threads = bench.threads};
    must(nib_open(bench.device, &options, &bench.ctx), bench.device);
    must(nib_open("ref", NULL, &bench.ref), "ref");
    must(nib_stream_open(bench.ctx, &bench.stream), "stream");
    must(nib_stream_open(bench.ref, &bench.ref_stream), "stream");
    if (!bench.threads) bench.threads = nib_ctx_device(bench.ctx)->units;
    size_t tensor_bytes = ROWS * row_bytes(&subjects[0], QUANTIZE, X);
    size_t total = tensor_bytes * (size_t)bench.tensors;
    bench.host_x = allocate(total);
    bench.host_y = allocate(total);
    fill_source(tensor_bytes);
    for (int s = 0; s < subject_count; s++)
        for (int r = 0; r < ROLES; r++) {
            size_t ranges = row_bytes(&subjects[s], RANGES, (role)r);
            size_t errors = row_bytes(&subjects[s], ERRORS, (role)r);
            size_t bytes = ROWS * (ranges > errors ? ranges : errors);
            if (r != OUT) bytes *= (size_t)bench.tensors;
            nib_mem *mem = &subjects[s].mem[r];
            if (!bytes) continue;
            if (s && (r == X || r == Y)) *mem = subjects[0].mem[r];
            else if (nib_host_memory(bench.ctx) && r == X) *mem = nib_wrap(bench.host_x, bytes);
            else if (nib_host_memory(bench.ctx) && r == Y) *mem = nib_wrap(bench.host_y, bytes);
            else must(nib_alloc(bench.ctx, bytes, mem), "memory");
            if (!s && r == X && !nib_host_memory(bench.ctx))
                must(nib_upload(bench.stream, *mem, bench.host_x, bytes), "upload");
        }
    arms[arm_count++] = (arm){.op = MEMCPY, .bytes = 2 * total};
    arms[arm_count++] = (arm){.op = STREAM_COPY, .bytes = 2 * total};
    for (int o = QUANTIZE; o < (subjects[0].block ? RANGES : OPS); o++)
        for (int s = 0; s < subject_count; s++) {
            arm *a = &arms[arm_count++];
            a->op = (op)o;
            a->on = &subjects[s];
            for (int r = 0; r < ROLES; r++)
                if ((op_reads[o] | op_writes[o]) >> r & 1)
                    a->bytes += (size_t)bench.tensors * ROWS * row_bytes(a->on, a->op, (role)r);
        }
}

/* ---- results ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts a copy: its lowest, middle and highest value. */
static void spread(const double *values, double result[3])
{
    double sorted[MAX_ROUNDS];
    memcpy(sorted, values, (size_t)bench.rounds * sizeof *values);
    qsort(sorted, (size_t)bench.rounds, sizeof *sorted, by_value);
    result[0] = sorted[0];
    result[1] = sorted[bench.rounds / 2];
    result[2] = sorted[bench.rounds - 1];
}

static void print_results(void)
{
    const nib_device_info *info = nib_ctx_device(bench.ctx);
    FILE *json = bench.json ? fopen(bench.json, "a") : NULL;
    printf("%s: %s (%s), %d threads; nibble %s %s; %s, %d tensors of %dx%lld, %d rounds\n\n",
           info->name, info->model, info->features, bench.threads, nib_version(), bench.revision,
           nib_dtype_name(bench.type), bench.tensors, ROWS, (long long)bench.cols, bench.rounds);
    printf("| operation | on | GB/s, median | lowest..highest | %% of the best copy |\n");
    printf("|---|---|---:|---:|---:|\n");
    for (int i = 0; i < arm_count; i++) {
        const char *on = arms[i].on                   ? arms[i].on->name
                         : nib_host_memory(bench.ctx) ? "plain bytes"
                                                      : "f32 to f32 on the device";
        double gbps[3], percent[3];
        spread(arms[i].gbps, gbps);
        spread(arms[i].percent, percent);
        printf("| %s | %s | %.1f | %.1f..%.1f | %.0f |\n", op_names[arms[i].op], on, gbps[1],
               gbps[0], gbps[2], percent[1]);
        if (!json) continue;
        fprintf(json,
                "{\"bench\":\"kernels\",\"version\":\"%s\",\"revision\":\"%s\",\"device\":\"%s\","
                "\"model\":\"%s\",\"features\":\"%s\",\"driver\":\"%s\",\"threads\":%d,"
                "\"type\":\"%s\",\"operation\":\"%s\",\"on\":\"%s\",\"cols\":%lld,\"bytes\":%"
                "zu,\"rounds\":%d,"
                "\"gbps_median\":%.2f,\"gbps_min\":%.2f,\"gbps_max\":%.2f,"
                "\"percent_of_copy_median\":%.1f}\n",
                nib_version(), bench.revision, info->name, info->model, info->features,
                info->driver, bench.threads, nib_dtype_name(bench.type), op_names[arms[i].op], on,
                (long long)bench.cols, arms[i].bytes, bench.rounds, gbps[1], gbps[0], gbps[2],
                percent[1]);
    }
    if (json) fclose(json);
}

static int number(const char *text, int low, int high)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end != text && !*end && value >= low && value <= high) return (int)value;
    fprintf(stderr, "bench_kernels: %s is not a number from %d to %d\n", text, low, high);
    exit(2);
}

/* ggml's block types instead of planes. */
static void take_blocks(void)
{
    subject_count = 0;
    for (size_t i = 0; i < nib_block_count() && i < MOST_SUBJECTS; i++) {
        const nib_block_type *type = nib_block_at(i);
        subjects[subject_count++] = (subject){.name = type->name, .block = type->block};
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"device", 1, NULL, 'd'}, {"type", 1, NULL, 't'},    {"threads", 1, NULL, 'n'},
        {"rounds", 1, NULL, 'r'}, {"tensors", 1, NULL, 'w'}, {"revision", 1, NULL, 'v'},
        {"json", 1, NULL, 'j'},   {"cols", 1, NULL, 'c'},    {"repeats", 1, NULL, 'p'},
        {"blocks", 0, NULL, 'b'}, {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'd') bench.device = optarg;
        else if (c == 't') bench.type = nib_dtype_find(optarg, strlen(optarg));
        else if (c == 'n') bench.threads = number(optarg, 1, 1024);
        else if (c == 'r') bench.rounds = number(optarg, 1, MAX_ROUNDS);
        else if (c == 'w') bench.tensors = number(optarg, 1, 4096);
        else if (c == 'c') bench.cols = number(optarg, 128, 1 << 20) / 128 * 128;
        else if (c == 'p') bench.repeats = number(optarg, 1, 1000);
        else if (c == 'b') take_blocks();
        else if (c == 'v') bench.revision = optarg;
        else if (c == 'j') bench.json = optarg;
        else {
            fprintf(stderr, "usage: bench_kernels [--device D] [--type F32|F16|BF16] [--threads N] "
                            "[--rounds N] [--repeats N] [--tensors N] [--cols N, a multiple of "
                            "128; of 256 with --blocks] [--blocks] [--revision TEXT] "
                            "[--json FILE]\n");
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    set_up();
    for (int i = 0; i < arm_count; i++) check(&arms[i]);
    for (int round = 0; round < bench.rounds; round++) {
        for (int i = 0; i < arm_count; i++)
            arms[i].gbps[round] = (double)arms[i].bytes / run_arm(&arms[i]) * 1e-9;
        double copy =
            arms[0].gbps[round] > arms[1].gbps[round] ? arms[0].gbps[round] : arms[1].gbps[round];
        for (int i = 0; i < arm_count; i++)
            arms[i].percent[round] = 100.0 * arms[i].gbps[round] / copy;
    }
    print_results();
    return 0;
}
