/* test_opencl.c - the OpenCL backend where things go wrong: no library, no platform, sources that
 * do not build, a device that computes wrongly, a damaged or unusable program cache, a host that
 * flushes subnormals. Each case is a process of its own, because the library and a device's verdict
 * are loaded once per process. Needs a device, for most; skips those where there is none. */
#include "../include/nibble.h"
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <fenv.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

enum { ROWS = 33, COLS = 200, PATH = 512 };

static char scratch[PATH]; /* a fresh directory */

/* ---- work to do on a device ---- */

/* Bytes of one output, gathered. */
typedef struct gathered {
    unsigned char data[ROWS * COLS * 8];
    size_t bytes;
} gathered;

static nib_status gather(nib_stream *stream, nib_mem mem, gathered *all)
{
    nib_status status = nib_download(stream, all->data + all->bytes, mem, mem.bytes);
    all->bytes += mem.bytes;
    return status == NIB_OK ? nib_sync(stream) : status;
}

/* Quantizes, decodes and measures values down to subnormals; NIB_OK and every output byte. */
static nib_status work_on(nib_ctx *ctx, gathered *all)
{
    nib_stream *stream = NULL;
    nib_quant quant = {.bits = 3,
                       .scale_type = NIB_F32,
                       .rule = NIB_RULE_ASYM_MIN,
                       .layout = NIB_LAYOUT_CANONICAL};
    static float x[ROWS * COLS];
    uint64_t random = 7;
    for (int i = 0; i < ROWS * COLS; i++) {
        uint32_t bits = (uint32_t)check_random(&random);
        bits = (bits & 0x81ffffffu) + ((uint32_t)(i / COLS) << 24); /* a row's magnitude */
        memcpy(&x[i], &bits, sizeof bits);
    }
    nib_status status = nib_grid_rows(ROWS, COLS, 24, &quant.grid);
    nib_mem in = {0}, out = {0}, blocks = {0}, planes[NIB_PLANES] = {{0}};
    if (status == NIB_OK) status = nib_stream_open(ctx, &stream);
    if (status == NIB_OK) status = nib_alloc(ctx, sizeof x, &in);
    if (status == NIB_OK) status = nib_alloc(ctx, sizeof x, &out);
    if (status == NIB_OK) status = nib_alloc(ctx, ROWS * sizeof(nib_error_block), &blocks);
    for (int p = 0; status == NIB_OK && p < NIB_PLANES; p++) {
        size_t bytes = 0;
        status = nib_plane_bytes(&quant, (nib_plane)p, &bytes);
        if (status == NIB_OK) status = nib_alloc(ctx, bytes, &planes[p]);
    }
    if (status == NIB_OK) status = nib_upload(stream, in, x, sizeof x);
    if (status == NIB_OK)
        status =
            nib_quantize(stream, &quant, NIB_F32, in, NIB_NONFINITE_ZERO, planes, (nib_mem){0});
    if (status == NIB_OK) status = nib_dequantize(stream, &quant, planes, NIB_F32, out);
    if (status == NIB_OK) status = nib_errors(stream, &quant, NIB_F32, in, planes, COLS, blocks);
    all->bytes = 0;
    for (int p = 0; status == NIB_OK && p < NIB_PLANES; p++)
        status = gather(stream, planes[p], all);
    if (status == NIB_OK) status = gather(stream, out, all);
    if (status == NIB_OK) status = gather(stream, blocks, all);
    nib_stream_close(stream);
    nib_free(ctx, &in);
    nib_free(ctx, &out);
    nib_free(ctx, &blocks);
    for (int p = 0; p < NIB_PLANES; p++) nib_free(ctx, &planes[p]);
    return status;
}

static nib_status work(const char *device, gathered *all)
{
    nib_ctx *ctx;
    nib_status status = nib_open(device, NULL, &ctx);
    if (status != NIB_OK) return status;
    status = work_on(ctx, all);
    nib_close(ctx);
    return status;
}

/* The device gives ref's bytes. */
static void check_same(void)
{
    static gathered expected, got;
    CHECK_OK(work("ref", &expected));
    if (!CHECK_OK(work("opencl:0", &got))) return;
    CHECK(expected.bytes == got.bytes && !memcmp(expected.data, got.data, got.bytes),
          "outputs differ");
}

/* ---- processes ---- */

/* Runs a case in a process of its own. */
static void alone(const char *name, void (*run)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        check_passed = check_failed = 0;
        run();
        _exit(check_failed || !check_passed);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0, "%s: status %d", name,
          status);
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[4 * PATH];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    CHECK(system(command) == 0, "%s", command);
}

/* A copy of kernels/ named `name`, to be changed and used by setenv_kernels. */
static void copy_kernels(const char *name)
{
    shell("mkdir -p %s/%s && cp -r %s/kernels/common %s/kernels/opencl %s/%s", scratch, name,
          NIBBLE_SOURCE_DIR, NIBBLE_SOURCE_DIR, scratch, name);
}

static void set_path(const char *variable, const char *name)
{
    char path[2 * PATH];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    setenv(variable, path, 1);
}

/* ---- no library, no platform ---- */

/* The description of a device; all zero where there is none of that name. */
static nib_device_info find_device(const char *name)
{
    nib_device_info infos[16], none;
    memset(&none, 0, sizeof none);
    size_t count = 0;
    CHECK_OK(nib_devices(infos, 16, &count));
    for (size_t i = 0; i < count && i < 16; i++)
        if (!strcmp(infos[i].name, name)) return infos[i];
    return none;
}

static void check_absent(const char *reason)
{
    nib_ctx *ctx = NULL;
    CHECK(find_device("cpu").name[0] && !find_device("opencl:0").name[0], "the wrong devices");
    CHECK_STATUS(nib_open("opencl:0", NULL, &ctx), NIB_E_NO_DEVICE);
    CHECK(strstr(nib_last_error(), "there are: "), "%s", nib_last_error());
    nib_backend_info info = {{0}, 0, {0}};
    for (size_t i = 0; nib_backend_at(i, &info) && strcmp(info.name, "opencl"); i++) continue;
    CHECK(!strcmp(info.name, "opencl") && strstr(info.note, reason), "note: %s", info.note);
    static gathered all;
    CHECK_OK(work("cpu", &all));
}

static void no_library(void)
{
    setenv("NIBBLE_OPENCL_LIB", "/nonexistent/libOpenCL.so", 1);
    check_absent("cannot be loaded");
}

static void other_library(void)
{
    setenv("NIBBLE_OPENCL_LIB", "libm.so.6", 1);
    check_absent("lacks clGetPlatformIDs");
}

static void no_platform(void)
{
    setenv("OCL_ICD_VENDORS", "/nonexistent", 1);
    check_absent("no platform");
}

/* ---- sources that do not build, devices that do not compute ---- */

static void broken_module(void)
{
    static gathered all;
    copy_kernels("broken");
    shell("echo 'int broken(void) { return nonsense; }' >> %s/broken/opencl/quantize.cl", scratch);
    set_path("NIBBLE_KERNEL_DIR", "broken");
    CHECK_STATUS(work("opencl:0", &all), NIB_E_DEVICE);
    CHECK(strstr(nib_last_error(), "quantize.cl does not build") &&
              strstr(nib_last_error(), "nonsense"),
          "%s", nib_last_error());
}

static void check_refused(const char *reason)
{
    static gathered all;
    nib_ctx *ctx;
    if (!CHECK_OK(nib_open("opencl:0", NULL, &ctx))) return;
    CHECK(!nib_ctx_device(ctx)->quantizes && strstr(nib_ctx_device(ctx)->note, reason), "note: %s",
          nib_ctx_device(ctx)->note);
    CHECK_STATUS(work_on(ctx, &all), NIB_E_DEVICE);
    CHECK(strstr(nib_last_error(), "refused") && strstr(nib_last_error(), reason), "%s",
          nib_last_error());
    nib_close(ctx);
}

static void broken_header(void)
{
    copy_kernels("header");
    shell("echo 'nonsense' >> %s/header/common/number.h", scratch);
    set_path("NIBBLE_KERNEL_DIR", "header");
    check_refused("cannot run");
}

static void no_sources(void)
{
    set_path("NIBBLE_KERNEL_DIR", "nowhere");
    check_refused("No such file");
}

/* One line of the sources is made wrong; the self-test must notice it by name. */
static void wrong_device(const char *name, const char *change, const char *file, const char *reason)
{
    copy_kernels(name);
    shell("sed -i '%s' %s/%s/common/%s && ! cmp -s %s/%s/common/%s %s/kernels/common/%s", change,
          scratch, name, file, scratch, name, file, NIBBLE_SOURCE_DIR, file);
    set_path("NIBBLE_KERNEL_DIR", name);
    set_path("NIBBLE_CACHE_DIR", "verdicts");
    check_refused(reason);
}

static void wrong_division(void)
{
    wrong_device("division", "s|return x / s;|return x * (1.0f / s);|", "number.h", "its division");
}

static void contraction(void)
{
    wrong_device("contraction", "s|result = product + c;|result = fma(a, b, c);|", "probe.h",
                 "two roundings");
}

/* The verdict of `wrong_division` is kept: the description knows it before anything is opened. */
static void kept_verdict(void)
{
    set_path("NIBBLE_KERNEL_DIR", "division");
    set_path("NIBBLE_CACHE_DIR", "verdicts");
    nib_device_info info = find_device("opencl:0");
    CHECK(info.name[0] && !info.quantizes && strstr(info.note, "its division"), "%s", info.note);
}

/* ---- the program cache ---- */

typedef struct listing {
    int files, others; /* *.bin, anything else */
} listing;

static listing list(const char *name)
{
    char path[3 * PATH];
    listing l = {0, 0};
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    DIR *directory = opendir(path);
    for (struct dirent *e; directory && (e = readdir(directory));) {
        if (e->d_name[0] == '.') continue;
        size_t length = strlen(e->d_name);
        if (length > 4 && !strcmp(e->d_name + length - 4, ".bin")) l.files++;
        else l.others++;
    }
    if (directory) closedir(directory);
    return l;
}

static void cached_run(void)
{
    set_path("NIBBLE_CACHE_DIR", "cache/deep");
    check_same();
}

/* A run on a good cache writes nothing. */
static void check_settled(const char *what)
{
    shell("rm -rf %s/good && cp -r %s/cache/deep %s/good", scratch, scratch, scratch);
    alone(what, cached_run);
    shell("diff -r %s/cache/deep %s/good", scratch, scratch);
}

/* Damages every file with `command` ($f), and sees that it is ignored and written again. */
static void damaged(const char *what, const char *command)
{
    listing before = list("cache/deep");
    shell("for f in %s/cache/deep/*.bin; do %s; done", scratch, command);
    alone(what, cached_run);
    listing after = list("cache/deep");
    CHECK(before.files == after.files && after.others == 0, "%s: %d files became %d and %d others",
          what, before.files, after.files, after.others);
    check_settled(what);
}

static void cache(void)
{
    alone("empty cache", cached_run);
    listing first = list("cache/deep");
    CHECK(first.files >= 4 && first.others == 0, "%d files, %d others", first.files, first.others);
    check_settled("full cache");
    damaged("changed", "s=$(stat -c %s $f); printf '\\377' | dd of=$f bs=1 seek=$((s - 9)) "
                       "conv=notrunc status=none");
    damaged("cut short", "truncate -s -1 $f");
    damaged("cut in the key", "truncate -s 40 $f");
    damaged("empty", "truncate -s 0 $f");
    damaged("too long", "printf x >> $f");
    damaged("foreign", "printf 'ELF, or whatever else there may be' > $f");
    damaged("another's", "cp $(ls $(dirname $f)/*.bin | tail -1) $f.x && mv $f.x $f");
}

static void unusable_cache(void)
{
    char path[2 * PATH];
    snprintf(path, sizeof path, "%s/file", scratch);
    shell("echo > %s", path);
    strcat(path, "/below");
    setenv("NIBBLE_CACHE_DIR", path, 1);
    check_same();
}

static void no_cache(void)
{
    set_path("XDG_CACHE_HOME", "xdg");
    setenv("NIBBLE_CACHE_DIR", "off", 1);
    check_same();
    CHECK(list("xdg/nibble").files == 0, "a cache was made");
}

static void default_cache(void)
{
    set_path("XDG_CACHE_HOME", "xdg");
    unsetenv("NIBBLE_CACHE_DIR");
    check_same();
    CHECK(list("xdg/nibble").files >= 4, "no cache in $XDG_CACHE_HOME/nibble");
}

/* Processes that start together on an empty cache. */
static void shared_cache(void)
{
    enum { PROCESSES = 4 };
    pid_t children[PROCESSES];
    set_path("NIBBLE_CACHE_DIR", "shared");
    fflush(NULL);
    for (int i = 0; i < PROCESSES; i++)
        if ((children[i] = fork()) == 0) {
            check_failed = 0;
            check_same();
            _exit(check_failed != 0);
        }
    for (int i = 0; i < PROCESSES; i++) {
        int status = 1;
        waitpid(children[i], &status, 0);
        CHECK(status == 0, "process %d: status %d", i, status);
    }
    CHECK(list("shared").others == 0 && list("shared").files >= 4, "left over files");
}

/* ---- the rest ---- */

#if defined(__x86_64__)
/* The host's floating-point modes are set before the driver starts its threads, and stay. */
static void host_modes(void)
{
    setenv("NIBBLE_CACHE_DIR", "off", 1);
    _mm_setcsr(_mm_getcsr() | 0x8040); /* flush to zero, denormals are zero */
    fesetround(FE_UPWARD);
    check_same();
}
#endif

static void *thread_work(void *ctx)
{
    gathered *all = malloc(sizeof *all);
    if (work_on(ctx, all) != NIB_OK) all->bytes = 0;
    return all;
}

/* One context, four threads with a stream each. */
static void threads(void)
{
    enum { THREADS = 4 };
    static gathered expected;
    pthread_t thread[THREADS];
    nib_ctx *ctx;
    CHECK_OK(work("ref", &expected));
    if (!CHECK_OK(nib_open("opencl:0", NULL, &ctx))) return;
    for (int i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, thread_work, ctx);
    for (int i = 0; i < THREADS; i++) {
        void *got;
        pthread_join(thread[i], &got);
        gathered *all = got;
        CHECK(all->bytes == expected.bytes && !memcmp(all->data, expected.data, all->bytes),
              "thread %d", i);
        free(got);
    }
    nib_close(ctx);
}

static void too_much_memory(void)
{
    nib_ctx *ctx;
    nib_mem mem = {0};
    if (!CHECK_OK(nib_open("opencl:0", NULL, &ctx))) return;
    CHECK_STATUS(nib_alloc(ctx, (size_t)1 << 50, &mem), NIB_E_MEMORY);
    CHECK(strstr(nib_last_error(), "1125899906842624 bytes"), "%s", nib_last_error());
    nib_close(ctx);
}

static void has_device(void)
{
    nib_ctx *ctx;
    CHECK_OK(nib_open("opencl:0", NULL, &ctx));
}

int main(void)
{
    snprintf(scratch, sizeof scratch, "%s/nibble-opencl-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(scratch)) return 1;
    unsetenv("NIBBLE_KERNEL_DIR");
    set_path("NIBBLE_CACHE_DIR", "common");
    alone("no library", no_library);
    alone("other library", other_library);
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        has_device();
        _exit(check_failed != 0);
    }
    if (waitpid(child, &status, 0) != child || status) {
        check_skip("everything on a device", "there is no opencl:0");
    } else {
        alone("no platform", no_platform);
        alone("broken module", broken_module);
        alone("broken header", broken_header);
        alone("no sources", no_sources);
        alone("wrong division", wrong_division);
        alone("contraction", contraction);
        alone("kept verdict", kept_verdict);
        cache();
        alone("unusable cache", unusable_cache);
        alone("no cache", no_cache);
        alone("default cache", default_cache);
        shared_cache();
#if defined(__x86_64__)
        alone("host modes", host_modes);
#endif
        alone("threads", threads);
        alone("too much memory", too_much_memory);
    }
    shell("rm -rf %s", scratch);
    return check_done();
}
