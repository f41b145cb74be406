/* shapes.c - the shapes that are measured: typed, of models whose layers are known, or of a
 * config.json. */
#include "bench.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SIZE = 1 << 24 };

/* What a decoder's linear layers follow from. */
typedef struct model {
    const char *name;
    int64_t hidden, intermediate, heads, kv_heads, head_dim;
} model;

/* From the config.json that each model is published with. */
static const model models[] = {
    {"llama-2-7b", 4096, 11008, 32, 32, 128},  /* meta-llama/Llama-2-7b-hf */
    {"llama-1b", 2048, 8192, 32, 8, 64},       /* meta-llama/Llama-3.2-1B */
    {"llama-8b", 4096, 14336, 32, 8, 128},     /* meta-llama/Llama-3.1-8B */
    {"llama-70b", 8192, 28672, 64, 8, 128},    /* meta-llama/Llama-3.1-70B */
    {"llama-405b", 16384, 53248, 128, 8, 128}, /* meta-llama/Llama-3.1-405B */
    {"qwen-7b", 3584, 18944, 28, 4, 128},      /* Qwen/Qwen2.5-7B */
    {"qwen-32b", 5120, 27648, 40, 8, 128},     /* Qwen/Qwen2.5-32B */
    {"qwen-72b", 8192, 29568, 64, 8, 128},     /* Qwen/Qwen2.5-72B */
    {"qwen3-8b", 4096, 12288, 32, 8, 128},     /* Qwen/Qwen3-8B */
    {"mistral-7b", 4096, 14336, 32, 8, 128},   /* mistralai/Mistral-7B-v0.3 */
    {"gemma-9b", 3584, 14336, 16, 8, 256},     /* google/gemma-2-9b */
    {"phi-4", 5120, 17920, 40, 10, 128},       /* microsoft/phi-4 */
};

/* Says why in words; returns the exit code. */
__attribute__((format(printf, 3, 4))) static int say(char why[BENCH_WORDS], int code,
                                                     const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, BENCH_WORDS, format, args);
    va_end(args);
    return code;
}

#define FAIL(code, ...) say(why, code, __VA_ARGS__)

static int add(bench_shapes *shapes, const char *name, int64_t n, int64_t k, char why[BENCH_WORDS])
{
    if (shapes->count == BENCH_MOST_SHAPES)
        return FAIL(2, "more than %d shapes", BENCH_MOST_SHAPES);
    bench_shape *s = &shapes->at[shapes->count++];
    snprintf(s->name, sizeof s->name, "%s", name);
    s->n = n, s->k = k;
    return 0;
}

/* A size of 1..MOST_SIZE; 0 where the text holds none. */
static int64_t read_size(const char *text, const char **end_ret)
{
    char *end;
    if (*text < '0' || *text > '9') return 0;
    errno = 0;
    long long size = strtoll(text, &end, 10);
    *end_ret = end;
    return errno || size > MOST_SIZE ? 0 : size;
}

int bench_add_shape(const char *text, bench_shapes *shapes, char why[BENCH_WORDS])
{
    const char *at = text;
    int64_t n = read_size(at, &at), k = 0;
    if (n && (*at == 'x' || *at == 'X')) k = read_size(at + 1, &at);
    if (!k || *at)
        return FAIL(
            2,
            "--shape is '%s'; it must be NxK, as 4096x11008 (rows by columns of the weights, "
            "each 1 to %d)",
            text, MOST_SIZE);
    char name[BENCH_NAME];
    snprintf(name, sizeof name, "%lldx%lld", (long long)n, (long long)k);
    return add(shapes, name, n, k, why);
}

/* The four products of a decoder's layer, as serving runtimes fuse them. Across devices qkv and
 * gate_up are cut along N, o and down along K. */
static int add_layers(const model *m, int64_t tp, bench_shapes *shapes, char why[BENCH_WORDS])
{
    const struct {
        const char *name;
        int64_t n, k;
    } layers[] = {{"qkv", (m->heads + 2 * m->kv_heads) * m->head_dim / tp, m->hidden},
                  {"o", m->hidden, m->heads * m->head_dim / tp},
                  {"gate_up", 2 * m->intermediate / tp, m->hidden},
                  {"down", m->hidden, m->intermediate / tp}};
    if (m->heads % tp || m->kv_heads % tp || m->intermediate % tp)
        return FAIL(2,
                    "--tp is %lld; it must divide the %lld heads, %lld key-value heads and %lld "
                    "intermediate columns of %s",
                    (long long)tp, (long long)m->heads, (long long)m->kv_heads,
                    (long long)m->intermediate, m->name);
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        char name[BENCH_NAME], cut[16] = "";
        if (tp > 1) snprintf(cut, sizeof cut, "/%d", (int)tp);
        snprintf(name, sizeof name, "%.24s%s.%s", m->name, cut, layers[i].name);
        int code = add(shapes, name, layers[i].n, layers[i].k, why);
        if (code) return code;
    }
    return 0;
}

int bench_add_model(const char *name, int64_t tp, bench_shapes *shapes, char why[BENCH_WORDS])
{
    char list[BENCH_WORDS / 2] = "";
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        if (!strcasecmp(models[i].name, name)) return add_layers(&models[i], tp, shapes, why);
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, " %s", models[i].name);
    }
    return FAIL(2, "--layers is '%s'; it must be one of:%s", name, list);
}

/* A number of a config, 1..MOST_SIZE; `otherwise` where there is none, -1 where it is none. */
static int64_t config_size(const json_t *config, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(config, key);
    if (!value || json_is_null(value)) return otherwise;
    json_int_t size = json_integer_value(value);
    return json_is_integer(value) && size >= 1 && size <= MOST_SIZE ? size : -1;
}

static int read_model(const json_t *config, const char *file, model *m, char why[BENCH_WORDS])
{
    const json_t *text = json_object_get(config, "text_config"); /* of a model that also sees */
    if (json_is_object(text)) config = text;
    m->hidden = config_size(config, "hidden_size", -1);
    m->heads = config_size(config, "num_attention_heads", -1);
    m->kv_heads = config_size(config, "num_key_value_heads", m->heads);
    m->intermediate = config_size(config, "intermediate_size", -1);
    m->head_dim = config_size(config, "head_dim", m->heads > 0 ? m->hidden / m->heads : -1);
    const struct {
        const char *key;
        int64_t value;
    } keys[] = {{"hidden_size", m->hidden},
                {"num_attention_heads", m->heads},
                {"num_key_value_heads", m->kv_heads},
                {"intermediate_size", m->intermediate},
                {"head_dim", m->head_dim}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].value < 1)
            return FAIL(3, "%s: %s must be a whole number from 1 to %d", file, keys[i].key,
                        MOST_SIZE);
    if (m->heads * m->head_dim > MOST_SIZE || m->kv_heads > m->heads)
        return FAIL(3, "%s: %lld heads of %lld, %lld of them for keys, make no layer", file,
                    (long long)m->heads, (long long)m->head_dim, (long long)m->kv_heads);
    return 0;
}

int bench_add_directory(const char *path, int64_t tp, bench_shapes *shapes, char why[BENCH_WORDS])
{
    char file[320];
    json_error_t error;
    model m = {0};
    int length = snprintf(file, sizeof file, "%s/config.json", path);
    if (length < 0 || (size_t)length >= sizeof file)
        return FAIL(2, "--model: the path is too long");
    FILE *from = fopen(file, "re");
    if (!from) return FAIL(5, "%s: %s", file, strerror(errno));
    json_t *config = json_loadf(from, JSON_REJECT_DUPLICATES, &error);
    fclose(from);
    if (!config) return FAIL(3, "%s: line %d: %s", file, error.line, error.text);
    const char *base = strrchr(path, '/');
    m.name = base && base[1] ? base + 1 : path;
    int code = read_model(config, file, &m, why);
    if (!code) code = add_layers(&m, tp, shapes, why);
    json_decref(config);
    return code;
}

/* ---- M ---- */

enum { MOST_M = 1 << 20 };

static int add_m(int64_t m, int64_t list[BENCH_MOST_M], size_t *count)
{
    size_t at = *count;
    while (at > 0 && list[at - 1] > m) at--;
    if (at > 0 && list[at - 1] == m) return 1;
    if (*count == BENCH_MOST_M) return 0;
    memmove(&list[at + 1], &list[at], (*count - at) * sizeof *list);
    list[at] = m;
    ++*count;
    return 1;
}

/* "A", "A-B", "A-B*F" or "A-B+D", up to a comma; the text behind it, NULL where it is none. */
static const char *read_range(const char *at, int64_t list[BENCH_MOST_M], size_t *count,
                              int *too_many)
{
    int64_t from = read_size(at, &at), to = from, step = 1;
    char how = '+';
    if (!from) return NULL;
    if (*at == '-') {
        to = read_size(at + 1, &at);
        if (!to || to < from) return NULL;
        if (*at == '*' || *at == '+') {
            how = *at;
            step = read_size(at + 1, &at);
            if (!step || (how == '*' && step < 2)) return NULL;
        }
    }
    if (to > MOST_M || (*at && *at != ',')) return NULL;
    for (int64_t m = from; m <= to && !*too_many; m = how == '*' ? m * step : m + step)
        *too_many = !add_m(m, list, count);
    return at;
}

int bench_read_m(const char *list, int64_t m[BENCH_MOST_M], size_t *count_ret,
                 char why[BENCH_WORDS])
{
    int too_many = 0;
    *count_ret = 0;
    for (const char *at = list;; at++) {
        at = read_range(at, m, count_ret, &too_many);
        if (too_many) return FAIL(2, "--m is '%s': more than %d values", list, BENCH_MOST_M);
        if (!at)
            return FAIL(2,
                        "--m is '%s'; it must be numbers from 1 to %d and ranges, as 1,4,16 or "
                        "1-4096*4 or 8-64+8",
                        list, MOST_M);
        if (!*at) return 0;
    }
}

/* ---- columns ---- */

nib_status bench_column_quant(const bench_column *c, const bench_shape *shape, nib_dtype type,
                              nib_quant *quant)
{
    if (!c->scheme) return nib_block_quant(c->block, shape->n, shape->k, quant);
    *quant = (nib_quant){.bits = c->scheme->bits,
                         .scale_type = type,
                         .rule = c->scheme->rule,
                         .layout = NIB_LAYOUT_CANONICAL};
    return nib_grid_rows(shape->n, shape->k, c->group, &quant->grid);
}

static int read_blocks(const nib_block_type *type, int64_t group, bench_column *c,
                       char why[BENCH_WORDS])
{
    nib_quant quant;
    if (group >= 0) return FAIL(2, "--group with %s, whose groups are its own", type->name);
    if (nib_block_quant(type->block, 1, type->elements, &quant) != NIB_OK)
        return FAIL(1, "%s: %s", type->name, nib_last_error());
    c->block = type->block;
    c->group = quant.grid.group;
    c->act_bits = 16;
    snprintf(c->name, sizeof c->name, "%s", type->name);
    return 0;
}

int bench_read_column(const char *name, int64_t group, bench_column *c, char why[BENCH_WORDS])
{
    const char *scheme = strcasecmp(name, "w4a8") ? name : "int4";
    memset(c, 0, sizeof *c);
    const nib_block_type *type = nib_block_find(name);
    if (type) return read_blocks(type, group, c, why);
    c->scheme = nib_scheme_find(scheme);
    if (!c->scheme)
        return FAIL(
            2, "--scheme is '%s'; it must be w4a8, or a scheme or block type of `nibble schemes`",
            name);
    c->act_bits = scheme == name ? c->scheme->act_bits : 8;
    c->group = group < 0 ? c->scheme->group : group;
    snprintf(c->name, sizeof c->name, "%s", scheme == name ? c->scheme->name : "w4a8");
    return 0;
}
