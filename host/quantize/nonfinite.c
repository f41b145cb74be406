/* nonfinite.c - see nonfinite.h. */
#include "nonfinite.h"

#include "../core/internal.h"
#include "../formats/gguf.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 1 << 20 };

int64_t nib_nonfinite_find(const void *elements, nib_dtype type, int64_t count)
{
    const unsigned char *bytes = elements;
    uint32_t exponent = type == NIB_F32 ? 0x7f800000u : type == NIB_F16 ? 0x7c00u : 0x7f80u;
    for (int64_t i = 0; i < count; i++) {
        uint32_t raw = 0;
        size_t size = type == NIB_F32 ? 4 : 2;
        memcpy(&raw, bytes + (size_t)i * size, size); /* little-endian, as files are */
        if ((raw & exponent) == exponent) return i;
    }
    return -1;
}

void nib_nonfinite_replace(void *elements, nib_dtype type, int64_t count, int saturate)
{
    unsigned char *bytes = elements;
    uint32_t exponent = type == NIB_F32 ? 0x7f800000u : type == NIB_F16 ? 0x7c00u : 0x7f80u;
    uint32_t sign = type == NIB_F32 ? 0x80000000u : 0x8000u;
    size_t size = type == NIB_F32 ? 4 : 2;
    for (int64_t i = 0; i < count; i++) {
        uint32_t raw = 0;
        memcpy(&raw, bytes + (size_t)i * size, size);
        if ((raw & exponent) != exponent) continue;
        int infinite = (raw & ~sign) == exponent;
        raw = saturate && infinite ? (raw & sign) | (exponent - 1) : 0; /* one below infinity */
        memcpy(bytes + (size_t)i * size, &raw, size);
    }
}

nib_status nib_nonfinite_fail(const nib_tensor *tensor, const void *elements, int64_t first,
                              int64_t count)
{
    int64_t at = nib_nonfinite_find(elements, tensor->type, count);
    if (at < 0)
        return NIB_FAIL(NIB_E_INTERNAL, "\"%.200s\": a device reported NaN where there is none",
                        tensor->name);
    size_t size = (size_t)nib_dtype_bits(tensor->type) / 8;
    uint32_t raw = 0;
    memcpy(&raw, (const unsigned char *)elements + (size_t)at * size, size);
    uint32_t mantissa = tensor->type == NIB_F32   ? 0x7fffffu
                        : tensor->type == NIB_F16 ? 0x3ffu
                                                  : 0x7fu;
    const char *value = raw & mantissa ? "NaN" : raw >> (8 * size - 1) ? "-infinity" : "infinity";
    return NIB_FAIL(
        NIB_E_NONFINITE,
        "\"%.200s\" has %s at element %lld; set options.nonfinite to zero or saturate, or "
        "options.keep_nonfinite, or "
        "mend the checkpoint",
        tensor->name, value, (long long)(first + at));
}

static nib_status scan(const nib_job *job, const nib_tensor *t, void *buffer,
                       const volatile int *cancel, int *found_ret)
{
    uint64_t size = (uint64_t)nib_dtype_bits(t->type) / 8;
    *found_ret = 0;
    for (uint64_t at = 0; at < t->span[0].bytes && !*found_ret; at += PIECE_BYTES) {
        if (cancel && *cancel) return NIB_FAIL(NIB_E_INTERRUPTED, "interrupted");
        uint64_t left = t->span[0].bytes - at, bytes = left < PIECE_BYTES ? left : PIECE_BYTES;
        NIB_TRY(nib_file_read(job->input, t->span[0].shard, t->span[0].offset + at, buffer, bytes));
        *found_ret = nib_nonfinite_find(buffer, t->type, (int64_t)(bytes / size)) >= 0;
    }
    return NIB_OK;
}

nib_status nib_job_keep_nonfinite(nib_job *job, const volatile int *cancel)
{
    void *buffer = malloc(PIECE_BYTES);
    if (!buffer) return NIB_FAIL(NIB_E_MEMORY, "no memory for a piece of %d bytes", PIECE_BYTES);
    nib_status status = NIB_OK;
    for (int64_t i = 0; i < job->count && status == NIB_OK; i++) {
        nib_decision *d = &job->decisions[i];
        int found = 0;
        int scans = nib_decision_changes(d) && !d->tensor->quantized;
        if (scans) status = scan(job, d->tensor, buffer, cancel, &found);
        if (!found) continue;
        d->scheme = NULL;
        if (d->stored) d->stored = nib_stored_type_of(d->tensor->type, d->tensor->blocks);
        d->reason = "kept: NaN or infinite weights";
    }
    free(buffer);
    return status == NIB_OK ? nib_job_lay_out(job) : status;
}
