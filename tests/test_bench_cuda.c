/* test_bench_cuda.c - `nibble bench` on CUDA, with stand-ins for the driver, cuBLASLt and NVML
 * (tests/cuda_on_host): what is timed is one launch of a graph, for nibble's arms and for
 * cuBLASLt's; what cannot be captured is launched run by run, and said; a wrong product is not
 * timed.
 *
 * test_bench_cuda NIBBLE, with LD_LIBRARY_PATH naming the stand-ins. */
#include "../host/bench/bench.h"
#include "../host/cuda/driver.h"
#include "check.h"

#include <dlfcn.h>
#include <stdarg.h>

enum { N = 64, K = 256, WORKING_SET = 1 << 16, ROUNDS = 4, M_COUNT = 2, COLUMNS = 2 };

static long (*count)(const char *name);
static bench_shapes shapes;

static int measure(bench_operation operation, bench_result *result)
{
    static const int64_t m[M_COUNT] = {1, 5};
    static const char *const devices[] = {"cuda:0"};
    static bench_column columns[COLUMNS];
    char why[BENCH_WORDS];
    CHECK(!bench_read_column("int4", -1, &columns[0], why), "%s", why);
    CHECK(!bench_read_column(operation == BENCH_MATMUL ? "w8a8" : "int8", -1, &columns[1], why),
          "%s", why);
    int matmul = operation == BENCH_MATMUL;
    bench_spec spec = {.operation = operation,
                       .shapes = &shapes,
                       .columns = columns,
                       .column_count = COLUMNS,
                       .m = matmul ? m : NULL,
                       .m_count = matmul ? M_COUNT : 0,
                       .devices = devices,
                       .device_count = 1,
                       .type = NIB_BF16,
                       .vendors = matmul,
                       .dequantize = matmul,
                       .rounds = ROUNDS,
                       .seconds = 3600,
                       .working_set_bytes = WORKING_SET};
    return bench_run(&spec, result);
}

static const bench_record *find(const bench_result *r, const char *column, const char *by)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->records[i].column, column) && !strcmp(r->records[i].by, by))
            return &r->records[i];
    CHECK(0, "no record of %s by %s", column, by);
    exit(check_done());
}

static int has_skip(const bench_result *r, const char *words)
{
    for (size_t i = 0; i < r->skip_count; i++)
        if (strstr(r->skips[i].why, words)) return 1;
    return 0;
}

/* Every sample is two events with one launch of a graph between them, and nothing else. */
static void check_regions(long events, long samples)
{
    static const char *const never[] = {"timed cuLaunchKernel", "timed cuStreamSynchronize",
                                        "timed cuMemAlloc_v2", "timed cuMemcpyDtoHAsync_v2",
                                        "timed cuda_host_submit"};
    CHECK(events % 2 == 0 && events / 2 >= samples, "%ld events, %ld samples", events, samples);
    CHECK(count("timed cuGraphLaunch") == count("cuEventRecord") / 2);
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        CHECK(!count(never[i]), "%s", never[i]);
}

static void test_graphs(void)
{
    static const char *const lt = "cuBLASLt 990000", *const both = "dequantize + cuBLASLt 990000";
    bench_result r;
    long kernels = count("timed kernels"), events = count("cuEventRecord"), least = 0;
    CHECK(measure(BENCH_MATMUL, &r) == 0, "%s", r.error);
    CHECK(r.count == 7 * M_COUNT && r.skip_count == 0, "%zu records, %zu skips", r.count,
          r.skip_count);
    for (size_t i = 0; i < r.count; i++) {
        const bench_record *a = &r.records[i];
        CHECK(a->graph && a->rounds == ROUNDS && a->seconds > 0, "%s by %s", a->column, a->by);
        if (a->ours || !strcmp(a->by, both)) least += a->rounds * a->repeats;
        else CHECK(!strcmp(a->kernel, "algorithm 4 of 4"), "%s", a->kernel);
    }
    check_regions(count("cuEventRecord") - events, (long)r.count * ROUNDS);
    kernels = count("timed kernels") - kernels;
    CHECK(kernels >= least, "%ld kernels between events, %ld in samples", kernels, least);
    /* whole rotations */
    CHECK(find(&r, "bf16", lt)->repeats % (WORKING_SET / (N * K * 2)) == 0);
    CHECK(find(&r, "int8 s32", lt)->repeats % (WORKING_SET / (N * K)) == 0);
    CHECK(find(&r, "bf16", lt)->baseline && find(&r, "f16", lt)->baseline);
    const bench_record *decoded = find(&r, "int4", both);
    CHECK(!decoded->ours && !decoded->baseline && decoded->worst > 0 && decoded->worst <= 1);
    CHECK(decoded->bytes < find(&r, "bf16", lt)->bytes);
    const bench_device *d = &r.devices[0];
    CHECK(!strncmp(d->before, "SM ", 3) && !strncmp(d->after, "SM ", 3), "%s", d->before);
    CHECK(
        !strcmp(d->during, "SM 1830 to 1965 MHz, at most 612 of 700 W, 61 C, held back: power cap"),
        "%s", d->during);
    CHECK(d->read > 0 && d->copy > 0 && d->peak[BENCH_F16] > 0 && d->peak[BENCH_INT8] > 0);
    bench_free(&r);
}

static void test_codecs(void)
{
    static const bench_operation operations[] = {BENCH_QUANTIZE, BENCH_DEQUANTIZE};
    for (size_t i = 0; i < 2; i++) {
        bench_result r;
        long events = count("cuEventRecord");
        CHECK(measure(operations[i], &r) == 0, "%s", r.error);
        CHECK(r.count == COLUMNS && r.records[0].graph && r.records[1].graph);
        for (int p = 0; p < BENCH_PEAKS; p++) /* of no product: measured, not raised */
            CHECK(r.devices[0].peak[p] > 0, "peak %d", p);
        check_regions(count("cuEventRecord") - events, COLUMNS * ROUNDS);
        bench_free(&r);
    }
}

/* ---- the roof of int8 products: what a warp of kernels/cuda/peaks.cu adds up ---- */

static int operand(int lane, int i, int byte) /* of a lane's operands, 4 words of A and 2 of B */
{
    uint32_t w = ((uint32_t)lane * 8 + (uint32_t)i + 1) * 0x9e3779b9u;
    return (int8_t)((w ^ w >> 15) >> 8 * byte);
}

/* The sum of a warp's results for one product: m16n8k32 as the PTX ISA has it. */
static int64_t product_sum(void)
{
    int64_t a[32] = {0}, b[32] = {0}, sum = 0; /* by column of A, by row of B */
    for (int lane = 0; lane < 32; lane++)
        for (int byte = 0; byte < 4; byte++) {
            for (int i = 0; i < 4; i++)
                a[lane % 4 * 4 + byte + i / 2 * 16] += operand(lane, i, byte);
            for (int i = 0; i < 2; i++)
                b[lane % 4 * 4 + byte + i * 16] += operand(lane, 4 + i, byte);
        }
    for (int k = 0; k < 32; k++) sum += a[k] * b[k];
    return sum;
}

static void test_peaks(void)
{
    enum { TILES = 8, THREADS = 256 };
    const nib_cuda_driver *cu = nib_cuda_load(NULL);
    int32_t out[THREADS];
    CUcontext context;
    CUstream stream;
    CUmodule module;
    CUfunction function;
    CUdeviceptr spans[7] = {0};
    char args[320] = {0};
    CHECK(!cu->cuDevicePrimaryCtxRetain(&context, 0) && !cu->cuCtxPushCurrent(context));
    CHECK(!cu->cuStreamCreate(&stream, 1) && !cu->cuMemAlloc(&spans[4], sizeof out));
    CHECK(!cu->cuModuleLoadData(&module, args));
    CHECK(!cu->cuModuleGetFunction(&function, module, "nib_cuda_peak_s8"));
    for (long long items = 1; items < 4; items += 2) {
        void *params[] = {spans, args, &items};
        int64_t sum = 0;
        CHECK(!cu->cuLaunchKernel(function, 1, 1, 1, THREADS, 1, 1, 0, stream, params, NULL));
        CHECK(!cu->cuMemcpyDtoHAsync(out, spans[4], sizeof out, stream));
        CHECK(!cu->cuStreamSynchronize(stream));
        for (int i = 0; i < THREADS; i++) sum += out[i];
        CHECK(sum == THREADS / 32 * TILES * items * product_sum(), "%lld", (long long)sum);
    }
    CHECK(!cu->cuMemFree(spans[4]) && !cu->cuStreamDestroy(stream));
    CHECK(!cu->cuModuleUnload(module) && !cu->cuCtxPopCurrent(&context));
}

static void test_without_capture(void)
{
    bench_result r;
    long events = count("cuEventRecord");
    setenv("CUDA_HOST_CAPTURE", "0", 1);
    CHECK(measure(BENCH_MATMUL, &r) == 0, "%s", r.error);
    CHECK(r.count == 7 * M_COUNT && has_skip(&r, "int4 by nibble cannot be captured"));
    for (size_t i = 0; i < r.count; i++)
        CHECK(!r.records[i].graph && r.records[i].seconds > 0, "%s", r.records[i].column);
    CHECK(count("cuEventRecord") == events);
    unsetenv("CUDA_HOST_CAPTURE");
    bench_free(&r);
    setenv("CUBLAS_HOST_CAPTURE", "0", 1); /* the vendor's alone */
    CHECK(measure(BENCH_MATMUL, &r) == 0, "%s", r.error);
    CHECK(has_skip(&r, "bf16 by cuBLASLt 990000 cannot be captured"));
    for (size_t i = 0; i < r.count; i++) CHECK(r.records[i].graph == r.records[i].ours);
    unsetenv("CUBLAS_HOST_CAPTURE");
    bench_free(&r);
}

static void test_refusals(void)
{
    bench_result r;
    setenv("CUBLAS_HOST_WRONG", "1", 1);
    CHECK(measure(BENCH_MATMUL, &r) == 0 && has_skip(&r, "not timed"), "%s", r.error);
    CHECK(r.count > 0);
    for (size_t i = 0; i < r.count; i++) CHECK(r.records[i].ours, "%s", r.records[i].by);
    unsetenv("CUBLAS_HOST_WRONG");
    bench_free(&r);
    setenv("NIBBLE_CUDA_DRIVER", "libcuda.so.1", 1);
    CHECK(measure(BENCH_MATMUL, &r) == 0, "%s", r.error);
    CHECK(has_skip(&r, "NIBBLE_CUDA_DRIVER"));
    for (size_t i = 0; i < r.count; i++) CHECK(r.records[i].ours && r.records[i].graph);
    unsetenv("NIBBLE_CUDA_DRIVER");
    bench_free(&r);
}

/* ---- as people type it ---- */

/* Whether what `nibble ARGUMENTS` prints holds each of the words, which end with NULL. What
 * vendors' libraries and the loader keep is more than the leak sanitizer can look into. */
static void prints(const char *nibble, const char *arguments, ...)
{
    static char out[1 << 16];
    snprintf(out, sizeof out, "ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 '%s' %s",
             nibble, arguments);
    FILE *from = popen(out, "r");
    if (!CHECK(from != NULL)) return;
    out[fread(out, 1, sizeof out - 1, from)] = 0;
    CHECK(pclose(from) == 0, "%s", arguments);
    va_list words;
    va_start(words, arguments);
    for (const char *w; (w = va_arg(words, const char *)) != NULL;)
        CHECK(strstr(out, w), "nibble %s: no '%s' in\n%s", arguments, w, out);
    va_end(words);
}

static void test_command(const char *nibble)
{
#define BENCH                                                                                      \
    "bench matmul --device cuda:0 --shape 64x256 --m 1 --scheme int4 --working-set 64K --rounds "  \
    "3 "
    prints(nibble, BENCH "--dequantize", "as one CUDA graph, launched between two events.",
           "int4 (dequantize + cuBLASLt 990000)", "during: SM ", NULL);
    prints(nibble, BENCH "--json", "\"timed\": \"graph\"", "\"during\": \"SM ", NULL);
    prints(nibble, BENCH "--as csv", ",timed,", ",graph,", NULL);
    prints(nibble, BENCH "--dequantize --dtype f32", "takes --dtype bf16 or f16", NULL);
    prints(nibble, "bench matmul --dequantize --shape 8x8 --m 1 --rounds 1 --working-set 64K",
           "cpu is no CUDA device", "launched one by one", NULL);
    prints(nibble, "explain matmul --device cuda:0 --shape 64x256", "dequantize + cuBLASLt",
           "--dequantize", NULL);
}

int main(int argc, char **argv)
{
    char why[BENCH_WORDS];
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    void *found = driver ? dlsym(driver, "cuda_host_calls") : NULL;
    if (argc < 2 || !found) {
        check_skip("bench", "LD_LIBRARY_PATH names no stand-in driver");
        return check_done();
    }
    memcpy(&count, &found, sizeof found); /* ISO C has no cast to a function pointer */
    CHECK(!bench_add_shape("64x256", &shapes, why), "%s", why);
    test_graphs();
    test_codecs();
    test_peaks();
    test_without_capture();
    test_refusals();
    test_command(argv[1]);
    return check_done();
}
