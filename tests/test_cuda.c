/* test_cuda.c - the CUDA backend where things go wrong, and what it asks of the driver: no
 * driver, no image, too little memory, a fault, two devices, the caller's context, threads. Runs
 * over the stand-in driver of tests/cuda_on_host; each case is a process of its own, because the
 * driver is loaded once per process.
 *
 * test_cuda LIBCUDA_HOST MAKE_CHECKPOINT */
#include "../include/nibble_quantize.h"
#include "check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>

enum { ROWS = 37, COLS = 512, PATH = 512 };

static const char *library, *maker;
static char scratch[PATH] = "/tmp/nibble-cuda-XXXXXX";

/* Runs a case in a child process, with one more environment variable; its exit status. 77 is a
 * skip. */
static int alone(const char *name, void (*run)(void), const char *variable, const char *value)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        check_passed = check_failed = 0;
        setenv("NIBBLE_CUDA_DRIVER", library, 1);
        if (variable) setenv(variable, value, 1);
        run();
        fflush(NULL);
        exit(check_failed || !check_passed); /* not _exit: the leak checker has its say */
    }
    int status = 0;
    int ended = child > 0 && waitpid(child, &status, 0) == child;
    if (ended && WIFEXITED(status) && WEXITSTATUS(status) == 77) return 77;
    CHECK(ended && status == 0, "%s: status %d", name, status);
    return 0;
}

/* ---- what the stand-in tells ---- */

static void *symbol(const char *name)
{
    void *handle = dlopen(library, RTLD_NOW);
    void *found = handle ? dlsym(handle, name) : NULL;
    if (!CHECK(found != NULL, "%s", name)) exit(1);
    return found;
}

/* ISO C has no cast from an object to a function pointer. */
#define FUNCTION(pointer, name)                                                                    \
    do {                                                                                           \
        void *found_ = symbol(name);                                                               \
        memcpy(&(pointer), &found_, sizeof found_);                                                \
    } while (0)

static long calls(const char *name)
{
    long (*count)(const char *);
    FUNCTION(count, "cuda_host_calls");
    return count(name);
}

static void *current_context(void)
{
    int (*get)(void **);
    void *context = NULL;
    FUNCTION(get, "cuCtxGetCurrent");
    CHECK(get(&context) == 0);
    return context;
}

static void push_context(int device)
{
    void *(*make)(int);
    int (*push)(void *);
    FUNCTION(make, "cuda_host_context");
    FUNCTION(push, "cuCtxPushCurrent_v2");
    CHECK(push(make(device)) == 0);
}

/* ---- work to do on a device ---- */

typedef struct work {
    nib_ctx *ctx;
    nib_stream *stream;
    nib_quant quant;
    nib_mem x, y, planes[NIB_PLANES];
    unsigned char result[ROWS * COLS * 4]; /* codes, then decoded elements */
    size_t bytes;
} work;

static float source[ROWS * COLS];

static void fill_source(void)
{
    uint64_t random = 3;
    for (int i = 0; i < ROWS * COLS; i++)
        source[i] = (float)((int64_t)(check_random(&random) >> 40) - (1 << 23)) * 1e-7f;
}

/* A stream and buffers of a context. */
static nib_status work_take(work *w, nib_ctx *ctx)
{
    *w = (work){.ctx = ctx,
                .quant = {.bits = 4,
                          .scale_type = NIB_F32,
                          .rule = NIB_RULE_SYM_FULL,
                          .layout = NIB_LAYOUT_CANONICAL}};
    nib_status status = nib_grid_rows(ROWS, COLS, 128, &w->quant.grid);
    if (status == NIB_OK) status = nib_stream_open(ctx, &w->stream);
    if (status == NIB_OK) status = nib_alloc(ctx, sizeof source, &w->x);
    if (status == NIB_OK) status = nib_alloc(ctx, ROWS * COLS * 2, &w->y);
    for (int p = 0; status == NIB_OK && p < NIB_PLANES; p++) {
        size_t bytes;
        status = nib_plane_bytes(&w->quant, (nib_plane)p, &bytes);
        if (status == NIB_OK) status = nib_alloc(ctx, bytes, &w->planes[p]);
    }
    return status;
}

static nib_status work_open(work *w, const char *device)
{
    nib_ctx *ctx = NULL;
    nib_status status = nib_open(device, NULL, &ctx);
    *w = (work){.ctx = ctx};
    return status == NIB_OK ? work_take(w, ctx) : status;
}

static nib_status work_launch(work *w)
{
    nib_status status = nib_quantize(w->stream, &w->quant, NIB_F32, w->x, NIB_NONFINITE_ZERO,
                                     w->planes, (nib_mem){0});
    return status == NIB_OK ? nib_dequantize(w->stream, &w->quant, w->planes, NIB_BF16, w->y)
                            : status;
}

static nib_status work_run(work *w)
{
    nib_mem codes = w->planes[NIB_PLANE_CODES];
    w->bytes = codes.bytes + w->y.bytes;
    nib_status status = nib_upload(w->stream, w->x, source, sizeof source);
    if (status == NIB_OK) status = work_launch(w);
    if (status == NIB_OK) status = nib_download(w->stream, w->result, codes, codes.bytes);
    if (status == NIB_OK)
        status = nib_download(w->stream, w->result + codes.bytes, w->y, w->y.bytes);
    nib_status synced = nib_sync(w->stream);
    return status == NIB_OK ? synced : status;
}

static void work_give_back(work *w)
{
    nib_stream_close(w->stream);
    nib_free(w->ctx, &w->x);
    nib_free(w->ctx, &w->y);
    for (int p = 0; p < NIB_PLANES; p++) nib_free(w->ctx, &w->planes[p]);
}

static void work_close(work *w)
{
    if (!w->ctx) return;
    work_give_back(w);
    nib_close(w->ctx);
}

/* The device's bytes are those of `ref`. */
static void check_same(const char *device)
{
    static work expected, got;
    CHECK_OK(work_open(&expected, "ref"));
    CHECK_OK(work_run(&expected));
    if (CHECK_OK(work_open(&got, device)) && CHECK_OK(work_run(&got)))
        CHECK(got.bytes == expected.bytes && !memcmp(got.result, expected.result, got.bytes),
              "%s: other bytes", device);
    work_close(&expected);
    work_close(&got);
}

/* ---- no driver, or one that is of no use ---- */

static void expect_none(const char *words)
{
    nib_ctx *ctx;
    CHECK_STATUS(nib_open("cuda:0", NULL, &ctx), NIB_E_NO_DEVICE);
    CHECK(strstr(nib_last_error(), words) != NULL, "%s", nib_last_error());
    check_same("cpu");
}

static void no_driver(void) { expect_none("no NVIDIA driver (a GPU needs version 580"); }
static void not_a_driver(void) { expect_none("lacks cuInit"); }

static void expect_no_image(const char *words)
{
    nib_ctx *ctx;
    CHECK_STATUS(nib_open("cuda:0", NULL, &ctx), NIB_E_DEVICE);
    CHECK(strstr(nib_last_error(), "cuda:0 (cuda-host, sm_90)") && strstr(nib_last_error(), words),
          "%s", nib_last_error());
    check_same("cpu");
}

static void no_image(void) { expect_no_image("CUDA_ERROR_NO_BINARY_FOR_GPU"); }
static void old_driver(void) { expect_no_image("update the driver"); }

/* ---- memory ---- */

static void out_of_memory(void)
{
    nib_ctx *ctx;
    nib_mem mem = {NULL, 5, 5}, fits;
    if (!CHECK_OK(nib_open("cuda:0", NULL, &ctx))) return;
    CHECK_STATUS(nib_alloc(ctx, 1000001, &mem), NIB_E_MEMORY);
    CHECK(strstr(nib_last_error(), "cuda:0") && strstr(nib_last_error(), "1000001"), "%s",
          nib_last_error());
    CHECK(!mem.handle && mem.offset == 5 && mem.bytes == 5, "untouched on failure");
    CHECK_STATUS(nib_alloc(ctx, SIZE_MAX, &mem), NIB_E_MEMORY);
    CHECK_OK(nib_alloc(ctx, 999999, &fits));
    CHECK_STATUS(nib_alloc(ctx, 2, &mem), NIB_E_MEMORY);
    nib_free(ctx, &fits);
    CHECK_OK(nib_alloc(ctx, 1000000, &fits));
    nib_free(ctx, &fits);
    nib_close(ctx);
}

/* ---- faults ---- */

static void fault(void)
{
    static work w;
    nib_mem mem;
    nib_stream *stream;
    nib_ctx *again = NULL;
    if (!CHECK_OK(work_open(&w, "cuda:0"))) return;
    CHECK_STATUS(work_run(&w), NIB_E_DEVICE_LOST);
    CHECK(strstr(nib_last_error(), "cuda:0") &&
              strstr(nib_last_error(), "CUDA_ERROR_LAUNCH_FAILED"),
          "%s", nib_last_error());
    CHECK_STATUS(nib_sync(w.stream), NIB_E_DEVICE_LOST);
    CHECK(strstr(nib_last_error(), "earlier fault") != NULL, "%s", nib_last_error());
    CHECK_STATUS(work_launch(&w), NIB_E_DEVICE_LOST);
    CHECK_STATUS(nib_alloc(w.ctx, 64, &mem), NIB_E_DEVICE_LOST);
    CHECK_STATUS(nib_upload(w.stream, w.x, source, 64), NIB_E_DEVICE_LOST);
    CHECK_STATUS(nib_download(w.stream, source, w.x, 64), NIB_E_DEVICE_LOST);
    CHECK_STATUS(nib_stream_open(w.ctx, &stream), NIB_E_DEVICE_LOST);
    CHECK_STATUS(nib_open("cuda:0", NULL, &again), NIB_E_DEVICE_LOST);
    check_same("cuda:1");
    check_same("cpu");
    work_close(&w);
    CHECK(!current_context(), "a context stays current");
}

/* ---- contexts, threads, calls ---- */

static void two_devices(void)
{
    static work a, b;
    if (!CHECK_OK(work_open(&a, "cuda:0")) || !CHECK_OK(work_open(&b, "cuda:1"))) return;
    CHECK_OK(nib_upload(a.stream, a.x, source, sizeof source));
    CHECK_OK(nib_upload(b.stream, b.x, source, sizeof source));
    CHECK_OK(work_launch(&a));
    CHECK_OK(work_launch(&b));
    CHECK_OK(work_run(&b));
    CHECK_OK(work_run(&a));
    CHECK(a.bytes == b.bytes && !memcmp(a.result, b.result, a.bytes), "devices differ");
    CHECK_STATUS(nib_upload(a.stream, b.x, source, 64), NIB_E_DEVICE);
    work_close(&a);
    work_close(&b);
    check_same("cuda:1");
}

/* Without a current context the primary one serves, and none is current after any call. */
static void primary_context(void)
{
    check_same("cuda:0");
    CHECK(calls("cuDevicePrimaryCtxRetain") == 1 && !current_context());
    CHECK(calls("cuCtxPushCurrent_v2") == calls("cuCtxPopCurrent_v2"), "pushes and pops differ");
    CHECK(calls("cuMemAlloc_v2") == calls("cuMemFree_v2"), "memory is left");
}

static void *from_thread(void *user)
{
    work *w = user;
    CHECK(!current_context());
    CHECK_OK(work_run(w));
    CHECK(!current_context());
    return NULL;
}

/* The caller's context serves where it is of the device; it stays current, and threads without
 * it work. */
static void callers_context(void)
{
    static work w;
    pthread_t thread;
    push_context(0);
    void *mine = current_context();
    if (!CHECK_OK(work_open(&w, "cuda:0"))) return;
    CHECK(calls("cuDevicePrimaryCtxRetain") == 0, "the caller's context was not used");
    CHECK_OK(work_run(&w));
    CHECK(current_context() == mine, "another context is current");
    CHECK(!pthread_create(&thread, NULL, from_thread, &w) && !pthread_join(thread, NULL));
    check_same("cuda:1");
    CHECK(calls("cuDevicePrimaryCtxRetain") == 1, "cuda:1 needs its own context");
    CHECK(current_context() == mine, "another context is current");
    work_close(&w);
    CHECK(current_context() == mine, "closing took the caller's context");
}

/* Threads share a context; each has a stream. */
static void *own_stream(void *ctx)
{
    work *w = malloc(sizeof *w);
    if (!w) return NULL;
    CHECK_OK(work_take(w, ctx));
    for (int i = 0; i < 3; i++) CHECK_OK(work_run(w));
    uint64_t hash = 1;
    for (size_t i = 0; i < w->bytes; i++) hash = hash * 31 + w->result[i];
    work_give_back(w);
    free(w);
    return (void *)(uintptr_t)hash;
}

static void threads(void)
{
    enum { THREADS = 4 };
    pthread_t ids[THREADS];
    nib_ctx *ctx;
    void *expected, *hash;
    if (!CHECK_OK(nib_open("cuda:0", NULL, &ctx))) return;
    for (int i = 0; i < THREADS; i++)
        CHECK(!pthread_create(&ids[i], NULL, own_stream, ctx), "thread %d", i);
    expected = own_stream(ctx);
    for (int i = 0; i < THREADS; i++) {
        CHECK(!pthread_join(ids[i], &hash));
        CHECK(expected && hash == expected, "thread %d: other bytes", i);
    }
    nib_close(ctx);
    check_same("cuda:0");
}

/* A call launches, and does nothing else that waits or takes memory. */
static void launches_only(void)
{
    static const char *const never[] = {
        "cuMemAlloc_v2",    "cuMemFree_v2",         "cuStreamSynchronize", "cuStreamCreate",
        "cuModuleLoadData", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2"};
    enum { NEVER = sizeof never / sizeof never[0] };
    static work w;
    long before[NEVER];
    if (!CHECK_OK(work_open(&w, "cuda:0")) || !CHECK_OK(work_run(&w))) return;
    for (int i = 0; i < NEVER; i++) before[i] = calls(never[i]);
    long launches = calls("cuLaunchKernel"), found = calls("cuModuleGetFunction");
    for (int i = 0; i < 5; i++) CHECK_OK(work_launch(&w));
    CHECK(calls("cuLaunchKernel") == launches + 10, "%ld launches",
          calls("cuLaunchKernel") - launches);
    CHECK(calls("cuModuleGetFunction") == found, "functions are looked for again");
    for (int i = 0; i < NEVER; i++) CHECK(calls(never[i]) == before[i], "%s was called", never[i]);
    CHECK_OK(nib_sync(w.stream));
    work_close(&w);
}

/* ---- whole jobs ---- */

static nib_status run_job(const char *device, const char *output, const nib_run_stats **stats_ret)
{
    static nib_run_stats stats;
    char input[2 * PATH], path[2 * PATH];
    snprintf(input, sizeof input, "%s/model", scratch);
    snprintf(path, sizeof path, "%s/%s", scratch, output);
    nib_file *file = NULL;
    nib_job *job = NULL;
    nib_job_options options = {
        .size = sizeof options, .scheme = nib_scheme_find("int4_asym"), .group = -1};
    nib_run_options run = {
        .size = sizeof run, .output = path, .device = device, .replace = 1, .threads = 1};
    nib_status status = nib_file_open(input, NULL, &file);
    if (status == NIB_OK) status = nib_job_create(file, &options, &job);
    if (status == NIB_OK) status = nib_job_run(job, &run);
    if (status == NIB_OK) stats = *nib_job_stats(job);
    nib_job_close(job);
    nib_file_close(file);
    if (stats_ret) *stats_ret = &stats;
    return status;
}

static void same_output(const char *name)
{
    char command[4 * PATH];
    snprintf(command, sizeof command, "diff -r %s/cpu %s/%s", scratch, scratch, name);
    CHECK(system(command) == 0, "%s: other bytes than the CPU's", name);
}

static void job(void)
{
    CHECK_OK(run_job("cuda:0", "cuda", NULL));
    CHECK(calls("cuLaunchKernel") > 20, "%ld launches", calls("cuLaunchKernel"));
    same_output("cuda");
    CHECK(calls("cuMemAlloc_v2") == calls("cuMemFree_v2"), "memory is left");
}

/* Less than the first plan of four lanes takes. */
static void job_in_little_memory(void)
{
    const nib_run_stats *stats;
    if (!CHECK_OK(run_job("cuda:0", "little", &stats))) return;
    same_output("little");
    CHECK(stats->lanes < 4, "%d lanes: the device had room for the first plan", stats->lanes);
}

static void job_in_no_memory(void)
{
    CHECK_STATUS(run_job("cuda:0", "none", NULL), NIB_E_MEMORY);
    CHECK(strstr(nib_last_error(), "cuda:0 (cuda-host, sm_90): no memory for"), "%s",
          nib_last_error());
    CHECK_OK(run_job("cpu", "none", NULL));
    same_output("none");
}

static void job_with_fault(void)
{
    CHECK_STATUS(run_job("cuda:0", "lost", NULL), NIB_E_DEVICE_LOST);
    CHECK(strstr(nib_last_error(), "cuda:0") != NULL, "%s", nib_last_error());
    CHECK_OK(run_job("cuda:1", "lost", NULL)); /* takes up what was finished */
    same_output("lost");
}

/* Exit status 77 where nibble was built without nvcc. */
static void kernels_built(void)
{
    nib_ctx *ctx;
    nib_status status = nib_open("cuda:0", NULL, &ctx);
    if (status == NIB_E_UNSUPPORTED) exit(77);
    if (CHECK_OK(status)) nib_close(ctx);
}

int main(int argc, char **argv)
{
    if (argc != 3 || !mkdtemp(scratch)) return 1;
    library = argv[1], maker = argv[2];
    if (alone("open", kernels_built, NULL, NULL) == 77) {
        check_skip("the CUDA backend", "built without CUDA kernels");
        rmdir(scratch);
        return check_done();
    }
    fill_source();
    alone("no driver", no_driver, "NIBBLE_CUDA_DRIVER", "/nonexistent");
    alone("another library", not_a_driver, "NIBBLE_CUDA_DRIVER", "libm.so.6");
    alone("no image", no_image, "CUDA_HOST_IMAGE", "209");
    alone("an old driver", old_driver, "CUDA_HOST_IMAGE", "222");
    alone("out of memory", out_of_memory, "CUDA_HOST_MEMORY", "1000000");
    alone("fault", fault, "CUDA_HOST_FAULT", "2");
    alone("two devices", two_devices, NULL, NULL);
    alone("primary context", primary_context, NULL, NULL);
    alone("the caller's context", callers_context, NULL, NULL);
    alone("threads", threads, NULL, NULL);
    alone("launches only", launches_only, NULL, NULL);

    char command[4 * PATH];
    snprintf(command, sizeof command,
             "%s %s/model --layers 1 --hidden 256 --intermediate 512 --vocab 600 >/dev/null", maker,
             scratch);
    CHECK(system(command) == 0, "%s", command);
    CHECK_OK(run_job("cpu", "cpu", NULL));
    alone("job", job, NULL, NULL);
    alone("job in little memory", job_in_little_memory, "CUDA_HOST_MEMORY", "600000");
    alone("job in no memory", job_in_no_memory, "CUDA_HOST_MEMORY", "20000");
    alone("job with a fault", job_with_fault, "CUDA_HOST_FAULT", "9");
    snprintf(command, sizeof command, "rm -rf %s", scratch);
    CHECK(system(command) == 0);
    return check_done();
}
