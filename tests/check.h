/* check.h - the test harness: checks that count, guarded buffers, a seeded generator, a closing
 * line.
 *
 * A test program: static TEST functions called from main between nothing and `return
 * check_done();`. A failed check prints file, line and values and counts; it does not stop the
 * program. Skips are counted and named; all skipped = exit 77. */
#ifndef NIB_CHECK_H
#define NIB_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static long check_passed, check_failed, check_skipped;

/* True where the condition holds; prints the first 20 failures. */
#define CHECK(condition, ...)                                                                      \
    check_that((condition) != 0, __FILE__, __LINE__, #condition, " " __VA_ARGS__)
#define CHECK_OK(call) CHECK((call) == NIB_OK, "%s", nib_last_error())
#define CHECK_STATUS(call, expected)                                                               \
    do {                                                                                           \
        nib_status check_got_ = (call);                                                            \
        CHECK(check_got_ == (expected), "got %s (%s), expected %s", nib_status_name(check_got_),   \
              nib_last_error(), nib_status_name(expected));                                        \
    } while (0)

__attribute__((format(printf, 5, 6))) static inline int
check_that(int holds, const char *file, int line, const char *condition, const char *format, ...)
{
    if (holds) {
        __atomic_fetch_add(&check_passed, 1, __ATOMIC_RELAXED); /* threads check too */
        return 1;
    }
    if (__atomic_fetch_add(&check_failed, 1, __ATOMIC_RELAXED) >= 20) return 0;
    fprintf(stderr, "%s:%d: failed: %s: ", file, line, condition);
    __builtin_va_list args;
    __builtin_va_start(args, format);
    vfprintf(stderr, format, args);
    __builtin_va_end(args);
    fputc('\n', stderr);
    return 0;
}

static inline void check_skip(const char *what, const char *why)
{
    check_skipped++;
    printf("skipped: %s: %s\n", what, why);
}

static inline int check_done(void)
{
    printf("%ld passed, %ld failed, %ld skipped\n", check_passed, check_failed, check_skipped);
    if (check_failed) return 1;
    if (check_passed) return 0;
    return check_skipped ? 77 : 1; /* a program that checked nothing has failed */
}

/* `bytes` bytes that end right before an inaccessible page, and start at a multiple of `align` if
 * bytes is one: an access past the end faults. Filled with `poison`. Lives until check_release. */
typedef struct check_buffer {
    unsigned char *data;
    void *map;
    size_t map_bytes;
} check_buffer;

static inline check_buffer check_guarded(size_t bytes, int poison)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (bytes + page - 1) / page * page;
    check_buffer b = {NULL, NULL, body + 2 * page};
    b.map = mmap(NULL, b.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b.map == MAP_FAILED ||
        (body && mprotect((char *)b.map + page, body, PROT_READ | PROT_WRITE)))
        abort();
    b.data = (unsigned char *)b.map + page + body - bytes;
    memset((char *)b.map + page, poison, body);
    return b;
}

static inline void check_release(check_buffer *b)
{
    munmap(b->map, b->map_bytes);
    b->data = NULL;
}

/* splitmix64: the same numbers on every machine. */
static inline uint64_t check_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
