/* logical.c - what the raw tensors mean: plain tensors, and quantized ones made of several.
 *
 * A table says by which names and types each way of storing quantized weights is known. What nibble
 * cannot read is recognised all the same, so that codes are never taken for numbers. */
#include "compressed_tensors.h"

#include "../core/internal.h"

#include <string.h>

#define T(type) (1u << NIB_##type)
#define T_F8 (T(F8_E4M3) | T(F8_E5M2) | T(F8_E4M3FNUZ) | T(F8_E5M2FNUZ))
#define T_ANY (~0u)

enum { PARTS = 8 };

/* BASE + codes, of one of the types, where BASE + one of `proof` is there too. All BASE + parts are
 * then parts of the tensor called BASE + name. */
typedef struct storage {
    const char *codes;
    unsigned types;
    const char *proof[2];
    const char *parts[PARTS];
    const char *name;
    nib_status (*read)(const nib_file *file, const nib_ct_config *config,
                       const nib_ct_planes *planes, nib_tensor *tensor);
    const char *why; /* where nibble cannot read it */
} storage;

/* clang-format off */
static const storage storages[] = {
    {".weight_packed", T(I32), {".weight_scale"},
     {".weight_scale", ".weight_zero_point", ".weight_shape", ".weight_g_idx", ".input_scale", ".input_zero_point"},
     ".weight", nib_ct_read_packed, NULL},
    {".weight", T(I8), {".weight_scale"},
     {".weight_scale", ".weight_zero_point", ".weight_g_idx", ".input_scale", ".input_zero_point"},
     ".weight", nib_ct_read_int8, NULL},
    {".weight_packed", T(U8), {".weight_scale"},
     {".weight_scale", ".weight_global_scale", ".input_global_scale"},
     ".weight", NULL, "compressed-tensors of 4-bit floats"},
    {".weight_packed", T(I32), {".scale_packed"}, {".scale_packed", ".meta"},
     ".weight", NULL, "compressed-tensors marlin-24"},
    {".compressed", T_ANY, {".bitmask"}, {".bitmask", ".shape", ".row_offsets"},
     ".weight", NULL, "compressed-tensors with a sparsity mask"},
    {".weight", T_F8, {".weight_scale", ".weight_scale_inv"},
     {".weight_scale", ".weight_scale_inv", ".weight_zero_point", ".input_scale"},
     ".weight", NULL, "FP8 with scales"},
    {"", T_F8, {"_scale", "_scale_inv"}, {"_scale", "_scale_inv"},
     "", NULL, "FP8 with scales"},
    {".weight", T(U8), {".weight_scale"}, {".weight_scale", ".weight_scale_2", ".input_scale"},
     ".weight", NULL, "packed 4-bit floats with scales (NVFP4)"},
    {"_blocks", T(U8), {"_scales"}, {"_scales"},
     "", NULL, "MXFP4 blocks with scales"},
    {".qweight", T(I32), {".scales"}, {".scales", ".qzeros", ".g_idx"},
     ".weight", NULL, "GPTQ or AWQ"},
    {".weight", T(U8) | T(I8) | T(BF16) | T(F16) | T(F32), {".weight.absmax"},
     {".weight.absmax", ".weight.quant_map", ".weight.nested_absmax", ".weight.nested_quant_map",
      ".weight.quant_state.bitsandbytes__nf4", ".weight.quant_state.bitsandbytes__fp4"},
     ".weight", NULL, "bitsandbytes 4-bit"},
    {".weight", T(I8), {".SCB", ".weight.SCB"}, {".SCB", ".weight.SCB", ".weight_format"},
     ".weight", NULL, "bitsandbytes 8-bit"},
    {".weight", T(U32), {".scales"}, {".scales", ".biases"},
     ".weight", NULL, "MLX affine"},
    {".weight._data", T_ANY, {".weight._scale"}, {".weight._scale", ".weight._shift"},
     ".weight", NULL, "quanto"},
};
/* clang-format on */
enum { STORAGES = sizeof storages / sizeof storages[0] };

/* Working state of nib_file_make_logical. */
typedef struct maker {
    nib_file *file;
    nib_names raw_names;
    char *scratch;      /* room for any name and a suffix */
    unsigned char *row; /* per raw tensor: 1 + the storage whose codes it holds, or 0 */
    int64_t *made;      /* per raw tensor that owns others: 1 + its logical tensor */
    nib_ct_config config;
} maker;

static nib_status make_maker(maker *m)
{
    nib_file *file = m->file;
    size_t longest = 0;
    for (int64_t i = 0; i < file->raw_count; i++) {
        size_t length = strlen(file->raw[i].name);
        if (length > longest) longest = length;
    }
    NIB_TAKE(m->scratch, &file->arena, longest + 64, "names");
    NIB_TAKE(m->row, &file->arena, file->raw_count, "tensors");
    NIB_TAKE(m->made, &file->arena, file->raw_count, "tensors");
    NIB_TRY(nib_names_create(&m->raw_names, &file->arena, file->raw, sizeof *file->raw,
                             file->raw_count));
    for (int64_t i = 0; i < file->raw_count; i++) nib_names_add(&m->raw_names, i);
    return nib_ct_config_read(file, &m->config);
}

static void drop_maker(maker *m)
{
    nib_names_drop(&m->raw_names, &m->file->arena);
    nib_arena_drop(&m->file->arena, m->made);
    nib_arena_drop(&m->file->arena, m->row);
    nib_arena_drop(&m->file->arena, m->scratch);
}

/* The raw tensor called by the first `length` bytes of `name` and `suffix`, or -1. */
static int64_t find_part(const maker *m, const char *name, size_t length, const char *suffix)
{
    memcpy(m->scratch, name, length);
    memcpy(m->scratch + length, suffix, strlen(suffix) + 1);
    return nib_names_find(&m->raw_names, m->scratch, length + strlen(suffix));
}

/* 1 if the tensor may hold the row's codes; its name without their suffix is *base_ret bytes. */
static int matches(const storage *row, const nib_raw_tensor *raw, size_t *base_ret)
{
    size_t length = strlen(raw->name), tail = strlen(row->codes);
    if (!(row->types >> raw->type & 1) || length < tail) return 0;
    *base_ret = length - tail;
    return !memcmp(raw->name + *base_ret, row->codes, tail);
}

/* If raw tensor `at` holds codes, makes it the owner of all their parts. */
static void claim_parts(maker *m, int64_t at)
{
    const nib_raw_tensor *raw = &m->file->raw[at];
    size_t base;
    for (int i = 0; i < STORAGES && !m->row[at]; i++) {
        const storage *row = &storages[i];
        if (!matches(row, raw, &base)) continue;
        for (int p = 0; p < 2 && row->proof[p]; p++)
            if (find_part(m, raw->name, base, row->proof[p]) >= 0)
                m->row[at] = (unsigned char)(i + 1);
        for (int p = 0; m->row[at] && p < PARTS && row->parts[p]; p++) {
            int64_t part = find_part(m, raw->name, base, row->parts[p]);
            if (part >= 0 && part != at) m->file->owners[part] = at;
        }
    }
}

static void make_plain(const nib_raw_tensor *raw, nib_tensor *tensor)
{
    *tensor = (nib_tensor){.name = raw->name, .type = raw->type, .rank = raw->rank};
    memcpy(tensor->shape, raw->shape, sizeof tensor->shape);
    tensor->span[0] = raw->span;
}

static nib_status make_quantized(maker *m, const nib_raw_tensor *raw, const storage *row,
                                 nib_tensor *tensor)
{
    size_t base;
    char *name;
    make_plain(raw, tensor);
    matches(row, raw, &base);
    NIB_TAKE(name, &m->file->arena, base + strlen(row->name) + 1, "tensor names");
    memcpy(name, raw->name, base);
    memcpy(name + base, row->name, strlen(row->name));
    tensor->name = name;
    tensor->quantized = 2;
    tensor->why = row->why;
    if (!row->read) return NIB_OK;

    const nib_raw_tensor *found[4];
    static const char *const suffixes[4] = {".weight_scale", ".weight_zero_point", ".weight_shape",
                                            ".weight_g_idx"};
    for (int i = 0; i < 4; i++) {
        int64_t part = find_part(m, raw->name, base, suffixes[i]);
        found[i] = part < 0 ? NULL : &m->file->raw[part];
    }
    nib_ct_planes planes = {raw, found[0], found[1], found[2], found[3]};
    m->file->format = "compressed-tensors";
    nib_status status = row->read(m->file, &m->config, &planes, tensor);
    return status == NIB_OK ? NIB_OK : nib_fail_prefix(status, "tensor \"%.200s\": ", name);
}

/* The logical tensor that raw tensor `owner` leads. */
static nib_status make_tensor(maker *m, int64_t owner)
{
    nib_file *file = m->file;
    const nib_raw_tensor *raw = &file->raw[owner];
    nib_tensor *tensor = &file->tensors[file->count];
    if (m->row[owner]) NIB_TRY(make_quantized(m, raw, &storages[m->row[owner] - 1], tensor));
    else make_plain(raw, tensor);
    if (nib_names_add(&file->names, file->count) >= 0)
        return NIB_FAIL(NIB_E_DUP, "tensor \"%.200s\" is stored twice, in two ways", tensor->name);
    m->made[owner] = ++file->count;
    return NIB_OK;
}

static nib_status make_all(maker *m)
{
    nib_file *file = m->file;
    for (int64_t i = 0; i < file->raw_count; i++) file->owners[i] = i;
    for (int64_t i = 0; i < file->raw_count; i++) claim_parts(m, i);
    for (int64_t i = 0; i < file->raw_count; i++) {
        int64_t owner = file->owners[i];
        if (!m->made[owner]) NIB_TRY(make_tensor(m, owner));
        file->owners[i] = m->made[owner] - 1;
    }
    return NIB_OK;
}

nib_status nib_file_make_logical(nib_file *file)
{
    maker m = {.file = file};
    file->format = "safetensors";
    NIB_TAKE(file->owners, &file->arena, file->raw_count, "tensors");
    NIB_TAKE(file->tensors, &file->arena, file->raw_count, "tensors");
    NIB_TRY(nib_names_create(&file->names, &file->arena, file->tensors, sizeof *file->tensors,
                             file->raw_count));
    NIB_TRY(make_maker(&m));
    NIB_TRY(make_all(&m));
    drop_maker(&m);
    return NIB_OK;
}
