/* copy.c - see copy.h. */
#include "copy.h"

#include <pthread.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { MAX_THREADS = 1024, LINE = 64 };

typedef struct part {
    char *dst;
    const char *src;
    size_t bytes;
    int stream;
} part;

/* `bytes` is a multiple of LINE. */
static void copy_stream(char *dst, const char *src, size_t bytes)
{
#if defined(__x86_64__)
    for (size_t i = 0; i < bytes; i += LINE)
        for (size_t j = 0; j < LINE; j += sizeof(__m128i))
            _mm_stream_si128((__m128i *)(dst + i + j),
                             _mm_load_si128((const __m128i *)(src + i + j)));
    _mm_sfence();
#else
    memcpy(dst, src, bytes);
#endif
}

static void *copy_part(void *argument)
{
    const part *p = argument;
    if (p->stream) copy_stream(p->dst, p->src, p->bytes);
    else memcpy(p->dst, p->src, p->bytes);
    return NULL;
}

int copy_all(void *dst, const void *src, size_t bytes, int threads, int stream)
{
    pthread_t ids[MAX_THREADS];
    part parts[MAX_THREADS];
    int count = threads < MAX_THREADS ? threads : MAX_THREADS, started = 0;
    size_t share = bytes / (size_t)count / LINE * LINE;
    for (int i = 0; i < count; i++) {
        size_t from = (size_t)i * share;
        parts[i] = (part){(char *)dst + from, (const char *)src + from,
                          i + 1 < count ? share : (bytes - from) / LINE * LINE, stream};
    }
    while (started + 1 < count &&
           !pthread_create(&ids[started], NULL, copy_part, &parts[started + 1]))
        started++;
    copy_part(&parts[0]);
    for (int i = 0; i < started; i++) pthread_join(ids[i], NULL);
    return started + 1 == count;
}
