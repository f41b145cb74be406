/* test_gguf_quantize.c - whole GGUF files against what llama_model_quantize of llama.cpp v0.5.0
 * wrote (tests/golden/gguf): the same SHA-256 for every file that it made, a clear error where
 * it refused or did harm.
 *
 *     test_gguf_quantize DEVICE [N]     every N-th entry of the manifest; 1 is all */
#include "check.h"

#include "../include/nibble_quantize.h"
#include "sha256.h"
#include "temporary.h"

#include <jansson.h>
#include <sys/stat.h>

#define GOLDEN NIBBLE_SOURCE_DIR "/tests/golden/gguf/"

enum { MOST_TEXTS = 8, TEXT_BYTES = 160 };

/* An entry's options, and the texts that they borrow. */
typedef struct call {
    nib_job_options options;
    char texts[MOST_TEXTS][TEXT_BYTES];
    const char *overrides[MOST_TEXTS], *keys[MOST_TEXTS];
    int count;
} call;

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static char *next_text(call *c)
{
    if (c->count >= MOST_TEXTS) exit(1);
    return c->texts[c->count++];
}

/* The origin's patterns match anywhere in a name, nibble's the whole name. */
static void read_overrides(call *c, const json_t *list)
{
    size_t i;
    const json_t *pair;
    json_array_foreach(list, i, pair)
    {
        char *text = next_text(c);
        snprintf(text, TEXT_BYTES, ".*(%s).*=%s", json_string_value(json_array_get(pair, 0)),
                 json_string_value(json_array_get(pair, 1)));
        c->overrides[c->options.override_count++] = text;
    }
    c->options.overrides = c->overrides;
}

/* The origin drops the sign of a whole number; nibble refuses it, so the test drops it. */
static void read_keys(call *c, const json_t *list)
{
    static const char *const names[][2] = {
        {"str", "str"}, {"int", "int"}, {"bool", "bool"}, {"f", "float"}};
    size_t i;
    const json_t *row;
    json_array_foreach(list, i, row)
    {
        char *text = next_text(c);
        const char *type = json_string_value(json_array_get(row, 1)), *ours = "?";
        const char *value = json_string_value(json_array_get(row, 2));
        for (int n = 0; n < 4; n++)
            if (!strcmp(type, names[n][0])) ours = names[n][1];
        if (!strcmp(type, "bool")) value = strcmp(value, "0") ? "true" : "false";
        snprintf(text, TEXT_BYTES, "%s=%s:%s", json_string_value(json_array_get(row, 0)), ours,
                 value + (!strcmp(type, "int") && *value == '-'));
        c->keys[c->options.key_count++] = text;
    }
    c->options.keys = c->keys;
}

static void read_layers(call *c, const json_t *list)
{
    size_t i;
    const json_t *layer;
    char *text = next_text(c);
    size_t at = 0;
    text[0] = 0;
    json_array_foreach(list, i, layer) at += (size_t)snprintf(
        text + at, TEXT_BYTES - at, "%s%lld", i ? "," : "", (long long)json_integer_value(layer));
    c->options.prune_layers = text;
}

/* Every parameter is taken or fails the test. */
static void read_call(call *c, const json_t *entry)
{
    const char *key;
    json_t *value, *params = json_object_get(entry, "params");
    *c = (call){.options = {.size = sizeof c->options, .group = -1}};
    nib_job_options *o = &c->options;
    o->mixture = nib_mixture_find(text_of(entry, "ftype"));
    json_object_foreach(params, key, value)
    {
        if (!strcmp(key, "ftype"))
            CHECK(o->mixture && o->mixture->file_type == json_integer_value(value));
        else if (!strcmp(key, "pure")) o->pure = 1;
        else if (!strcmp(key, "only_copy")) o->mixture = nib_mixture_find("copy");
        else if (!strcmp(key, "allow_requantize")) o->allow_requantize = 1;
        else if (!strcmp(key, "keep_split")) o->keep_split = 1;
        else if (!strcmp(key, "quantize_output_tensor")) o->leave_output = !json_is_true(value);
        else if (!strcmp(key, "output_tensor_type")) o->output_type = json_string_value(value);
        else if (!strcmp(key, "token_embedding_type")) o->embedding_type = json_string_value(value);
        else if (!strcmp(key, "prune_layers")) read_layers(c, value);
        else if (!strcmp(key, "tt_overrides")) read_overrides(c, value);
        else if (!strcmp(key, "kv_overrides")) read_keys(c, value);
        else if (!strcmp(key, "imatrix")) {
            char *text = next_text(c);
            snprintf(text, TEXT_BYTES, GOLDEN "%s", json_string_value(value));
            o->importance = text;
        } else {
            CHECK(0, "parameter %s is unknown", key);
        }
    }
}

/* ---- what an entry must give ---- */

/* Faults of the origin, which nibble does not repeat (tests/golden/gguf/README.md). */
static const struct {
    const char *input;
    nib_status status; /* NIB_OK: nibble writes another file */
} quirks[] = {
    {"in/quirk_align64.gguf", NIB_OK},    /* the key is dropped: data are aligned to 32 */
    {"in/quirk_nul_string.gguf", NIB_OK}, /* the string is kept whole */
    {"in/quirk_bool_2.gguf", NIB_E_BOOL}, /* not read */
    {"in/quirk_name_of_5.gguf", NIB_OK},  /* a name that does not end in weight stays */
    {"in/quirk_four_dims.gguf", NIB_OK},  /* any rows are rows */
};

static int is_quirk(const char *input, nib_status *status_ret)
{
    for (size_t i = 0; i < sizeof quirks / sizeof quirks[0]; i++)
        if (!strcmp(input, quirks[i].input)) {
            *status_ret = quirks[i].status;
            return 1;
        }
    return 0;
}

/* The statuses with which nibble refuses what the origin refused, or died of. */
static int is_refusal(nib_status status)
{
    return status == NIB_E_NONFINITE || status == NIB_E_IMPORTANCE || status == NIB_E_QUANTIZED ||
           status == NIB_E_SHAPE || status == NIB_E_ARGUMENT;
}

static void check_hash(const char *id, const char *path, const char *expected)
{
    char hash[65];
    sha256_file(path, hash);
    CHECK(!strcmp(hash, expected), "%s: %s", id, path);
}

static void check_files(const json_t *entry, const char *output)
{
    const json_t *files = json_object_get(entry, "files"), *file;
    const char *id = text_of(entry, "id");
    char path[600];
    size_t i;
    if (!files) check_hash(id, output, text_of(entry, "sha256"));
    json_array_foreach(files, i, file)
    {
        snprintf(path, sizeof path, "%s/model%s", output, text_of(file, "name_suffix"));
        check_hash(id, path, text_of(file, "sha256"));
    }
}

/* The decisions in the order of the output against the manifest's types: a wrong mixture can be
 * told from wrong bytes. */
static void check_types(const json_t *entry, const char *output)
{
    const json_t *types = json_object_get(entry, "tensor_types"), *type;
    nib_file *file;
    size_t i;
    if (json_object_get(entry, "files")) return;
    if (!CHECK_OK(nib_file_open(output, NULL, &file))) return;
    CHECK(nib_file_count(file) == (int64_t)json_array_size(types), "%s", text_of(entry, "id"));
    json_array_foreach(types, i, type)
    {
        const nib_tensor *t = nib_file_at(file, (int64_t)i);
        const nib_stored_type *is = nib_stored_type_at((int32_t)json_integer_value(type));
        CHECK(t && is && (t->blocks ? t->blocks == is : t->type == is->type), "%s: %s is not %s",
              text_of(entry, "id"), t ? t->name : "?", is ? is->name : "?");
    }
    nib_file_close(file);
}

static nib_status run(const char *device, const nib_file *input, const call *c, const char *output)
{
    nib_job *job = NULL;
    nib_run_options options = {
        .size = sizeof options, .output = output, .device = device, .threads = 2};
    nib_status status = nib_job_create(input, &c->options, &job);
    if (status == NIB_OK) status = nib_job_run(job, &options);
    nib_job_close(job);
    return status;
}

static void check_entry(const char *device, const json_t *entry, const char *dir)
{
    const char *input_name = text_of(entry, "input"), *id = text_of(entry, "id");
    char path[600], output[512];
    nib_file *input = NULL;
    call c;
    nib_status quirk = NIB_OK;
    struct stat st;
    snprintf(path, sizeof path, GOLDEN "%s", input_name);
    snprintf(output, sizeof output, "%s/out", dir);
    read_call(&c, entry);
    nib_status status = nib_file_open(path, NULL, &input);
    if (status == NIB_OK) status = run(device, input, &c, output);
    nib_file_close(input);
    if (is_quirk(input_name, &quirk)) {
        CHECK(status == quirk, "%s: %s", id, nib_last_error());
    } else if (json_integer_value(json_object_get(entry, "rc")) == 0) {
        if (CHECK(status == NIB_OK, "%s: %s", id, nib_last_error())) {
            check_types(entry, output);
            check_files(entry, output);
        }
    } else {
        CHECK(is_refusal(status) && !strchr(nib_last_error(), '\n'), "%s: %s: %s", id,
              nib_status_name(status), nib_last_error());
        CHECK(stat(output, &st), "%s: refused, and %s is there", id, output);
    }
    snprintf(path, sizeof path, "rm -rf %s", output);
    if (status == NIB_OK && system(path)) exit(1);
}

int main(int argc, char **argv)
{
    const char *device = argc > 1 ? argv[1] : "cpu";
    size_t every = argc > 2 ? (size_t)atoi(argv[2]) : 1, i;
    char *dir = temporary_directory();
    json_error_t error;
    json_t *manifest = json_load_file(GOLDEN "manifest.json", 0, &error), *entry;
    json_t *entries = json_object_get(manifest, "entries");
    nib_ctx *ctx = NULL;
    if (nib_open(device, NULL, &ctx) != NIB_OK) {
        check_skip(device, nib_last_error());
        return check_done();
    }
    nib_close(ctx);
    CHECK(json_array_size(entries) == 556, "%s", error.text);
    json_array_foreach(entries, i, entry) if (i % every == 0) check_entry(device, entry, dir);
    json_decref(manifest);
    temporary_remove(dir);
    return check_done();
}
