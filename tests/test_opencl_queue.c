/* test_opencl_queue.c - OpenCL as part of a host's own: its cl_context, its queue, its events;
 * and what a run of a matmul does besides launching: nothing. The test calls OpenCL through the
 * functions that nibble loaded, and puts counters in their place. */
#include "../host/opencl/opencl.h"
#include "../include/nibble_matmul.h"
#include "check.h"

#include <dlfcn.h>
#include <unistd.h>

enum { N = 40, K = 96, M_MOST = 40 };

/* ---- a matmul ---- */

typedef struct product {
    nib_matmul *plan;
    nib_mem planes[NIB_PLANES], weights, workspace, x, y;
    float given[M_MOST * K], got[M_MOST * N];
} product;

static void product_open(product *p, nib_ctx *ctx, nib_stream *stream)
{
    nib_matmul_desc desc = {.size = sizeof desc, .max_m = M_MOST, .x_type = NIB_F32};
    nib_quant *quant = &desc.weights;
    desc.y_type = NIB_F32;
    *quant = (nib_quant){.bits = 4, .scale_type = NIB_F32};
    quant->rule = NIB_RULE_SYM_FULL, quant->layout = NIB_LAYOUT_CANONICAL;
    CHECK_OK(nib_grid_rows(N, K, 32, &quant->grid));
    CHECK_OK(nib_matmul_plan_open(ctx, &desc, &p->plan));
    for (int i = 0; i < NIB_PLANES; i++) {
        size_t bytes = 0;
        CHECK_OK(nib_plane_bytes(quant, (nib_plane)i, &bytes));
        CHECK_OK(nib_alloc(ctx, bytes, &p->planes[i]));
    }
    for (int i = 0; i < M_MOST * K; i++) p->given[i] = (float)(i * 37 % 101 - 50);
    CHECK_OK(nib_alloc(ctx, nib_matmul_weights_bytes(p->plan), &p->weights));
    CHECK_OK(nib_alloc(ctx, nib_matmul_workspace_bytes(p->plan), &p->workspace));
    CHECK_OK(nib_alloc(ctx, sizeof p->given, &p->x));
    CHECK_OK(nib_alloc(ctx, sizeof p->got, &p->y));
    CHECK_OK(nib_upload(stream, p->x, p->given, sizeof p->given));
    CHECK_OK(nib_quantize(stream, quant, NIB_F32, p->x, NIB_NONFINITE_ERROR, p->planes,
                          (nib_mem){NULL, 0, 0}));
    CHECK_OK(nib_matmul_pack(stream, p->plan, p->planes, p->weights));
    CHECK_OK(nib_matmul_prepare(stream, p->plan, p->workspace));
    CHECK_OK(nib_sync(stream));
}

static nib_status product_run(const product *p, nib_stream *stream, int64_t m)
{
    const nib_matmul_args args = {.size = sizeof args,
                                  .m = m,
                                  .x = p->x,
                                  .weights = p->weights,
                                  .y = p->y,
                                  .workspace = p->workspace};
    return nib_matmul_run(stream, p->plan, &args);
}

static void product_close(product *p, nib_ctx *ctx)
{
    for (int i = 0; i < NIB_PLANES; i++) nib_free(ctx, &p->planes[i]);
    nib_free(ctx, &p->weights), nib_free(ctx, &p->workspace);
    nib_free(ctx, &p->x), nib_free(ctx, &p->y);
    nib_matmul_plan_close(p->plan);
}

/* ---- a host's own context, queue and events ---- */

typedef struct host {
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
} host;

static host host_open(cl_command_queue_properties properties)
{
    int devices;
    cl_int error;
    host h = {.device = nib_opencl_devices(&devices, NULL)[0].id};
    h.context = nib_cl.clCreateContext(NULL, 1, &h.device, NULL, NULL, &error);
    CHECK(error == CL_SUCCESS, "clCreateContext: %d", error);
    h.queue = nib_cl.clCreateCommandQueue(h.context, h.device, properties, &error);
    CHECK(error == CL_SUCCESS, "clCreateCommandQueue: %d", error);
    return h;
}

static void host_close(const host *h)
{
    nib_cl.clReleaseCommandQueue(h->queue);
    nib_cl.clReleaseContext(h->context);
}

/* The functions that only a host of its own calls. */
static struct {
    __typeof__(clCreateUserEvent) *create;
    __typeof__(clSetUserEventStatus) *set;
    __typeof__(clGetEventInfo) *info;
    __typeof__(clWaitForEvents) *wait;
    __typeof__(clReleaseEvent) *release;
} event;

static void find_event_functions(void)
{
    void *library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_NOLOAD);
    *(void **)&event.create = dlsym(library, "clCreateUserEvent");
    *(void **)&event.set = dlsym(library, "clSetUserEventStatus");
    *(void **)&event.info = dlsym(library, "clGetEventInfo");
    *(void **)&event.wait = dlsym(library, "clWaitForEvents");
    *(void **)&event.release = dlsym(library, "clReleaseEvent");
}

static cl_int event_state(cl_event e)
{
    cl_int state = -1;
    event.info(e, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    return state;
}

/* Work waits for the host's event, and the stream's event comes after the work. */
static void events(void)
{
    static product own, other;
    nib_ctx *ctx, *plain;
    nib_stream *stream, *plain_stream;
    host h = host_open(0);
    CHECK_OK(nib_open("opencl:0", &(nib_options){.size = sizeof(nib_options), .native = h.context},
                      &ctx));
    CHECK(nib_ctx_native(ctx) == h.context, "the context is the host's");
    CHECK_OK(nib_stream_wrap(ctx, h.queue, &stream));
    product_open(&own, ctx, stream);
    CHECK_OK(nib_open("opencl:0", NULL, &plain));
    CHECK(nib_ctx_native(plain) && nib_ctx_native(plain) != h.context, "a context of its own");
    CHECK_OK(nib_stream_open(plain, &plain_stream));
    product_open(&other, plain, plain_stream);
    cl_int error;
    cl_event gates[2] = {event.create(h.context, &error), event.create(h.context, &error)};
    void *done = NULL;
    CHECK_OK(nib_stream_wait(stream, (void *const *)gates, 2));
    CHECK_OK(product_run(&own, stream, M_MOST));
    CHECK_OK(nib_stream_mark(stream, &done));
    event.set(gates[0], CL_COMPLETE);
    usleep(20000);
    CHECK(event_state(done) > CL_COMPLETE, "the work waits for both events: %d", event_state(done));
    event.set(gates[1], CL_COMPLETE);
    CHECK(event.wait(1, (cl_event *)&done) == CL_SUCCESS && event_state(done) == CL_COMPLETE,
          "the work is done: %d", event_state(done));
    CHECK_OK(product_run(&other, plain_stream, M_MOST));
    CHECK_OK(nib_download(stream, own.got, own.y, sizeof own.got));
    CHECK_OK(nib_download(plain_stream, other.got, other.y, sizeof other.got));
    CHECK(nib_sync(stream) == NIB_OK && nib_sync(plain_stream) == NIB_OK, "done");
    CHECK(!memcmp(own.got, other.got, sizeof own.got), "the same product");
    event.release(gates[0]), event.release(gates[1]), event.release(done);
    product_close(&own, ctx), product_close(&other, plain);
    nib_stream_close(stream), nib_stream_close(plain_stream);
    nib_close(ctx), nib_close(plain);
    CHECK(nib_cl.clFinish(h.queue) == CL_SUCCESS, "the queue is still the host's");
    host_close(&h);
}

/* ---- what is refused ---- */

static void refused(void)
{
    nib_ctx *ctx, *foreign = NULL;
    nib_stream *stream, *wrapped = NULL;
    host h = host_open(0), unordered = host_open(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    cl_int error;
    CHECK_OK(nib_open("opencl:0", NULL, &ctx));
    CHECK_OK(nib_stream_open(ctx, &stream));
    CHECK_STATUS(nib_stream_wrap(ctx, h.queue, &wrapped), NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "nib_options.native"), "%s", nib_last_error());
    CHECK_OK(nib_open("opencl:0",
                      &(nib_options){.size = sizeof(nib_options), .native = unordered.context},
                      &foreign));
    CHECK_STATUS(nib_stream_wrap(foreign, unordered.queue, &wrapped), NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "out of order"), "%s", nib_last_error());
    cl_event gate = event.create(h.context, &error), none = NULL;
    CHECK_STATUS(nib_stream_wait(stream, NULL, 1), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_stream_wait(NULL, (void *const *)&gate, 1), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_stream_wait(stream, (void *const *)&none, 1), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_stream_wait(stream, (void *const *)&gate, 1), NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "cl_event"), "%s", nib_last_error());
    CHECK_STATUS(nib_stream_mark(stream, NULL), NIB_E_ARGUMENT);
    CHECK_OK(nib_stream_wait(stream, NULL, 0));
    event.set(gate, CL_COMPLETE);
    event.release(gate);
    nib_stream_close(stream);
    nib_close(foreign), nib_close(ctx);
    host_close(&h), host_close(&unordered);
}

/* ---- a run only launches ---- */

static nib_opencl_functions real;
static int created, waited, launched;

static cl_kernel counted_kernel(cl_program program, const char *name, cl_int *error)
{
    created++;
    return real.clCreateKernel(program, name, error);
}

static cl_mem counted_buffer(cl_context context, cl_mem_flags flags, size_t bytes,
                             void *host_memory, cl_int *error)
{
    created++;
    return real.clCreateBuffer(context, flags, bytes, host_memory, error);
}

static cl_int counted_build(cl_program program, cl_uint count, const cl_device_id *ids,
                            const char *options, void (*notify)(cl_program, void *), void *data)
{
    created++;
    return real.clBuildProgram(program, count, ids, options, notify, data);
}

static cl_int counted_finish(cl_command_queue queue)
{
    waited++;
    return real.clFinish(queue);
}

static cl_int counted_launch(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                             const size_t *offset, const size_t *global, const size_t *local,
                             cl_uint count, const cl_event *list, cl_event *event_ret)
{
    launched++;
    return real.clEnqueueNDRangeKernel(queue, kernel, dimensions, offset, global, local, count,
                                       list, event_ret);
}

/* After nib_matmul_prepare, the first run of each kernel creates nothing and waits for nothing. */
static void only_launches(void)
{
    static product p;
    static const int64_t rows[] = {1, 2, 32, 33, M_MOST};
    nib_ctx *ctx;
    nib_stream *stream;
    CHECK_OK(nib_open("opencl:0", NULL, &ctx));
    CHECK_OK(nib_stream_open(ctx, &stream));
    real = nib_cl;
    nib_cl.clCreateKernel = counted_kernel, nib_cl.clCreateBuffer = counted_buffer;
    nib_cl.clBuildProgram = counted_build, nib_cl.clFinish = counted_finish;
    nib_cl.clEnqueueNDRangeKernel = counted_launch;
    product_open(&p, ctx, stream);
    CHECK(created > 0 && waited > 0 && launched > 0, "opening is counted");
    created = waited = launched = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_OK(product_run(&p, stream, rows[i]));
    CHECK(created == 0 && waited == 0, "%d objects created, %d waits", created, waited);
    CHECK(launched == 2 * (int)(sizeof rows / sizeof rows[0]), "%d launches", launched);
    CHECK_OK(nib_sync(stream));
    nib_cl = real;
    product_close(&p, ctx);
    nib_stream_close(stream);
    nib_close(ctx);
}

/* ---- many queues ---- */

/* One kernel in many queues, each launch wider than all before: PoCL before 6.0 loads it anew for
 * each, and counted its users wrongly where several were under way. */
static void widening(void)
{
    enum { STREAMS = 8, ROUNDS = 100, STEP = 4096, MOST = STREAMS * ROUNDS * STEP };
    nib_ctx *ctx;
    nib_stream *streams[STREAMS];
    nib_mem x, y[STREAMS];
    float *ones = malloc(MOST * sizeof *ones);
    uint16_t *halves = malloc(MOST * sizeof *halves);
    int64_t wrong = 0;
    for (int64_t i = 0; i < MOST; i++) ones[i] = 1;
    CHECK_OK(nib_open("opencl:0", NULL, &ctx));
    CHECK_OK(nib_alloc(ctx, MOST * sizeof *ones, &x));
    for (int s = 0; s < STREAMS; s++) {
        CHECK_OK(nib_stream_open(ctx, &streams[s]));
        CHECK_OK(nib_alloc(ctx, MOST * sizeof *halves, &y[s]));
    }
    CHECK_OK(nib_upload(streams[0], x, ones, MOST * sizeof *ones));
    CHECK_OK(nib_sync(streams[0]));
    for (int64_t i = 0; i < STREAMS * ROUNDS; i++)
        CHECK_OK(
            nib_convert(streams[i % STREAMS], (i + 1) * STEP, NIB_F32, x, NIB_F16, y[i % STREAMS]));
    for (int s = 0; s < STREAMS; s++) {
        int64_t count = MOST - (int64_t)(STREAMS - 1 - s) * STEP;
        CHECK_OK(nib_download(streams[s], halves, y[s], (size_t)count * sizeof *halves));
        CHECK_OK(nib_sync(streams[s]));
        for (int64_t i = 0; i < count; i++) wrong += halves[i] != 0x3c00;
        nib_free(ctx, &y[s]);
        nib_stream_close(streams[s]);
    }
    CHECK(wrong == 0, "%lld of all halves are wrong", (long long)wrong);
    nib_free(ctx, &x);
    nib_close(ctx);
    free(ones), free(halves);
}

int main(void)
{
    nib_ctx *ctx;
    setenv("POCL_MAX_PTHREAD_COUNT", "16", 0); /* so many kernels of widening() are under way */
    nib_status status = nib_open("opencl:0", NULL, &ctx);
    if (status == NIB_E_NO_DEVICE) {
        check_skip("opencl:0", nib_last_error());
        return check_done();
    }
    if (!CHECK_OK(status)) return check_done();
    nib_close(ctx);
    find_event_functions();
    events();
    refused();
    only_launches();
    widening();
    return check_done();
}
