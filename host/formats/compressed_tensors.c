/* compressed_tensors.c - writing compressed-tensors: names and shapes of the planes, and the
 * description in config.json (github.com/vllm-project/compressed-tensors 0.20:
 * quantization/quant_config.py, quant_scheme.py, quant_args.py; its QuantizationScheme and
 * QuantizationArgs refuse unknown keys, so only what they need is written). */
#include "format.h"

#include "../core/internal.h"
#include "config_text.h"
#include "json.h"
#include "path.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEIGHT ".weight"

/* ---- planes ---- */

static const char *refusal(const nib_tensor *tensor, const nib_scheme *scheme,
                           const nib_quant *quant)
{
    const nib_grid *grid = &quant->grid;
    if (tensor->quantized) return "it is already quantized";
    if (!nib_is_float(tensor->type)) return "its elements are not F32, F16 or BF16";
    if (tensor->rank != 2) return "compressed-tensors holds 2-d weights only";
    if (!nib_ends_with(tensor->name, WEIGHT)) return "its name does not end in .weight";
    if (tensor->shape[0] < 1 || tensor->shape[1] < 1) return "it is empty";
    if (nib_rule_offset(quant->rule) == NIB_OFFSET_MIN)
        return "compressed-tensors has integer zero points, no floating-point minimums";
    if (quant->layout != NIB_LAYOUT_CT_PACKED && quant->layout != NIB_LAYOUT_CT_INT8)
        return "its layout is not one of compressed-tensors'";
    if (grid->period != grid->rows) return "compressed-tensors needs scales for every row";
    if (grid->cols % grid->group) return "compressed-tensors needs groups that divide the columns";
    if (quant->bits > 8) return "compressed-tensors has codes of at most 8 bits";
    if (quant->layout == NIB_LAYOUT_CT_INT8 && grid->group != grid->cols)
        return "compressed-tensors' int-quantized weights have one scale per row";
    if (scheme && scheme->act_bits == 8 && quant->layout != NIB_LAYOUT_CT_INT8)
        return "int8 activations need int-quantized weights";
    return NULL;
}

/* Adds a plane called like the tensor, with `suffix` for ".weight". */
static nib_status add_plane(nib_format_plane *plane, const nib_tensor *tensor, const char *suffix,
                            nib_dtype type, int64_t rows, int64_t cols, int source)
{
    size_t base = strlen(tensor->name) - strlen(WEIGHT), bytes = base + strlen(suffix) + 1;
    *plane = (nib_format_plane){.type = type, .rank = 2, .shape = {rows, cols}, .source = source};
    plane->name = malloc(bytes);
    if (!plane->name) return NIB_FAIL(NIB_E_MEMORY, "out of memory: a name of %zu bytes", bytes);
    memcpy(plane->name, tensor->name, base);
    memcpy(plane->name + base, suffix, strlen(suffix) + 1);
    return NIB_OK;
}

/* The shape of the weight, which its packed words do not tell: two I64, little-endian. */
static nib_status add_shape(nib_format_plane *plane, const nib_tensor *tensor)
{
    NIB_TRY(add_plane(plane, tensor, ".weight_shape", NIB_I64, 2, 1, -1));
    plane->rank = 1;
    plane->byte_count = 16;
    for (int i = 0; i < 16; i++)
        plane->bytes[i] = (unsigned char)((uint64_t)tensor->shape[i / 8] >> (8 * (i % 8)));
    return NIB_OK;
}

static nib_status fill_planes(const nib_tensor *tensor, const nib_quant *quant,
                              nib_format_plane *planes, int *count)
{
    int packed = quant->layout == NIB_LAYOUT_CT_PACKED;
    int64_t rows = tensor->shape[0], cols = tensor->shape[1];
    int64_t groups = nib_ceil_div(cols, quant->grid.group), bits;
    if (!nib_mul(rows > cols ? rows : cols, quant->bits, &bits))
        return NIB_FAIL(NIB_E_OVERFLOW, "\"%.200s\" is too big", tensor->name);
    NIB_TRY(add_plane(&planes[*count], tensor, packed ? ".weight_packed" : WEIGHT,
                      packed ? NIB_I32 : NIB_I8, rows,
                      packed ? nib_ceil_div(cols * quant->bits, 32) : cols, NIB_PLANE_CODES));
    (*count)++;
    NIB_TRY(add_plane(&planes[*count], tensor, ".weight_scale", quant->scale_type, rows, groups,
                      NIB_PLANE_SCALES));
    (*count)++;
    if (nib_rule_offset(quant->rule) == NIB_OFFSET_ZERO) {
        NIB_TRY(add_plane(&planes[*count], tensor, ".weight_zero_point", packed ? NIB_I32 : NIB_I8,
                          packed ? nib_ceil_div(rows * quant->bits, 32) : rows, groups,
                          NIB_PLANE_OFFSETS));
        (*count)++;
    }
    if (packed) {
        NIB_TRY(add_shape(&planes[*count], tensor));
        (*count)++;
    }
    return NIB_OK;
}

static nib_status make_planes(const nib_tensor *tensor, const nib_quant *quant,
                              nib_format_plane planes_ret[NIB_FORMAT_PLANES], int *count_ret)
{
    const char *why = refusal(tensor, NULL, quant);
    if (why) return NIB_FAIL(NIB_E_UNSUPPORTED, "\"%.200s\": %s", tensor->name, why);
    nib_format_plane planes[NIB_FORMAT_PLANES] = {{0}};
    int count = 0;
    nib_status status = fill_planes(tensor, quant, planes, &count);
    if (status != NIB_OK) {
        for (int i = 0; i < count; i++) free(planes[i].name);
        return status;
    }
    memcpy(planes_ret, planes, sizeof planes);
    *count_ret = count;
    return NIB_OK;
}

/* ---- config.json ---- */

/* One of config_groups: weights that are quantized alike. */
typedef struct group {
    int32_t bits;
    int symmetric;
    nib_layout layout;
    int64_t size; /* 0: one scale per row */
    int64_t count;
} group;

enum { GROUPS = 64 };

typedef struct description {
    group groups[GROUPS];
    int count;
    int common;  /* the group with the most weights: its target is every Linear */
    int unknown; /* a tensor stays quantized in a way that cannot be described */
} description;

/* How the output stores the tensor, or NULL where plainly. */
static const nib_quant *stored_as(const nib_decision *decision)
{
    if (decision->scheme) return &decision->quant;
    if (decision->type != NIB_DTYPE_NONE || decision->tensor->quantized != 1) return NULL;
    return &decision->tensor->quant;
}

static group group_of(const nib_quant *quant)
{
    int whole = quant->grid.group == quant->grid.cols;
    return (group){quant->bits, nib_rule_offset(quant->rule) == NIB_OFFSET_NONE, quant->layout,
                   whole ? 0 : quant->grid.group, 0};
}

static int alike(const group *a, const group *b)
{
    return a->bits == b->bits && a->symmetric == b->symmetric && a->layout == b->layout;
}

/* The group that describes the weight, or -1. A row that is one group fits both "channel" and a
 * group size of that length. */
static int find_group(const description *d, const nib_quant *quant)
{
    group wanted = group_of(quant);
    int found = -1;
    for (int i = 0; i < d->count; i++) {
        if (!alike(&d->groups[i], &wanted)) continue;
        if (d->groups[i].size == wanted.size) return i;
        if (wanted.size == 0 && d->groups[i].size == quant->grid.cols) found = i;
    }
    return found;
}

static nib_status count_groups(const nib_decision *decisions, int64_t count, description *d)
{
    for (int64_t i = 0; i < count; i++) {
        const nib_quant *quant = stored_as(&decisions[i]);
        d->unknown |= decisions[i].tensor->quantized == 2;
        if (!quant) continue;
        int at = find_group(d, quant);
        if (at < 0 && d->count == GROUPS)
            return NIB_FAIL(NIB_E_UNSUPPORTED,
                            "tensors are quantized in more than %d ways; use fewer schemes",
                            GROUPS);
        if (at < 0) d->groups[at = d->count++] = group_of(quant);
        if (++d->groups[at].count > d->groups[d->common].count) d->common = at;
    }
    return NIB_OK;
}

static json_t *module_name(const nib_tensor *tensor)
{
    size_t length = strlen(tensor->name);
    if (nib_ends_with(tensor->name, WEIGHT)) length -= strlen(WEIGHT);
    return json_stringn(tensor->name, length);
}

/* The common group takes every Linear; the others take their modules by name, which goes before
 * class in the consumers. */
static json_t *make_targets(const nib_decision *decisions, int64_t count, const description *d,
                            int at)
{
    json_t *targets = json_array();
    int failed = !targets;
    if (at == d->common) failed |= json_array_append_new(targets, json_string("Linear"));
    for (int64_t i = 0; at != d->common && i < count && !failed; i++) {
        const nib_quant *quant = stored_as(&decisions[i]);
        if (quant && find_group(d, quant) == at)
            failed |= json_array_append_new(targets, module_name(decisions[i].tensor));
    }
    if (!failed) return targets;
    json_decref(targets);
    return NULL;
}

static const char *format_of(nib_layout layout)
{
    return layout == NIB_LAYOUT_CT_INT8 ? "int-quantized" : "pack-quantized";
}

static int is_mixed(const description *d)
{
    for (int i = 1; i < d->count; i++)
        if (d->groups[i].layout != d->groups[0].layout) return 1;
    return 0;
}

static json_t *make_weights(const group *g)
{
    json_t *weights =
        json_pack("{s:i, s:s, s:b, s:s, s:b}", "num_bits", (int)g->bits, "type", "int", "symmetric",
                  g->symmetric, "strategy", g->size ? "group" : "channel", "dynamic", 0);
    if (!g->size || !json_object_set_new(weights, "group_size", json_integer(g->size)))
        return weights;
    json_decref(weights);
    return NULL;
}

/* jansson takes over what is set even where it fails, and fails on NULL. */
static json_t *make_group(const nib_decision *decisions, int64_t count, const description *d,
                          int at)
{
    const group *g = &d->groups[at];
    json_t *made = json_object();
    int failed = json_object_set_new(made, "targets", make_targets(decisions, count, d, at));
    failed |= json_object_set_new(made, "weights", make_weights(g));
    if (g->layout == NIB_LAYOUT_CT_INT8)
        failed |=
            json_object_set_new(made, "input_activations",
                                json_pack("{s:i, s:s, s:b, s:s, s:b}", "num_bits", 8, "type", "int",
                                          "symmetric", 1, "strategy", "token", "dynamic", 1));
    if (is_mixed(d))
        failed |= json_object_set_new(made, "format", json_string(format_of(g->layout)));
    if (!failed) return made;
    json_decref(made);
    return NULL;
}

/* Modules that a target "Linear" would take but that are stored plainly: all 2-d weights (a name
 * that is no Linear does no harm), and lm_head, which shares the embedding's weight where the file
 * has none. */
static json_t *make_ignore(const nib_decision *decisions, int64_t count)
{
    json_t *ignore = json_array();
    int failed = !ignore, head = 0;
    for (int64_t i = 0; i < count && !failed; i++) {
        const nib_tensor *tensor = decisions[i].tensor;
        head |= !strcmp(tensor->name, "lm_head" WEIGHT);
        if (!stored_as(&decisions[i]) && tensor->rank == 2 && nib_ends_with(tensor->name, WEIGHT))
            failed |= json_array_append_new(ignore, module_name(tensor));
    }
    if (!head && !failed) failed |= json_array_append_new(ignore, json_string("lm_head"));
    if (!failed) return ignore;
    json_decref(ignore);
    return NULL;
}

static json_t *describe(const nib_decision *decisions, int64_t count, const description *d)
{
    const char *format = is_mixed(d) ? "mixed-precision" : format_of(d->groups[0].layout);
    json_t *groups = json_object();
    int failed = 0;
    for (int i = 0; i < d->count && !failed; i++) {
        char name[24];
        snprintf(name, sizeof name, "group_%d", i);
        failed = json_object_set_new(groups, name, make_group(decisions, count, d, i));
    }
    json_t *made = json_pack("{s:s, s:s, s:s}", "quant_method", "compressed-tensors", "format",
                             format, "quantization_status", "compressed");
    failed |= json_object_set_new(made, "config_groups", groups);
    failed |= json_object_set_new(made, "ignore", make_ignore(decisions, count));
    if (!failed) return made;
    json_decref(made);
    return NULL;
}

/* The JSON text; NULL without memory. jansson 2.14 goes on where a key finds no room in its buffer:
 * then the text is no JSON. */
static char *dump(json_t *root)
{
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    if (!text) return NULL;
    nib_json json = nib_json_open(text, strlen(text));
    if (nib_json_skip(&json) == NIB_OK && nib_json_close(&json) == NIB_OK) return text;
    free(text);
    return NULL;
}

/* Text for a member of an object that is indented by two. */
static char *indent(const char *text)
{
    size_t lines = 0;
    for (const char *at = text; *at; at++) lines += *at == '\n';
    char *made = malloc(strlen(text) + 2 * lines + 1), *to = made;
    if (!made) return NULL;
    for (const char *at = text; *at; at++) {
        *to++ = *at;
        if (*at == '\n') *to++ = ' ', *to++ = ' ';
    }
    *to = '\0';
    return made;
}

static nib_status write_config(const char *config, const nib_decision *decisions, int64_t count,
                               char **text_ret)
{
    description d = {.count = 0};
    NIB_TRY(count_groups(decisions, count, &d));
    if (d.unknown && d.count)
        return NIB_FAIL(NIB_E_UNSUPPORTED,
                        "config.json cannot describe both new quantized tensors and those already "
                        "quantized in another format; leave the latter out of the input");
    if (d.unknown) { /* everything stays as it is */
        *text_ret = strdup(config);
        return *text_ret ? NIB_OK : NIB_FAIL(NIB_E_MEMORY, "out of memory: config.json");
    }
    char *value = NULL;
    if (d.count) {
        json_t *root = describe(decisions, count, &d);
        char *flat = dump(root);
        value = flat ? indent(flat) : NULL;
        free(flat);
        json_decref(root);
        if (!value) return NIB_FAIL(NIB_E_MEMORY, "out of memory: the description in config.json");
    }
    nib_status status = nib_config_set(config, NIB_CONFIG_KEY, value, text_ret);
    free(value);
    return status == NIB_OK ? NIB_OK : nib_fail_prefix(status, "config.json: ");
}

const nib_format nib_format_compressed_tensors = {
    .name = "compressed-tensors",
    .text = "safetensors with packed weights, for vLLM and transformers",
    .refusal = refusal,
    .planes = make_planes,
    .config = write_config,
};
