/* host_memory.c - see host_memory.h. */
#include "host_memory.h"

#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

nib_status nib_host_alloc(void *impl, size_t bytes, void **handle_ret)
{
    (void)impl;
    if (bytes > SIZE_MAX - 63) return NIB_FAIL(NIB_E_MEMORY, "no memory for %zu bytes", bytes);
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!memory) return NIB_FAIL(NIB_E_MEMORY, "no memory for %zu bytes", bytes);
    *handle_ret = memory;
    return NIB_OK;
}

void nib_host_free(void *impl, void *handle)
{
    (void)impl;
    free(handle);
}

nib_status nib_host_upload(void *impl, void *queue, nib_mem dst, const void *src, size_t bytes)
{
    (void)impl, (void)queue;
    memcpy((char *)dst.handle + dst.offset, src, bytes);
    return NIB_OK;
}

nib_status nib_host_download(void *impl, void *queue, void *dst, nib_mem src, size_t bytes)
{
    (void)impl, (void)queue;
    memcpy(dst, (const char *)src.handle + src.offset, bytes);
    return NIB_OK;
}

nib_status nib_host_stream_open(void *impl, void *native, void **queue_ret)
{
    (void)impl;
    if (native)
        return NIB_FAIL(NIB_E_ARGUMENT, "native is not NULL; the CPU has no queues to share");
    *queue_ret = NULL;
    return NIB_OK;
}

void nib_host_stream_close(void *impl, void *queue, int borrowed)
{
    (void)impl, (void)queue, (void)borrowed;
}

nib_status nib_host_sync(void *impl, void *queue)
{
    (void)impl, (void)queue;
    return NIB_OK;
}

void nib_host_spans(const nib_request *request, void *span_ret[NIB_HOST_SPANS])
{
    span_ret[NIB_SCRATCH] = NULL;
    for (int i = 0; i < NIB_SPANS; i++) {
        const nib_mem *mem = &request->span[i];
        span_ret[i] = mem->handle ? (char *)mem->handle + mem->offset : NULL;
    }
}

#if defined(__x86_64__)
uint32_t nib_fp_enter(void)
{
    uint32_t saved = _mm_getcsr();
    _mm_setcsr(0x1f80); /* all exceptions masked, nearest even, no FTZ, no DAZ */
    return saved;
}

void nib_fp_leave(uint32_t saved) { _mm_setcsr(saved); }
#elif defined(__aarch64__)
uint32_t nib_fp_enter(void)
{
    uint64_t saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" ::"r"(UINT64_C(0)));
    return (uint32_t)saved;
}

void nib_fp_leave(uint32_t saved) { __asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)saved)); }
#else
#error "nibble needs to set the floating-point environment of this processor: add it here"
#endif

void nib_host_describe(nib_device_info *info)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];
    snprintf(info->model, sizeof info->model, "unknown processor");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon) continue;
        snprintf(info->model, sizeof info->model, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (file) fclose(file);
    info->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    info->quantizes = 1;
}
