/* opencl.c - backend `opencl`: contexts, queues, memory and launches. */
#include "opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the rows ---- */

enum { GROUP = 0 };                  /* nib_launch.lanes */
enum { OPENCL_ANY, OPENCL_CPU = 1 }; /* nib_kernel.features */

#define BITS_CODES 0x1fcu /* 2 to 8 */
#define BITS_ANY 0x1fdu   /* and 0 */
#define NONE                                                                                       \
    {                                                                                              \
        .item = NIB_ITEM_NONE                                                                      \
    }
#define LAUNCH(entry_, item_, lanes_)                                                              \
    {                                                                                              \
        .item = NIB_ITEM_##item_, .entry = #entry_, .lanes = lanes_                                \
    }

static const nib_kernel kernels[] = {
#define ROW(OP, row, code_bits, needs, ...)                                                        \
    {.name = row,                                                                                  \
     .op = NIB_OP_##OP,                                                                            \
     .bits = code_bits,                                                                            \
     .x_types = NIB_ANY,                                                                           \
     .y_types = NIB_ANY,                                                                           \
     .scale_types = NIB_ANY,                                                                       \
     .offsets = NIB_ANY,                                                                           \
     .conditions = needs,                                                                          \
     __VA_ARGS__},
#define NIB_KERNEL(OP, row, module, bits, needs, first, second)                                    \
    ROW(OP, row, BITS_##bits, needs, .launch = {first, second})
#define NIB_PACKER(row, module, pack_, first)                                                      \
    ROW(PACK, row, BITS_CODES, 0, .launch = {first}, .matmul = {.pack = NIB_PACK_##pack_})
#define NIB_MATMUL(row, module, device, needs, pack_, form, tile_m_, tile_n_, from, to, class,     \
                   first)                                                                          \
    ROW(MATMUL, row, BITS_CODES, needs, .features = OPENCL_##device, .launch = {first},            \
        .matmul = {.pack = NIB_PACK_##pack_,                                                       \
                   .x_form = NIB_T_##form,                                                         \
                   .tile_m = tile_m_,                                                              \
                   .tile_n = tile_n_,                                                              \
                   .from_m = from,                                                                 \
                   .to_m = to,                                                                     \
                   .error_class = NIB_ERROR_##class})
#define NIB_KERNEL_OF(ID, row, module, needs, first, second)                                       \
    ROW(QUANTIZE_BLOCKS, row, NIB_ANY, needs, .blocks = NIB_BIT(NIB_BLOCK_##ID),                   \
        .launch = {first, second})
#include "opencl_kernels.def"
};

static const nib_opencl_module modules[] = {
#define NIB_KERNEL(OP, name, module, ...) NIB_MODULE_##module,
#define NIB_PACKER(name, module, ...) NIB_MODULE_##module,
#define NIB_MATMUL(name, module, ...) NIB_MODULE_##module,
#define NIB_KERNEL_OF(ID, name, module, ...) NIB_MODULE_##module,
#include "opencl_kernels.def"
};

enum { KERNEL_COUNT = sizeof kernels / sizeof kernels[0] };

/* A stream: its own kernel objects, because a kernel object holds the arguments of one launch. */
typedef struct stream {
    cl_command_queue queue;
    cl_kernel kernels[KERNEL_COUNT][2]; /* NULL until first used */
    size_t lanes[KERNEL_COUNT][2];      /* work-group sizes, as the sources say */
} stream;

/* ---- devices ---- */

static int count(void)
{
    int devices;
    nib_opencl_devices(&devices, NULL);
    return devices;
}

static const char *note(void)
{
    int devices;
    const char *text;
    nib_opencl_devices(&devices, &text);
    return text;
}

static nib_status describe(int index, nib_device_info *info)
{
    int devices;
    nib_opencl_device *device = &nib_opencl_devices(&devices, NULL)[index];
    nib_opencl_probe(device, NULL);
    *info = device->info;
    pthread_mutex_lock(&device->mutex);
    info->quantizes = device->verdict != NIB_FAILED;
    snprintf(info->note, sizeof info->note, "%.*s", (int)sizeof info->note - 1, device->reason);
    pthread_mutex_unlock(&device->mutex);
    return NIB_OK;
}

/* The caller's cl_context, retained. */
static nib_status borrow_context(const nib_opencl_device *device, cl_context given,
                                 cl_context *context_ret)
{
    cl_device_id ids[64];
    size_t bytes = 0, holds = 0;
    cl_int error = nib_cl.clGetContextInfo(given, CL_CONTEXT_DEVICES, sizeof ids, ids, &bytes);
    for (size_t i = 0; error == CL_SUCCESS && i < bytes / sizeof ids[0]; i++)
        holds |= ids[i] == device->id;
    if (!holds)
        return NIB_FAIL(NIB_E_ARGUMENT, "options.native is no cl_context that holds %s (%s)",
                        device->info.name, device->info.model);
    error = nib_cl.clRetainContext(given);
    if (error != CL_SUCCESS) return nib_opencl_fail(device, "clRetainContext", error, "%s", "");
    *context_ret = given;
    return NIB_OK;
}

static nib_status make_context(const nib_opencl_device *device, cl_context *context_ret)
{
    cl_int error;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)device->platform, 0};
    *context_ret = nib_cl.clCreateContext(properties, 1, &device->id, NULL, NULL, &error);
    return error == CL_SUCCESS
               ? NIB_OK
               : nib_opencl_fail(device, "clCreateContext", error, "%s", device->info.model);
}

static nib_status open_device(int index, const nib_options *options, void **impl_ret)
{
    int devices;
    nib_opencl *cl = calloc(1, sizeof *cl);
    if (!cl) return NIB_FAIL(NIB_E_MEMORY, "no memory for a context (%zu bytes)", sizeof *cl);
    cl->device = &nib_opencl_devices(&devices, NULL)[index];
    nib_status status = options->native ? borrow_context(cl->device, options->native, &cl->context)
                                        : make_context(cl->device, &cl->context);
    if (status != NIB_OK) {
        free(cl);
        return status;
    }
    pthread_mutex_init(&cl->mutex, NULL);
    nib_opencl_probe(cl->device, cl);
    *impl_ret = cl;
    return NIB_OK;
}

static void close_device(void *impl)
{
    nib_opencl *cl = impl;
    for (int i = 0; i < NIB_MODULE_COUNT; i++)
        if (cl->programs[i]) nib_cl.clReleaseProgram(cl->programs[i]);
    if (cl->last) nib_cl.clReleaseEvent(cl->last);
    nib_cl.clReleaseContext(cl->context);
    pthread_mutex_destroy(&cl->mutex);
    free(cl);
}

static void *native(void *impl) { return ((nib_opencl *)impl)->context; }

static uint32_t features(void *impl)
{
    return ((nib_opencl *)impl)->device->is_cpu ? OPENCL_CPU : 0;
}

nib_status nib_opencl_program(nib_opencl *cl, nib_opencl_module module, cl_program *program_ret)
{
    nib_status status = NIB_OK;
    pthread_mutex_lock(&cl->mutex);
    if (!cl->programs[module])
        status = nib_opencl_build(cl->device, cl->context, module, &cl->programs[module]);
    if (status == NIB_OK) *program_ret = cl->programs[module];
    pthread_mutex_unlock(&cl->mutex);
    return status;
}

/* ---- streams ---- */

/* A queue of the caller's: of the context and the device, and in order, as launches rely on. */
static nib_status check_queue(const nib_opencl *cl, cl_command_queue queue)
{
    cl_context context = NULL;
    cl_device_id device = NULL;
    cl_command_queue_properties properties = 0;
    nib_cl.clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL);
    nib_cl.clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL);
    nib_cl.clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL);
    if (context != cl->context || device != cl->device->id)
        return NIB_FAIL(NIB_E_ARGUMENT,
                        "the queue is not of %s and its cl_context; open the device with "
                        "nib_options.native",
                        cl->device->info.name);
    if (properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        return NIB_FAIL(NIB_E_ARGUMENT, "the queue is out of order; nibble needs an in-order one");
    return NIB_OK;
}

static nib_status stream_open(void *impl, void *native, void **queue_ret)
{
    nib_opencl *cl = impl;
    cl_int error = CL_SUCCESS;
    if (native) NIB_TRY(check_queue(cl, native));
    stream *s = calloc(1, sizeof *s);
    if (!s) return NIB_FAIL(NIB_E_MEMORY, "no memory for a stream (%zu bytes)", sizeof *s);
    s->queue = native;
    if (native) error = nib_cl.clRetainCommandQueue(native);
    else s->queue = nib_cl.clCreateCommandQueue(cl->context, cl->device->id, 0, &error);
    if (error != CL_SUCCESS) {
        free(s);
        return nib_opencl_fail(cl->device, native ? "clRetainCommandQueue" : "clCreateCommandQueue",
                               error, "%s", "");
    }
    *queue_ret = s;
    return NIB_OK;
}

static void stream_close(void *impl, void *queue, int borrowed)
{
    (void)impl;
    stream *s = queue;
    if (!borrowed) nib_cl.clFinish(s->queue);
    for (int i = 0; i < KERNEL_COUNT; i++)
        for (int j = 0; j < 2; j++)
            if (s->kernels[i][j]) nib_cl.clReleaseKernel(s->kernels[i][j]);
    nib_cl.clReleaseCommandQueue(s->queue);
    free(s);
}

static nib_status sync(void *impl, void *queue)
{
    cl_int error = nib_cl.clFinish(((stream *)queue)->queue);
    return error == CL_SUCCESS
               ? NIB_OK
               : nib_opencl_fail(((nib_opencl *)impl)->device, "clFinish", error, "%s", "");
}

static nib_status wait_for(void *impl, void *queue, void *const *events, size_t count)
{
    cl_int error = nib_cl.clEnqueueBarrierWithWaitList(((stream *)queue)->queue, (cl_uint)count,
                                                       (const cl_event *)events, NULL);
    if (error == CL_INVALID_EVENT_WAIT_LIST || error == CL_INVALID_CONTEXT)
        return NIB_FAIL(NIB_E_ARGUMENT, "events holds no cl_event of the stream's cl_context");
    return error == CL_SUCCESS ? NIB_OK
                               : nib_opencl_fail(((nib_opencl *)impl)->device,
                                                 "clEnqueueBarrierWithWaitList", error, "%s", "");
}

static nib_status mark(void *impl, void *queue, void **event_ret)
{
    cl_event event;
    cl_command_queue q = ((stream *)queue)->queue;
    cl_int error = nib_cl.clEnqueueMarkerWithWaitList(q, 0, NULL, &event);
    if (error != CL_SUCCESS)
        return nib_opencl_fail(((nib_opencl *)impl)->device, "clEnqueueMarkerWithWaitList", error,
                               "%s", "");
    nib_cl.clFlush(q); /* so that other queues can wait for it */
    *event_ret = event;
    return NIB_OK;
}

/* ---- memory ---- */

static nib_status alloc(void *impl, size_t bytes, void **handle_ret)
{
    nib_opencl *cl = impl;
    cl_int error;
    cl_mem memory = nib_cl.clCreateBuffer(cl->context, CL_MEM_READ_WRITE, bytes, NULL, &error);
    if (error == CL_OUT_OF_RESOURCES) error = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    if (error != CL_SUCCESS)
        return nib_opencl_fail(cl->device, "clCreateBuffer", error,
                               "%zu bytes; the device has %llu, at most %llu in one buffer", bytes,
                               (unsigned long long)cl->device->info.memory_bytes,
                               (unsigned long long)cl->device->max_alloc);
    *handle_ret = memory;
    return NIB_OK;
}

static void free_memory(void *impl, void *handle)
{
    (void)impl;
    nib_cl.clReleaseMemObject(handle);
}

static nib_status upload(void *impl, void *queue, nib_mem dst, const void *src, size_t bytes)
{
    cl_int error = nib_cl.clEnqueueWriteBuffer(((stream *)queue)->queue, dst.handle, CL_FALSE,
                                               dst.offset, bytes, src, 0, NULL, NULL);
    return error == CL_SUCCESS
               ? NIB_OK
               : nib_opencl_fail(((nib_opencl *)impl)->device, "clEnqueueWriteBuffer", error,
                                 "%zu bytes at byte %zu", bytes, dst.offset);
}

static nib_status download(void *impl, void *queue, void *dst, nib_mem src, size_t bytes)
{
    cl_int error = nib_cl.clEnqueueReadBuffer(((stream *)queue)->queue, src.handle, CL_FALSE,
                                              src.offset, bytes, dst, 0, NULL, NULL);
    return error == CL_SUCCESS
               ? NIB_OK
               : nib_opencl_fail(((nib_opencl *)impl)->device, "clEnqueueReadBuffer", error,
                                 "%zu bytes at byte %zu", bytes, src.offset);
}

/* ---- launches ---- */

nib_status nib_opencl_set_args(const nib_opencl *cl, cl_kernel kernel,
                               const nib_mem span[NIB_SPANS], const nib_args *args)
{
    cl_ulong starts[NIB_SPANS]; /* nib_starts of kernels/opencl/spans.h */
    cl_int error = CL_SUCCESS;
    cl_uint at = 0;
    for (; at < NIB_SPANS && error == CL_SUCCESS; at++) {
        starts[at] = span[at].offset;
        cl_mem memory = span[at].handle;
        error = nib_cl.clSetKernelArg(kernel, at, sizeof memory, memory ? &memory : NULL);
    }
    if (error == CL_SUCCESS) error = nib_cl.clSetKernelArg(kernel, at++, sizeof starts, starts);
    if (error == CL_SUCCESS) error = nib_cl.clSetKernelArg(kernel, at++, sizeof *args, args);
    return error == CL_SUCCESS
               ? NIB_OK
               : nib_opencl_fail(cl->device, "clSetKernelArg", error, "argument %u", at - 1);
}

/* The stream's kernel object of launch `l` of row `row`, and its work-group size. */
static nib_status kernel_of(nib_opencl *cl, stream *s, size_t row, int l)
{
    if (s->kernels[row][l]) return NIB_OK;
    const char *entry = kernels[row].launch[l].entry;
    cl_program program;
    cl_int error;
    NIB_TRY(nib_opencl_program(cl, modules[row], &program));
    cl_kernel kernel = nib_cl.clCreateKernel(program, entry, &error);
    if (error != CL_SUCCESS)
        return nib_opencl_fail(cl->device, "clCreateKernel", error, "%s", entry);
    size_t size[3] = {0, 0, 0};
    error = nib_cl.clGetKernelWorkGroupInfo(
        kernel, cl->device->id, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof size, size, NULL);
    if (error != CL_SUCCESS || size[0] == 0) {
        nib_cl.clReleaseKernel(kernel);
        return nib_opencl_fail(cl->device, "clGetKernelWorkGroupInfo", error,
                               "%s has a work-group of %zu", entry, size[0]);
    }
    s->kernels[row][l] = kernel;
    s->lanes[row][l] = size[0];
    return NIB_OK;
}

/* The whole bytes of integer planes and their integers need no float. */
static int computes(nib_op op) { return op != NIB_OP_REPACK && op != NIB_OP_HISTOGRAM; }

static nib_status check_verdict(nib_opencl *cl, nib_op op)
{
    if (!computes(op)) return NIB_OK;
    nib_opencl_device *device = cl->device;
    nib_status status = NIB_OK;
    pthread_mutex_lock(&device->mutex);
    if (device->verdict != NIB_PASSED)
        status = NIB_FAIL(NIB_E_DEVICE, "%s (%s) is refused: %s; use another device",
                          device->info.name, device->info.model, device->reason);
    pthread_mutex_unlock(&device->mutex);
    return status;
}

static nib_status load(void *impl, void *queue, const nib_kernel *kernel)
{
    for (int l = 0; l < 2 && kernel->launch[l].item != NIB_ITEM_NONE; l++)
        NIB_TRY(kernel_of(impl, queue, (size_t)(kernel - kernels), l));
    return NIB_OK;
}

/* Enqueues a kernel; after the last of the context where the device takes one at a time. */
static cl_int enqueue(nib_opencl *cl, stream *s, cl_kernel kernel, size_t global, size_t local)
{
    if (!cl->device->one_kernel)
        return nib_cl.clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &global, &local, 0, NULL,
                                             NULL);
    cl_event event;
    pthread_mutex_lock(&cl->mutex);
    cl_int error =
        nib_cl.clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &global, &local, cl->last != NULL,
                                      cl->last ? &cl->last : NULL, &event);
    if (error == CL_SUCCESS) {
        nib_cl.clFlush(s->queue); /* so that other queues can wait for it */
        if (cl->last) nib_cl.clReleaseEvent(cl->last);
        cl->last = event;
    }
    pthread_mutex_unlock(&cl->mutex);
    return error;
}

static nib_status launch(void *impl, void *queue, const nib_kernel *kernel,
                         const nib_request *request)
{
    nib_opencl *cl = impl;
    stream *s = queue;
    const nib_args *a = &request->args;
    size_t row = (size_t)(kernel - kernels);
    NIB_TRY(check_verdict(cl, request->op));
    for (int l = 0; l < 2 && kernel->launch[l].item != NIB_ITEM_NONE; l++) {
        NIB_TRY(kernel_of(cl, s, row, l));
        NIB_TRY(nib_opencl_set_args(cl, s->kernels[row][l], request->span, a));
        int64_t size = (int64_t)s->lanes[row][l], total;
        int64_t each = kernel->launch[l].lanes == GROUP ? size : kernel->launch[l].lanes;
        if (!nib_mul(nib_item_count(kernel->launch[l].item, a), each, &total) ||
            !nib_add(total, size - 1, &total))
            return NIB_FAIL(NIB_E_OVERFLOW, "%s: more work-items than 63 bits count", kernel->name);
        const size_t global = (size_t)(total / size * size), local = (size_t)size;
        cl_int error = enqueue(cl, s, s->kernels[row][l], global, local);
        if (error != CL_SUCCESS)
            return nib_opencl_fail(cl->device, "clEnqueueNDRangeKernel", error,
                                   "%s (%s) on %lld x %lld, %zu work-items in groups of %zu",
                                   kernel->name, kernel->launch[l].entry, (long long)a->rows,
                                   (long long)a->cols, global, local);
    }
    cl_int error = nib_cl.clFlush(s->queue);
    return error == CL_SUCCESS ? NIB_OK
                               : nib_opencl_fail(cl->device, "clFlush", error, "%s", kernel->name);
}

const nib_backend nib_backend_opencl = {
    .name = "opencl",
    .numbered = 1,
    .count = count,
    .note = note,
    .describe = describe,
    .open = open_device,
    .close = close_device,
    .features = features,
    .takes_native = 1,
    .native = native,
    .stream_open = stream_open,
    .stream_close = stream_close,
    .sync = sync,
    .wait = wait_for,
    .mark = mark,
    .alloc = alloc,
    .free = free_memory,
    .upload = upload,
    .download = download,
    .load = load,
    .launch = launch,
    .kernels = kernels,
    .kernel_count = KERNEL_COUNT,
};
