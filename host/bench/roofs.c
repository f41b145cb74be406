/* roofs.c - what the machine could do, measured in the same run: bytes read and copied, and
 * operations, a second. The best of several tries, since a roof is what cannot be passed. */
#include "cuda.h"
#include "engine.h"
#include "roofs_cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_THREADS = 1024, TRIES = 6 };

/* sysconf counts all chips of a socket: 320 MB on an EPYC whose cores have 32 each. */
static size_t cpu_cache_bytes(void)
{
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
    unsigned long kib = 0;
    int found = file && fscanf(file, "%8luK", &kib) == 1 && kib > 0;
    if (file) fclose(file);
    if (found) return (size_t)kib << 10;
    long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (bytes <= 0) bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return bytes > 0 ? (size_t)bytes : (size_t)32 << 20;
}

size_t bench_cache_bytes(const char *name)
{
    const int device = bench_cuda_device(name);
    int level2 = 0;
    if (device >= 0 && !bench_driver_load()->attribute(&level2, BENCH_ATTRIBUTE_L2_BYTES, device) &&
        level2 > 0)
        return (size_t)level2;
    return cpu_cache_bytes();
}

/* ---- the CPU ---- */

enum { WAIT, GO, LEAVE };

typedef struct worker {
    bench_probe *probe;
    atomic_int *signal;
    char *memory;
    size_t bytes;
    double begin, end;
} worker;

static void *work(void *argument)
{
    worker *w = argument;
    int signal;
    while ((signal = atomic_load(w->signal)) == WAIT) sched_yield();
    if (signal == LEAVE) return NULL;
    w->begin = bench_now();
    w->probe(w->memory, w->bytes);
    w->end = bench_now();
    return NULL;
}

/* Seconds from the first start to the last end; 0 where the threads cannot be had. */
static double together(bench_probe *probe, char *memory, size_t bytes, int threads)
{
    static pthread_t ids[MOST_THREADS];
    static worker workers[MOST_THREADS];
    atomic_int signal = WAIT;
    int started = 1;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    size_t share = bytes / (size_t)threads / BENCH_PROBE_UNIT * BENCH_PROBE_UNIT;
    for (int i = 0; i < threads; i++)
        workers[i] = (worker){probe, &signal, memory + (size_t)i * share, share, 0.0, 0.0};
    while (started < threads && !pthread_create(&ids[started], NULL, work, &workers[started]))
        started++;
    atomic_store(&signal, started == threads ? GO : LEAVE);
    work(&workers[0]);
    double begin = workers[0].begin, end = workers[0].end;
    for (int i = 1; i < started; i++) {
        pthread_join(ids[i], NULL);
        if (workers[i].begin < begin) begin = workers[i].begin;
        if (workers[i].end > end) end = workers[i].end;
    }
    return end - begin;
}

static double best_rate(bench_probe *probe, char *memory, size_t bytes, int threads, double amount)
{
    double best = 0.0;
    for (int i = 0; i < TRIES && probe; i++) {
        double seconds = together(probe, memory, bytes, threads);
        if (seconds > 0.0 && amount / seconds > best) best = amount / seconds;
    }
    return best;
}

static int cpu_roofs(bench *b, bench_device *device)
{
    int threads = bench_threads(b);
    size_t unit = (size_t)threads * BENCH_PROBE_UNIT, bytes = b->working_set / unit * unit;
    if (bytes < unit) bytes = unit;
    char *memory = bench_memory(b, bytes);
    if (!memory) return 4;
    device->read = best_rate(bench_probe_read, memory, bytes, threads, (double)bytes);
    device->copy = best_rate(bench_probe_copy, memory, bytes, threads, (double)bytes);
    for (int i = 0; i < BENCH_PEAKS; i++) {
        double operations;
        bench_probe *probe = bench_probe_peak((bench_peak)i, &operations);
        device->peak[i] = best_rate(probe, memory, bytes, threads, operations * threads);
    }
    free(memory);
    return 0;
}

/* ---- devices with memory of their own: by nibble's own kernels, as arms are timed ---- */

typedef struct roof_run {
    nib_mem x, y;
    int reads; /* ranges of x; else a copy: x to y */
} roof_run;

static int run_roof(bench_arm *arm, int64_t turn)
{
    enum { COLS = 4096 };
    const roof_run *r = arm->self;
    nib_stream *stream = arm->queue.stream;
    int64_t count = (int64_t)(r->x.bytes / sizeof(float));
    nib_grid grid;
    (void)turn;
    if (!r->reads)
        return bench_status(arm->b, nib_convert(stream, count, NIB_F32, r->x, NIB_F32, r->y),
                            "roofs");
    TRY(bench_status(arm->b, nib_grid_rows(count / COLS, COLS, 0, &grid), "roofs"));
    nib_status status =
        nib_ranges(stream, &grid, NIB_F32, r->x, NIB_NONFINITE_ERROR, r->y, (nib_mem){0});
    return bench_status(arm->b, status, "roofs");
}

static int wait_roof(bench_arm *arm)
{
    return bench_status(arm->b, nib_sync(arm->queue.stream), "roofs");
}

static int device_roofs(bench_arm *arm, bench_device *device)
{
    roof_run *r = arm->self;
    double seconds;
    for (int i = 0; i < 2 * TRIES; i++) {
        r->reads = i & 1;
        if (i < 2) { /* builds the kernel */
            TRY(run_roof(arm, 0));
            TRY(wait_roof(arm));
        }
        TRY(bench_pace(arm, &seconds));
        double rate = (r->reads ? 1.0 : 2.0) * (double)r->x.bytes / seconds;
        double *best = r->reads ? &device->read : &device->copy;
        if (rate > *best) *best = rate;
    }
    if (device->copy > device->read) device->read = device->copy;
    return 0;
}

int bench_roofs(bench *b, nib_ctx *ctx, bench_device *device)
{
    static const bench_calls calls = {.run = run_roof, .wait = wait_roof};
    if (!strcmp(device->info.name, "cpu")) return cpu_roofs(b, device);
    if (nib_host_memory(ctx)) return 0; /* ref is never fast */
    roof_run r = {0};
    bench_arm arm = {.b = b, .calls = &calls, .self = &r, .copies = 1};
    arm.record.device_index = (size_t)(device - b->result->devices);
    snprintf(arm.record.device, sizeof arm.record.device, "%s", device->info.name);
    snprintf(arm.record.column, sizeof arm.record.column, "the roofs");
    snprintf(arm.record.by, sizeof arm.record.by, "nibble");
    size_t bytes = b->working_set / (1 << 14) * (1 << 14);
    int code = bench_queue_open(b, ctx, &arm.queue);
    nib_status status = code ? NIB_OK : nib_alloc(ctx, bytes, &r.x);
    if (!code && status == NIB_OK) status = nib_alloc(ctx, bytes, &r.y);
    if (!code) code = bench_status(b, status, "roofs");
    if (!code) code = device_roofs(&arm, device);
    if (!code && arm.queue.native) code = bench_cuda_peaks(&arm, device, r.y);
    nib_free(ctx, &r.x), nib_free(ctx, &r.y);
    bench_queue_close(&arm.queue);
    return code;
}

/* ---- bounds ---- */

static void raise(double *roof, double reached)
{
    if (reached > *roof) *roof = reached;
}

void bench_bounds(bench_result *result)
{
    for (size_t i = 0; i < result->count; i++) { /* a library may use units that no probe does */
        bench_record *r = &result->records[i];
        bench_device *d = &result->devices[r->device_index];
        if (r->m && strcmp(d->info.name, "ref"))
            raise(&d->peak[r->peak], r->operations / r->seconds);
    }
    for (size_t i = 0; i < result->count; i++) {
        bench_record *r = &result->records[i];
        const bench_device *d = &result->devices[r->device_index];
        double bandwidth = r->m ? d->read : d->copy;
        double move = bandwidth > 0.0 && result->working_set_bytes ? r->bytes / bandwidth : 0.0;
        double compute = d->peak[r->peak] > 0.0 ? r->operations / d->peak[r->peak] : 0.0;
        r->memory_bound = move >= compute;
        r->bound = move > compute ? move : compute;
    }
}
