/* cublas.c - cuBLASLt's matmul, loaded at run time: f16, bf16, and int8 to bare int32 sums. The library's
 * heuristics offer some algorithms for each M; all are timed and the fastest stays. Written from
 * cublasLt.h of CUDA 13; no GPU has run it yet.
 *
 * cuBLAS is column-major: y [M, N] in rows is y^T [N, M] in columns = (W in columns [K, N])^T times
 * (x in columns [K, M]). */
#include "engine.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* From library_types.h and cublasLt.h. */
enum {
    R_32F = 0,
    R_16F = 2,
    R_8I = 3,
    R_32I = 10,
    R_16BF = 14,
    COMPUTE_32F = 68,
    COMPUTE_32I = 72
};
enum { DESC_TRANSA = 3, OP_T = 1, PREF_MAX_WORKSPACE = 1 };
enum { MOST_COPIES = 256, MOST_ALGORITHMS = 8, WORKSPACE = 32 << 20, TRIES = 5 };

typedef struct heuristic {
    uint64_t algorithm[8];
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
} heuristic;
_Static_assert(sizeof(heuristic) == 96, "cublasLtMatmulHeuristicResult_t");

/* A status of 0 is success; handles are pointers. */
/* clang-format off */
#define DRIVER(X) \
    X(init,            "cuInit",                              (unsigned flags)) \
    X(device_get,      "cuDeviceGet",                         (int *device, int ordinal)) \
    X(primary_retain,  "cuDevicePrimaryCtxRetain",            (void **context, int device)) \
    X(primary_release, "cuDevicePrimaryCtxRelease_v2",        (int device)) \
    X(push,            "cuCtxPushCurrent_v2",                 (void *context)) \
    X(pop,             "cuCtxPopCurrent_v2",                  (void **context)) \
    X(stream_create,   "cuStreamCreate",                      (void **stream, unsigned flags)) \
    X(stream_destroy,  "cuStreamDestroy_v2",                  (void *stream))
#define CUBLAS(X) \
    X(create,          "cublasLtCreate",                      (void **lt)) \
    X(destroy,         "cublasLtDestroy",                     (void *lt)) \
    X(desc_create,     "cublasLtMatmulDescCreate",            (void **desc, int compute, int scale_type)) \
    X(desc_destroy,    "cublasLtMatmulDescDestroy",           (void *desc)) \
    X(desc_set,        "cublasLtMatmulDescSetAttribute",      (void *desc, int attribute, const void *value, size_t bytes)) \
    X(layout_create,   "cublasLtMatrixLayoutCreate",          (void **layout, int type, uint64_t rows, uint64_t cols, int64_t pitch)) \
    X(layout_destroy,  "cublasLtMatrixLayoutDestroy",         (void *layout)) \
    X(pref_create,     "cublasLtMatmulPreferenceCreate",      (void **preference)) \
    X(pref_destroy,    "cublasLtMatmulPreferenceDestroy",     (void *preference)) \
    X(pref_set,        "cublasLtMatmulPreferenceSetAttribute", (void *preference, int attribute, const void *value, size_t bytes)) \
    X(offer,           "cublasLtMatmulAlgoGetHeuristic",      (void *lt, void *desc, void *a, void *b, void *c, void *d, void *preference, \
                                                               int wanted, heuristic *offers, int *count)) \
    X(multiply,        "cublasLtMatmul",                      (void *lt, void *desc, const void *alpha, const void *a, void *a_layout, \
                                                               const void *b, void *b_layout, const void *beta, const void *c, void *c_layout, \
                                                               void *d, void *d_layout, const void *algorithm, void *workspace, \
                                                               size_t workspace_bytes, void *stream))
/* clang-format on */

typedef struct library {
    char name[BENCH_NAME];
#define X(name, symbol, arguments) int(*name) arguments;
    DRIVER(X) CUBLAS(X)
#undef X
} library;

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

typedef struct cublas_arm {
    const bench_operands *operands;
    const library *lib;
    const format *format;
    nib_ctx *ctx;
    int device;
    void *context, *native, *lt, *desc, *layouts[3]; /* of W, x, y */
    nib_stream *stream;                              /* over `native` */
    nib_mem w[MOST_COPIES], x, y, workspace;
    void *host_x, *host_w;
    heuristic best;
    int64_t m;
} cublas_arm;

static const library *load(void)
{
    static library lib;
    static int tried, works;
    if (tried++) return works ? &lib : NULL;
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL), *cublas = NULL;
    for (size_t i = 0; i < 2 && !cublas; i++) cublas = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!driver || !cublas) return NULL;
    works = 1;
#define X(name, symbol, arguments) works &= (*(void **)&lib.name = dlsym(driver, symbol)) != NULL;
    DRIVER(X)
#undef X
#define X(name, symbol, arguments) works &= (*(void **)&lib.name = dlsym(cublas, symbol)) != NULL;
    CUBLAS(X)
#undef X
    size_t (*version)(void);
    *(void **)&version = dlsym(cublas, "cublasLtGetVersion");
    snprintf(lib.name, sizeof lib.name, "cuBLASLt %zu", version ? version() : 0);
    works = works && !lib.init(0);
    return works ? &lib : NULL;
}

static void *address(nib_mem mem) { return (char *)mem.handle + mem.offset; }

/* Calls of the library happen in the device's primary context, which nibble uses as well. */
static int enter(bench_arm *arm)
{
    cublas_arm *a = arm->self;
    return a->lib->push(a->context) ? bench_fail(arm->b, 6, "%s: no context", a->lib->name) : 0;
}

static void leave(bench_arm *arm)
{
    cublas_arm *a = arm->self;
    void *was;
    a->lib->pop(&was);
}

/* ---- making ready ---- */

static int launch(cublas_arm *a, const heuristic *h, nib_mem w)
{
    static const float one = 1.0f, zero = 0.0f;
    static const int32_t one_i = 1, zero_i = 0;
    int whole = a->format->scale_type == R_32I;
    return a->lib->multiply(a->lt, a->desc, whole ? (const void *)&one_i : &one, address(w),
                            a->layouts[0], address(a->x), a->layouts[1],
                            whole ? (const void *)&zero_i : &zero, address(a->y), a->layouts[2],
                            address(a->y), a->layouts[2], h->algorithm, address(a->workspace),
                            h->workspace_bytes, a->native);
}

/* The fastest of what is offered, over the rotating copies. */
static int choose(bench_arm *arm, const heuristic *offers, int count)
{
    cublas_arm *a = arm->self;
    double best = 0.0;
    for (int i = 0; i < count; i++) {
        if (offers[i].state || launch(a, &offers[i], a->w[0])) continue;
        TRY(bench_status(arm->b, nib_sync(a->stream), a->lib->name));
        double begin = bench_now();
        for (int64_t t = 0; t < TRIES * 4; t++)
            if (launch(a, &offers[i], a->w[t % arm->copies])) return 1;
        TRY(bench_status(arm->b, nib_sync(a->stream), a->lib->name));
        double seconds = bench_now() - begin;
        if (best > 0.0 && seconds >= best) continue;
        best = seconds, a->best = offers[i];
        snprintf(arm->record.kernel, sizeof arm->record.kernel, "algorithm %d of %d", i + 1, count);
    }
    return best > 0.0 ? 0 : bench_fail(arm->b, 6, "%s: no algorithm", a->lib->name);
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
    r->bytes = (n * k + (double)m * k) * x_size + (double)m * n * y_size;
    TRY(enter(arm));
    int code = describe(arm);
    leave(arm);
    return code;
}

static int run(bench_arm *arm, int64_t turn)
{
    cublas_arm *a = arm->self;
    TRY(enter(arm));
    int bad = launch(a, &a->best, a->w[turn % arm->copies]);
    leave(arm);
    return bad ? bench_fail(arm->b, 6, "%s: a product failed", a->lib->name) : 0;
}

static int wait(bench_arm *arm)
{
    cublas_arm *a = arm->self;
    return bench_status(arm->b, nib_sync(a->stream), a->lib->name);
}

/* ---- the check ---- */

static int check(bench_arm *arm)
{
    cublas_arm *a = arm->self;
    bench_oracle o;
    int64_t n = arm->record.shape.n, k = arm->record.shape.k;
    size_t row_bytes = (size_t)n * bench_type_bytes(a->format->y_nib);
    const void *rows[BENCH_SAMPLES] = {0};
    char *y = bench_memory(arm->b, row_bytes * BENCH_SAMPLES);
    int code = bench_oracle_make(arm->b, a->m, n, k, &o);
    if (!y) code = 4;
    for (int64_t i = 0; i < o.n_count && !code; i++)
        code = bench_numbers(arm->b, a->host_w, a->format->x_nib, o.n[i], k, o.w + i * k);
    for (int64_t i = 0; i < o.m_count && !code; i++) {
        nib_mem from = nib_slice(a->y, (size_t)o.m[i] * row_bytes, row_bytes);
        rows[i] = y + (size_t)i * row_bytes;
        code = bench_status(arm->b,
                            nib_download(a->stream, y + (size_t)i * row_bytes, from, row_bytes),
                            "download");
        if (!code)
            code = bench_numbers(arm->b, a->host_x, a->format->x_nib, o.m[i], k, o.x + i * k);
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
    for (int i = 0; i < MOST_COPIES; i++) nib_free(a->ctx, &a->w[i]);
    nib_free(a->ctx, &a->x), nib_free(a->ctx, &a->y), nib_free(a->ctx, &a->workspace);
    nib_stream_close(a->stream);
    if (a->context && !enter(arm)) {
        drop(a);
        if (a->desc) lib->desc_destroy(a->desc);
        if (a->lt) lib->destroy(a->lt);
        if (a->native) lib->stream_destroy(a->native);
        leave(arm);
    }
    if (a->context) lib->primary_release(a->device);
    free(a->host_x), free(a->host_w);
    free(a);
}

static const bench_calls calls = {set_m, run, wait, check, close};

static int open_library(bench_arm *arm, const char *device)
{
    cublas_arm *a = arm->self;
    const library *lib = a->lib;
    const int transposed = OP_T;
    if (lib->device_get(&a->device, atoi(device + strlen("cuda:"))) ||
        lib->primary_retain(&a->context, a->device))
        return bench_fail(arm->b, 6, "%s: no context on %s", lib->name, device);
    TRY(enter(arm));
    int bad = lib->create(&a->lt) ||
              lib->desc_create(&a->desc, a->format->compute, a->format->scale_type) ||
              lib->desc_set(a->desc, DESC_TRANSA, &transposed, sizeof transposed) ||
              lib->stream_create(&a->native, 0);
    leave(arm);
    if (bad) return bench_fail(arm->b, 6, "%s does not work on %s", lib->name, device);
    return bench_status(arm->b, nib_stream_wrap(a->ctx, a->native, &a->stream), lib->name);
}

static int put(bench_arm *arm, const void *data, size_t bytes, nib_mem *mem)
{
    cublas_arm *a = arm->self;
    TRY(bench_status(arm->b, nib_alloc(a->ctx, bytes, mem), "memory"));
    if (!data) return 0;
    TRY(bench_status(arm->b, nib_upload(a->stream, *mem, data, bytes), "upload"));
    return wait(arm);
}

static int fill(bench_arm *arm)
{
    cublas_arm *a = arm->self;
    const bench_operands *o = a->operands;
    size_t size = bench_type_bytes(a->format->x_nib), n = (size_t)o->shape->n;
    size_t k = (size_t)o->shape->k, m = (size_t)o->max_m;
    TRY(bench_plain_operands(o, a->format->x_nib, &a->host_x, &a->host_w));
    TRY(put(arm, a->host_x, m * k * size, &a->x));
    TRY(put(arm, NULL, m * n * bench_type_bytes(a->format->y_nib), &a->y));
    TRY(put(arm, NULL, WORKSPACE, &a->workspace));
    int64_t copies = bench_copies(arm->b, n * k * size);
    for (arm->copies = 0; arm->copies < copies && arm->copies < MOST_COPIES; arm->copies++)
        TRY(put(arm, a->host_w, n * k * size, &a->w[arm->copies]));
    return 0;
}

int bench_cublas_arms(const bench_operands *o, nib_ctx *ctx, size_t device, bench_arms *arms)
{
    bench *b = o->b;
    const char *name = nib_ctx_device(ctx)->name;
    if (getenv("NIBBLE_CUDA_DRIVER"))
        return bench_note(b, "cuBLASLt", "NIBBLE_CUDA_DRIVER names a driver that it does not use");
    const library *lib = load();
    if (!lib) return bench_note(b, "cuBLASLt", "libcublasLt.so.13 or .12 is not there");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const format *f = &formats[i];
        if (f->x_nib == NIB_I8 && (o->shape->n % 4 || o->shape->k % 4)) {
            TRY(bench_note(b, "int8 s32 cuBLASLt", "takes N and K that are multiples of 4"));
            continue;
        }
        bench_arm *arm = bench_arm_new(b, arms, &calls, device);
        cublas_arm *a = arm ? calloc(1, sizeof *a) : NULL;
        if (!a) return arm ? bench_fail(b, 4, "no memory") : 2;
        arm->self = a;
        *a = (cublas_arm){.operands = o, .lib = lib, .format = f, .ctx = ctx};
        memcpy(arm->record.by, lib->name, sizeof arm->record.by);
        snprintf(arm->record.column, sizeof arm->record.column, "%.16s", f->column);
        arm->record.peak = f->peak, arm->record.baseline = f->x_nib != NIB_I8;
        TRY(open_library(arm, name));
        TRY(fill(arm));
    }
    return 0;
}
