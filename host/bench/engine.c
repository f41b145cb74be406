/* engine.c - the walk: devices and shapes, arms for each, every M in turn. */
#include "engine.h"

#include <revision.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- what all files use ---- */

int bench_fail(bench *b, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(b->result->error, BENCH_WORDS, format, args);
    va_end(args);
    return code;
}

int bench_status(bench *b, nib_status status, const char *what)
{
    if (status == NIB_OK) return 0;
    return bench_fail(b, nib_status_exit_code(status), "%s: %s", what, nib_last_error());
}

int bench_note(bench *b, const char *what, const char *format, ...)
{
    bench_skip skip = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(skip.why, sizeof skip.why, format, args);
    va_end(args);
    snprintf(skip.what, sizeof skip.what, "%s", what);
    bench_result *r = b->result;
    for (size_t i = 0; i < r->skip_count; i++)
        if (!strcmp(r->skips[i].what, skip.what) && !strcmp(r->skips[i].why, skip.why)) return 0;
    bench_skip *skips = realloc(r->skips, (r->skip_count + 1) * sizeof *skips);
    if (!skips) return bench_fail(b, 4, "no memory");
    r->skips = skips;
    skips[r->skip_count++] = skip;
    return 0;
}

void *bench_memory(bench *b, size_t bytes)
{
    size_t rounded = (bytes / 64 + 1) * 64;
    void *memory = aligned_alloc(64, rounded);
    if (memory) memset(memory, 0, rounded);
    else bench_fail(b, 4, "no memory for %zu bytes; take smaller shapes or a smaller --m", bytes);
    return memory;
}

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int bench_threads(const bench *b)
{
    return b->spec->threads ? b->spec->threads : nib_ctx_device(b->cpu)->units;
}

int64_t bench_copies(const bench *b, size_t bytes)
{
    if (b->spec->hot || bytes == 0) return 1;
    return (int64_t)((b->working_set + bytes - 1) / bytes);
}

double bench_percent(const bench_record *r)
{
    return r->bound > 0.0 && r->seconds > 0.0 ? 100.0 * r->bound / r->seconds : 0.0;
}

const bench_record *bench_baseline(const bench_result *result, const bench_record *r)
{
    const bench_record *best = NULL;
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *c = &result->records[i];
        if (c->baseline && c->device_index == r->device_index && c->m == r->m &&
            !strcmp(c->shape.name, r->shape.name) && (!best || c->seconds < best->seconds))
            best = c;
    }
    return best;
}

const char *bench_revision(void) { return NIBBLE_REVISION; }

/* ---- devices and shapes ---- */

static int open_host(bench *b)
{
    nib_options options = {.size = sizeof options, .threads = b->spec->threads};
    TRY(bench_status(b, nib_open("ref", NULL, &b->ref), "ref"));
    TRY(bench_status(b, nib_open("cpu", &options, &b->cpu), "cpu"));
    TRY(bench_status(b, nib_stream_open(b->ref, &b->ref_stream), "ref"));
    return bench_status(b, nib_stream_open(b->cpu, &b->cpu_stream), "cpu");
}

static void close_host(bench *b)
{
    nib_stream_close(b->ref_stream), nib_stream_close(b->cpu_stream);
    nib_close(b->ref), nib_close(b->cpu);
}

static void say(bench *b, const char *format, const char *what, long long m)
{
    char words[BENCH_WORDS];
    snprintf(words, sizeof words, format, what, m);
    if (b->spec->progress) b->spec->progress(words);
}

static int vendor_arms(const bench_operands *operands, nib_ctx *ctx, size_t device,
                       bench_arms *arms)
{
    const char *name = nib_ctx_device(ctx)->name;
    if (!strncmp(name, "cuda:", 5)) return bench_cublas_arms(operands, ctx, device, arms);
    if (operands->b->spec->dequantize)
        TRY(bench_note(operands->b, "dequantize + cuBLASLt", "%s is no CUDA device", name));
    if (strcmp(name, "cpu"))
        return bench_note(operands->b, name, "no vendor's product is measured on this device");
    TRY(bench_openblas_arms(operands, device, arms));
    return bench_onednn_arms(operands, device, arms);
}

static int shape_arms(bench *b, const bench_operands *operands, nib_ctx *const *devices,
                      bench_arms *arms)
{
    const bench_spec *spec = b->spec;
    for (size_t d = 0; d < spec->device_count; d++) {
        if (spec->operation != BENCH_MATMUL) {
            TRY(bench_codec_arms(b, operands->shape, devices[d], d, arms));
            continue;
        }
        TRY(bench_nibble_arms(operands, devices[d], d, arms));
        if (spec->vendors) TRY(vendor_arms(operands, devices[d], d, arms));
    }
    return 0;
}

static int run_shape(bench *b, const bench_shape *shape, nib_ctx *const *devices)
{
    static bench_arms arms;
    bench_operands operands = {.b = b, .shape = shape};
    int code = 0, is_matmul = b->spec->operation == BENCH_MATMUL;
    arms.count = 0;
    say(b, "%s: preparing", shape->name, 0);
    if (is_matmul) code = bench_operands_make(b, shape, &operands);
    if (!code) code = shape_arms(b, &operands, devices, &arms);
    for (size_t i = 0; i < (is_matmul ? b->spec->m_count : 1) && !code; i++) {
        int64_t m = is_matmul ? b->spec->m[i] : 0;
        say(b, is_matmul ? "%s: M = %lld" : "%s", shape->name, (long long)m);
        code = bench_measure(b, &arms, shape, m);
    }
    bench_arms_close(&arms);
    bench_operands_free(&operands);
    return code;
}

/* Opens all; the cold set is four times the largest of their last-level caches. */
static int open_devices(bench *b, nib_ctx **devices)
{
    const bench_spec *spec = b->spec;
    nib_options options = {.size = sizeof options, .threads = b->spec->threads};
    b->result->devices = calloc(spec->device_count, sizeof *b->result->devices);
    if (!b->result->devices) return bench_fail(b, 4, "no memory");
    for (size_t d = 0; d < spec->device_count; d++) {
        nib_status status = nib_open(spec->devices[d], &options, &devices[d]);
        if (status != NIB_OK)
            return bench_fail(b, nib_status_exit_code(status), "%s", nib_last_error());
        b->result->devices[d].info = *nib_ctx_device(devices[d]);
        b->result->device_count = d + 1;
        size_t cold = 4 * bench_cache_bytes(b->result->devices[d].info.name);
        if (!spec->working_set_bytes && cold > b->working_set) b->working_set = cold;
    }
    b->result->working_set_bytes = spec->hot ? 0 : b->working_set;
    return 0;
}

static int measure_roofs(bench *b, nib_ctx *const *devices)
{
    for (size_t d = 0; d < b->result->device_count; d++) {
        bench_device *device = &b->result->devices[d];
        say(b, "%s: measuring roofs", device->info.name, 0);
        TRY(bench_roofs(b, devices[d], device));
        bench_clocks(device, device->before);
    }
    return 0;
}

static int run_all(bench *b, nib_ctx **devices)
{
    TRY(open_host(b));
    TRY(open_devices(b, devices));
    TRY(measure_roofs(b, devices));
    for (size_t i = 0; i < b->spec->shapes->count; i++)
        TRY(run_shape(b, &b->spec->shapes->at[i], devices));
    for (size_t d = 0; d < b->result->device_count; d++)
        bench_clocks(&b->result->devices[d], b->result->devices[d].after);
    bench_bounds(b->result);
    const bench_result *r = b->result;
    if (r->count) return 0;
    return bench_fail(b, 2, "nothing to measure: %s",
                      r->skip_count ? r->skips[0].why : "no device");
}

/* Other libraries' idle threads look for work as long as nibble's do and then sleep: by default
 * they hold the cores for milliseconds, and halved the speed of the arm after them. */
static void calm_vendors(void)
{
    setenv("OPENBLAS_THREAD_TIMEOUT", "16", 0); /* 2^16 cycles */
    setenv("GOMP_SPINCOUNT", "1000", 0);
}

int bench_run(const bench_spec *spec, bench_result *result)
{
    calm_vendors();
    memset(result, 0, sizeof *result);
    bench b = {.spec = spec, .result = result};
    const size_t least = (size_t)256 << 20; /* a virtual machine may name its cache too small */
    b.working_set = spec->working_set_bytes ? (size_t)spec->working_set_bytes : least;
    nib_ctx **devices = calloc(spec->device_count + 1, sizeof *devices);
    int code = devices ? run_all(&b, devices) : bench_fail(&b, 4, "no memory");
    for (size_t d = 0; devices && d < spec->device_count; d++) nib_close(devices[d]);
    free(devices);
    close_host(&b);
    if (spec->progress) spec->progress("");
    return code;
}

void bench_free(bench_result *result)
{
    free(result->records), free(result->devices), free(result->skips);
    memset(result, 0, sizeof *result);
}
