/* test_threads.c - the cpu's pool: the same bytes at any number of threads and from any number of
 * callers at once; contexts that open and close under load; stores around the caches. Run under
 * TSan by the preset `tsan`. */
#include "digest.h"

#include <pthread.h>

enum { CALLERS = 6, STORM = 25 };

static uint64_t expected;

static nib_ctx *open_cpu(int threads)
{
    nib_options options = {.size = sizeof options, .threads = threads};
    nib_ctx *ctx = NULL;
    CHECK_OK(nib_open("cpu", &options, &ctx));
    return ctx;
}

static void any_number_of_threads(void)
{
    for (int threads = 1; threads <= 8; threads++) {
        nib_ctx *ctx = open_cpu(threads);
        CHECK(digest_all(ctx) == expected, "other bytes with %d threads", threads);
        nib_close(ctx);
    }
}

/* A runtime whose only thread is the caller. */
static void one_by_one(void *user, int32_t count, void (*task)(void *arg, int32_t i), void *arg)
{
    for (int32_t i = 0; i < count; i++) task(arg, i);
    ++*(int *)user;
}

static void the_callers_threads(void)
{
    int calls = 0;
    nib_options options = {
        .size = sizeof options, .threads = 3, .parallel_for = one_by_one, .parallel_user = &calls};
    nib_ctx *ctx = NULL;
    CHECK_OK(nib_open("cpu", &options, &ctx));
    CHECK(digest_all(ctx) == expected, "other bytes");
    CHECK(calls > 0, "parallel_for was not called");
    nib_close(ctx);
}

/* ---- many callers ---- */

typedef struct caller {
    nib_ctx *ctx;
    uint64_t value;
} caller;

static void *call(void *argument)
{
    caller *c = argument;
    c->value = digest_all(c->ctx);
    return NULL;
}

static void many_callers(int threads)
{
    nib_ctx *ctx = open_cpu(threads);
    pthread_t ids[CALLERS];
    caller callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller){ctx, 0};
        CHECK(!pthread_create(&ids[i], NULL, call, &callers[i]), "no thread");
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(ids[i], NULL);
        CHECK(callers[i].value == expected, "caller %d of a pool of %d: other bytes", i, threads);
    }
    nib_close(ctx);
}

/* ---- open and close ---- */

static void *storm(void *argument)
{
    long *failures = argument;
    for (int i = 0; i < STORM; i++) {
        nib_options options = {.size = sizeof options, .threads = 1 + i % 5};
        nib_ctx *ctx;
        if (nib_open("cpu", &options, &ctx) != NIB_OK) {
            (*failures)++;
            continue;
        }
        float x[64] = {1.0f}, y[64];
        nib_stream *stream;
        *failures += nib_stream_open(ctx, &stream) != NIB_OK;
        *failures += nib_convert(stream, 64, NIB_F32, nib_wrap(x, sizeof x), NIB_F32,
                                 nib_wrap(y, sizeof y)) != NIB_OK;
        *failures += memcmp(x, y, sizeof x) != 0;
        nib_stream_close(stream);
        nib_close(ctx);
    }
    return NULL;
}

static void open_and_close(void)
{
    pthread_t ids[CALLERS];
    long failures[CALLERS] = {0};
    for (int i = 0; i < CALLERS; i++)
        CHECK(!pthread_create(&ids[i], NULL, storm, &failures[i]), "no thread");
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(ids[i], NULL);
        CHECK(failures[i] == 0, "%ld calls failed", failures[i]);
    }
}

/* ---- large outputs, which are stored around the caches ---- */

static void large_outputs(void)
{
    enum { ROWS = 8192, COLS = 4096, PART = 512 };
    nib_ctx *ctx = open_cpu(2);
    nib_stream *stream = NULL;
    CHECK_OK(nib_stream_open(ctx, &stream));
    size_t y_bytes = (size_t)ROWS * COLS * 2, part_bytes = (size_t)PART * COLS * 2, bytes[2];
    nib_mem whole, part;
    CHECK_OK(nib_alloc(ctx, y_bytes, &whole));
    CHECK_OK(nib_alloc(ctx, part_bytes, &part));
    nib_quant q = {.bits = 8,
                   .scale_type = NIB_BF16,
                   .rule = NIB_RULE_SYM_FULL,
                   .layout = NIB_LAYOUT_CANONICAL};
    CHECK_OK(nib_grid_rows(ROWS, COLS, 0, &q.grid));
    for (int p = 0; p < 2; p++) CHECK_OK(nib_plane_bytes(&q, (nib_plane)p, &bytes[p]));
    unsigned char *codes = malloc(bytes[0]);
    uint16_t *scales = malloc(bytes[1]);
    uint64_t state = 7;
    for (size_t i = 0; i < bytes[0]; i += 8) {
        uint64_t r = check_random(&state);
        memcpy(codes + i, &r, 8);
    }
    for (int i = 0; i < ROWS; i++) scales[i] = (uint16_t)(0x3c00 + i % 200);
    nib_mem planes[NIB_PLANES] = {nib_wrap(codes, bytes[0]), nib_wrap(scales, bytes[1]), {0}};
    CHECK_OK(nib_dequantize(stream, &q, planes, NIB_BF16, whole));
    CHECK_OK(nib_grid_rows(PART, COLS, 0, &q.grid));
    for (int i = 0; i < ROWS / PART; i++) {
        nib_mem cut[NIB_PLANES] = {
            nib_slice(planes[0], (size_t)i * PART * COLS, (size_t)PART * COLS),
            nib_slice(planes[1], (size_t)i * PART * 2, PART * 2),
            {0}};
        CHECK_OK(nib_dequantize(stream, &q, cut, NIB_BF16, part));
        CHECK(!memcmp((char *)whole.handle + (size_t)i * part_bytes, part.handle, part_bytes),
              "part %d differs", i);
    }
    free(codes);
    free(scales);
    nib_free(ctx, &whole);
    nib_free(ctx, &part);
    nib_stream_close(stream);
    nib_close(ctx);
}

int main(void)
{
    nib_ctx *ref;
    digest_prepare();
    if (!CHECK_OK(nib_open("ref", NULL, &ref))) return check_done();
    expected = digest_all(ref);
    nib_close(ref);
    any_number_of_threads();
    the_callers_threads();
    many_callers(1);
    many_callers(3);
    open_and_close();
    large_outputs();
    return check_done();
}
