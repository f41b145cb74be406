/* test_device.c - devices by name, their memory, and what a host may do around calls: another
 * rounding mode, many threads on one context. */
#include "on_ref.h"

#include <fenv.h>
#include <pthread.h>

/* Sanitizers end the process where malloc would return NULL, unless told not to. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "allocator_may_return_null=1"; }

enum { ROWS = 4, COLS = 64, GROUP = 16, CELLS = ROWS * COLS / GROUP };

static void device_memory(void)
{
    nib_mem mem = {NULL, 7, 7};
    unsigned char there[64], back[64];
    for (int i = 0; i < 64; i++) there[i] = (unsigned char)i;
    CHECK_STATUS(nib_alloc(ref_ctx, SIZE_MAX, &mem), NIB_E_MEMORY);
    CHECK_STATUS(nib_alloc(ref_ctx, SIZE_MAX / 2, &mem), NIB_E_MEMORY);
    CHECK(strstr(nib_last_error(), "9223372036854775807") != NULL, "%s", nib_last_error());
    CHECK(mem.handle == NULL && mem.offset == 7 && mem.bytes == 7, "untouched on failure");
    CHECK_OK(nib_alloc(ref_ctx, 0, &mem));
    nib_free(ref_ctx, &mem);
    CHECK_OK(nib_alloc(ref_ctx, 64, &mem));
    CHECK(mem.bytes == 64 && mem.offset == 0, "64 bytes");
    CHECK_STATUS(nib_upload(ref, mem, there, 65), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_upload(ref, mem, NULL, 1), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_upload(NULL, mem, there, 1), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_download(ref, back, nib_slice(mem, 60, 4), 5), NIB_E_ARGUMENT);
    CHECK_OK(nib_upload(ref, mem, there, 64));
    CHECK_OK(nib_download(ref, back, nib_slice(mem, 16, 32), 32));
    CHECK_OK(nib_sync(ref));
    CHECK(!memcmp(back, there + 16, 32), "a slice comes back");
    nib_free(ref_ctx, &mem);
    CHECK(mem.handle == NULL && mem.bytes == 0, "freed");
    nib_free(ref_ctx, &mem);
    CHECK(nib_host_memory(ref_ctx) == 1, "ref works on host memory");
}

static void devices(void)
{
    size_t count = 0, all = 0;
    CHECK_OK(nib_devices(NULL, 0, &all));
    CHECK(all >= 2, "cpu and ref always exist");
    nib_device_info *infos = calloc(all, sizeof *infos);
    CHECK_STATUS(nib_devices(NULL, 1, &count), NIB_E_ARGUMENT);
    CHECK_OK(nib_devices(infos, 1, &count));
    CHECK(count == all, "the count does not depend on the room");
    CHECK_OK(nib_devices(infos, all, &count));
    int cpus = 0, refs = 0;
    for (size_t i = 0; i < all; i++) {
        cpus += !strcmp(infos[i].name, "cpu");
        refs += !strcmp(infos[i].name, "ref");
        CHECK(infos[i].name[0] && infos[i].model[0], "device %zu has no name", i);
    }
    CHECK(cpus == 1 && refs == 1, "%d cpu, %d ref", cpus, refs);
    free(infos);

    static const char *const wrong[] = {"",        "gpu",       "cpu:1",    "ref:0",
                                        "opencl:", "opencl:-1", "opencl:x", "opencl:0x",
                                        "REF",     "opencl:99", "refx",     "opencl:99999999999"};
    nib_ctx *ctx = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK_STATUS(nib_open(wrong[i], NULL, &ctx), NIB_E_NO_DEVICE);
        CHECK(strstr(nib_last_error(), wrong[i]) && strstr(nib_last_error(), "ref"), "%s",
              nib_last_error());
    }
    CHECK_STATUS(nib_open(NULL, NULL, &ctx), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_open("ref", &(nib_options){.size = 0}, &ctx), NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "options.size is 0") != NULL, "%s", nib_last_error());
    CHECK_STATUS(nib_open("ref", &(nib_options){.size = sizeof(nib_options), .threads = -1}, &ctx),
                 NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "threads is -1") != NULL, "%s", nib_last_error());
    CHECK(ctx == NULL, "untouched on failure");
    CHECK_OK(nib_open("auto", NULL, &ctx));
    if (ctx) CHECK(strcmp(nib_ctx_device(ctx)->name, "ref") != 0, "auto never picks ref");
    nib_close(ctx);
    CHECK(!strcmp(nib_ctx_device(ref_ctx)->name, "ref"), "its own name");
    size_t kernels = 0;
    while (nib_kernel_name(ref_ctx, kernels)) kernels++;
    CHECK(kernels >= 13, "%zu kernels, one an operation", kernels);
}

/* ---- the host's floating-point environment, and threads ---- */

/* A host's rounding mode neither changes results nor is it changed. */
static void rounding_modes(void)
{
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    static const char *const names[] = {"ref", "cpu"};
    float x[ROWS * COLS];
    uint64_t random = 9;
    for (int i = 0; i < ROWS * COLS; i++) x[i] = (float)(check_random(&random) % 10007) * 0.37f;
    nib_quant q = by_rows(ROWS, COLS, GROUP, 5, NIB_RULE_ASYM_MIN, NIB_F16);
    packed first = quantized(&q, NIB_F32, x, NIB_NONFINITE_ERROR), p = planes_of(&q);
    for (int d = 0; d < 2; d++) {
        nib_ctx *ctx = NULL;
        nib_stream *stream = NULL;
        CHECK_OK(nib_open(names[d], NULL, &ctx));
        CHECK_OK(nib_stream_open(ctx, &stream));
        for (int m = 0; m < 4; m++) {
            fesetround(modes[m]);
            nib_status status = nib_quantize(stream, &q, NIB_F32, nib_wrap(x, sizeof x),
                                             NIB_NONFINITE_ERROR, p.mem, (nib_mem){0});
            int after = fegetround();
            fesetround(FE_TONEAREST);
            CHECK(status == NIB_OK && after == modes[m], "%s, mode %d", names[d], m);
            for (int i = 0; i < NIB_PLANES; i++)
                CHECK(!memcmp(p.plane[i].data, first.plane[i].data, p.mem[i].bytes),
                      "%s, mode %d, plane %d", names[d], m, i);
        }
        nib_stream_close(stream);
        nib_close(ctx);
    }
    release(&first);
    release(&p);
}

enum { THREADS = 4, TURNS = 50 };

typedef struct worker {
    nib_ctx *ctx;
    int index, wrong;
    uint32_t codes[ROWS * COLS / 8];
} worker;

static pthread_barrier_t barrier;

/* Each on its own stream: quantizes its own numbers, and between fails in its own way. */
static void *work(void *argument)
{
    worker *w = argument;
    nib_stream *stream = NULL;
    float x[ROWS * COLS];
    uint16_t scales[CELLS];
    char expected[64];
    snprintf(expected, sizeof expected, "group is -%d;", w->index + 1);
    nib_quant q = {.grid = {ROWS, COLS, ROWS, GROUP},
                   .bits = 4,
                   .scale_type = NIB_F16,
                   .rule = NIB_RULE_SYM_FULL,
                   .layout = NIB_LAYOUT_CANONICAL};
    for (int i = 0; i < ROWS * COLS; i++) x[i] = (float)((i * (w->index + 3)) % 101);
    const nib_mem planes[NIB_PLANES] = {nib_wrap(w->codes, sizeof w->codes),
                                        nib_wrap(scales, sizeof scales)};
    w->wrong += nib_stream_open(w->ctx, &stream) != NIB_OK;
    w->wrong += nib_last_error()[0] != 0; /* a thread starts without a failure */
    for (int turn = 0; turn < TURNS && !w->wrong; turn++) {
        nib_grid grid;
        w->wrong += nib_grid_rows(1, 1, -w->index - 1, &grid) != NIB_E_SHAPE;
        if (turn == 0) pthread_barrier_wait(&barrier);
        w->wrong += nib_quantize(stream, &q, NIB_F32, nib_wrap(x, sizeof x), NIB_NONFINITE_ERROR,
                                 planes, (nib_mem){0}) != NIB_OK;
        w->wrong += nib_sync(stream) != NIB_OK;
        w->wrong += strstr(nib_last_error(), expected) == NULL;
    }
    nib_stream_close(stream);
    return NULL;
}

static void threads_on(const char *device)
{
    static worker workers[THREADS];
    pthread_t threads[THREADS];
    nib_ctx *ctx = NULL;
    CHECK_OK(nib_open(device, NULL, &ctx));
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.ctx = ctx, .index = i};
        CHECK(!pthread_create(&threads[i], NULL, work, &workers[i]), "thread %d", i);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(workers[i].wrong == 0, "%s, thread %d: %d wrong", device, i, workers[i].wrong);
    }
    for (int i = 0; i < THREADS; i++) { /* each alone gives the same */
        worker alone = {.ctx = ctx, .index = i};
        pthread_barrier_destroy(&barrier);
        pthread_barrier_init(&barrier, NULL, 1);
        pthread_create(&threads[i], NULL, work, &alone);
        pthread_join(threads[i], NULL);
        CHECK(!memcmp(alone.codes, workers[i].codes, sizeof alone.codes), "%s, thread %d", device,
              i);
    }
    pthread_barrier_destroy(&barrier);
    nib_close(ctx);
}

/* Work on host memory is done when a call returns: nothing to wait for, nothing to give. */
static void no_events(void)
{
    void *event = ref, *const one[] = {ref};
    nib_ctx *ctx;
    const nib_options foreign = {.size = sizeof foreign, .native = &ctx},
                      older = {.size = offsetof(nib_options, native),
                               .native = &ctx}; /* not looked at */
    CHECK_STATUS(nib_open("ref", &foreign, &ctx), NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "takes no context"), "%s", nib_last_error());
    if (CHECK_OK(nib_open("ref", &older, &ctx))) nib_close(ctx);
    CHECK(nib_ctx_native(ref_ctx) == NULL, "ref has no native context");
    CHECK_OK(nib_stream_wait(ref, NULL, 0));
    CHECK_STATUS(nib_stream_wait(ref, one, 1), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_stream_mark(ref, NULL), NIB_E_ARGUMENT);
    CHECK_OK(nib_stream_mark(ref, &event));
    CHECK(event == NULL, "no event");
}

int main(void)
{
    ref_open();
    device_memory();
    no_events();
    devices();
    rounding_modes();
    threads_on("ref");
    threads_on("cpu");
    ref_close();
    return check_done();
}
