/* gguf_job_keys.c - the keys of a job's GGUF files: the input's byte for byte, and what
 * llama-quantize sets at their end, in its order. */
#include "gguf_names.h"
#include "job.h"

#include "../core/internal.h"
#include "../formats/gguf.h"
#include "../formats/gguf_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUANTIZATION_VERSION = 2 }; /* of ggml's blocks */

#define ARCHITECTURE "general.architecture"
#define ALIGNMENT "general.alignment"

/* ---- what the policy asks of the model ---- */

/* An integer, or the first of an array of 4-byte integers (models whose layers differ); 0 where
 * there is none. */
static nib_status read_number(const nib_file *file, const char *name, uint64_t *value_ret)
{
    const nib_key *key = nib_file_key_find(file, 0, name);
    unsigned char raw[4];
    *value_ret = 0;
    if (!key) return NIB_OK;
    if (key->type == NIB_KEY_ARRAY && key->count > 0 &&
        (key->element == NIB_KEY_U32 || key->element == NIB_KEY_I32)) {
        NIB_TRY(nib_file_read(file, 0, key->value.offset, raw, sizeof raw));
        for (int i = 0; i < 4; i++) *value_ret |= (uint64_t)raw[i] << (8 * i);
        return NIB_OK;
    }
    if (nib_gguf_number(file, name, value_ret)) return NIB_OK;
    return NIB_FAIL(NIB_E_KEY, "%s is a %s; it must be a number of 0 or more", name,
                    nib_key_type_name(key->type));
}

static nib_status read_architecture(const nib_file *file, nib_gguf_policy *p)
{
    const nib_key *key = nib_file_key_find(file, 0, ARCHITECTURE);
    if (!key) return NIB_OK;
    if (key->type != NIB_KEY_STRING || key->count == 0 || key->count >= sizeof p->architecture)
        return NIB_FAIL(NIB_E_KEY, ARCHITECTURE " is no string of 1 to %zu bytes",
                        sizeof p->architecture - 1);
    return nib_file_read(file, 0, key->value.offset, p->architecture, (size_t)key->count);
}

static nib_status read_model(const nib_file *file, nib_gguf_policy *p)
{
    const struct {
        const char *key;
        uint64_t *value;
    } rows[] = {{"block_count", &p->layers},
                {"attention.head_count", &p->heads},
                {"attention.head_count_kv", &p->kv_heads},
                {"expert_count", &p->experts}};
    NIB_TRY(read_architecture(file, p));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s.%s", p->architecture, rows[i].key);
        NIB_TRY(read_number(file, name, rows[i].value));
    }
    if (!p->kv_heads) p->kv_heads = p->heads;
    for (int64_t i = 0; p->layers == 0 && i < nib_file_count(file); i++) {
        int64_t layer = nib_gguf_layer(nib_file_at(file, i)->name);
        if ((uint64_t)(layer + 1) > p->layers) p->layers = (uint64_t)(layer + 1);
    }
    return NIB_OK;
}

/* The file whose keys the output gets. */
static const nib_file *keys_of(const nib_job *job)
{
    return job->gguf->model ? job->gguf->model : job->input;
}

static nib_status open_template(nib_job *job, const char *path)
{
    nib_gguf_job *g = job->gguf;
    const nib_file_options options = {.size = sizeof options};
    if (!strcmp(nib_file_format(job->input), "gguf"))
        return NIB_FAIL(NIB_E_ARGUMENT,
                        "a template is for safetensors; %s is GGUF and has its keys",
                        nib_file_path(job->input));
    NIB_TRY(nib_file_open(path, &options, &g->model));
    if (strcmp(nib_file_format(g->model), "gguf"))
        return NIB_FAIL(NIB_E_FORMAT, "%s is no GGUF file", path);
    g->translated = 1;
    return NIB_OK;
}

nib_status nib_gguf_job_model(nib_job *job, const nib_job_options *options)
{
    nib_gguf_policy *p = &job->gguf->policy;
    const struct {
        const char *name, *text;
    } given[] = {{"architecture", options->architecture},
                 {"importance", options->importance},
                 {"template_path", options->template_path}};
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
        if (given[i].text && !*given[i].text)
            return NIB_FAIL(NIB_E_ARGUMENT, "options.%s is empty", given[i].name);
    if (options->template_path) NIB_TRY(open_template(job, options->template_path));
    NIB_TRY(read_model(keys_of(job), p));
    if (options->architecture && strlen(options->architecture) >= sizeof p->architecture)
        return NIB_FAIL(NIB_E_ARGUMENT, "options.architecture \"%.80s\" has more than %zu bytes",
                        options->architecture, sizeof p->architecture - 1);
    if (options->architecture)
        snprintf(p->architecture, sizeof p->architecture, "%s", options->architecture);
    if (job->gguf->translated) {
        if (!nib_gguf_knows_names(p->architecture))
            return NIB_FAIL(
                NIB_E_UNSUPPORTED,
                "the template's architecture is \"%s\"; nibble knows the names of llama "
                "(mistral too), qwen2 and qwen3",
                p->architecture);
        return nib_gguf_rope_factors(nib_file_config(job->input), &job->gguf->rope);
    }
    const char *guess = *p->architecture ? NULL : nib_gguf_guess_architecture(job->input);
    if (guess) snprintf(p->architecture, sizeof p->architecture, "%s", guess);
    if (*p->architecture || nib_file_key_at(job->input, 0, 0)) return NIB_OK;
    return NIB_FAIL(NIB_E_ARGUMENT,
                    "a GGUF file names its model's architecture, and the tensors' names do not "
                    "tell it: set options.architecture, or options.template_path for a language "
                    "model");
}

/* ---- keys that the user sets ---- */

/* "KEY=TYPE:VALUE" taken apart. */
typedef struct user_key {
    char name[128], value[256];
    nib_key_type type;
    uint64_t bits;
} user_key;

static nib_status fail_key(const char *text, const char *why)
{
    return NIB_FAIL(NIB_E_ARGUMENT,
                    "key \"%.100s\": %s; write KEY=TYPE:VALUE with TYPE int, float, bool or str",
                    text, why);
}

static nib_status read_value(const char *text, const char *type, user_key *key)
{
    char *end;
    if (!strcmp(type, "int")) {
        long long number = strtoll(key->value, &end, 10);
        key->type = NIB_KEY_U32;
        key->bits = (uint64_t)number;
        return *key->value && !*end && number >= 0 && number <= UINT32_MAX
                   ? NIB_OK
                   : fail_key(text, "it is stored as u32, so it must be 0 to 4294967295");
    }
    if (!strcmp(type, "float")) {
        float number = strtof(key->value, &end);
        uint32_t bits;
        memcpy(&bits, &number, sizeof bits);
        key->type = NIB_KEY_F32;
        key->bits = bits;
        return *key->value && !*end && isfinite(number) ? NIB_OK
                                                        : fail_key(text, "it is no number");
    }
    if (!strcmp(type, "bool")) {
        key->type = NIB_KEY_BOOL;
        key->bits = !strcmp(key->value, "true");
        return key->bits || !strcmp(key->value, "false") ? NIB_OK
                                                         : fail_key(text, "it is true or false");
    }
    key->type = NIB_KEY_STRING;
    return strcmp(type, "str") ? fail_key(text, "the type is unknown") : NIB_OK;
}

static nib_status read_user_key(const char *text, user_key *key)
{
    const char *equals = strchr(text, '='), *colon = equals ? strchr(equals, ':') : NULL;
    char type[8];
    *key = (user_key){.type = NIB_KEY_STRING};
    if (!colon || equals == text) return fail_key(text, "it is not of that form");
    size_t name = (size_t)(equals - text), kind = (size_t)(colon - equals - 1);
    if (name >= sizeof key->name || kind >= sizeof type || strlen(colon + 1) >= sizeof key->value)
        return fail_key(text, "it is too long");
    memcpy(key->name, text, name);
    memcpy(type, equals + 1, kind);
    type[kind] = 0;
    snprintf(key->value, sizeof key->value, "%s", colon + 1);
    return read_value(text, type, key);
}

/* Why a key cannot be set so, or NULL: no reader would take the file, or it is for nibble to say.
 * `pruned` names the key of layers left, where layers go. */
static const char *refusal_of(const user_key *key, const char *pruned)
{
    int is_string = key->type == NIB_KEY_STRING;
    if (!strcmp(key->name, ALIGNMENT) &&
        (key->type != NIB_KEY_U32 || key->bits != NIB_GGUF_ALIGNMENT))
        return "data are aligned to 32 bytes, so it can only be int:32";
    if (!strncmp(key->name, "split.", strlen("split.")))
        return "it follows from the output's files and cannot be set";
    if (!strcmp(key->name, ARCHITECTURE) &&
        (!is_string || !*key->value || strlen(key->value) >= NIB_GGUF_ARCHITECTURE_ROOM))
        return "it must be a str of 1 to 63 bytes";
    if (pruned && !strcmp(key->name, pruned))
        return "it follows from the layers that are left and cannot be set";
    return NULL;
}

static int is_set(const user_key *set, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(set[i].name, name)) return 1;
    return 0;
}

static nib_status check_user_keys(const user_key *set, size_t count, const char *pruned)
{
    for (size_t i = 0; i < count; i++) {
        const char *refusal = refusal_of(&set[i], pruned);
        if (is_set(set, i, set[i].name)) refusal = "it is given twice";
        if (refusal) return NIB_FAIL(NIB_E_ARGUMENT, "key \"%s\": %s", set[i].name, refusal);
    }
    return NIB_OK;
}

/* ---- all keys ---- */

static void put_number(nib_job *job, int32_t file, const char *name, nib_key_type type,
                       uint64_t value)
{
    nib_gguf_put_number(&job->gguf->keys[file], name, type, value);
    job->gguf->key_counts[file]++;
}

static void put_string(nib_job *job, int32_t file, const char *name, const char *value)
{
    nib_gguf_put_string(&job->gguf->keys[file], name, value);
    job->gguf->key_counts[file]++;
}

/* 1: the key is not copied, because it is set anew or says nothing of the new file. */
static int is_replaced(const nib_key *key, const user_key *set, size_t count, const char *pruned)
{
    static const char *const names[] = {"general.quantization_version", "general.file_type",
                                        "split.no", "split.count", "split.tensors.count"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(key->name, names[i])) return 1;
    if (is_set(set, count, key->name)) return 1;
    if (pruned && !strcmp(key->name, pruned)) return 1;
    return !strcmp(key->name, ALIGNMENT) && key->bits != NIB_GGUF_ALIGNMENT;
}

static nib_status copy_keys(nib_job *job, const user_key *set, size_t count, const char *pruned)
{
    const nib_key *key;
    for (int64_t i = 0; (key = nib_file_key_at(keys_of(job), 0, i)) != NULL; i++) {
        if (is_replaced(key, set, count, pruned)) continue;
        NIB_TRY(nib_gguf_put_key(&job->gguf->keys[0], keys_of(job), key));
        job->gguf->key_counts[0]++;
    }
    return NIB_OK;
}

static void put_versions(nib_job *job, const user_key *set, size_t count)
{
    const nib_mixture *mixture = job->gguf->policy.mixture;
    uint64_t type = (uint64_t)mixture->file_type;
    int known =
        mixture->file_type >= 0 || nib_gguf_number(keys_of(job), "general.file_type", &type);
    if (!is_set(set, count, "general.quantization_version"))
        put_number(job, 0, "general.quantization_version", NIB_KEY_U32, QUANTIZATION_VERSION);
    if (known && !is_set(set, count, "general.file_type"))
        put_number(job, 0, "general.file_type", NIB_KEY_U32, type);
}

static void put_user_keys(nib_job *job, const user_key *set, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (set[i].type == NIB_KEY_STRING) put_string(job, 0, set[i].name, set[i].value);
        else put_number(job, 0, set[i].name, set[i].type, set[i].bits);
}

/* Pruned models have fewer layers. */
static void put_layers(nib_job *job, const char *name)
{
    int64_t most = -1;
    for (int64_t i = 0; i < job->gguf->count; i++) {
        int64_t layer = nib_gguf_layer(job->gguf->subjects[i].name);
        if (layer > most) most = layer;
    }
    put_number(job, 0, name, NIB_KEY_U32, (uint64_t)(most + 1));
}

static void put_splits(nib_job *job)
{
    int32_t files = job->gguf->files;
    for (int32_t i = 0; i < files; i++) {
        put_number(job, i, "split.no", NIB_KEY_U16, (uint64_t)i);
        put_number(job, i, "split.count", NIB_KEY_U16, (uint64_t)files);
        put_number(job, i, "split.tensors.count", NIB_KEY_I32, (uint64_t)job->gguf->count);
    }
}

static nib_status put_all(nib_job *job, const nib_job_options *options, const user_key *set)
{
    nib_gguf_job *g = job->gguf;
    char layers[128];
    snprintf(layers, sizeof layers, "%s.block_count", g->policy.architecture);
    const char *pruned = options->prune_layers ? layers : NULL;
    NIB_TRY(check_user_keys(set, options->key_count, pruned));
    NIB_TRY(copy_keys(job, set, options->key_count, pruned));
    if (*g->policy.architecture && !nib_file_key_find(keys_of(job), 0, ARCHITECTURE) &&
        !is_set(set, options->key_count, ARCHITECTURE))
        put_string(job, 0, ARCHITECTURE, g->policy.architecture);
    put_versions(job, set, options->key_count);
    put_user_keys(job, set, options->key_count);
    if (pruned) put_layers(job, layers);
    if (g->files > 1) put_splits(job);
    for (int32_t i = 0; i < g->files; i++) NIB_TRY(g->keys[i].status);
    return NIB_OK;
}

nib_status nib_gguf_job_keys(nib_job *job, const nib_job_options *options)
{
    nib_gguf_job *g = job->gguf;
    g->keys = calloc((size_t)g->files, sizeof *g->keys);
    g->key_counts = calloc((size_t)g->files, sizeof *g->key_counts);
    user_key *set = calloc(options->key_count + 1, sizeof *set);
    nib_status status =
        g->keys && g->key_counts && set ? NIB_OK : NIB_FAIL(NIB_E_MEMORY, "no memory for the keys");
    for (size_t i = 0; i < options->key_count && status == NIB_OK; i++)
        status = read_user_key(options->keys[i], &set[i]);
    if (status == NIB_OK) status = put_all(job, options, set);
    free(set);
    return status;
}
