/* queue.c - where an arm's work goes, and how long it takes there. On CUDA a stream of our own:
 * many runs are captured into one graph, which is launched between two events, so that what the
 * host spends on launching does not count, for any arm. Elsewhere, and where capture fails, runs
 * follow each other and the host's clock tells. */
#include "cuda.h"
#include "engine.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* ---- the driver ---- */

const bench_driver *bench_driver_load(void)
{
    static bench_driver driver;
    static int tried, works;
    if (tried++) return works ? &driver : NULL;
    const char *path = getenv("NIBBLE_CUDA_DRIVER");
    void *library = dlopen(path && *path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    works = library != NULL;
#define X(name, symbol, arguments)                                                                 \
    works = works && (*(void **)&driver.name = dlsym(library, #symbol)) != NULL;
    BENCH_DRIVER(X)
#undef X
    return works ? &driver : NULL;
}

int bench_cuda_device(const char *name)
{
    const bench_driver *driver = bench_driver_load();
    int device;
    if (!driver || strncmp(name, "cuda:", 5)) return -1;
    return driver->device_get(&device, atoi(name + 5)) ? -1 : device;
}

/* ---- queues ---- */

/* Calls of the driver happen in the context that nibble works in. */
int bench_queue_enter(const bench_queue *q)
{
    return bench_driver_load()->push(nib_ctx_native(q->ctx));
}

void bench_queue_leave(void)
{
    void *was;
    bench_driver_load()->pop(&was);
}

int bench_queue_open(bench *b, nib_ctx *ctx, bench_queue *q)
{
    const char *name = nib_ctx_device(ctx)->name;
    const bench_driver *driver = strncmp(name, "cuda:", 5) ? NULL : bench_driver_load();
    *q = (bench_queue){.ctx = ctx};
    if (!driver) {
        if (!strncmp(name, "cuda:", 5))
            TRY(bench_note(b, "CUDA graph", "%s: the driver lacks functions for it", name));
        return bench_status(b, nib_stream_open(ctx, &q->stream), "stream");
    }
    int bad = bench_queue_enter(q);
    if (!bad) {
        bad = driver->stream_create(&q->native, BENCH_STREAM_NON_BLOCKING) ||
              driver->event_create(&q->events[0], 0) || driver->event_create(&q->events[1], 0);
        bench_queue_leave();
    }
    if (bad) return bench_fail(b, 6, "%s: no stream and events", name);
    return bench_status(b, nib_stream_wrap(ctx, q->native, &q->stream), "stream");
}

static void drop_graph(bench_queue *q)
{
    if (q->instance) bench_driver_load()->exec_destroy(q->instance);
    q->instance = NULL;
}

void bench_queue_close(bench_queue *q)
{
    if (q->stream) nib_sync(q->stream);
    nib_stream_close(q->stream);
    if (q->native && !bench_queue_enter(q)) {
        const bench_driver *driver = bench_driver_load();
        drop_graph(q);
        for (int i = 0; i < 2; i++)
            if (q->events[i]) driver->event_destroy(q->events[i]);
        driver->stream_destroy(q->native);
        bench_queue_leave();
    }
    *q = (bench_queue){0};
}

/* ---- graphs ---- */

/* Inside the context. The graph, or NULL where a call or a run refused. */
static void *capture(bench_arm *arm, int64_t repeats)
{
    const bench_driver *driver = bench_driver_load();
    bench_queue *q = &arm->queue;
    void *graph = NULL, *instance = NULL;
    if (driver->capture_begin(q->native, BENCH_CAPTURE_THREAD)) return NULL;
    int bad = 0;
    for (int64_t i = 0; i < repeats && !bad; i++) bad = arm->calls->run(arm, i);
    bad |= driver->capture_end(q->native, &graph);
    if (!bad && driver->instantiate(&instance, graph, 0)) instance = NULL;
    if (graph) driver->graph_destroy(graph);
    return instance;
}

int bench_capture(bench_arm *arm, int64_t repeats)
{
    bench *b = arm->b;
    bench_queue *q = &arm->queue;
    const bench_driver *driver = bench_driver_load();
    if (!q->native) return 0;
    if (bench_queue_enter(q)) return bench_fail(b, 6, "%s: no context", arm->record.device);
    drop_graph(q);
    q->instance = capture(arm, repeats);
    int bad = q->instance && driver->graph_launch(q->instance, q->native); /* untimed: it is new */
    if (q->instance) bench_clocks_during(&b->result->devices[arm->record.device_index]);
    bench_queue_leave();
    if (bad) return bench_fail(b, 6, "%s: a graph does not launch", arm->record.device);
    if (q->instance) return arm->calls->wait(arm);
    return bench_note(b, "CUDA graph",
                      "%.16s: %.40s by %.40s cannot be captured: its runs are launched one by one",
                      arm->record.device, arm->record.column, arm->record.by);
}

int bench_replay(bench_arm *arm, double *seconds_ret)
{
    bench_queue *q = &arm->queue;
    const bench_driver *driver = bench_driver_load();
    float milliseconds = 0.0f;
    int bad = bench_queue_enter(q);
    if (!bad) {
        bad = driver->event_record(q->events[0], q->native) ||
              driver->graph_launch(q->instance, q->native) ||
              driver->event_record(q->events[1], q->native);
        bench_queue_leave();
    }
    TRY(arm->calls->wait(arm));
    bad = bad || driver->event_elapsed(&milliseconds, q->events[0], q->events[1]);
    *seconds_ret = (double)milliseconds * 1e-3;
    return bad ? bench_fail(arm->b, 6, "%s: a graph was not timed", arm->record.device) : 0;
}
