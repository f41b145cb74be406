/* test_pipeline.c - whole jobs: the output's tensors are those of direct calls, the bytes are
 * the same for every device, lane count and memory cap, and interruptions, NaN, changed and
 * already quantized inputs are what the header says.
 *
 * test_pipeline MAKE_CHECKPOINT: the program that makes the input. */
#include "../host/formats/journal.h"
#include "../include/nibble_quantize.h"
#include "check.h"

#include <dirent.h>
#include <math.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char root[] = "/tmp/nibble-pipeline-XXXXXX";
static const char *maker;

static const char *at(const char *name)
{
    static char paths[64][256];
    static int next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static void shell(const char *format, const char *a, const char *b)
{
    char command[1024];
    snprintf(command, sizeof command, format, a, b);
    if (system(command)) fprintf(stderr, "failed: %s\n", command);
}

static void make(const char *name, const char *options)
{
    char command[1024];
    snprintf(command, sizeof command, "%s %s %s >/dev/null", maker, at(name), options);
    if (system(command)) fprintf(stderr, "failed: %s\n", command);
}

/* XOR-free digest of every file in a directory but none of its names' order: FNV over sorted
 * names and contents. */
static uint64_t digest(const char *directory)
{
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, NULL, alphasort);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int i = 0; i < count; i++) {
        char path[1024];
        int byte;
        snprintf(path, sizeof path, "%s/%s", directory, entries[i]->d_name);
        FILE *file = entries[i]->d_name[0] == '.' ? NULL : fopen(path, "rb");
        for (const char *c = file ? entries[i]->d_name : ""; *c; c++)
            hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
        while (file && (byte = getc(file)) != EOF)
            hash = (hash ^ (unsigned)byte) * UINT64_C(0x100000001b3);
        if (file) fclose(file);
        free(entries[i]);
    }
    free(entries);
    return count > 0 ? hash : 0;
}

static nib_job_options job_options(const char *scheme)
{
    return (nib_job_options){
        .size = sizeof(nib_job_options), .scheme = nib_scheme_find(scheme), .group = -1};
}

static nib_run_options run_options(const char *output)
{
    return (nib_run_options){.size = sizeof(nib_run_options),
                             .output = output,
                             .device = "cpu",
                             .replace = 1,
                             .verify = 1};
}

/* Opens, plans and runs. */
static nib_status convert(const char *input, nib_job_options job, nib_run_options run)
{
    nib_file *file = NULL;
    nib_job *planned = NULL;
    nib_status status = nib_file_open(input, NULL, &file);
    if (status == NIB_OK) status = nib_job_create(file, &job, &planned);
    if (status == NIB_OK) status = nib_job_run(planned, &run);
    nib_job_close(planned);
    nib_file_close(file);
    return status;
}

/* ---- the same bytes from everyone ---- */

static void same_bytes(const char *scheme)
{
    static const struct {
        const char *device;
        int threads;
        size_t cap;
        nib_io io;
    } ways[] = {{"cpu", 1, 0, NIB_IO_BUFFERED},
                {"cpu", 3, 0, NIB_IO_BUFFERED},
                {"cpu", 8, (size_t)64 << 20, NIB_IO_BUFFERED},
                {"cpu", 2, (size_t)28 << 20, NIB_IO_BUFFERED},
                {"cpu", 2, 0, NIB_IO_DIRECT},
                {"ref", 2, 0, NIB_IO_BUFFERED},
                {"opencl:0", 0, 0, NIB_IO_BUFFERED}};
    uint64_t first = 0;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        nib_run_options run = run_options(at("out"));
        run.device = ways[i].device, run.threads = ways[i].threads,
        run.max_memory_bytes = ways[i].cap, run.io = ways[i].io;
        shell("rm -rf %s%s", at("out"), "");
        nib_status status = convert(at("model"), job_options(scheme), run);
        if (status == NIB_E_NO_DEVICE) {
            check_skip(ways[i].device, nib_last_error());
            continue;
        }
        CHECK(status == NIB_OK, "%s: %s", ways[i].device, nib_last_error());
        uint64_t now = digest(at("out"));
        if (!first) first = now;
        CHECK(now == first && now, "%s, way %zu, %s: other bytes", scheme, i, ways[i].device);
    }
}

/* ---- against direct calls ---- */

static void *read_all(const nib_file *file, const nib_span *span)
{
    unsigned char *bytes = aligned_alloc(64, (span->bytes / 64 + 1) * 64);
    CHECK_OK(nib_file_read(file, span->shard, span->offset, bytes, span->bytes));
    return bytes;
}

/* One tensor of the output equals nib_quantize on the whole tensor at once, by `ref`. */
static void check_tensor(nib_stream *ref, const nib_file *in, const nib_file *out, const char *name)
{
    const nib_tensor *x = nib_file_find(in, name), *q = nib_file_find(out, name);
    if (!CHECK(x && q && q->quantized == 1, "%s", name)) return;
    nib_quant canonical = q->quant;
    int packed = nib_rule_offset(q->quant.rule) == NIB_OFFSET_ZERO &&
                 q->quant.layout == NIB_LAYOUT_CT_PACKED;
    if (packed) canonical.layout = NIB_LAYOUT_CANONICAL;
    void *elements = read_all(in, &x->span[0]);
    nib_mem planes[NIB_PLANES] = {{0}}, none = {0};
    for (int p = 0; p < NIB_PLANES; p++) {
        size_t bytes;
        CHECK_OK(nib_plane_bytes(&canonical, (nib_plane)p, &bytes));
        planes[p] = nib_wrap(aligned_alloc(64, (bytes / 64 + 1) * 64), bytes);
    }
    CHECK_OK(nib_quantize(ref, &canonical, x->type, nib_wrap(elements, x->span[0].bytes),
                          NIB_NONFINITE_ERROR, planes, none));
    for (int p = 0; p < NIB_PLANES; p++) {
        if (!q->span[p].bytes) continue;
        unsigned char *stored = read_all(out, &q->span[p]);
        nib_mem expected = planes[p];
        if (p == NIB_PLANE_OFFSETS && packed) {
            expected = nib_wrap(calloc(1, q->span[p].bytes), q->span[p].bytes);
            CHECK_OK(nib_repack(ref, &canonical, NIB_PLANE_OFFSETS, planes[p], NIB_LAYOUT_CT_PACKED,
                                expected));
        }
        CHECK(expected.bytes == q->span[p].bytes &&
                  !memcmp(stored, expected.handle, expected.bytes),
              "%s: plane %d differs", name, p);
        if (expected.handle != planes[p].handle) free(expected.handle);
        free(stored);
    }
    for (int p = 0; p < NIB_PLANES; p++) free(planes[p].handle);
    free(elements);
}

static void against_direct_calls(const char *scheme)
{
    nib_ctx *ctx;
    nib_stream *ref;
    nib_file *in, *out;
    shell("rm -rf %s%s", at("out"), "");
    CHECK_OK(convert(at("model"), job_options(scheme), run_options(at("out"))));
    CHECK_OK(nib_open("ref", NULL, &ctx));
    CHECK_OK(nib_stream_open(ctx, &ref));
    CHECK_OK(nib_file_open(at("model"), NULL, &in));
    if (CHECK_OK(nib_file_open(at("out"), NULL, &out))) {
        CHECK(nib_file_count(in) == nib_file_count(out), "%lld logical tensors",
              (long long)nib_file_count(out));
        check_tensor(ref, in, out, "model.layers.0.self_attn.q_proj.weight");
        check_tensor(ref, in, out, "model.layers.1.mlp.down_proj.weight");
        const nib_tensor *a = nib_file_find(in, "lm_head.weight"),
                         *b = nib_file_find(out, "lm_head.weight");
        void *x = read_all(in, &a->span[0]), *y = read_all(out, &b->span[0]);
        CHECK(a->span[0].bytes == b->span[0].bytes && !memcmp(x, y, a->span[0].bytes),
              "a kept tensor changed");
        free(x);
        free(y);
        nib_file_close(out);
    }
    nib_file_close(in);
    nib_stream_close(ref);
    nib_close(ctx);
}

/* ---- compare, dequantize ---- */

typedef struct seen {
    int tensors, noted, different;
    double lowest;
} seen;

static void see(void *user, const nib_compared *compared)
{
    seen *s = user;
    s->tensors++;
    s->noted += compared->note != NULL;
    if (compared->errors.ee > 0) {
        s->different++;
        double db = nib_error_sqnr(&compared->errors);
        if (s->lowest == 0 || db < s->lowest) s->lowest = db;
    }
}

static seen compare(const char *a, const char *b)
{
    nib_file *x, *y;
    seen s = {0};
    nib_run_options options = {.size = sizeof options, .device = "cpu"};
    if (!CHECK_OK(nib_file_open(a, NULL, &x))) return s;
    if (CHECK_OK(nib_file_open(b, NULL, &y))) {
        CHECK_OK(nib_compare(x, y, &options, see, &s));
        nib_file_close(y);
    }
    nib_file_close(x);
    return s;
}

static void compare_and_back(void)
{
    seen self = compare(at("model"), at("model"));
    CHECK(self.tensors > 10 && !self.different && !self.noted, "%d tensors, %d differ",
          self.tensors, self.different);
    shell("rm -rf %s %s", at("out"), at("back"));
    CHECK_OK(convert(at("model"), job_options("int8"), run_options(at("out"))));
    seen quantized = compare(at("model"), at("out"));
    CHECK(quantized.different > 5 && quantized.lowest > 25, "int8 lowest %.1f dB",
          quantized.lowest);
    nib_job_options job = {.size = sizeof job, .kind = NIB_JOB_DEQUANTIZE, .group = -1};
    CHECK_OK(convert(at("out"), job, run_options(at("back"))));
    seen back = compare(at("out"), at("back"));
    CHECK(back.different == 0 || back.lowest > 45,
          "decoding to bf16 differs by more than its rounding: %.1f dB", back.lowest);
    shell("! grep -q quantization_config %s/config.json || touch %s/still-described", at("back"),
          root);
    CHECK(access(at("still-described"), F_OK) != 0);
    job.dequantize_type = NIB_F32;
    CHECK_OK(convert(at("out"), job, run_options(at("back"))));
    seen exact = compare(at("out"), at("back"));
    CHECK(exact.different == 0, "decoding to f32 differs");
}

/* ---- what must be refused ---- */

static void ignore(void *user, const nib_compared *compared) { (void)user, (void)compared; }

static void refusals(void)
{
    nib_run_options run = run_options(at("never"));
    nib_job_options job = job_options("int4");
    CHECK_STATUS(convert(at("out"), job, run), NIB_E_QUANTIZED); /* what compare_and_back left */
    job.keep_quantized = 1;
    CHECK_OK(convert(at("out"), job, run));
    CHECK(digest(at("out")) == digest(at("never")), "planes that pass through change");
    shell("rm -rf %s%s", at("never"), "");
    job.keep_quantized = 0;

    CHECK_STATUS(convert(at("model"), job, run_options(at("model"))), NIB_E_SAME_FILE);
    run.max_memory_bytes = 1 << 20;
    CHECK_STATUS(convert(at("model"), job, run), NIB_E_MEMORY);
    CHECK(strstr(nib_last_error(), "options.max_memory_bytes of 1048576 bytes") != NULL, "%s",
          nib_last_error());
    run.max_memory_bytes = 0;
    CHECK_STATUS(convert(at("model"), job, run_options("")), NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "options.output is empty") != NULL, "%s", nib_last_error());
    CHECK_STATUS(convert(at("model"), job, run_options(at("never.gguf"))), NIB_E_ARGUMENT);
    CHECK_STATUS(convert(at("model"), job, run_options(at("never.safetensors"))), NIB_E_ARGUMENT);
    CHECK(access(at("never.gguf"), F_OK) && access(at("never.safetensors"), F_OK));
    run.device = "cuda:77";
    CHECK_STATUS(convert(at("model"), job, run), NIB_E_NO_DEVICE);
    run.device = "cpu";
    int stop = 1;
    run.cancel = &stop;
    CHECK_STATUS(convert(at("model"), job, run), NIB_E_INTERRUPTED);
    CHECK(access(at("never"), F_OK) != 0, "something is left under the final name");

    nib_file *file = NULL;
    int64_t findings;
    run.size = sizeof run.size;
    CHECK_OK(nib_file_open(at("model"), NULL, &file));
    CHECK_STATUS(nib_compare(file, file, &run, ignore, NULL), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_check(file, &run, NULL, NULL, &findings), NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "options.size is 8") != NULL, "%s", nib_last_error());
    nib_file_close(file);
}

static void nonfinite(void)
{
    make("nan", "--layers 1 --intermediate 640 --nan model.layers.0.mlp.up_proj.weight");
    nib_job_options job = job_options("int4");
    nib_run_options run = run_options(at("nan-out"));
    CHECK_STATUS(convert(at("nan"), job, run), NIB_E_NONFINITE);
    CHECK(strstr(nib_last_error(), "up_proj.weight\" has NaN at element") != NULL, "%s",
          nib_last_error());
    CHECK(access(at("nan-out"), F_OK) != 0);
    job.nonfinite = NIB_NONFINITE_ZERO;
    CHECK_OK(convert(at("nan"), job, run));
    job.nonfinite = NIB_NONFINITE_ERROR;
    job.keep_nonfinite = 1;
    CHECK_OK(convert(at("nan"), job, run));
    nib_file *file;
    if (CHECK_OK(nib_file_open(at("nan-out"), NULL, &file))) {
        const nib_tensor *kept = nib_file_find(file, "model.layers.0.mlp.up_proj.weight");
        const nib_tensor *other = nib_file_find(file, "model.layers.0.mlp.gate_proj.weight");
        CHECK(kept && !kept->quantized && other && other->quantized == 1);
        nib_file_close(file);
    }
}

/* Stops a run when some tensors are done; the second run takes them up and makes the same bytes.
 * The journal's last `lost` records were not yet there: of a quantized tensor, only some planes
 * are. */
static void stop_after(void *user, const nib_progress *progress)
{
    if (progress->bytes_done * 2 > progress->bytes_total) *(volatile int *)user = 1;
}

static void resume(int lost)
{
    shell("rm -rf %s %s", at("whole"), at("out"));
    CHECK_OK(convert(at("model"), job_options("int4_asym"), run_options(at("whole"))));
    volatile int cancel = 0;
    nib_run_options run = run_options(at("out"));
    run.threads = 1;
    run.progress = stop_after;
    run.user = (void *)&cancel;
    run.cancel = &cancel;
    CHECK_STATUS(convert(at("model"), job_options("int4_asym"), run), NIB_E_INTERRUPTED);
    CHECK(access(at("out"), F_OK) != 0);
    char bytes[16];
    snprintf(bytes, sizeof bytes, "%d", lost * NIB_JOURNAL_RECORD);
    shell("truncate -s -%s %s/.nibble-journal", bytes, at("out.partial"));

    nib_file *file;
    nib_job *job;
    nib_job_options options = job_options("int4_asym");
    run = run_options(at("out"));
    CHECK_OK(nib_file_open(at("model"), NULL, &file));
    CHECK_OK(nib_job_create(file, &options, &job));
    CHECK_OK(nib_job_run(job, &run));
    int resumed = 0, without = 0;
    for (int64_t i = 0; i < nib_job_count(job); i++) {
        const nib_result *result = nib_job_result(job, i);
        resumed += result->resumed;
        without += nib_job_at(job, i)->scheme && !(nib_error_sqnr(&result->errors) > 0);
    }
    CHECK(resumed > 0 && without == 0, "%d resumed, %d without errors", resumed, without);
    nib_job_close(job);
    nib_file_close(file);
    CHECK(digest(at("out")) == digest(at("whole")), "a resumed run makes other bytes");
}

/* taskset and batch systems give a process some of the cores: "one per core" means those. */
static void one_core(void)
{
    cpu_set_t all, one;
    nib_file *file = NULL;
    nib_job *job = NULL;
    nib_job_options options = job_options("int4");
    nib_run_options run = run_options(at("one"));
    CHECK(!sched_getaffinity(0, sizeof all, &all));
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    CHECK(!sched_setaffinity(0, sizeof one, &one));
    CHECK_OK(nib_file_open(at("model"), NULL, &file));
    CHECK_OK(nib_job_create(file, &options, &job));
    CHECK_OK(nib_job_run(job, &run));
    CHECK(nib_job_stats(job)->lanes == 1, "%d lanes", nib_job_stats(job)->lanes);
    CHECK(!sched_setaffinity(0, sizeof all, &all));
    nib_job_close(job);
    nib_file_close(file);
}

int main(int argc, char **argv)
{
    maker = argc > 1 ? argv[1] : "make_checkpoint";
    if (!mkdtemp(root)) return 1;
    make("model", "--layers 2 --hidden 384 --intermediate 640 --vocab 1500 --shards 2");
    static const char *const schemes[] = {"int4", "int4_asym", "int8", "int8_asym", "w8a8", "int3"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        same_bytes(schemes[i]);
        against_direct_calls(schemes[i]);
    }
    compare_and_back();
    refusals();
    nonfinite();
    one_core();
    for (int lost = 0; lost < 4; lost++) resume(lost);
    shell("rm -rf %s%s", root, "");
    return check_done();
}
