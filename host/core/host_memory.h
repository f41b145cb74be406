/* host_memory.h - what the two backends on host memory, cpu and ref, share: allocation, copies,
 * streams that are always finished, and the floating-point environment that the numerics demand. */
#ifndef NIB_CORE_HOST_MEMORY_H
#define NIB_CORE_HOST_MEMORY_H

#include "backend.h"

nib_status nib_host_alloc(void *impl, size_t bytes, void **handle_ret); /* 64-byte aligned */
void nib_host_free(void *impl, void *handle);
nib_status nib_host_upload(void *impl, void *queue, nib_mem dst, const void *src, size_t bytes);
nib_status nib_host_download(void *impl, void *queue, void *dst, nib_mem src, size_t bytes);
nib_status nib_host_stream_open(void *impl, void *native, void **queue_ret);
void nib_host_stream_close(void *impl, void *queue, int borrowed);
nib_status nib_host_sync(void *impl, void *queue);

/* The addresses of a request's spans; NULL for those it lacks. */
void nib_host_spans(const nib_request *request, void *span_ret[NIB_HOST_SPANS]);

/* Sets round-to-nearest without flushing for the calling thread and returns what was set before,
 * for nib_fp_leave. */
uint32_t nib_fp_enter(void);
void nib_fp_leave(uint32_t saved);

/* The machine's processor and memory, for device descriptions; the caller sets `units`. */
void nib_host_describe(nib_device_info *info);

#endif
