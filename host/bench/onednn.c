/* onednn.c - oneDNN's matmul, loaded at run time: bf16, f16 and int8, weights reordered into the
 * layout that it picks for each M. Versions 2 and 3 of its C interface, which differ in how a
 * memory is described: a struct of the caller's, or a handle. */
#include "engine.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* From dnnl_types.h; the same numbers in versions 2 and 3. */
enum { DNNL_F16 = 1, DNNL_BF16 = 2, DNNL_S32 = 4, DNNL_S8 = 5, DNNL_ANY = 1 };
enum {
    DNNL_CPU = 1,
    DNNL_IN_ORDER = 1,
    DNNL_ARG_SRC = 1,
    DNNL_ARG_DST = 17,
    DNNL_ARG_WEIGHTS = 33
};
enum { DNNL_QUERY_INFO = 8, DNNL_QUERY_WEIGHTS = 131 };
enum { DESC_BYTES = 1024, OP_BYTES = 8192 }; /* version 2: 696 and 2800 */

typedef struct dnnl_arg {
    int arg;
    void *memory;
} dnnl_arg;

typedef struct dnnl_versions {
    int major, minor, patch;
} dnnl_versions;

/* Handles are pointers; a status of 0 is success. The last three rows: version 2, then 3. */
/* clang-format off */
#define FUNCTIONS(X) \
    X(version,          "dnnl_version",                          const dnnl_versions *, (void)) \
    X(engine_create,    "dnnl_engine_create",                    int, (void **engine, int kind, size_t index)) \
    X(engine_destroy,   "dnnl_engine_destroy",                   int, (void *engine)) \
    X(stream_create,    "dnnl_stream_create",                    int, (void **stream, void *engine, unsigned flags)) \
    X(stream_destroy,   "dnnl_stream_destroy",                   int, (void *stream)) \
    X(stream_wait,      "dnnl_stream_wait",                      int, (void *stream)) \
    X(memory_create,    "dnnl_memory_create",                    int, (void **memory, const void *desc, void *engine, void *handle)) \
    X(memory_destroy,   "dnnl_memory_destroy",                   int, (void *memory)) \
    X(desc_size,        "dnnl_memory_desc_get_size",             size_t, (const void *desc)) \
    X(query_desc,       "dnnl_primitive_desc_query_md",          const void *, (const void *primitive_desc, int what, int index)) \
    X(query,            "dnnl_primitive_desc_query",             int, (const void *primitive_desc, int what, int index, void *result)) \
    X(reorder_create,   "dnnl_reorder_primitive_desc_create",    int, (void **primitive_desc, const void *from, void *from_engine, \
                                                                       const void *to, void *to_engine, const void *attr)) \
    X(pd_destroy,       "dnnl_primitive_desc_destroy",           int, (void *primitive_desc)) \
    X(primitive_create, "dnnl_primitive_create",                 int, (void **primitive, const void *primitive_desc)) \
    X(primitive_destroy, "dnnl_primitive_destroy",               int, (void *primitive)) \
    X(execute,          "dnnl_primitive_execute",                int, (const void *primitive, void *stream, int count, const dnnl_arg *args))
#define FUNCTIONS_2(X) \
    X(init_strides,     "dnnl_memory_desc_init_by_strides",      int, (void *desc, int rank, const int64_t dims[12], int type, const int64_t strides[12])) \
    X(init_tag,         "dnnl_memory_desc_init_by_tag",          int, (void *desc, int rank, const int64_t dims[12], int type, int tag)) \
    X(matmul_init,      "dnnl_matmul_desc_init",                 int, (void *op, const void *x, const void *w, const void *bias, const void *y)) \
    X(pd_create,        "dnnl_primitive_desc_create",            int, (void **primitive_desc, const void *op, const void *attr, void *engine, const void *hint))
#define FUNCTIONS_3(X) \
    X(create_strides,   "dnnl_memory_desc_create_with_strides",  int, (void **desc, int rank, const int64_t dims[12], int type, const int64_t strides[12])) \
    X(create_tag,       "dnnl_memory_desc_create_with_tag",      int, (void **desc, int rank, const int64_t dims[12], int type, int tag)) \
    X(desc_destroy,     "dnnl_memory_desc_destroy",              int, (void *desc)) \
    X(matmul_create,    "dnnl_matmul_primitive_desc_create",     int, (void **primitive_desc, void *engine, const void *x, const void *w, const void *bias, \
                                                                       const void *y, const void *attr))
/* clang-format on */

typedef struct library {
    int major;
    char name[BENCH_NAME];
    void *engine, *stream;
#define X(name, symbol, returns, arguments) returns(*name) arguments;
    FUNCTIONS(X) FUNCTIONS_2(X) FUNCTIONS_3(X)
#undef X
} library;

typedef struct format {
    const char *column;
    int x_type, y_type; /* of x and w; of y */
    nib_dtype x_nib, y_nib;
    bench_peak peak;
} format;

static const format formats[] = {{"bf16", DNNL_BF16, DNNL_BF16, NIB_BF16, NIB_BF16, BENCH_F16},
                                 {"f16", DNNL_F16, DNNL_F16, NIB_F16, NIB_F16, BENCH_F16},
                                 {"int8 s32", DNNL_S8, DNNL_S32, NIB_I8, NIB_I32, BENCH_INT8}};

typedef struct dnnl_arm {
    const bench_operands *operands;
    library *lib;
    const format *format;
    void *x, *w, *y; /* plain; w [n][k] */
    void *packed[256];
    void *packed_memory[256], *x_memory, *y_memory, *primitive;
    int64_t m;
} dnnl_arm;

enum { MOST_COPIES = 256 };

/* ---- loading ---- */

static int find_all(library *lib, void *handle)
{
    int found = 1, found_2 = 1, found_3 = 1;
#define FIND(name, symbol, ok) ok &= (*(void **)&lib->name = dlsym(handle, symbol)) != NULL;
#define X(name, symbol, returns, arguments) FIND(name, symbol, found)
    FUNCTIONS(X)
#undef X
#define X(name, symbol, returns, arguments) FIND(name, symbol, found_2)
    FUNCTIONS_2(X)
#undef X
#define X(name, symbol, returns, arguments) FIND(name, symbol, found_3)
    FUNCTIONS_3(X)
#undef X
    return found && (found_3 || found_2) ? (found_3 ? 3 : 2) : 0;
}

/* Loaded once and kept. oneDNN takes its threads from OpenMP, which asks before the first use. */
static library *load(int threads)
{
    static library lib;
    static int tried;
    static const char *const names[] = {"libdnnl.so.3", "libdnnl.so.2"};
    void *handle = NULL;
    if (tried++) return lib.major ? &lib : NULL;
    for (size_t i = 0; i < 2 && !handle; i++) handle = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
    int major = handle ? find_all(&lib, handle) : 0;
    if (!major || lib.version()->major != major) return NULL;
    void (*set_threads)(int);
    *(void **)&set_threads = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (set_threads) set_threads(threads);
    if (lib.engine_create(&lib.engine, DNNL_CPU, 0) ||
        lib.stream_create(&lib.stream, lib.engine, DNNL_IN_ORDER))
        return NULL;
    const dnnl_versions *v = lib.version();
    snprintf(lib.name, sizeof lib.name, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    lib.major = major;
    return &lib;
}

/* ---- memory descriptions ---- */

/* Of a [rows, cols] matrix, in any layout or with strides; NULL where it cannot be. */
static void *describe(library *lib, int64_t rows, int64_t cols, int type, const int64_t *strides)
{
    const int64_t dims[12] = {rows, cols};
    int64_t all[12] = {0};
    if (strides) all[0] = strides[0], all[1] = strides[1];
    void *desc = NULL;
    if (lib->major == 3) {
        int bad = strides ? lib->create_strides(&desc, 2, dims, type, all)
                          : lib->create_tag(&desc, 2, dims, type, DNNL_ANY);
        return bad ? NULL : desc;
    }
    desc = calloc(1, DESC_BYTES);
    if (desc && (strides ? lib->init_strides(desc, 2, dims, type, all)
                         : lib->init_tag(desc, 2, dims, type, DNNL_ANY))) {
        free(desc);
        return NULL;
    }
    return desc;
}

static void forget(library *lib, void *desc)
{
    if (!desc) return;
    if (lib->major == 3) lib->desc_destroy(desc);
    else free(desc);
}

static int create_matmul(library *lib, void **pd, const void *x, const void *w, const void *y)
{
    if (lib->major == 3) return lib->matmul_create(pd, lib->engine, x, w, NULL, y, NULL);
    void *op = calloc(1, OP_BYTES);
    int bad = !op || lib->matmul_init(op, x, w, NULL, y) ||
              lib->pd_create(pd, op, NULL, lib->engine, NULL);
    free(op);
    return bad;
}

/* ---- making ready ---- */

static void drop(dnnl_arm *a)
{
    library *lib = a->lib;
    for (int i = 0; i < MOST_COPIES; i++) {
        if (a->packed_memory[i]) lib->memory_destroy(a->packed_memory[i]);
        free(a->packed[i]);
        a->packed_memory[i] = a->packed[i] = NULL;
    }
    if (a->x_memory) lib->memory_destroy(a->x_memory);
    if (a->y_memory) lib->memory_destroy(a->y_memory);
    if (a->primitive) lib->primitive_destroy(a->primitive);
    a->x_memory = a->y_memory = a->primitive = NULL;
}

/* A copy of the weights in the layout that the product wants. */
static int pack_copy(bench_arm *arm, const void *plain, const void *wanted, int64_t i)
{
    dnnl_arm *a = arm->self;
    library *lib = a->lib;
    void *from = NULL, *pd = NULL, *reorder = NULL;
    a->packed[i] = bench_memory(arm->b, lib->desc_size(wanted));
    if (!a->packed[i]) return 4;
    int bad = lib->memory_create(&a->packed_memory[i], wanted, lib->engine, a->packed[i]) ||
              lib->memory_create(&from, plain, lib->engine, a->w) ||
              lib->reorder_create(&pd, plain, lib->engine, wanted, lib->engine, NULL) ||
              lib->primitive_create(&reorder, pd);
    if (!bad) {
        const dnnl_arg args[] = {{DNNL_ARG_SRC, from}, {DNNL_ARG_DST, a->packed_memory[i]}};
        bad = lib->execute(reorder, lib->stream, 2, args) || lib->stream_wait(lib->stream);
    }
    if (reorder) lib->primitive_destroy(reorder);
    if (pd) lib->pd_destroy(pd);
    if (from) lib->memory_destroy(from);
    return bad ? bench_fail(arm->b, 1, "%s: cannot reorder weights", lib->name) : 0;
}

static int build(bench_arm *arm, const void *pd, const void *x, const void *w, const void *y)
{
    dnnl_arm *a = arm->self;
    library *lib = a->lib;
    const char *info = NULL;
    if (!lib->query(pd, DNNL_QUERY_INFO, 0, &info) && info)
        snprintf(arm->record.kernel, sizeof arm->record.kernel, "%s", info);
    const void *wanted = lib->query_desc(pd, DNNL_QUERY_WEIGHTS, 0);
    if (!wanted || lib->primitive_create(&a->primitive, pd) ||
        lib->memory_create(&a->x_memory, x, lib->engine, a->x) ||
        lib->memory_create(&a->y_memory, y, lib->engine, a->y))
        return bench_fail(arm->b, 1, "%s: cannot make a product", lib->name);
    int64_t copies = bench_copies(arm->b, lib->desc_size(wanted));
    for (arm->copies = 0; arm->copies < copies && arm->copies < MOST_COPIES; arm->copies++)
        TRY(pack_copy(arm, w, wanted, arm->copies));
    return 0;
}

static int set_m(bench_arm *arm, int64_t m)
{
    dnnl_arm *a = arm->self;
    library *lib = a->lib;
    bench_record *r = &arm->record;
    const format *f = a->format;
    int64_t n = r->shape.n, k = r->shape.k;
    drop(a);
    a->m = m;
    void *x = describe(lib, m, k, f->x_type, (const int64_t[]){k, 1}),
         *w = describe(lib, k, n, f->x_type, (const int64_t[]){1, k}),
         *any = describe(lib, k, n, f->x_type, NULL),
         *y = describe(lib, m, n, f->y_type, (const int64_t[]){n, 1}), *pd = NULL;
    int code = !x || !w || !any || !y || create_matmul(lib, &pd, x, any, y)
                   ? bench_fail(arm->b, 1, "%s: no product for M = %lld", lib->name, (long long)m)
                   : build(arm, pd, x, w, y);
    if (pd) lib->pd_destroy(pd);
    forget(lib, x), forget(lib, w), forget(lib, any), forget(lib, y);
    size_t size = bench_type_bytes(f->x_nib), y_size = bench_type_bytes(f->y_nib);
    r->operations = 2.0 * (double)m * (double)n * (double)k;
    r->bytes = (double)(n * k + m * k) * (double)size + (double)(m * n) * (double)y_size;
    return code;
}

static int run(bench_arm *arm, int64_t turn)
{
    dnnl_arm *a = arm->self;
    const dnnl_arg args[] = {{DNNL_ARG_SRC, a->x_memory},
                             {DNNL_ARG_WEIGHTS, a->packed_memory[turn % arm->copies]},
                             {DNNL_ARG_DST, a->y_memory}};
    return a->lib->execute(a->primitive, a->lib->stream, 3, args)
               ? bench_fail(arm->b, 1, "%s: a product failed", a->lib->name)
               : 0;
}

static int wait(bench_arm *arm)
{
    dnnl_arm *a = arm->self;
    return a->lib->stream_wait(a->lib->stream) ? bench_fail(arm->b, 1, "oneDNN: a wait failed") : 0;
}

/* ---- the check ---- */

static int check(bench_arm *arm)
{
    dnnl_arm *a = arm->self;
    bench_oracle o;
    int64_t n = arm->record.shape.n, k = arm->record.shape.k;
    const void *rows[BENCH_SAMPLES] = {0};
    int code = bench_oracle_make(arm->b, a->m, n, k, &o);
    for (int64_t i = 0; i < o.n_count && !code; i++)
        code = bench_numbers(arm->b, a->w, a->format->x_nib, o.n[i], k, o.w + i * k);
    for (int64_t i = 0; i < o.m_count && !code; i++) {
        rows[i] = (const char *)a->y + (size_t)(o.m[i] * n) * bench_type_bytes(a->format->y_nib);
        code = bench_numbers(arm->b, a->x, a->format->x_nib, o.m[i], k, o.x + i * k);
    }
    if (!code) code = bench_oracle_check(arm->b, &arm->record, &o, rows, a->format->y_nib);
    bench_oracle_free(&o);
    return code;
}

static void close(bench_arm *arm)
{
    dnnl_arm *a = arm->self;
    drop(a);
    free(a->x), free(a->w), free(a->y);
    free(a);
}

static const bench_calls calls = {set_m, run, wait, check, close};

/* ---- opening ---- */

/* Whether the library and the CPU have this format. */
static int supported(library *lib, const format *f)
{
    void *x = describe(lib, 4, 64, f->x_type, (const int64_t[]){64, 1}),
         *w = describe(lib, 64, 64, f->x_type, NULL),
         *y = describe(lib, 4, 64, f->y_type, (const int64_t[]){64, 1}), *pd = NULL;
    int can = x && w && y && !create_matmul(lib, &pd, x, w, y);
    if (pd) lib->pd_destroy(pd);
    forget(lib, x), forget(lib, w), forget(lib, y);
    return can;
}

static int fill(bench_arm *arm)
{
    dnnl_arm *a = arm->self;
    const bench_operands *o = a->operands;
    size_t size = bench_type_bytes(a->format->y_nib);
    a->y = bench_memory(arm->b, (size_t)(o->max_m * o->shape->n) * size);
    return a->y ? bench_plain_operands(o, a->format->x_nib, &a->x, &a->w) : 4;
}

int bench_onednn_arms(const bench_operands *o, size_t device, bench_arms *arms)
{
    bench *b = o->b;
    library *lib = load(bench_threads(b));
    if (!lib) return bench_note(b, "oneDNN", "neither libdnnl.so.3 nor libdnnl.so.2 is installed");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const format *f = &formats[i];
        char name[BENCH_NAME];
        snprintf(name, sizeof name, "%.16s %.24s", f->column, lib->name);
        if (!supported(lib, f)) {
            TRY(bench_note(b, name, "not on this CPU"));
            continue;
        }
        bench_arm *arm = bench_arm_new(b, arms, &calls, device);
        dnnl_arm *a = arm ? calloc(1, sizeof *a) : NULL;
        if (!a) return arm ? bench_fail(b, 4, "no memory") : 2;
        arm->self = a;
        *a = (dnnl_arm){.operands = o, .lib = lib, .format = f};
        memcpy(arm->record.by, lib->name, sizeof arm->record.by);
        snprintf(arm->record.column, sizeof arm->record.column, "%.16s", f->column);
        arm->record.peak = f->peak, arm->record.baseline = f->x_nib != NIB_I8;
        TRY(fill(arm));
    }
    return 0;
}
