/* cuda.c - backend `cuda`: NVIDIA GPUs by the driver API. Uses the caller's current context where
 * it is on the device, the device's primary context otherwise, and restores whatever was current.
 * After an asynchronous fault the context is dead: every later call says so. */
#include "../core/backend.h"
#include "../core/internal.h"
#include "driver.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The fatbins, one for each .cu; empty where nibble was built without nvcc. */
/* clang-format off */
#define NIB_CUDA_MODULES(X) \
    X(quantize) X(ranges) X(dequantize) X(repack) X(convert) X(errors) X(histogram) \
    X(blocks) X(blocks_32) X(blocks_256) \
    X(acts) X(pack) X(matmul_any) X(matmul_small) X(matmul_tiles)
/* clang-format on */
#define X(name)                                                                                    \
    extern const unsigned char nib_blob_##name##_fatbin[];                                         \
    extern const size_t nib_blob_##name##_fatbin_size;
NIB_CUDA_MODULES(X)
#undef X

static const struct {
    const char *name;
    const unsigned char *image;
    const size_t *bytes;
} modules[] = {
#define X(name) {#name, nib_blob_##name##_fatbin, &nib_blob_##name##_fatbin_size},
    NIB_CUDA_MODULES(X)
#undef X
};

/* ---- shares of K ---- */

/* So many blocks a tile that all tiles together are `wanted` blocks a unit, each share being at
 * least `columns` long. More than 16 partial sums cost more than they bring. */
static int32_t share_out(const nib_args *a, int64_t tiles, int32_t units, int wanted, int columns)
{
    int64_t split = (int64_t)units * wanted / tiles, most = a->cols / columns;
    if (split > most) split = most;
    return (int32_t)(split > 16 ? 16 : split < 1 ? 1 : split);
}

static int32_t split_small(const nib_args *a, int64_t tiles, int32_t units)
{
    return share_out(a, tiles, units, 4, 512);
}

static int32_t split_tiles(const nib_args *a, int64_t tiles, int32_t units)
{
    return share_out(a, tiles, units, 2, 256);
}

static const nib_kernel kernels[] = {
#define NIB_KERNEL_OF(types, threads_, OP, row, code_bits, x, y, needs, widest, stem, item1,       \
                      lanes1, entry1, item2, lanes2, entry2)                                       \
    {.name = row,                                                                                  \
     .op = NIB_OP_##OP,                                                                            \
     .bits = code_bits,                                                                            \
     .x_types = x,                                                                                 \
     .y_types = y,                                                                                 \
     .scale_types = NIB_ANY,                                                                       \
     .offsets = NIB_ANY,                                                                           \
     .conditions = needs,                                                                          \
     .max_cols = widest,                                                                           \
     .blocks = types,                                                                              \
     .launch = {{NIB_ITEM_##item1, NULL, entry1, stem, lanes1, threads_, 0},                       \
                {NIB_ITEM_##item2, NULL, entry2, stem, lanes2, threads_, 0}}},
#define NIB_KERNEL2(...) NIB_KERNEL_OF(0, 0, __VA_ARGS__)
#define NIB_KERNEL(OP, name, bits, x, y, conditions, max_cols, module, item, lanes, entry)         \
    NIB_KERNEL2(OP, name, bits, x, y, conditions, max_cols, module, item, lanes, entry, NONE, 0,   \
                NULL)
#define NIB_PACKER(row, pack_, lanes_, entry_)                                                     \
    {.name = row,                                                                                  \
     .op = NIB_OP_PACK,                                                                            \
     .bits = NIB_ANY,                                                                              \
     .x_types = NIB_ANY,                                                                           \
     .y_types = NIB_ANY,                                                                           \
     .scale_types = NIB_ANY,                                                                       \
     .offsets = NIB_ANY,                                                                           \
     .launch = {{NIB_ITEM_PANEL, NULL, entry_, "pack", lanes_, 0, 0}},                             \
     .matmul = {.pack = NIB_PACK_##pack_}},
#define NIB_MATMUL(row, code_bits, x, minima, needs, widest, pack_, form, rows_, cols_, from, to,  \
                   class, split_, stem, threads_, shared, entry_)                                  \
    {.name = row,                                                                                  \
     .op = NIB_OP_MATMUL,                                                                          \
     .bits = code_bits,                                                                            \
     .x_types = x,                                                                                 \
     .y_types = NIB_ANY,                                                                           \
     .scale_types = NIB_ANY,                                                                       \
     .offsets = minima,                                                                            \
     .conditions = needs,                                                                          \
     .max_cols = widest,                                                                           \
     .launch = {{NIB_ITEM_TILE, NULL, entry_, stem, threads_, threads_, shared}},                  \
     .matmul = {NIB_PACK_##pack_, form, rows_, cols_, from, to, NIB_ERROR_##class, split_}},
#include "cuda_kernels.def"
};

enum {
    KERNEL_COUNT = sizeof kernels / sizeof kernels[0],
    MODULE_COUNT = sizeof modules / sizeof modules[0],
    THREADS = 256, /* NIB_THREADS of kernels/cuda/device.cuh */
    BLOCKS_PER_UNIT =
        16, /* more than can be resident, so that a unit never waits for the last block */
    FREE_SHARED_BYTES = 48 * 1024, /* dynamic shared memory that need not be asked for */
};

/* What a row may ask of a device: kernels for sm_90a, in files of their own, come before the
 * others. */
enum { CUDA_SM90 = 1 << 0 };

typedef struct cuda_device {
    const nib_cuda_driver *driver;
    CUdevice device;
    CUcontext context;
    int primary; /* the context is the retained primary one */
    int units;
    uint32_t features; /* CUDA_SM90 */
    char label[112];   /* "cuda:0 (NVIDIA H200, sm_90)", for messages */
    atomic_int dead;
    pthread_mutex_t lock; /* of the two below */
    CUmodule modules[MODULE_COUNT];
    CUfunction functions[KERNEL_COUNT][2];
} cuda_device;

/* ---- calls ---- */

/* Faults after which, cuda.h says, every later call fails too: uncorrectable and contained memory
 * errors, illegal address, timeout, assert, ... */
static int kills_context(CUresult result)
{
    static const CUresult deadly[] = {214, 226, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721};
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        if (deadly[i] == result) return 1;
    return 0;
}

/* The words of a failed driver call; marks the context dead after a fault that no later call
 * survives. */
static nib_status failed(cuda_device *d, CUresult result, const char *call, const char *what)
{
    const char *name = NULL, *text = NULL;
    d->driver->cuGetErrorName(result, &name);
    d->driver->cuGetErrorString(result, &text);
    int sticky = kills_context(result);
    if (sticky) atomic_store(&d->dead, 1);
    nib_status status = sticky                               ? NIB_E_DEVICE_LOST
                        : result == CUDA_ERROR_OUT_OF_MEMORY ? NIB_E_MEMORY
                                                             : NIB_E_DEVICE;
    const char *advice =
        result == CUDA_ERROR_NO_BINARY_FOR_GPU
            ? "; this build has no kernels for it: build with -DNIBBLE_CUDA_ARCHS=<its sm number>"
        : result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION
            ? "; the driver is older than the toolkit that built nibble: update the driver"
            : "";
    return NIB_FAIL(status, "%s: %s: %s (%d): %s%s%s%s", d->label, call, name ? name : "?", result,
                    text ? text : "", *what ? "; in " : "", what, advice);
}

#define CALL(d, function, ...)                                                                     \
    do {                                                                                           \
        CUresult call_result_ = (d)->driver->function(__VA_ARGS__);                                \
        if (call_result_ != CUDA_SUCCESS) return failed(d, call_result_, #function, "");           \
    } while (0)

static nib_status enter(cuda_device *d)
{
    if (atomic_load(&d->dead))
        return NIB_FAIL(NIB_E_DEVICE_LOST,
                        "%s: an earlier fault killed its context; start the process again",
                        d->label);
    CALL(d, cuCtxPushCurrent, d->context);
    return NIB_OK;
}

/* To release what a live context holds; a dead one keeps it, and the first failure's words stay. */
static int enter_to_release(cuda_device *d)
{
    return !atomic_load(&d->dead) && d->driver->cuCtxPushCurrent(d->context) == CUDA_SUCCESS;
}

static void leave(cuda_device *d)
{
    CUcontext popped;
    d->driver->cuCtxPopCurrent(&popped);
}

/* One driver call with the context current. */
#define CALL_INSIDE(d, function, ...)                                                              \
    do {                                                                                           \
        NIB_TRY(enter(d));                                                                         \
        CUresult inside_result_ = (d)->driver->function(__VA_ARGS__);                              \
        leave(d);                                                                                  \
        return inside_result_ == CUDA_SUCCESS ? NIB_OK : failed(d, inside_result_, #function, ""); \
    } while (0)

/* ---- devices ---- */

static int count(void)
{
    const nib_cuda_driver *driver = nib_cuda_load(NULL);
    int devices = 0;
    return driver && driver->cuDeviceGetCount(&devices) == CUDA_SUCCESS ? devices : 0;
}

static const char *note(void)
{
    const char *why;
    nib_cuda_load(&why);
    return why;
}

static nib_status describe(int index, nib_device_info *info)
{
    const nib_cuda_driver *driver = nib_cuda_load(NULL);
    CUdevice device;
    int version = 0, major = 0, minor = 0;
    size_t bytes = 0;
    memset(info, 0, sizeof *info);
    if (!driver || driver->cuDeviceGet(&device, index) != CUDA_SUCCESS)
        return NIB_FAIL(NIB_E_NO_DEVICE, "no device cuda:%d", index);
    driver->cuDeviceGetName(info->model, sizeof info->model, device);
    driver->cuDeviceTotalMem(&bytes, device);
    driver->cuDeviceGetAttribute(&info->units, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device);
    driver->cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
    driver->cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
    driver->cuDriverGetVersion(&version);
    snprintf(info->name, sizeof info->name, "cuda:%d", index);
    snprintf(info->driver, sizeof info->driver, "CUDA %d.%d", version / 1000, version % 1000 / 10);
    snprintf(info->features, sizeof info->features, "sm_%d%d", major, minor);
    info->memory_bytes = bytes;
    info->quantizes = *modules[0].bytes > 0;
    if (!info->quantizes) snprintf(info->note, sizeof info->note, "built without CUDA kernels");
    return NIB_OK;
}

/* Loads every module at once, so that a missing kernel image is an error of nib_open and not of the
 * first call. */
static nib_status load_modules(cuda_device *d)
{
    for (int m = 0; m < MODULE_COUNT; m++) {
        CUresult result = d->driver->cuModuleLoadData(&d->modules[m], modules[m].image);
        if (result != CUDA_SUCCESS) return failed(d, result, "cuModuleLoadData", modules[m].name);
    }
    return NIB_OK;
}

static nib_status open_context(cuda_device *d)
{
    CUcontext current = NULL;
    CUdevice current_device = -1;
    d->driver->cuCtxGetCurrent(&current);
    if (current) d->driver->cuCtxGetDevice(&current_device);
    d->primary = !current || current_device != d->device;
    if (d->primary) CALL(d, cuDevicePrimaryCtxRetain, &d->context, d->device);
    else d->context = current;
    NIB_TRY(enter(d));
    nib_status status = load_modules(d);
    leave(d);
    return status;
}

static void close_device(void *impl)
{
    cuda_device *d = impl;
    if (d->context && enter_to_release(d)) {
        for (int m = 0; m < MODULE_COUNT; m++)
            if (d->modules[m]) d->driver->cuModuleUnload(d->modules[m]);
        leave(d);
    }
    if (d->context && d->primary) d->driver->cuDevicePrimaryCtxRelease(d->device);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static nib_status open_device(int index, const nib_options *options, void **impl_ret)
{
    (void)options;
    nib_device_info info;
    NIB_TRY(describe(index, &info));
    if (!info.quantizes) return NIB_FAIL(NIB_E_UNSUPPORTED, "%s: %s", info.name, info.note);
    cuda_device *d = calloc(1, sizeof *d);
    if (!d) return NIB_FAIL(NIB_E_MEMORY, "no memory for a device (%zu bytes)", sizeof *d);
    d->driver = nib_cuda_load(NULL);
    d->units = info.units > 0 ? info.units : 1;
    pthread_mutex_init(&d->lock, NULL);
    snprintf(d->label, sizeof d->label, "%.23s (%.40s, %.20s)", info.name, info.model,
             info.features);
    nib_status status = NIB_OK;
    if (d->driver->cuDeviceGet(&d->device, index) != CUDA_SUCCESS)
        status = NIB_FAIL(NIB_E_NO_DEVICE, "no device %s", info.name);
    int major = 0;
    d->driver->cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                                    d->device);
    d->features = major == 9 ? CUDA_SM90 : 0;
    if (status == NIB_OK) status = open_context(d);
    if (status != NIB_OK) close_device(d);
    else *impl_ret = d;
    return status;
}

static void *native(void *impl) { return ((cuda_device *)impl)->context; }

static uint32_t features(void *impl) { return ((cuda_device *)impl)->features; }

/* ---- streams and memory ---- */

static nib_status stream_open(void *impl, void *native, void **queue_ret)
{
    if (native) {
        *queue_ret = native;
        return NIB_OK;
    }
    CALL_INSIDE((cuda_device *)impl, cuStreamCreate, (CUstream *)queue_ret, CU_STREAM_NON_BLOCKING);
}

static nib_status sync(void *impl, void *queue)
{
    CALL_INSIDE((cuda_device *)impl, cuStreamSynchronize, queue);
}

static void stream_close(void *impl, void *queue, int borrowed)
{
    cuda_device *d = impl;
    if (borrowed || !enter_to_release(d)) return;
    d->driver->cuStreamSynchronize(queue);
    d->driver->cuStreamDestroy(queue);
    leave(d);
}

static nib_status alloc(void *impl, size_t bytes, void **handle_ret)
{
    cuda_device *d = impl;
    CUdeviceptr address = 0;
    NIB_TRY(enter(d));
    CUresult result = d->driver->cuMemAlloc(&address, bytes);
    leave(d);
    if (result == CUDA_ERROR_OUT_OF_MEMORY)
        return NIB_FAIL(NIB_E_MEMORY, "%s: no memory for %zu bytes", d->label, bytes);
    if (result != CUDA_SUCCESS) return failed(d, result, "cuMemAlloc", "");
    *handle_ret = (void *)(uintptr_t)address;
    return NIB_OK;
}

static void release(void *impl, void *handle)
{
    cuda_device *d = impl;
    if (!enter_to_release(d)) return;
    d->driver->cuMemFree((CUdeviceptr)(uintptr_t)handle);
    leave(d);
}

static CUdeviceptr address_of(const nib_mem *mem)
{
    return mem->handle ? (CUdeviceptr)(uintptr_t)mem->handle + mem->offset : 0;
}

static nib_status upload(void *impl, void *queue, nib_mem dst, const void *src, size_t bytes)
{
    CALL_INSIDE((cuda_device *)impl, cuMemcpyHtoDAsync, address_of(&dst), src, bytes, queue);
}

static nib_status download(void *impl, void *queue, void *dst, nib_mem src, size_t bytes)
{
    CALL_INSIDE((cuda_device *)impl, cuMemcpyDtoHAsync, dst, address_of(&src), bytes, queue);
}

/* ---- launches ---- */

static nib_status find_function(cuda_device *d, const nib_kernel *kernel, int l,
                                CUfunction *function_ret)
{
    const nib_launch *launch = &kernel->launch[l];
    CUfunction *slot = &d->functions[kernel - kernels][l], found = NULL;
    const char *call = "cuModuleGetFunction";
    pthread_mutex_lock(&d->lock);
    CUresult result = CUDA_SUCCESS;
    for (int m = 0; !*slot && m < MODULE_COUNT; m++)
        if (!strcmp(modules[m].name, launch->module))
            result = d->driver->cuModuleGetFunction(&found, d->modules[m], launch->entry);
    if (found && launch->shared_bytes > FREE_SHARED_BYTES) {
        call = "cuFuncSetAttribute";
        result = d->driver->cuFuncSetAttribute(
            found, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, launch->shared_bytes);
    }
    if (found && result == CUDA_SUCCESS) *slot = found;
    *function_ret = *slot;
    pthread_mutex_unlock(&d->lock);
    return result == CUDA_SUCCESS ? NIB_OK : failed(d, result, call, launch->entry);
}

static nib_status load(void *impl, void *queue, const nib_kernel *kernel)
{
    (void)queue;
    cuda_device *d = impl;
    CUfunction function;
    NIB_TRY(enter(d));
    nib_status status = find_function(d, kernel, 0, &function);
    if (status == NIB_OK && kernel->launch[1].item) status = find_function(d, kernel, 1, &function);
    leave(d);
    return status;
}

static nib_status launch_one(cuda_device *d, void *queue, const nib_kernel *kernel, int l,
                             const nib_request *request)
{
    CUfunction function;
    CUdeviceptr spans[NIB_SPANS];
    const nib_launch *row = &kernel->launch[l];
    nib_i64 items = nib_item_count(row->item, &request->args);
    if (items == 0) return NIB_OK;
    NIB_TRY(find_function(d, kernel, l, &function));
    for (int i = 0; i < NIB_SPANS; i++) spans[i] = address_of(&request->span[i]);
    nib_args args = request->args;
    void *params[] = {spans, &args, &items};
    int threads = row->threads ? row->threads : THREADS;
    int64_t per_block = threads / row->lanes, blocks = nib_ceil_div(items, per_block);
    int64_t most = (int64_t)d->units * BLOCKS_PER_UNIT;
    if (row->item == NIB_ITEM_TILE) most = INT32_MAX; /* a block an item, no strides */
    unsigned grid = (unsigned)(blocks < most ? blocks : most);
    CUresult result = d->driver->cuLaunchKernel(function, grid, 1, 1, (unsigned)threads, 1, 1,
                                                (unsigned)row->shared_bytes, queue, params, NULL);
    if (result == CUDA_SUCCESS) return NIB_OK;
    char what[160];
    snprintf(what, sizeof what, "%s, %lld x %lld, %d bits", kernel->name, (long long)args.rows,
             (long long)args.cols, args.bits);
    return failed(d, result, "cuLaunchKernel", what);
}

static nib_status launch(void *impl, void *queue, const nib_kernel *kernel,
                         const nib_request *request)
{
    cuda_device *d = impl;
    NIB_TRY(enter(d));
    nib_status status = launch_one(d, queue, kernel, 0, request);
    if (status == NIB_OK && kernel->launch[1].item)
        status = launch_one(d, queue, kernel, 1, request);
    leave(d);
    return status;
}

const nib_backend nib_backend_cuda = {
    .name = "cuda",
    .numbered = 1,
    .count = count,
    .note = note,
    .describe = describe,
    .open = open_device,
    .close = close_device,
    .features = features,
    .native = native,
    .stream_open = stream_open,
    .stream_close = stream_close,
    .sync = sync,
    .alloc = alloc,
    .free = release,
    .upload = upload,
    .download = download,
    .load = load,
    .launch = launch,
    .kernels = kernels,
    .kernel_count = KERNEL_COUNT,
};
