/* test_cuda_graph.c - a matmul in a CUDA graph: a run is captured, and the graph, launched again
 * and again with other activations in place, gives the bits of direct runs. A driver refuses
 * waits and allocations while a stream is captured. The stand-in driver (NIBBLE_CUDA_DRIVER,
 * tests/cuda_on_host) also counts calls: a run launches and does nothing else. */
#include "../include/nibble_matmul.h"
#include "check.h"

#include <dlfcn.h>

enum { MOST_X = 80 * 1024 * 2, MOST_Y = 80 * 192 * 4 };

static void *driver;

/* ISO C has no cast from an object to a function pointer. */
#define FUNCTION(pointer, name)                                                                    \
    do {                                                                                           \
        void *found_ = dlsym(driver, name);                                                        \
        if (!CHECK(found_ != NULL, "%s", name)) exit(1);                                           \
        memcpy(&(pointer), &found_, sizeof found_);                                                \
    } while (0)

static long (*count)(const char *); /* of the stand-in driver; NULL on a GPU */

static long calls(const char *name) { return count ? count(name) : 0; }

/* A plan with everything that its runs need. */
typedef struct work {
    nib_ctx *ctx;
    nib_stream *stream;
    nib_matmul *plan;
    nib_matmul_args args;
    nib_mem planes[NIB_PLANES];
    size_t x_bytes, y_bytes;
} work;

static nib_mem take(nib_ctx *ctx, size_t bytes)
{
    nib_mem mem = {NULL, 0, 0};
    if (bytes) CHECK_OK(nib_alloc(ctx, bytes, &mem));
    return mem;
}

static unsigned char host[MOST_Y > MOST_X ? MOST_Y : MOST_X];

/* Small whole numbers in f16: 0, 1, 2, 3. */
static void fill_x(work *w, uint64_t seed)
{
    static const uint16_t values[] = {0, 0x3c00, 0x4000, 0x4200};
    for (size_t i = 0; i < w->x_bytes / 2; i++) {
        uint16_t value = values[check_random(&seed) % 4];
        memcpy(host + 2 * i, &value, 2);
    }
    CHECK_OK(nib_upload(w->stream, w->args.x, host, w->x_bytes));
    CHECK_OK(nib_sync(w->stream));
}

static void make_weights(work *w, const nib_quant *q)
{
    const nib_grid *g = &q->grid;
    size_t elements = (size_t)(g->rows * g->cols);
    float *noise = malloc(elements * sizeof *noise);
    uint64_t random = 7;
    if (!CHECK(noise != NULL)) exit(1);
    for (size_t i = 0; i < elements; i++) noise[i] = (float)(check_random(&random) % 1001) - 500.0f;
    nib_mem source = take(w->ctx, elements * sizeof *noise);
    for (int p = 0; p < NIB_PLANES; p++) {
        size_t bytes;
        CHECK_OK(nib_plane_bytes(q, (nib_plane)p, &bytes));
        w->planes[p] = take(w->ctx, bytes);
    }
    CHECK_OK(nib_upload(w->stream, source, noise, elements * sizeof *noise));
    CHECK_OK(nib_quantize(w->stream, q, NIB_F32, source, NIB_NONFINITE_ERROR, w->planes,
                          (nib_mem){NULL, 0, 0}));
    CHECK_OK(nib_sync(w->stream));
    nib_free(w->ctx, &source);
    free(noise);
}

static void work_open(work *w, nib_acts acts, int64_t m, int64_t n, int64_t k)
{
    nib_matmul_desc desc = {
        .size = sizeof desc, .max_m = m, .acts = acts, .x_type = NIB_F16, .y_type = NIB_F32};
    nib_quant *q = &desc.weights;
    q->bits = 4, q->scale_type = NIB_F16;
    q->rule = NIB_RULE_ASYM_ZERO, q->layout = NIB_LAYOUT_CANONICAL;
    CHECK_OK(nib_grid_rows(n, k, 128, &q->grid));
    make_weights(w, q);
    CHECK_OK(nib_matmul_plan_open(w->ctx, &desc, &w->plan));
    w->x_bytes = (size_t)(m * k) * 2, w->y_bytes = (size_t)(m * n) * 4;
    w->args = (nib_matmul_args){.size = sizeof(nib_matmul_args),
                                .m = m,
                                .x = take(w->ctx, w->x_bytes),
                                .y = take(w->ctx, w->y_bytes),
                                .weights = take(w->ctx, nib_matmul_weights_bytes(w->plan)),
                                .workspace = take(w->ctx, nib_matmul_workspace_bytes(w->plan))};
    CHECK_OK(nib_matmul_pack(w->stream, w->plan, w->planes, w->args.weights));
    CHECK_OK(nib_matmul_prepare(w->stream, w->plan, w->args.workspace));
    CHECK_OK(nib_sync(w->stream));
}

static void work_close(work *w)
{
    nib_matmul_plan_close(w->plan);
    nib_free(w->ctx, &w->args.x), nib_free(w->ctx, &w->args.y);
    nib_free(w->ctx, &w->args.weights), nib_free(w->ctx, &w->args.workspace);
    for (int p = 0; p < NIB_PLANES; p++) nib_free(w->ctx, &w->planes[p]);
}

static void take_y(work *w, unsigned char *y)
{
    CHECK_OK(nib_download(w->stream, y, w->args.y, w->y_bytes));
    CHECK_OK(nib_sync(w->stream));
}

/* What a direct run gives, while nothing but launches is asked of the driver. */
static void run_directly(work *w, unsigned char *y)
{
    static const char *const never[] = {"cuMemAlloc_v2",        "cuMemFree_v2",
                                        "cuStreamSynchronize",  "cuStreamCreate",
                                        "cuModuleLoadData",     "cuModuleGetFunction",
                                        "cuFuncSetAttribute",   "cuMemcpyHtoDAsync_v2",
                                        "cuMemcpyDtoHAsync_v2", "cuStreamBeginCapture_v2"};
    enum { NEVER = sizeof never / sizeof never[0] };
    long before[NEVER], launches = calls("cuLaunchKernel");
    for (int i = 0; i < NEVER; i++) before[i] = calls(never[i]);
    CHECK_OK(nib_matmul_run(w->stream, w->plan, &w->args));
    for (int i = 0; i < NEVER; i++) CHECK(calls(never[i]) == before[i], "%s was called", never[i]);
    launches = calls("cuLaunchKernel") - launches;
    CHECK(!count || launches == 1 || launches == 2, "%ld launches", launches);
    take_y(w, y);
}

static void check_graph(nib_ctx *ctx, void *native, nib_acts acts, int64_t m, int64_t n, int64_t k)
{
    int (*begin)(void *, int), (*end)(void *, void **), (*launch)(void *, void *),
        (*instantiate)(void **, void *, unsigned long long), (*drop)(void *),
        (*drop_instance)(void *);
    static unsigned char expected[MOST_Y], got[MOST_Y];
    void *graph = NULL, *instance = NULL, *spoiled = NULL;
    work w = {.ctx = ctx};
    CHECK_OK(nib_stream_wrap(ctx, native, &w.stream));
    work_open(&w, acts, m, n, k);
    fill_x(&w, 1);
    FUNCTION(begin, "cuStreamBeginCapture_v2");
    FUNCTION(end, "cuStreamEndCapture");
    FUNCTION(instantiate, "cuGraphInstantiateWithFlags");
    FUNCTION(launch, "cuGraphLaunch");
    FUNCTION(drop, "cuGraphDestroy");
    FUNCTION(drop_instance, "cuGraphExecDestroy");
    CHECK(begin(native, 0) == 0);
    CHECK_OK(nib_matmul_run(w.stream, w.plan, &w.args));
    CHECK(end(native, &graph) == 0 && instantiate(&instance, graph, 0) == 0, "capture");
    for (uint64_t seed = 2; seed < 5;
         seed++) { /* the counters of split K are zero again each time */
        fill_x(&w, seed);
        memset(host, 0x77, w.y_bytes);
        run_directly(&w, expected);
        CHECK_OK(nib_upload(w.stream, w.args.y, host, w.y_bytes));
        CHECK(launch(instance, native) == 0);
        take_y(&w, got);
        CHECK(!memcmp(expected, got, w.y_bytes), "m %lld: a graph's bits differ", (long long)m);
    }
    CHECK(begin(native, 0) == 0);
    CHECK_STATUS(nib_sync(w.stream), NIB_E_DEVICE); /* a wait in a run would have been told */
    CHECK(end(native, &spoiled) != 0, "a spoiled capture");
    CHECK(drop_instance(instance) == 0 && drop(graph) == 0);
    work_close(&w);
    nib_stream_close(w.stream);
}

/* Plans in turn on one workspace: where one keeps prepared x, another has counters and shares of
 * K. */
static void share_workspace(nib_ctx *ctx)
{
    enum { LAYERS = 3 };
    static const struct {
        nib_acts acts;
        int64_t m, n, k;
    } layers[LAYERS] = {{NIB_ACTS_DYNAMIC, 80, 192, 256},
                        {NIB_ACTS_FLOAT, 1, 64, 1024},
                        {NIB_ACTS_DYNAMIC, 5, 64, 1024}};
    static unsigned char expected[LAYERS][MOST_Y], got[MOST_Y];
    work w[LAYERS];
    nib_stream *stream;
    size_t most = 0;
    CHECK_OK(nib_stream_open(ctx, &stream));
    for (int i = 0; i < LAYERS; i++) {
        size_t bytes;
        w[i] = (work){.ctx = ctx, .stream = stream};
        work_open(&w[i], layers[i].acts, layers[i].m, layers[i].n, layers[i].k);
        fill_x(&w[i], (uint64_t)i + 1);
        run_directly(&w[i], expected[i]);
        bytes = nib_matmul_workspace_bytes(w[i].plan);
        if (bytes > most) most = bytes;
    }
    nib_mem shared = take(ctx, most);
    for (int i = 0; i < LAYERS; i++) CHECK_OK(nib_matmul_prepare(stream, w[i].plan, shared));
    for (int i = 0; i < 3 * LAYERS; i++) {
        work *layer = &w[i % LAYERS];
        nib_matmul_args args = layer->args;
        args.workspace = shared;
        memset(host, 0x77, layer->y_bytes);
        CHECK_OK(nib_upload(stream, args.y, host, layer->y_bytes));
        CHECK_OK(nib_matmul_run(stream, layer->plan, &args));
        take_y(layer, got);
        CHECK(!memcmp(expected[i % LAYERS], got, layer->y_bytes), "layer %d's bits differ", i);
    }
    nib_free(ctx, &shared);
    for (int i = 0; i < LAYERS; i++) work_close(&w[i]);
    nib_stream_close(stream);
}

/* Makes a context of device 0 current: on the stand-in one that is not the primary one. 0: done. */
static int make_context(void)
{
    void *(*make)(int), *context = NULL;
    int (*start)(unsigned), (*get)(int *, int), (*retain)(void **, int), (*push)(void *), device;
    FUNCTION(start, "cuInit");
    FUNCTION(get, "cuDeviceGet");
    FUNCTION(retain, "cuDevicePrimaryCtxRetain");
    FUNCTION(push, "cuCtxPushCurrent_v2");
    if (start(0) || get(&device, 0)) return 1;
    if (count) {
        FUNCTION(make, "cuda_host_context");
        context = make(0);
    } else if (retain(&context, device)) return 1;
    return push(context);
}

int main(void)
{
    const char *path = getenv("NIBBLE_CUDA_DRIVER");
    int (*create)(void **, unsigned);
    void *native = NULL;
    nib_ctx *ctx;
    driver = dlopen(path && *path ? path : "libcuda.so.1", RTLD_NOW);
    if (driver && dlsym(driver, "cuda_host_calls")) FUNCTION(count, "cuda_host_calls");
    if (!driver || make_context()) {
        check_skip("graphs", "no CUDA device, and NIBBLE_CUDA_DRIVER names no stand-in driver");
        return check_done();
    }
    FUNCTION(create, "cuStreamCreate");
    CHECK(create(&native, 1) == 0);
    if (!CHECK_OK(nib_open("cuda:0", NULL, &ctx))) return check_done();
    check_graph(ctx, native, NIB_ACTS_FLOAT, 1, 64, 1024);   /* few rows, K shared out */
    check_graph(ctx, native, NIB_ACTS_FLOAT, 20, 128, 1024); /* tiles, K shared out */
    check_graph(ctx, native, NIB_ACTS_FLOAT, 80, 192, 256);
    check_graph(ctx, native, NIB_ACTS_DYNAMIC, 5, 64, 1024); /* two launches */
    check_graph(ctx, native, NIB_ACTS_DYNAMIC, 80, 192, 256);
    share_workspace(ctx);
    nib_close(ctx);
    return check_done();
}
