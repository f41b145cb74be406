/* cpu.c - backend `cpu`: one device, host memory, kernels by instruction set, a pool of threads. */
#include "../core/backend.h"
#include "../core/host_memory.h"
#include "../core/internal.h"
#include "cpu_features.h"
#include "cpu_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The least that a thread takes of a launch at a time: some microseconds of work. */
enum { LEAST_ELEMENTS = 1 << 14 };

#define NIB_KERNEL(OP, name, bits, conditions, features, item, function) nib_host_kernel function;
#define NIB_KERNEL_2(OP, name, bits, conditions, features, item1, function1, item2, function2)     \
    nib_host_kernel function1, function2;
#define NIB_PACKER(name, features, pack, function) nib_host_kernel function;
#define NIB_MATMUL(name, bits, x, conditions, features, pack, form, tile_m, tile_n, from, to,      \
                   class, function)                                                                \
    nib_host_kernel function;
#include "cpu_kernels.def"

static const nib_kernel kernels[] = {
#define NIB_KERNEL_2(OP, row, code_bits, needs, sets, item1, function1, item2, function2)          \
    {.name = row,                                                                                  \
     .op = NIB_OP_##OP,                                                                            \
     .bits = code_bits,                                                                            \
     .x_types = NIB_ANY,                                                                           \
     .y_types = NIB_ANY,                                                                           \
     .scale_types = NIB_ANY,                                                                       \
     .offsets = NIB_ANY,                                                                           \
     .conditions = needs,                                                                          \
     .features = sets,                                                                             \
     .launch = {{.item = NIB_ITEM_##item1, .host = function1},                                     \
                {.item = NIB_ITEM_##item2, .host = function2}}},
#define NIB_KERNEL(OP, row, code_bits, needs, sets, item, function)                                \
    NIB_KERNEL_2(OP, row, code_bits, needs, sets, item, function, NONE, NULL)
#define MATMUL_ROW(OP, row, code_bits, x, needs, sets, item_, function, ...)                       \
    {.name = row,                                                                                  \
     .op = NIB_OP_##OP,                                                                            \
     .bits = code_bits,                                                                            \
     .x_types = x,                                                                                 \
     .y_types = NIB_ANY,                                                                           \
     .scale_types = NIB_ANY,                                                                       \
     .offsets = NIB_ANY,                                                                           \
     .conditions = needs,                                                                          \
     .features = sets,                                                                             \
     .launch = {{.item = item_, .host = function}},                                                \
     .matmul = {__VA_ARGS__}},
#define NIB_PACKER(row, sets, pack_, function)                                                     \
    MATMUL_ROW(PACK, row, NIB_ANY, NIB_ANY, 0, sets, NIB_ITEM_PANEL, function,                     \
               .pack = NIB_PACK_##pack_)
#define NIB_MATMUL(row, bits, x, needs, sets, pack_, form, tile_m_, tile_n_, from, to, class,      \
                   function)                                                                       \
    MATMUL_ROW(MATMUL, row, bits, x, needs, sets, NIB_ITEM_TILE, function,                         \
               .pack = NIB_PACK_##pack_, .x_form = form, .tile_m = tile_m_, .tile_n = tile_n_,     \
               .from_m = from, .to_m = to, .error_class = NIB_ERROR_##class)
#include "cpu_kernels.def"
};

typedef struct cpu_device {
    nib_cpu_pool *pool;
    uint32_t features;
} cpu_device;

static int count(void) { return 1; }

static nib_status describe(int index, nib_device_info *info)
{
    (void)index;
    uint32_t features;
    (void)nib_cpu_features(&features); /* open_device reports an unknown level */
    memset(info, 0, sizeof *info);
    nib_host_describe(info);
    snprintf(info->name, sizeof info->name, "cpu");
    nib_cpu_features_text(features, info->features, sizeof info->features);
    info->units = nib_cores();
    return NIB_OK;
}

static nib_status open_device(int index, const nib_options *options, void **impl_ret)
{
    (void)index;
    cpu_device opened = {NULL, 0};
    NIB_TRY(nib_cpu_features(&opened.features));
    cpu_device *device = malloc(sizeof *device);
    if (!device) return NIB_FAIL(NIB_E_MEMORY, "no memory for a device (%zu bytes)", sizeof opened);
    *device = opened;
    nib_options pool = *options;
    if (!pool.threads) pool.threads = nib_cores();
    nib_status status = nib_cpu_pool_open(&pool, &device->pool);
    if (status != NIB_OK) {
        free(device);
        return status;
    }
    *impl_ret = device;
    return NIB_OK;
}

static void close_device(void *impl)
{
    cpu_device *device = impl;
    nib_cpu_pool_close(device->pool);
    free(device);
}

static uint32_t features(void *impl)
{
    const cpu_device *device = impl;
    return device->features;
}

/* About how many elements of the tensor one item touches. */
static int64_t item_elements(nib_item item, const nib_args *a)
{
    switch (item) {
    case NIB_ITEM_CELL: return a->rows / a->period * a->group;
    case NIB_ITEM_ROW: return a->cols;
    case NIB_ITEM_RUN: return 32;
    case NIB_ITEM_OCTET: return 8;
    case NIB_ITEM_BLOCK: return a->segment < 1024 ? a->segment : 1024;
    case NIB_ITEM_CHUNK: return 1024;
    case NIB_ITEM_PANEL: return a->p.tile_n * a->cols;
    case NIB_ITEM_TOKEN: return a->p.pack_cols;
    case NIB_ITEM_TILE: return a->p.tile_n * nib_ceil_div(a->p.tile_m, 16) * a->cols;
    case NIB_ITEM_NONE:
    case NIB_ITEM_BYTE:
    case NIB_ITEM_ALL: break;
    }
    return 1;
}

/* A stream is the scratch memory of the thread that uses it. */
static nib_status stream_open(void *impl, void *native, void **queue_ret)
{
    NIB_TRY(nib_host_stream_open(impl, native, queue_ret));
    *queue_ret = nib_cpu_scratch();
    return *queue_ret ? NIB_OK : NIB_FAIL(NIB_E_MEMORY, "no memory for a stream");
}

static void stream_close(void *impl, void *queue, int borrowed)
{
    (void)impl, (void)borrowed;
    free(queue);
}

static nib_status launch(void *impl, void *queue, const nib_kernel *kernel,
                         const nib_request *request)
{
    cpu_device *device = impl;
    void *span[NIB_HOST_SPANS];
    nib_host_spans(request, span);
    for (int i = 0; i < 2 && kernel->launch[i].host; i++) {
        int64_t items = nib_item_count(kernel->launch[i].item, &request->args);
        int64_t elements = item_elements(kernel->launch[i].item, &request->args);
        int64_t grain = elements > 0 && elements < LEAST_ELEMENTS ? LEAST_ELEMENTS / elements : 1;
        nib_cpu_pool_run(device->pool, kernel->launch[i].host, span, &request->args, items, grain,
                         queue);
    }
    return NIB_OK;
}

const nib_backend nib_backend_cpu = {
    .name = "cpu",
    .host_memory = 1,
    .count = count,
    .describe = describe,
    .open = open_device,
    .close = close_device,
    .features = features,
    .stream_open = stream_open,
    .stream_close = stream_close,
    .sync = nib_host_sync,
    .alloc = nib_host_alloc,
    .free = nib_host_free,
    .upload = nib_host_upload,
    .download = nib_host_download,
    .launch = launch,
    .kernels = kernels,
    .kernel_count = sizeof kernels / sizeof kernels[0],
};
