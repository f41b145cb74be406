/* openblas.c - OpenBLAS's sgemm, loaded at run time: y = x * W^T in f32. */
#include "engine.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef void sgemm_function(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                            const float *a, int lda, const float *b, int ldb, float beta, float *c,
                            int ldc);
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 }; /* cblas.h */

typedef struct library {
    sgemm_function *sgemm;
    void (*set_threads)(int);
    char *(*config)(void); /* "OpenBLAS 0.3.21 DYNAMIC_ARCH ..." */
    char *(*core)(void);   /* "SkylakeX" */
} library;

typedef struct blas_arm {
    const bench_operands *operands;
    const library *library;
    float *w[64], *y;
    int64_t m;
} blas_arm;

enum { MOST_COPIES = 64 };

/* Loaded once and kept: a library with threads of its own does not unload well. */
static const library *load(void)
{
    static library lib;
    static int tried;
    if (tried++) return lib.sgemm ? &lib : NULL;
    void *handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!handle) return NULL;
    *(void **)&lib.set_threads = dlsym(handle, "openblas_set_num_threads");
    *(void **)&lib.config = dlsym(handle, "openblas_get_config");
    *(void **)&lib.core = dlsym(handle, "openblas_get_corename");
    if (lib.set_threads && lib.config && lib.core)
        *(void **)&lib.sgemm = dlsym(handle, "cblas_sgemm");
    return lib.sgemm ? &lib : NULL;
}

static int set_m(bench_arm *arm, int64_t m)
{
    blas_arm *a = arm->self;
    bench_record *r = &arm->record;
    double n = (double)r->shape.n, k = (double)r->shape.k;
    a->m = m;
    snprintf(r->kernel, sizeof r->kernel, "sgemm (%.40s)", a->library->core());
    r->operations = 2.0 * (double)m * n * k;
    r->bytes = 4.0 * (n * k + (double)m * (n + k));
    return 0;
}

static int run(bench_arm *arm, int64_t turn)
{
    blas_arm *a = arm->self;
    int n = (int)arm->record.shape.n, k = (int)arm->record.shape.k;
    a->library->sgemm(ROW_MAJOR, NO_TRANS, TRANS, (int)a->m, n, k, 1.0f, a->operands->x, k,
                      a->w[turn % arm->copies], k, 0.0f, a->y, n);
    return 0;
}

static int wait(bench_arm *arm)
{
    (void)arm;
    return 0;
}

static int check(bench_arm *arm)
{
    blas_arm *a = arm->self;
    bench_oracle o;
    int64_t n = arm->record.shape.n, k = arm->record.shape.k;
    const void *rows[BENCH_SAMPLES] = {0};
    int code = bench_oracle_make(arm->b, a->m, n, k, &o);
    for (int64_t i = 0; i < o.n_count && !code; i++)
        for (int64_t c = 0; c < k; c++) o.w[i * k + c] = (double)a->operands->w[o.n[i] * k + c];
    for (int64_t i = 0; i < o.m_count && !code; i++) {
        rows[i] = a->y + o.m[i] * n;
        for (int64_t c = 0; c < k; c++) o.x[i * k + c] = (double)a->operands->x[o.m[i] * k + c];
    }
    if (!code) code = bench_oracle_check(arm->b, &arm->record, &o, rows, NIB_F32);
    bench_oracle_free(&o);
    return code;
}

static void close(bench_arm *arm)
{
    blas_arm *a = arm->self;
    for (int64_t i = 1; i < arm->copies; i++) free(a->w[i]); /* the first is the operands' */
    free(a->y);
    free(a);
}

static const bench_calls calls = {set_m, run, wait, check, close};

int bench_openblas_arms(const bench_operands *o, size_t device, bench_arms *arms)
{
    bench *b = o->b;
    const library *lib = load();
    if (!lib) return bench_note(b, "OpenBLAS", "libopenblas.so.0 is not installed");
    bench_arm *arm = bench_arm_new(b, arms, &calls, device);
    blas_arm *a = arm ? calloc(1, sizeof *a) : NULL;
    if (!a) return arm ? bench_fail(b, 4, "no memory") : 2;
    arm->self = a;
    lib->set_threads(bench_threads(b));
    *a = (blas_arm){.operands = o, .library = lib};
    char version[BENCH_NAME] = "";
    sscanf(lib->config(), "OpenBLAS %40s", version);
    snprintf(arm->record.by, sizeof arm->record.by, "OpenBLAS %.30s", version);
    snprintf(arm->record.column, sizeof arm->record.column, "f32");
    arm->record.peak = BENCH_F32, arm->record.baseline = 1;
    size_t bytes = (size_t)(o->shape->n * o->shape->k) * sizeof(float);
    int64_t copies = bench_copies(b, bytes);
    a->w[0] = o->w;
    for (; arm->copies < copies && arm->copies < MOST_COPIES; arm->copies++) {
        float *copy = bench_memory(b, bytes);
        if (!copy) return 4;
        memcpy(copy, o->w, bytes);
        a->w[arm->copies] = copy;
    }
    a->y = bench_memory(b, (size_t)(o->max_m * o->shape->n) * sizeof(float));
    return a->y ? 0 : 4;
}
