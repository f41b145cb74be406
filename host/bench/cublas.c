/* cublas.c - cuBLASLt beside nibble on CUDA: products of f16, of bf16, and of int8 to bare int32
 * sums; and, where it is asked for, of quantized weights that nibble's kernel decodes into a
 * scratch matrix first, in every run. The library's heuristics offer some algorithms for each M;
 * all are timed and the fastest stays. No GPU has run it yet.
 *
 * cuBLAS is column-major: y [M, N] in rows is y^T [N, M] in columns = (W in columns [K, N])^T
 * times (x in columns [K, M]). */
#include "cublas_lt.h"
#include "cuda.h"
#include "engine.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_COPIES = 256, MOST_ALGORITHMS = 8, WORKSPACE = 32 << 20 };

typedef struct format {
    const char *column;
    int x_type, y_type, compute, scale_type;
    nib_dtype x_nib, y_nib;
    bench_peak peak;
} format;

static const format formats[] = {
    {"bf16", R_16BF, R_16BF, COMPUTE_32F, R_32F, NIB_BF16, NIB_BF16, BENCH_F16},
    {"f16", R_16F, R_16F, COMPUTE_32F, R_32F, NIB_F16, NIB_F16, BENCH_F16},
    {"int8 s32", R_8I, R_32I, COMPUTE_32I, R_32I, NIB_I8, NIB_I32, BENCH_INT8}};

enum { FORMATS = sizeof formats / sizeof *formats };

typedef struct cublas_arm {
    const bench_operands *operands;
    const library *lib;
    const format *format;
    const bench_column *column; /* whose codes are decoded in the run; NULL: plain weights */
    nib_ctx *ctx;
    void *lt, *desc, *layouts[3]; /* of W, x, y */
    nib_mem w[MOST_COPIES];       /* plain weights; of decoded ones, w[0] is the scratch */
    nib_mem planes[MOST_COPIES][NIB_PLANES];
    nib_mem x, y, workspace;
    void *host_x, *host_w;
    bench_weights host_planes;
    heuristic best;
    int64_t m;
} cublas_arm;

static void *address(nib_mem mem) { return (char *)mem.handle + mem.offset; }

static int enter(bench_arm *arm)
{
    if (!bench_queue_enter(&arm->queue)) return 0;
    return bench_fail(arm->b, 6, "%s: no context", arm->record.by);
}

static int wait(bench_arm *arm)
{
    return bench_status(arm->b, nib_sync(arm->queue.stream), arm->record.by);
}

/* ---- running ---- */

static int launch(bench_arm *arm, nib_mem w)
{
    static const float one = 1.0f, zero = 0.0f;
    static const int32_t one_i = 1, zero_i = 0;
    cublas_arm *a = arm->self;
    const heuristic *h = &a->best;
    int whole = a->format->scale_type == R_32I;
    return a->lib->multiply(a->lt, a->desc, whole ? (const void *)&one_i : &one, address(w),
                            a->layouts[0], address(a->x), a->layouts[1],
                            whole ? (const void *)&zero_i : &zero, address(a->y), a->layouts[2],
                            address(a->y), a->layouts[2], h->algorithm, address(a->workspace),
                            h->workspace_bytes, arm->queue.native);
}

static int decode(bench_arm *arm, int64_t copy)
{
    cublas_arm *a = arm->self;
    nib_status status = nib_dequantize(arm->queue.stream, &a->host_planes.quant, a->planes[copy],
                                       a->format->x_nib, a->w[0]);
    return bench_status(arm->b, status, arm->record.by);
}

static int run(bench_arm *arm, int64_t turn)
{
    cublas_arm *a = arm->self;
    int64_t copy = turn % arm->copies;
    if (a->column) TRY(decode(arm, copy));
    TRY(enter(arm));
    int bad = launch(arm, a->w[a->column ? 0 : copy]);
    bench_queue_leave();
    return bad ? bench_fail(arm->b, 6, "%s: a product failed: %d", arm->record.by, bad) : 0;
}

/* ---- making ready ---- */

/* The fastest of what is offered, over the rotating copies. One that does not launch is passed
 * over. */
static int choose(bench_arm *arm, const heuristic *offers, int count)
{
    cublas_arm *a = arm->self;
    heuristic best = {{0}, 0, 0, 0, {0}};
    double least = 0.0, seconds;
    for (int i = 0; i < count; i++) {
        a->best = offers[i];
        if (offers[i].state || launch(arm, a->w[0])) continue;
        TRY(wait(arm));
        TRY(bench_pace(arm, &seconds));
        if (least > 0.0 && seconds >= least) continue;
        least = seconds, best = offers[i];
        snprintf(arm->record.kernel, sizeof arm->record.kernel, "algorithm %d of %d", i + 1, count);
    }
    a->best = best;
    return least > 0.0 ? 0 : bench_fail(arm->b, 6, "%s: no algorithm", arm->record.by);
}

static void drop(cublas_arm *a)
{
    for (int i = 0; i < 3; i++)
        if (a->layouts[i]) a->lib->layout_destroy(a->layouts[i]);
    memset(a->layouts, 0, sizeof a->layouts);
}

static int describe(bench_arm *arm)
{
    cublas_arm *a = arm->self;
    const library *lib = a->lib;
    const format *f = a->format;
    uint64_t n = (uint64_t)arm->record.shape.n, k = (uint64_t)arm->record.shape.k;
    heuristic offers[MOST_ALGORITHMS];
    void *preference = NULL;
    const size_t most = WORKSPACE;
    int count = 0;
    drop(a);
    int bad = lib->layout_create(&a->layouts[0], f->x_type, k, n, (int64_t)k) ||
              lib->layout_create(&a->layouts[1], f->x_type, k, (uint64_t)a->m, (int64_t)k) ||
              lib->layout_create(&a->layouts[2], f->y_type, n, (uint64_t)a->m, (int64_t)n) ||
              lib->pref_create(&preference) ||
              lib->pref_set(preference, PREF_MAX_WORKSPACE, &most, sizeof most) ||
              lib->offer(a->lt, a->desc, a->layouts[0], a->layouts[1], a->layouts[2], a->layouts[2],
                         preference, MOST_ALGORITHMS, offers, &count);
    if (preference) lib->pref_destroy(preference);
    if (bad || !count)
        return bench_fail(arm->b, 6, "%s: no %s product of %lld x %lld for M = %lld", lib->name,
                          f->column, (long long)n, (long long)k, (long long)a->m);
    return choose(arm, offers, count);
}

static int set_m(bench_arm *arm, int64_t m)
{
    cublas_arm *a = arm->self;
    bench_record *r = &arm->record;
    double n = (double)r->shape.n, k = (double)r->shape.k, x_size, y_size;
    a->m = m;
    x_size = (double)bench_type_bytes(a->format->x_nib);
    y_size = (double)bench_type_bytes(a->format->y_nib);
    r->operations = 2.0 * (double)m * n * k;
    r->bytes = (double)m * k * x_size + (double)m * n * y_size;
    if (!a->column) r->bytes += n * k * x_size;
    for (int p = 0; p < NIB_PLANES; p++) r->bytes += (double)a->host_planes.bytes[p];
    TRY(enter(arm));
    int code = describe(arm);
    bench_queue_leave();
    return code;
}

/* ---- the check ---- */

static int fill_oracle(bench_arm *arm, bench_oracle *o)
{
    static const nib_error_class classes[] = {
        [NIB_F16] = NIB_ERROR_F16, [NIB_BF16] = NIB_ERROR_BF16};
    cublas_arm *a = arm->self;
    int64_t k = arm->record.shape.k;
    nib_dtype type = a->format->x_nib;
    TRY(bench_oracle_make(arm->b, a->m, arm->record.shape.n, k, o));
    if (a->column) o->error_class = classes[type];
    for (int64_t i = 0; i < o->n_count; i++) {
        double *row = o->w + i * k;
        TRY(a->column ? bench_weights_row(arm->b, &a->host_planes, o->n[i], row)
                      : bench_numbers(arm->b, a->host_w, type, o->n[i], k, row));
    }
    for (int64_t i = 0; i < o->m_count; i++)
        TRY(bench_numbers(arm->b, a->host_x, type, o->m[i], k, o->x + i * k));
    return 0;
}

static int check(bench_arm *arm)
{
    cublas_arm *a = arm->self;
    bench_oracle o;
    size_t row_bytes = (size_t)arm->record.shape.n * bench_type_bytes(a->format->y_nib);
    const void *rows[BENCH_SAMPLES] = {0};
    char *y = bench_memory(arm->b, row_bytes * BENCH_SAMPLES);
    if (!y) return 4;
    int code = fill_oracle(arm, &o);
    for (int64_t i = 0; i < o.m_count && !code; i++) {
        nib_mem from = nib_slice(a->y, (size_t)o.m[i] * row_bytes, row_bytes);
        char *to = y + (size_t)i * row_bytes;
        rows[i] = to;
        code =
            bench_status(arm->b, nib_download(arm->queue.stream, to, from, row_bytes), "download");
    }
    if (!code) code = wait(arm);
    if (!code) code = bench_oracle_check(arm->b, &arm->record, &o, rows, a->format->y_nib);
    bench_oracle_free(&o);
    free(y);
    return code;
}

/* ---- opening ---- */

static void close(bench_arm *arm)
{
    cublas_arm *a = arm->self;
    const library *lib = a->lib;
    if (arm->queue.stream) nib_sync(arm->queue.stream);
    for (int i = 0; i < MOST_COPIES; i++) {
        nib_free(a->ctx, &a->w[i]);
        for (int p = 0; p < NIB_PLANES; p++) nib_free(a->ctx, &a->planes[i][p]);
    }
    nib_free(a->ctx, &a->x), nib_free(a->ctx, &a->y), nib_free(a->ctx, &a->workspace);
    if (arm->queue.native && !enter(arm)) {
        drop(a);
        if (a->desc) lib->desc_destroy(a->desc);
        if (a->lt) lib->destroy(a->lt);
        bench_queue_leave();
    }
    bench_queue_close(&arm->queue);
    bench_weights_free(&a->host_planes);
    free(a->host_x), free(a->host_w);
    free(a);
}

static const bench_calls calls = {set_m, run, wait, check, close};

static int open_library(bench_arm *arm)
{
    cublas_arm *a = arm->self;
    const library *lib = a->lib;
    const int transposed = OP_T;
    TRY(enter(arm));
    int bad = lib->create(&a->lt) ||
              lib->desc_create(&a->desc, a->format->compute, a->format->scale_type) ||
              lib->desc_set(a->desc, DESC_TRANSA, &transposed, sizeof transposed);
    bench_queue_leave();
    if (!bad) return 0;
    return bench_fail(arm->b, 6, "%s does not work on %s", lib->name, arm->record.device);
}

static int put(bench_arm *arm, const void *data, size_t bytes, nib_mem *mem)
{
    cublas_arm *a = arm->self;
    if (!bytes) return 0;
    TRY(bench_status(arm->b, nib_alloc(a->ctx, bytes, mem), "memory"));
    if (!data) return 0;
    TRY(bench_status(arm->b, nib_upload(arm->queue.stream, *mem, data, bytes), "upload"));
    return wait(arm);
}

static int fill_weights(bench_arm *arm)
{
    cublas_arm *a = arm->self;
    const bench_weights *h = &a->host_planes;
    size_t bytes = (size_t)(a->operands->shape->n * a->operands->shape->k) *
                   bench_type_bytes(a->format->x_nib);
    int64_t copies =
        bench_copies(arm->b, a->column ? h->bytes[0] + h->bytes[1] + h->bytes[2] : bytes);
    if (a->column) TRY(put(arm, NULL, bytes, &a->w[0]));
    for (arm->copies = 0; arm->copies < copies && arm->copies < MOST_COPIES; arm->copies++) {
        if (!a->column) TRY(put(arm, a->host_w, bytes, &a->w[arm->copies]));
        for (int p = 0; p < NIB_PLANES && a->column; p++)
            TRY(put(arm, h->planes[p], h->bytes[p], &a->planes[arm->copies][p]));
    }
    if (!a->column) return 0;
    TRY(decode(arm, 0)); /* finds its kernel, which it may not while a stream is captured */
    return wait(arm);
}

static int fill(bench_arm *arm)
{
    cublas_arm *a = arm->self;
    const bench_operands *o = a->operands;
    size_t n = (size_t)o->shape->n, k = (size_t)o->shape->k, m = (size_t)o->max_m;
    TRY(bench_plain_operands(o, a->format->x_nib, &a->host_x, &a->host_w));
    if (a->column) TRY(bench_weights_make(o, a->column, &a->host_planes));
    TRY(put(arm, a->host_x, m * k * bench_type_bytes(a->format->x_nib), &a->x));
    TRY(put(arm, NULL, m * n * bench_type_bytes(a->format->y_nib), &a->y));
    TRY(put(arm, NULL, WORKSPACE, &a->workspace));
    return fill_weights(arm);
}

static int open_arm(const bench_operands *o, const library *lib, const format *f,
                    const bench_column *column, nib_ctx *ctx, size_t device, bench_arms *arms)
{
    bench *b = o->b;
    bench_arm *arm = bench_arm_new(b, arms, &calls, device);
    cublas_arm *a = arm ? calloc(1, sizeof *a) : NULL;
    if (!a) return arm ? bench_fail(b, 4, "no memory") : 2;
    arm->self = a;
    *a = (cublas_arm){.operands = o, .lib = lib, .format = f, .column = column, .ctx = ctx};
    snprintf(arm->record.by, sizeof arm->record.by, "%s%.30s", column ? "dequantize + " : "",
             lib->name);
    snprintf(arm->record.column, sizeof arm->record.column, "%.30s",
             column ? column->name : f->column);
    arm->record.group = column ? column->group : 0;
    arm->record.peak = f->peak, arm->record.baseline = !column && f->x_nib != NIB_I8;
    TRY(bench_queue_open(b, ctx, &arm->queue));
    TRY(open_library(arm));
    return fill(arm);
}

/* Codes that meet floats; those that meet int8 have an int8 product of their own. */
static int decoding_arms(const bench_operands *o, const library *lib, nib_ctx *ctx, size_t device,
                         bench_arms *arms)
{
    bench *b = o->b;
    const format *f = NULL;
    for (size_t i = 0; i < FORMATS; i++)
        if (formats[i].x_nib == b->spec->type) f = &formats[i];
    if (!f) return bench_note(b, "dequantize + cuBLASLt", "takes --dtype bf16 or f16");
    for (size_t i = 0; i < b->spec->column_count; i++)
        if (b->spec->columns[i].act_bits == 16)
            TRY(open_arm(o, lib, f, &b->spec->columns[i], ctx, device, arms));
    return 0;
}

int bench_cublas_arms(const bench_operands *o, nib_ctx *ctx, size_t device, bench_arms *arms)
{
    bench *b = o->b;
    const char *driver = getenv("NIBBLE_CUDA_DRIVER");
    if (driver && *driver)
        return bench_note(b, "cuBLASLt", "NIBBLE_CUDA_DRIVER names a driver that it does not use");
    const library *lib = bench_cuda_device(nib_ctx_device(ctx)->name) < 0 ? NULL : cublas_lt_load();
    if (!lib) return bench_note(b, "cuBLASLt", "libcublasLt.so.13 or .12 is not there");
    for (size_t i = 0; i < FORMATS; i++) {
        const format *f = &formats[i];
        if (f->x_nib != NIB_I8 || (o->shape->n % 4 == 0 && o->shape->k % 4 == 0))
            TRY(open_arm(o, lib, f, NULL, ctx, device, arms));
        else TRY(bench_note(b, "int8 s32 cuBLASLt", "takes N and K that are multiples of 4"));
    }
    return b->spec->dequantize ? decoding_arms(o, lib, ctx, device, arms) : 0;
}
