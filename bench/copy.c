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
    int stream, streams; /* streams: of reading; 0 = a copy */
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

/* Reads `streams` stretches of `share` bytes each, two lines of one after two of the other;
 * one word brings in its line. */
static inline __attribute__((always_inline)) void read_streams(const char *src, size_t share,
                                                               int streams)
{
    for (size_t i = 0; i + 2 * LINE <= share; i += 2 * LINE)
        for (int s = 0; s < streams; s++) {
            const char *at = src + (size_t)s * share + i;
            __builtin_prefetch(at + 1024);
            __builtin_prefetch(at + 1024 + LINE);
            __asm__ volatile("" : : "r"(*(const long *)(const void *)at));
            __asm__ volatile("" : : "r"(*(const long *)(const void *)(at + LINE)));
        }
}

static void read_part(const part *p)
{
    size_t share = p->bytes / (size_t)p->streams / LINE * LINE;
    if (p->streams == 8) read_streams(p->src, share, 8);
    else if (p->streams == 4) read_streams(p->src, share, 4);
    else if (p->streams == 2) read_streams(p->src, share, 2);
    else read_streams(p->src, share, 1);
}

static void *copy_part(void *argument)
{
    const part *p = argument;
    if (p->streams) read_part(p);
    else if (p->stream) copy_stream(p->dst, p->src, p->bytes);
    else memcpy(p->dst, p->src, p->bytes);
    return NULL;
}

static int share_out(void *dst, const void *src, size_t bytes, int threads, int stream, int streams)
{
    pthread_t ids[MAX_THREADS];
    part parts[MAX_THREADS];
    int count = threads < MAX_THREADS ? threads : MAX_THREADS, started = 0;
    size_t share = bytes / (size_t)count / LINE * LINE;
    for (int i = 0; i < count; i++) {
        size_t from = (size_t)i * share;
        parts[i] = (part){dst ? (char *)dst + from : NULL, (const char *)src + from,
                          i + 1 < count ? share : (bytes - from) / LINE * LINE, stream, streams};
    }
    while (started + 1 < count &&
           !pthread_create(&ids[started], NULL, copy_part, &parts[started + 1]))
        started++;
    copy_part(&parts[0]);
    for (int i = 0; i < started; i++) pthread_join(ids[i], NULL);
    return started + 1 == count;
}

int copy_all(void *dst, const void *src, size_t bytes, int threads, int stream)
{
    return share_out(dst, src, bytes, threads, stream, 0);
}

int read_all(const void *src, size_t bytes, int threads, int streams)
{
    return share_out(NULL, src, bytes, threads, 0, streams);
}
