/* spans.h - spans in the memory of any context, with guards on both sides. */
#ifndef NIB_SPANS_H
#define NIB_SPANS_H

#include "../host/core/backend.h"
#include "check.h"

enum { PAD = 64 };

typedef struct span {
    nib_mem mem, whole;
    check_buffer guard;
    size_t bytes, head;
} span;

/* `bytes` bytes filled from `data`, or with `poison`. Host memory ends at a page that faults;
 * device memory has guards. */
static inline span span_make(nib_stream *stream, size_t bytes, const void *data, int poison,
                             size_t align)
{
    span s = {.bytes = bytes, .head = PAD + align % PAD};
    if (nib_host_memory(stream->ctx)) {
        s.guard = check_guarded(s.head + bytes, poison);
        if (data && bytes) memcpy(s.guard.data + s.head, data, bytes);
        s.mem = nib_wrap(s.guard.data + s.head, bytes);
        return s;
    }
    size_t total = s.head + bytes + PAD;
    unsigned char *copy = malloc(total);
    memset(copy, poison, total);
    if (data && bytes) memcpy(copy + s.head, data, bytes);
    if (nib_alloc(stream->ctx, total, &s.whole) != NIB_OK ||
        nib_upload(stream, s.whole, copy, total) != NIB_OK || nib_sync(stream) != NIB_OK) {
        fprintf(stderr, "cannot make a span of %zu bytes: %s\n", total, nib_last_error());
        exit(1);
    }
    s.mem = nib_slice(s.whole, s.head, bytes);
    free(copy);
    return s;
}

/* Its bytes, malloc'd; checks that the guards still hold `poison`. */
static inline unsigned char *span_take(nib_stream *stream, span *s, int poison)
{
    unsigned char *bytes = malloc(s->bytes + 1);
    size_t bad = 0;
    if (nib_host_memory(stream->ctx)) {
        for (size_t i = 0; i < s->head; i++) bad += s->guard.data[i] != (unsigned char)poison;
        if (s->bytes) memcpy(bytes, s->guard.data + s->head, s->bytes);
        check_release(&s->guard);
    } else {
        size_t total = s->head + s->bytes + PAD;
        unsigned char *copy = malloc(total);
        CHECK_OK(nib_download(stream, copy, s->whole, total));
        CHECK_OK(nib_sync(stream));
        for (size_t i = 0; i < total; i++)
            bad += (i < s->head || i >= s->head + s->bytes) && copy[i] != (unsigned char)poison;
        memcpy(bytes, copy + s->head, s->bytes);
        free(copy);
        nib_free(stream->ctx, &s->whole);
    }
    CHECK(bad == 0, "%zu bytes written outside the output", bad);
    return bytes;
}

#endif
