/* compressed_tensors_read.c - see compressed_tensors.h. Names, shapes and types of the planes
 * decide what they are; config.json settles what shapes leave open (github.com/vllm-project/
 * compressed-tensors: quantization/quant_args.py, compressors/pack_quantized). */
#include "compressed_tensors.h"

#include "../core/internal.h"
#include "config_text.h"
#include "io.h"
#include "json.h"

#include <string.h>

/* ---- config.json ---- */

/* What a level of quantization_config is read into. */
typedef struct reading {
    nib_ct_config config;
    nib_ct_group group; /* the one being read */
    int integer;        /* its type is "int" */
} reading;

typedef struct field {
    const char *key;
    nib_status (*read)(nib_json *json, reading *r);
} field;

/* An object of which only some members matter; none of those may come twice. */
static nib_status read_object(nib_json *json, const field *fields, unsigned count, reading *r)
{
    unsigned seen = 0;
    int more;
    NIB_TRY(nib_json_enter(json, '{', &more));
    while (more) {
        nib_json_text key;
        unsigned i = 0;
        NIB_TRY(nib_json_key(json, &key));
        while (i < count && !nib_json_is(key, fields[i].key)) i++;
        if (i == count) {
            NIB_TRY(nib_json_skip(json));
        } else {
            if (seen >> i & 1)
                return NIB_FAIL(NIB_E_CONFIG, "\"%s\" is given twice", fields[i].key);
            seen |= 1u << i;
            NIB_TRY(fields[i].read(json, r));
        }
        NIB_TRY(nib_json_next(json, '}', &more));
    }
    return NIB_OK;
}

static nib_status read_bits(nib_json *json, reading *r)
{
    uint64_t bits;
    NIB_TRY(nib_json_u64(json, &bits));
    r->group.bits = bits <= 16 ? (int32_t)bits : 0;
    return NIB_OK;
}

static nib_status read_type(nib_json *json, reading *r)
{
    nib_json_text type;
    NIB_TRY(nib_json_string(json, &type));
    r->integer = nib_json_is(type, "int") || nib_json_is(type, "INT");
    return NIB_OK;
}

static nib_status read_symmetric(nib_json *json, reading *r)
{
    char c = nib_json_peek(json);
    if (c != 't' && c != 'f') return NIB_FAIL(NIB_E_CONFIG, "\"symmetric\" is not true or false");
    r->group.symmetric = c == 't';
    return nib_json_skip(json);
}

/* null and -1 mean one scale per row. */
static nib_status read_group_size(nib_json *json, reading *r)
{
    uint64_t size;
    char c = nib_json_peek(json);
    if (c < '0' || c > '9') return nib_json_skip(json);
    NIB_TRY(nib_json_u64(json, &size));
    r->group.group = size <= INT64_MAX ? (int64_t)size : 0;
    return NIB_OK;
}

static nib_status read_weights(nib_json *json, reading *r)
{
    static const field fields[] = {{"num_bits", read_bits},
                                   {"type", read_type},
                                   {"symmetric", read_symmetric},
                                   {"group_size", read_group_size}};
    if (nib_json_peek(json) != '{') return nib_json_skip(json);
    r->group = (nib_ct_group){.bits = 8, .symmetric = 1}; /* the consumer's defaults */
    r->integer = 1;
    NIB_TRY(read_object(json, fields, sizeof fields / sizeof fields[0], r));
    if (!r->integer) return NIB_OK;
    if (r->config.count == NIB_CT_GROUPS)
        return NIB_FAIL(NIB_E_CONFIG, "config_groups has more than %d groups", NIB_CT_GROUPS);
    r->config.groups[r->config.count++] = r->group;
    return NIB_OK;
}

static nib_status read_groups(nib_json *json, reading *r)
{
    static const field fields[] = {{"weights", read_weights}};
    int more;
    NIB_TRY(nib_json_enter(json, '{', &more));
    while (more) {
        nib_json_text name;
        NIB_TRY(nib_json_key(json, &name));
        if (nib_json_peek(json) == '{') NIB_TRY(read_object(json, fields, 1, r));
        else NIB_TRY(nib_json_skip(json)); /* a preset's name and its targets */
        NIB_TRY(nib_json_next(json, '}', &more));
    }
    return NIB_OK;
}

/* What another quant_method means by the same keys is not looked at. */
static nib_status read_description(const char *text, size_t length, nib_ct_config *config_ret)
{
    static const field fields[] = {{"config_groups", read_groups}};
    reading r = {.integer = 0};
    nib_json json = nib_json_open(text, length);
    const char *method;
    size_t bytes;
    if (nib_json_peek(&json) != '{') return NIB_OK; /* null: not quantized */
    NIB_TRY(nib_config_find(text, length, "quant_method", &method, &bytes));
    if (!method || *method != '"') return NIB_OK;
    if (!nib_json_is((nib_json_text){method + 1, bytes - 2}, "compressed-tensors")) return NIB_OK;
    NIB_TRY(read_object(&json, fields, sizeof fields / sizeof fields[0], &r));
    *config_ret = r.config;
    return NIB_OK;
}

/* A lone file keeps the description in its __metadata__, as a string of JSON. */
static nib_status read_metadata(nib_file *file, nib_ct_config *config_ret)
{
    const char *metadata = nib_file_metadata(file, 0), *value;
    size_t bytes;
    nib_json_text string;
    char *text;
    if (file->is_directory || !*metadata) return NIB_OK;
    NIB_TRY(nib_config_find(metadata, strlen(metadata), NIB_CONFIG_KEY, &value, &bytes));
    if (!value) return NIB_OK;
    nib_json json = nib_json_open(value, bytes);
    NIB_TRY(nib_json_string(&json, &string));
    NIB_TAKE(text, &file->arena, string.length, "metadata");
    nib_status status = read_description(text, nib_json_decode(string, text), config_ret);
    nib_arena_drop(&file->arena, text);
    return status == NIB_OK ? NIB_OK
                            : nib_fail_prefix(status, "__metadata__: " NIB_CONFIG_KEY ": ");
}

nib_status nib_ct_config_read(nib_file *file, nib_ct_config *config_ret)
{
    const char *value;
    size_t bytes;
    *config_ret = (nib_ct_config){0};
    if (!*file->config) return read_metadata(file, config_ret);
    nib_status status =
        nib_config_find(file->config, strlen(file->config), NIB_CONFIG_KEY, &value, &bytes);
    if (status == NIB_OK && value) status = read_description(value, bytes, config_ret);
    return status == NIB_OK ? NIB_OK : nib_fail_prefix(NIB_E_CONFIG, "config.json: ");
}

/* ---- planes ---- */

static nib_status unreadable(nib_tensor *tensor, const char *why)
{
    tensor->quantized = 2;
    tensor->why = why;
    return NIB_OK;
}

/* The group size that gives `count` scales a row; 0 where none does. */
static int64_t group_of(const nib_ct_config *config, int bits, int64_t cols, int64_t count)
{
    if (count == 1) return cols;
    for (int i = 0; i < config->count; i++) {
        int64_t group = config->groups[i].group;
        if (config->groups[i].bits == bits && group > 0 && nib_ceil_div(cols, group) == count)
            return group;
    }
    return count > 0 && cols % count == 0 ? cols / count : 0;
}

static int64_t scales_per_row(const nib_raw_tensor *scale, int64_t rows)
{
    if (scale->rank == 2 && scale->shape[0] == rows) return scale->shape[1];
    return scale->rank == 1 && scale->shape[0] == rows;
}

/* Which element shares which scale, from the shape of the scales. */
static nib_status make_grid(const nib_ct_config *config, const nib_raw_tensor *scale, int bits,
                            int64_t rows, int64_t cols, nib_grid *grid_ret)
{
    int64_t count = scales_per_row(scale, rows);
    if (count == 0 && scale->span.bytes * 8 == (uint64_t)nib_dtype_bits(scale->type))
        return nib_grid_tensor(rows, cols, grid_ret);
    int64_t group = group_of(config, bits, cols, count);
    if (group == 0)
        return NIB_FAIL(NIB_E_SIZE,
                        "\"%.200s\" has no whole number of scales for each of %lld rows of %lld",
                        scale->name, (long long)rows, (long long)cols);
    return nib_grid_rows(rows, cols, group, grid_ret);
}

/* With everything decided: takes the planes over where their bytes are what the description needs.
 */
static nib_status take_planes(const nib_ct_planes *planes, const nib_quant *quant,
                              nib_tensor *tensor)
{
    const nib_raw_tensor *raw[NIB_PLANES] = {planes->codes, planes->scale, planes->zero};
    for (int p = 0; p < NIB_PLANES; p++) {
        size_t bytes;
        NIB_TRY(nib_plane_bytes(quant, (nib_plane)p, &bytes));
        uint64_t has = raw[p] ? raw[p]->span.bytes : 0;
        if (has != bytes)
            return NIB_FAIL(NIB_E_SIZE,
                            "\"%.200s\" has %llu bytes; %lld x %lld codes of %d bits in groups of "
                            "%lld need %zu",
                            raw[p]->name, (unsigned long long)has, (long long)quant->grid.rows,
                            (long long)quant->grid.cols, quant->bits, (long long)quant->grid.group,
                            bytes);
        if (raw[p]) tensor->span[p] = raw[p]->span;
    }
    tensor->quantized = 1;
    tensor->quant = *quant;
    tensor->type = quant->scale_type;
    tensor->rank = 2;
    tensor->shape[0] = quant->grid.rows;
    tensor->shape[1] = quant->grid.cols;
    return NIB_OK;
}

/* 1 where config.json says that all weights of `bits` bits have zero points. */
static int needs_zeros(const nib_ct_config *config, int bits)
{
    int asymmetric = 0;
    for (int i = 0; i < config->count; i++) {
        if (config->groups[i].bits != bits) continue;
        if (config->groups[i].symmetric) return 0;
        asymmetric = 1;
    }
    return asymmetric;
}

static nib_status read_planes(const nib_ct_config *config, const nib_ct_planes *planes,
                              nib_quant quant, int64_t rows, int64_t cols, nib_tensor *tensor)
{
    quant.scale_type = planes->scale->type;
    quant.rule = planes->zero ? NIB_RULE_ASYM_ZERO : NIB_RULE_SYM_FULL;
    NIB_TRY(make_grid(config, planes->scale, quant.bits, rows, cols, &quant.grid));
    if (planes->zero && planes->zero->type != planes->codes->type)
        return unreadable(tensor, "compressed-tensors with zero points that are not packed");
    if (!planes->zero && needs_zeros(config, quant.bits))
        return NIB_FAIL(NIB_E_MISSING,
                        "config.json says that it has zero points; they are missing");
    return take_planes(planes, &quant, tensor);
}

/* Rows and columns, which the packed words do not tell exactly. */
static nib_status read_shape(const nib_file *file, const nib_ct_planes *planes, int64_t *rows_ret,
                             int64_t *cols_ret)
{
    const nib_raw_tensor *shape = planes->shape;
    if (!shape) return NIB_FAIL(NIB_E_MISSING, "its weight_shape is missing");
    unsigned char bytes[16];
    int64_t values[2];
    if (shape->span.bytes != sizeof bytes || (shape->type != NIB_I64 && shape->type != NIB_U64))
        return NIB_FAIL(NIB_E_SIZE, "\"%.200s\" is not two numbers of type I64", shape->name);
    NIB_TRY(nib_file_read(file, shape->span.shard, shape->span.offset, bytes, sizeof bytes));
    for (int i = 0; i < 2; i++) {
        uint64_t value = 0;
        for (int b = 7; b >= 0; b--) value = value << 8 | bytes[8 * i + b];
        values[i] = (int64_t)value;
    }
    if (values[0] != planes->codes->shape[0] || values[0] < 1 || values[1] < 1 ||
        values[1] > INT64_MAX / 64)
        return NIB_FAIL(NIB_E_SIZE, "\"%.200s\" says %lld x %lld; \"%.200s\" has %lld rows",
                        shape->name, (long long)values[0], (long long)values[1],
                        planes->codes->name, (long long)planes->codes->shape[0]);
    *rows_ret = values[0];
    *cols_ret = values[1];
    return NIB_OK;
}

static int stated(const nib_ct_config *config, int bits)
{
    for (int i = 0; i < config->count; i++)
        if (config->groups[i].bits == bits) return 1;
    return 0;
}

/* The bits of a code: what fits the words of a row and is stated, where anything is; 0 where more
 * than one does. A row of 32 codes or more leaves no doubt. */
static nib_status find_bits(const nib_ct_config *config, int64_t cols, int64_t words, int *bits_ret)
{
    int fitting = 0, found = 0, count = 0;
    for (int bits = 1; bits <= 8; bits++) {
        if (nib_ceil_div(cols * bits, 32) != words) continue;
        fitting++;
        if (config->count && !stated(config, bits)) continue;
        found = bits;
        count++;
    }
    if (!fitting)
        return NIB_FAIL(NIB_E_SIZE,
                        "its rows have %lld words; %lld codes of 1 to 8 bits need others",
                        (long long)words, (long long)cols);
    if (!count)
        return NIB_FAIL(NIB_E_CONFIG,
                        "its rows have %lld words for %lld codes: config.json states "
                        "no such number of bits",
                        (long long)words, (long long)cols);
    *bits_ret = count == 1 ? found : 0;
    return NIB_OK;
}

nib_status nib_ct_read_packed(const nib_file *file, const nib_ct_config *config,
                              const nib_ct_planes *planes, nib_tensor *tensor)
{
    int64_t rows = 0, cols = 0;
    int bits = 0;
    if (!nib_is_float(planes->scale->type))
        return unreadable(tensor, "compressed-tensors with scales of another type");
    if (planes->order) return unreadable(tensor, "compressed-tensors with activation order");
    if (planes->codes->rank != 2)
        return unreadable(tensor, "compressed-tensors with weights that are not 2-d");
    NIB_TRY(read_shape(file, planes, &rows, &cols));
    NIB_TRY(find_bits(config, cols, planes->codes->shape[1], &bits));
    if (bits == 0) return unreadable(tensor, "compressed-tensors with unknown bits per weight");
    if (bits == 1 || bits == 7) return unreadable(tensor, "compressed-tensors of 1 or 7 bits");
    nib_quant quant = {.bits = bits, .layout = NIB_LAYOUT_CT_PACKED};
    return read_planes(config, planes, quant, rows, cols, tensor);
}

nib_status nib_ct_read_int8(const nib_file *file, const nib_ct_config *config,
                            const nib_ct_planes *planes, nib_tensor *tensor)
{
    (void)file;
    const int64_t *shape = planes->codes->shape;
    if (!nib_is_float(planes->scale->type))
        return unreadable(tensor, "compressed-tensors with scales of another type");
    if (planes->codes->rank != 2 || shape[0] == 0 || shape[1] == 0)
        return unreadable(tensor, "compressed-tensors with weights that are not 2-d");
    nib_quant quant = {.bits = 8, .layout = NIB_LAYOUT_CT_INT8};
    return read_planes(config, planes, quant, shape[0], shape[1], tensor);
}
