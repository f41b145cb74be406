/* test_no_memory.c - reading and describing checkpoints when allocations fail: the n-th alone, and
 * all from the n-th on, for n = 1 until nothing fails. E_MEMORY each time, nothing leaked (the
 * address sanitizer's build sees that), no descriptor left open. Also: reads and other system calls
 * that fail. */
#include "check.h"

#include "../host/formats/format.h"
#include "../host/formats/io.h"
#include "../host/formats/json.h"
#include "../host/quantize/output_job.h"
#include "check_file.h"
#include "make_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

static long calls, fail_at;
static int fail_on; /* 1: all calls from fail_at on */

static int fails(void)
{
    calls++;
    return fail_at && (calls == fail_at || (fail_on && calls > fail_at));
}

/* The linker's --wrap sends the libraries' calls here. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);
void *__wrap_malloc(size_t bytes) { return fails() ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}
void *__wrap_realloc(void *old, size_t bytes)
{
    return fails() ? NULL : __real_realloc(old, bytes);
}
char *__wrap_strdup(const char *text) { return fails() ? NULL : __real_strdup(text); }

static int open_descriptors(void)
{
    int count = 0;
    DIR *list = opendir("/proc/self/fd");
    while (list && readdir(list)) count++;
    if (list) closedir(list);
    return count;
}

static char *dir;
static const char config[] =
    "{\"quantization_config\":{\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":4}}},"
    "\"quant_method\":\"compressed-tensors\"}}";

static nib_status read_all(void)
{
    nib_file *file = NULL;
    nib_status status = nib_file_open(dir, NULL, &file);
    if (status != NIB_OK) return status;
    CHECK(!file_fault(file) || nib_io_hook); /* which may have failed its reads */
    CHECK(nib_file_count(file) == 2 && nib_file_at(file, 0)->quantized == 1);
    nib_file_close(file);
    return NIB_OK;
}

static nib_status describe(void)
{
    const nib_tensor a = {.name = "a.weight", .type = NIB_F16, .rank = 2, .shape = {64, 256}};
    nib_tensor b = a, kept = a;
    b.name = "b.weight";
    kept.name = "c.weight";
    nib_decision d[3] = {{.tensor = &a}, {.tensor = &b}, {.tensor = &kept}};
    static const char *const names[2] = {"int4", "w8a8"};
    for (int i = 0; i < 2; i++) {
        d[i].scheme = nib_scheme_find(names[i]);
        d[i].quant = (nib_quant){{64, 256, 64, i ? 256 : 128},
                                 d[i].scheme->bits,
                                 NIB_F16,
                                 d[i].scheme->rule,
                                 d[i].scheme->layout};
    }
    nib_format_plane planes[NIB_FORMAT_PLANES];
    int count;
    nib_status status = nib_format_compressed_tensors.planes(&a, &d[0].quant, planes, &count);
    if (status != NIB_OK) return status;
    for (int i = 0; i < count; i++) free(planes[i].name);
    char *text = NULL;
    status = nib_format_compressed_tensors.config("{\"a\":1}", d, 3, &text);
    CHECK((status == NIB_OK) == (text != NULL));
    nib_json json = nib_json_open(text ? text : "", text ? strlen(text) : 0);
    CHECK(!text || (nib_json_skip(&json) == NIB_OK && nib_json_close(&json) == NIB_OK), "%s", text);
    free(text);
    return status;
}

#define GGUF NIBBLE_SOURCE_DIR "/tests/golden/gguf/"

static nib_status read_gguf(void)
{
    nib_file *file;
    nib_status status =
        nib_file_open(GGUF "in/qwen2_bf16_bias_tied_split-00001-of-00002.gguf", NULL, &file);
    if (status != NIB_OK) return status;
    CHECK(!file_fault(file) && nib_file_count(file) == 50);
    nib_file_close(file);
    return NIB_OK;
}

static nib_status plan_gguf(void)
{
    static const char *const overrides[] = {".*attn_v=q8_0"}, *const keys[] = {"a=int:7"};
    const nib_job_options options = {.size = sizeof options,
                                     .group = -1,
                                     .mixture = nib_mixture_find("q4_k_m"),
                                     .importance = GGUF "imatrix/llama_f16_gqa4_tied.gguf",
                                     .overrides = overrides,
                                     .override_count = 1,
                                     .keys = keys,
                                     .key_count = 1,
                                     .prune_layers = "1"};
    nib_file *file;
    nib_job *job = NULL;
    nib_status status = nib_file_open(GGUF "in/llama_f16_gqa4_tied.gguf", NULL, &file);
    if (status != NIB_OK) return status;
    status = nib_job_create(file, &options, &job);
    CHECK((status == NIB_OK) == (job != NULL));
    nib_job_close(job);
    nib_file_close(file);
    return status;
}

/* A lone file says in its __metadata__ how its weights are quantized, or is not made. */
static const char *lone, *lone_out, *lone_partial;

static nib_status open_output(void)
{
    static char header[16384];
    const nib_job_options options = {
        .size = sizeof options, .scheme = nib_scheme_find("int4"), .group = -1};
    const nib_run_options run = {.size = sizeof run, .output = lone_out};
    nib_file *file;
    nib_job *job = NULL;
    nib_output *output = NULL;
    nib_status status = nib_file_open(lone, NULL, &file);
    if (status != NIB_OK) return status;
    status = nib_job_create(file, &options, &job);
    if (status == NIB_OK) status = nib_job_open_output(job, &run, &output);
    if (status == NIB_OK) {
        int fd = open(lone_partial, O_RDONLY);
        ssize_t bytes = read(fd, header, sizeof header);
        close(fd);
        CHECK(bytes > 0 && memmem(header, (size_t)bytes, "pack-quantized", 14) != NULL);
    }
    nib_output_close(output);
    nib_job_close(job);
    nib_file_close(file);
    return status;
}

static void exhaust(const char *what, nib_status (*run)(void), long least)
{
    int before = open_descriptors();
    for (fail_on = 0; fail_on < 2; fail_on++) {
        long n = 0;
        nib_status status;
        do {
            calls = 0;
            fail_at = ++n;
            status = run();
            fail_at = 0;
            CHECK(status == NIB_OK || status == NIB_E_MEMORY, "%s, allocation %ld: %s (%s)", what,
                  n, nib_status_name(status), nib_last_error());
        } while (calls >= n && n < 10000);
        CHECK(status == NIB_OK && n > least, "%s: %ld allocations", what, n);
    }
    CHECK(open_descriptors() == before, "%s left descriptors open", what);
}

/* ---- system calls ---- */

static long asked, refuse_at;

static int fail_call(const nib_io_event *event)
{
    static const int errors[] = {EIO, EACCES, EMFILE};
    (void)event;
    return ++asked == refuse_at ? errors[refuse_at % 3] : 0;
}

static int shorten(const nib_io_event *event)
{
    if (event->bytes && *event->bytes > 1) *event->bytes = 1;
    return event->call == NIB_CALL_READ && ++asked % 2 ? EINTR : 0;
}

static void test_calls(void)
{
    int before = open_descriptors();
    nib_status status;
    nib_io_hook = fail_call;
    for (long n = 1;; n++) {
        asked = 0;
        refuse_at = n;
        status = read_all();
        if (asked < n) break;
        /* a failed close after reading does not matter */
        CHECK(status == NIB_E_IO || status == NIB_OK, "call %ld: %s", n, nib_status_name(status));
    }
    CHECK(status == NIB_OK, "%s", nib_last_error());
    CHECK(open_descriptors() == before, "%d before, %d after", before, open_descriptors());
    nib_io_hook = shorten;
    CHECK_OK(read_all());
    nib_io_hook = NULL;
}

int main(void)
{
    static const int64_t shape[2] = {3, 16};
    static const made_tensor tensors[] = {{"m.weight_shape", NIB_I64, 1, {2}, shape},
                                          {"m.weight_packed", NIB_I32, 2, {3, 2}, NULL},
                                          {"m.weight_scale", NIB_F16, 2, {3, 2}, NULL},
                                          {"norm", NIB_F16, 1, {3}, NULL}};
    static const char map[] = "{\"weight_map\":{\"norm\":\"model.safetensors\",\"m.weight_shape\":"
                              "\"model.safetensors\",\"m.weight_packed\":\"model.safetensors\","
                              "\"m.weight_scale\":\"model.safetensors\"}}";
    char path[300];
    json_set_alloc_funcs(__wrap_malloc, free);
    dir = temporary_directory();
    make_checkpoint(dir, config, "{\"format\":\"pt\",\"a\":\"b\"}", tensors, 4);
    exhaust("one file", read_all, 15);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    temporary_write(path, map, sizeof map - 1);
    exhaust("with an index", read_all, 25);
    exhaust("config.json", describe, 40);
    exhaust("split GGUF", read_gguf, 15);
    exhaust("a plan of GGUF", plan_gguf, 50);
    static const made_tensor weight = {"a.weight", NIB_F16, 2, {16, 256}, NULL};
    static unsigned char bytes[MADE_BYTES];
    char names[3][300];
    snprintf(names[0], sizeof names[0], "%s/lone.safetensors", dir);
    snprintf(names[1], sizeof names[1], "%s/out.safetensors", dir);
    snprintf(names[2], sizeof names[2], "%s/out.safetensors.partial/out", dir);
    lone = names[0], lone_out = names[1], lone_partial = names[2];
    temporary_write(lone, bytes, make_file(bytes, NULL, &weight, 1));
    exhaust("an output of one file", open_output, 60);
    test_calls();
    temporary_remove(dir);
    return check_done();
}
