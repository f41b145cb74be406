/* ref.c - backend `ref`: one device, one thread, host memory, plain kernels that were written from
 * docs/numerics.md and share nothing with the others. It is the witness, never fast. */
#include "../core/backend.h"
#include "../core/host_memory.h"
#include "../core/internal.h"

#include <stdio.h>
#include <string.h>

#define NIB_KERNEL(OP, name, function) nib_host_kernel function;
#define NIB_MATMUL(name, form, class, function) nib_host_kernel function;
#include "ref_kernels.def"

static const nib_kernel kernels[] = {
#define ROW(OP, row, function, ...)                                                                \
    {.name = row,                                                                                  \
     .op = NIB_OP_##OP,                                                                            \
     .bits = NIB_ANY,                                                                              \
     .x_types = NIB_ANY,                                                                           \
     .y_types = NIB_ANY,                                                                           \
     .scale_types = NIB_ANY,                                                                       \
     .offsets = NIB_ANY,                                                                           \
     .launch = {{.item = NIB_ITEM_ALL, .host = function}},                                         \
     .matmul = {.pack = NIB_PACK_PLAIN, __VA_ARGS__}},
#define NIB_KERNEL(OP, row, function) ROW(OP, row, function, .tile_m = 1, .tile_n = 1)
#define NIB_MATMUL(row, form, class, function)                                                     \
    ROW(MATMUL, row, function, .tile_m = 1, .tile_n = 1, .x_form = form,                           \
        .error_class = NIB_ERROR_##class)
#include "ref_kernels.def"
};

static int count(void) { return 1; }

static nib_status describe(int index, nib_device_info *info)
{
    (void)index;
    memset(info, 0, sizeof *info);
    nib_host_describe(info);
    snprintf(info->name, sizeof info->name, "ref");
    snprintf(info->note, sizeof info->note, "reference: one thread, plain C, slow");
    info->units = 1;
    return NIB_OK;
}

static nib_status open_device(int index, const nib_options *options, void **impl_ret)
{
    (void)index, (void)options;
    *impl_ret = NULL;
    return NIB_OK;
}

static void close_device(void *impl) { (void)impl; }

static uint32_t features(void *impl)
{
    (void)impl;
    return 0;
}

static nib_status launch(void *impl, void *queue, const nib_kernel *kernel,
                         const nib_request *request)
{
    (void)impl, (void)queue;
    void *span[NIB_HOST_SPANS];
    nib_host_spans(request, span);
    uint32_t saved = nib_fp_enter();
    kernel->launch[0].host(span, &request->args, 0, 1);
    nib_fp_leave(saved);
    return NIB_OK;
}

const nib_backend nib_backend_ref = {
    .name = "ref",
    .host_memory = 1,
    .count = count,
    .describe = describe,
    .open = open_device,
    .close = close_device,
    .features = features,
    .stream_open = nib_host_stream_open,
    .stream_close = nib_host_stream_close,
    .sync = nib_host_sync,
    .alloc = nib_host_alloc,
    .free = nib_host_free,
    .upload = nib_host_upload,
    .download = nib_host_download,
    .launch = launch,
    .kernels = kernels,
    .kernel_count = sizeof kernels / sizeof kernels[0],
};
