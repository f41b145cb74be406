/* nibble.c - the public entry points: open, move memory, and validate -> run. Nothing else happens
 * here. */
#include "../../include/nibble.h"

#include "backend.h"
#include "internal.h"
#include "request.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const nib_backend *const backends[] = {
#define X(name) &nib_backend_##name,
    NIB_BACKENDS(X)
#undef X
};

enum { BACKEND_COUNT = sizeof backends / sizeof backends[0] };

const char *nib_version(void) { return NIB_VERSION; }

/* ---- devices ---- */

int nib_backend_at(size_t index, nib_backend_info *info_ret)
{
    if (index >= BACKEND_COUNT) return 0;
    const nib_backend *backend = backends[index];
    nib_backend_info info = {{0}, backend->count(), {0}};
    snprintf(info.name, sizeof info.name, "%s", backend->name);
    if (backend->note) snprintf(info.note, sizeof info.note, "%s", backend->note());
    *info_ret = info;
    return 1;
}

nib_status nib_devices(nib_device_info *infos, size_t capacity, size_t *count_ret)
{
    size_t count = 0;
    NIB_TRY(nib_check_ret("count_ret", count_ret));
    if (capacity && !infos)
        return NIB_FAIL(NIB_E_ARGUMENT, "infos is NULL; it needs room for %zu", capacity);
    for (size_t b = 0; b < BACKEND_COUNT; b++) {
        int devices = backends[b]->count();
        for (int i = 0; i < devices; i++, count++)
            if (count < capacity) NIB_TRY(backends[b]->describe(i, &infos[count]));
    }
    *count_ret = count;
    return NIB_OK;
}

/* "opencl:1" -> backend opencl, index 1; "opencl" -> index 0. */
static const nib_backend *parse_device(const char *name, int *index_ret)
{
    for (size_t b = 0; b < BACKEND_COUNT; b++) {
        size_t length = strlen(backends[b]->name);
        if (strncmp(name, backends[b]->name, length)) continue;
        *index_ret = 0;
        if (!name[length]) return backends[b];
        char *end;
        if (!backends[b]->numbered || name[length] != ':' || name[length + 1] < '0' ||
            name[length + 1] > '9')
            continue;
        long index = strtol(name + length + 1, &end, 10);
        if (*end || index > 4095) continue;
        *index_ret = (int)index;
        return backends[b];
    }
    return NULL;
}

/* What "auto" opens: a CUDA device where there is one, otherwise the CPU. */
static const nib_backend *best_backend(void)
{
    nib_device_info info;
    const nib_backend *cuda = &nib_backend_cuda;
    int usable = cuda->count() > 0 && cuda->describe(0, &info) == NIB_OK && info.quantizes;
    return usable ? cuda : &nib_backend_cpu;
}

static void list_devices(char *text, size_t size)
{
    text[0] = 0;
    for (size_t b = 0; b < BACKEND_COUNT; b++)
        for (int i = 0; i < backends[b]->count(); i++) {
            size_t used = strlen(text);
            const char *separator = used ? ", " : "";
            if (backends[b]->numbered)
                snprintf(text + used, size - used, "%s%s:%d", separator, backends[b]->name, i);
            else snprintf(text + used, size - used, "%s%s", separator, backends[b]->name);
        }
}

/* NIBBLE_KERNEL may name a row of any backend, but one there must be. */
static nib_status check_named_kernel(void)
{
    const char *name = nib_env_get(NIB_ENV_KERNEL);
    int found = !name;
    for (size_t b = 0; b < BACKEND_COUNT && !found; b++)
        for (size_t i = 0; i < backends[b]->kernel_count && !found; i++)
            found = !strcmp(name, backends[b]->kernels[i].name);
    if (found) return NIB_OK;
    return NIB_FAIL(NIB_E_ARGUMENT,
                    "NIBBLE_KERNEL is %.80s, which no kernel is called (`nibble selftest --list`)",
                    name);
}

nib_status nib_open(const char *device, const nib_options *options, nib_ctx **ctx_ret)
{
    if (!device || !ctx_ret)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", device ? "ctx_ret" : "device");
    nib_options own = {.size = sizeof own};
    if (options)
        NIB_TRY(nib_take_given("options", "nib_options", options, offsetof(nib_options, native),
                               &own, sizeof own));
    if (own.threads < 0 || own.threads > 4096)
        return NIB_FAIL(NIB_E_ARGUMENT, "threads is %d; it must be 0 (all cores) to 4096",
                        own.threads);
    NIB_TRY(check_named_kernel());
    int index = 0;
    const nib_backend *backend =
        strcmp(device, "auto") ? parse_device(device, &index) : best_backend();
    if (!backend || index >= backend->count()) {
        char list[256];
        list_devices(list, sizeof list);
        const char *why = backend && backend->note ? backend->note() : "";
        return NIB_FAIL(NIB_E_NO_DEVICE, "no device %s%s%s; there are: %s (see `nibble doctor`)",
                        device, *why ? ": " : "", why, list);
    }
    if (own.native && !backend->takes_native)
        return NIB_FAIL(NIB_E_ARGUMENT, "options.native is set; %s takes no context", device);
    nib_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return NIB_FAIL(NIB_E_MEMORY, "no memory for a context (%zu bytes)", sizeof *ctx);
    ctx->backend = backend;
    nib_status status = backend->open(index, &own, &ctx->impl);
    if (status == NIB_OK) {
        status = backend->describe(index, &ctx->info);
        if (status != NIB_OK) backend->close(ctx->impl);
    }
    if (status != NIB_OK) {
        free(ctx);
        return status;
    }
    ctx->features = backend->features(ctx->impl);
    *ctx_ret = ctx;
    return NIB_OK;
}

void nib_close(nib_ctx *ctx)
{
    if (!ctx) return;
    ctx->backend->close(ctx->impl);
    free(ctx);
}

const nib_device_info *nib_ctx_device(const nib_ctx *ctx) { return &ctx->info; }

void *nib_ctx_native(const nib_ctx *ctx)
{
    return ctx && ctx->backend->native ? ctx->backend->native(ctx->impl) : NULL;
}

static nib_status open_stream(nib_ctx *ctx, void *native, nib_stream **stream_ret)
{
    if (!ctx || !stream_ret)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", ctx ? "stream_ret" : "ctx");
    nib_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NIB_FAIL(NIB_E_MEMORY, "no memory for a stream (%zu bytes)", sizeof *stream);
    stream->ctx = ctx;
    stream->borrowed = native != NULL;
    nib_status status = ctx->backend->stream_open(ctx->impl, native, &stream->queue);
    if (status != NIB_OK) {
        free(stream);
        return status;
    }
    *stream_ret = stream;
    return NIB_OK;
}

nib_status nib_stream_open(nib_ctx *ctx, nib_stream **stream_ret)
{
    return open_stream(ctx, NULL, stream_ret);
}

nib_status nib_stream_wrap(nib_ctx *ctx, void *native, nib_stream **stream_ret)
{
    if (!native) return NIB_FAIL(NIB_E_ARGUMENT, "native is NULL");
    return open_stream(ctx, native, stream_ret);
}

void nib_stream_close(nib_stream *stream)
{
    if (!stream) return;
    stream->ctx->backend->stream_close(stream->ctx->impl, stream->queue, stream->borrowed);
    free(stream);
}

nib_status nib_sync(nib_stream *stream)
{
    if (!stream) return NIB_FAIL(NIB_E_ARGUMENT, "stream is NULL");
    return stream->ctx->backend->sync(stream->ctx->impl, stream->queue);
}

static nib_status no_events(const nib_stream *stream)
{
    const nib_ctx *ctx = stream->ctx;
    if (ctx->backend->host_memory)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s has no events to wait for; count must be 0",
                        ctx->info.name);
    return NIB_FAIL(NIB_E_UNSUPPORTED,
                    "%s: no events through nibble; record and await them on the stream itself "
                    "(nib_stream_wrap)",
                    ctx->info.name);
}

nib_status nib_stream_wait(nib_stream *stream, void *const *events, size_t count)
{
    if (!stream) return NIB_FAIL(NIB_E_ARGUMENT, "stream is NULL");
    if (count == 0) return NIB_OK;
    if (!events || count > INT32_MAX)
        return NIB_FAIL(NIB_E_ARGUMENT,
                        events ? "count is %zu; 2147483647 is the most"
                               : "events is NULL; count is %zu",
                        count);
    for (size_t i = 0; i < count; i++)
        if (!events[i]) return NIB_FAIL(NIB_E_ARGUMENT, "events[%zu] is NULL", i);
    const nib_backend *backend = stream->ctx->backend;
    if (!backend->wait) return no_events(stream);
    return backend->wait(stream->ctx->impl, stream->queue, events, count);
}

nib_status nib_stream_mark(nib_stream *stream, void **event_ret)
{
    if (!stream || !event_ret)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", stream ? "event_ret" : "stream");
    const nib_backend *backend = stream->ctx->backend;
    if (backend->mark) return backend->mark(stream->ctx->impl, stream->queue, event_ret);
    if (!backend->host_memory) return no_events(stream);
    *event_ret = NULL;
    return NIB_OK;
}

/* ---- memory ---- */

nib_status nib_alloc(nib_ctx *ctx, size_t bytes, nib_mem *mem_ret)
{
    if (!ctx || !mem_ret) return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", ctx ? "mem_ret" : "ctx");
    nib_mem mem = {NULL, 0, bytes};
    if (bytes) NIB_TRY(ctx->backend->alloc(ctx->impl, bytes, &mem.handle));
    *mem_ret = mem;
    return NIB_OK;
}

void nib_free(nib_ctx *ctx, nib_mem *mem)
{
    if (!ctx || !mem || !mem->handle) return;
    ctx->backend->free(ctx->impl, mem->handle);
    *mem = (nib_mem){NULL, 0, 0};
}

nib_mem nib_wrap(void *pointer, size_t bytes) { return (nib_mem){pointer, 0, bytes}; }

int nib_host_memory(const nib_ctx *ctx) { return ctx->backend->host_memory; }

nib_mem nib_slice(nib_mem mem, size_t offset, size_t bytes)
{
    return (nib_mem){mem.handle, mem.offset + offset, bytes};
}

static nib_status check_copy(const nib_stream *stream, nib_mem mem, const void *host, size_t bytes)
{
    if (!stream) return NIB_FAIL(NIB_E_ARGUMENT, "stream is NULL");
    if (bytes && (!mem.handle || !host))
        return NIB_FAIL(NIB_E_ARGUMENT, "a copy of %zu bytes from or to NULL", bytes);
    if (mem.bytes < bytes)
        return NIB_FAIL(NIB_E_ARGUMENT, "a copy of %zu bytes; the span has %zu", bytes, mem.bytes);
    return NIB_OK;
}

nib_status nib_upload(nib_stream *stream, nib_mem dst, const void *src, size_t bytes)
{
    NIB_TRY(check_copy(stream, dst, src, bytes));
    return bytes ? stream->ctx->backend->upload(stream->ctx->impl, stream->queue, dst, src, bytes)
                 : NIB_OK;
}

nib_status nib_download(nib_stream *stream, void *dst, nib_mem src, size_t bytes)
{
    NIB_TRY(check_copy(stream, src, dst, bytes));
    return bytes ? stream->ctx->backend->download(stream->ctx->impl, stream->queue, dst, src, bytes)
                 : NIB_OK;
}

/* ---- operations ---- */

#define RUN(kind, ...)                                                                             \
    do {                                                                                           \
        nib_request request;                                                                       \
        if (!stream) return NIB_FAIL(NIB_E_ARGUMENT, "stream is NULL");                            \
        NIB_TRY(nib_request_##kind(stream->ctx, __VA_ARGS__, &request));                           \
        return nib_run(stream, &request, NULL);                                                    \
    } while (0)

nib_status nib_ranges(nib_stream *stream, const nib_grid *grid, nib_dtype type, nib_mem x,
                      nib_nonfinite nonfinite, nib_mem ranges, nib_mem report)
{
    RUN(ranges, grid, type, x, nonfinite, ranges, report);
}

nib_status nib_quantize(nib_stream *stream, const nib_quant *quant, nib_dtype type, nib_mem x,
                        nib_nonfinite nonfinite, const nib_mem planes[NIB_PLANES], nib_mem report)
{
    RUN(quantize, quant, type, x, nonfinite, planes, report);
}

nib_status nib_dequantize(nib_stream *stream, const nib_quant *quant,
                          const nib_mem planes[NIB_PLANES], nib_dtype type, nib_mem y)
{
    RUN(dequantize, quant, planes, type, y);
}

nib_status nib_quantize_blocks(nib_stream *stream, nib_block block, int64_t rows, int64_t cols,
                               nib_dtype type, nib_mem x, nib_mem importance,
                               nib_nonfinite nonfinite, nib_mem blocks, nib_mem report)
{
    RUN(quantize_blocks, block, rows, cols, type, x, importance, nonfinite, blocks, report);
}

nib_status nib_dequantize_blocks(nib_stream *stream, nib_block block, int64_t rows, int64_t cols,
                                 nib_mem blocks, nib_dtype type, nib_mem y)
{
    RUN(dequantize_blocks, block, rows, cols, blocks, type, y);
}

nib_status nib_unpack_blocks(nib_stream *stream, nib_block block, int64_t rows, int64_t cols,
                             nib_mem blocks, const nib_mem planes[NIB_PLANES])
{
    RUN(unpack_blocks, block, rows, cols, blocks, planes);
}

nib_status nib_repack(nib_stream *stream, const nib_quant *quant, nib_plane plane, nib_mem src,
                      nib_layout layout, nib_mem dst)
{
    RUN(repack, quant, plane, src, layout, dst);
}

nib_status nib_convert(nib_stream *stream, int64_t count, nib_dtype x_type, nib_mem x,
                       nib_dtype y_type, nib_mem y)
{
    RUN(convert, count, x_type, x, y_type, y);
}

nib_status nib_errors(nib_stream *stream, const nib_quant *quant, nib_dtype type, nib_mem x,
                      const nib_mem planes[NIB_PLANES], int64_t segment, nib_mem blocks)
{
    RUN(errors, quant, type, x, planes, segment, blocks);
}

nib_status nib_errors_plain(nib_stream *stream, int64_t rows, int64_t cols, nib_dtype x_type,
                            nib_mem x, nib_dtype y_type, nib_mem y, int64_t segment, nib_mem blocks)
{
    RUN(errors_plain, rows, cols, x_type, x, y_type, y, segment, blocks);
}

nib_status nib_histogram(nib_stream *stream, const nib_quant *quant, nib_mem codes, nib_mem counts)
{
    RUN(histogram, quant, codes, counts);
}

const char *nib_kernel_name(const nib_ctx *ctx, size_t index)
{
    return index < ctx->backend->kernel_count ? ctx->backend->kernels[index].name : NULL;
}

/* ---- error totals ---- */

void nib_error_add(nib_error_total *total, const nib_error_block *blocks, int64_t block_count,
                   int64_t elements)
{
    for (int64_t i = 0; i < block_count; i++) {
        total->xx += (double)blocks[i].xx;
        total->yy += (double)blocks[i].yy;
        total->xy += (double)blocks[i].xy;
        total->ee += (double)blocks[i].ee;
        double max = (double)blocks[i].max;
        if (isnan(max) || max > total->max) total->max = max; /* a NaN stays */
    }
    total->count += elements;
}

double nib_error_mse(const nib_error_total *total)
{
    return total->count ? total->ee / (double)total->count : 0.0;
}

double nib_error_sqnr(const nib_error_total *total)
{
    if (total->ee == 0.0) return total->xx == 0.0 ? (double)NAN : (double)INFINITY;
    return 10.0 * log10(total->xx / total->ee);
}

double nib_error_cosine(const nib_error_total *total)
{
    if (total->xx == 0.0 && total->yy == 0.0) return 1.0;
    return total->xy / (sqrt(total->xx) * sqrt(total->yy));
}
