/* roofs_cuda.c - how many operations a second a GPU does on registers alone, by
 * kernels/cuda/peaks.cu. Libraries may reach more by instructions that mma.sync lacks;
 * bench_bounds raises the roofs then. */
#include "cuda.h"
#include "engine.h"

extern const unsigned char nib_blob_peaks_fatbin[];

enum { THREADS = 256, BLOCKS = 2, TRIES = 6 }; /* threads of a block; blocks of a unit */

/* Operations of a thread for each item: tiles of 16 x 8 x 16 or 32 belong to 32 threads. */
static const struct {
    const char *entry;
    bench_peak peak;
    double operations;
} kernels[] = {{"nib_cuda_peak_f32", BENCH_F32, 2.0 * 16},
               {"nib_cuda_peak_f16", BENCH_F16, 2.0 * 8 * 16 * 8 * 16 / 32},
               {"nib_cuda_peak_bf16", BENCH_F16, 2.0 * 8 * 16 * 8 * 16 / 32},
               {"nib_cuda_peak_s8", BENCH_INT8, 2.0 * 8 * 16 * 8 * 32 / 32}};

typedef struct peak_run {
    void *function;
    unsigned blocks;
    void *spans[7]; /* every kernel of kernels/cuda takes seven addresses, 320 bytes, a count */
    char args[320];
    long long items;
} peak_run;

static int run(bench_arm *arm, int64_t turn)
{
    peak_run *r = arm->self;
    void *params[] = {r->spans, r->args, &r->items};
    (void)turn;
    TRY(bench_queue_enter(&arm->queue));
    int bad = bench_driver_load()->launch(r->function, r->blocks, 1, 1, THREADS, 1, 1, 0,
                                          arm->queue.native, params, NULL);
    bench_queue_leave();
    return bad ? bench_fail(arm->b, 6, "the roofs: a launch failed: %d", bad) : 0;
}

static int wait(bench_arm *arm)
{
    return bench_status(arm->b, nib_sync(arm->queue.stream), "the roofs");
}

/* The best of several tries of two milliseconds or more, together a fifth of a second or little
 * more. */
static int measure(bench_arm *arm, double operations, double *best)
{
    peak_run *r = arm->self;
    double seconds, all = 0.0;
    int tries = 0;
    r->items = 1;
    TRY(run(arm, 0)); /* loads the kernel */
    TRY(wait(arm));
    while (tries < TRIES && all < 0.2) {
        TRY(bench_pace(arm, &seconds));
        all += seconds;
        if (seconds < 2e-3 && r->items < 1 << 24) {
            r->items *= 4;
            continue;
        }
        double rate = operations * THREADS * r->blocks * (double)r->items / seconds;
        if (rate > *best) *best = rate;
        tries++;
    }
    return 0;
}

int bench_cuda_peaks(bench_arm *arm, bench_device *device, nib_mem out)
{
    static const bench_calls calls = {.run = run, .wait = wait};
    const bench_driver *driver = bench_driver_load();
    void *module = NULL;
    peak_run r = {.blocks = BLOCKS * (unsigned)device->info.units};
    if (out.bytes < (size_t)r.blocks * THREADS * sizeof(float)) return 0;
    r.spans[4] = (char *)out.handle + out.offset;
    arm->calls = &calls, arm->self = &r;
    TRY(bench_queue_enter(&arm->queue));
    /* It stays as long as the context: the queue's last graph holds its kernels. */
    int bad = driver->module_load(&module, nib_blob_peaks_fatbin), code = 0;
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels && !bad && !code; i++) {
        bad = driver->find_kernel(&r.function, module, kernels[i].entry);
        if (!bad) code = measure(arm, kernels[i].operations, &device->peak[kernels[i].peak]);
    }
    bench_queue_leave();
    if (bad) code = bench_fail(arm->b, 6, "the roofs: %d", bad);
    return code;
}
