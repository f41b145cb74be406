/* gguf_types.c - how GGUF files store elements and values. Sizes: ggml-common.h of
 * llama.cpp v0.5.0; the numbers that are missing stood for types that were taken back. */
#include "gguf.h"

#include "../core/internal.h"

#include <string.h>
#include <strings.h>

/* The blocks that nibble has kernels for are rows of the table; then come the others. */
/* clang-format off */
static const nib_stored_type types[] = {
#define NIB_BLOCK(ID, name, wire, elements, bytes, ...) {#ID, wire, elements, bytes, NIB_DTYPE_NONE},
#include "../../include/nibble_schemes.def"
    {"F32",      0,   1,   4, NIB_F32},
    {"F16",      1,   1,   2, NIB_F16},
    {"Q8_1",     9,  32,  36, NIB_DTYPE_NONE},
    {"Q8_K",    15, 256, 292, NIB_DTYPE_NONE},
    {"IQ2_XXS", 16, 256,  66, NIB_DTYPE_NONE},
    {"IQ2_XS",  17, 256,  74, NIB_DTYPE_NONE},
    {"IQ3_XXS", 18, 256,  98, NIB_DTYPE_NONE},
    {"IQ1_S",   19, 256,  50, NIB_DTYPE_NONE},
    {"IQ3_S",   21, 256, 110, NIB_DTYPE_NONE},
    {"IQ2_S",   22, 256,  82, NIB_DTYPE_NONE},
    {"I8",      24,   1,   1, NIB_I8},
    {"I16",     25,   1,   2, NIB_I16},
    {"I32",     26,   1,   4, NIB_I32},
    {"I64",     27,   1,   8, NIB_I64},
    {"F64",     28,   1,   8, NIB_F64},
    {"IQ1_M",   29, 256,  56, NIB_DTYPE_NONE},
    {"BF16",    30,   1,   2, NIB_BF16},
    {"TQ1_0",   34, 256,  54, NIB_DTYPE_NONE},
    {"TQ2_0",   35, 256,  66, NIB_DTYPE_NONE},
    {"MXFP4",   39,  32,  17, NIB_DTYPE_NONE},
    {"NVFP4",   40,  64,  36, NIB_DTYPE_NONE},
    {"Q1_0",    41, 128,  18, NIB_DTYPE_NONE},
    {"Q2_0",    42,  64,  18, NIB_DTYPE_NONE},
};

static const struct {
    const char *name;
    uint64_t bytes; /* 0: as many as it says */
} key_types[] = {
    [NIB_KEY_U8] = {"u8", 1},         [NIB_KEY_I8] = {"i8", 1},       [NIB_KEY_U16] = {"u16", 2},
    [NIB_KEY_I16] = {"i16", 2},       [NIB_KEY_U32] = {"u32", 4},     [NIB_KEY_I32] = {"i32", 4},
    [NIB_KEY_F32] = {"f32", 4},       [NIB_KEY_BOOL] = {"bool", 1},   [NIB_KEY_STRING] = {"string", 0},
    [NIB_KEY_ARRAY] = {"array", 0},   [NIB_KEY_U64] = {"u64", 8},     [NIB_KEY_I64] = {"i64", 8},
    [NIB_KEY_F64] = {"f64", 8},
};
/* clang-format on */

enum { TYPES = sizeof types / sizeof types[0], KEY_TYPES = sizeof key_types / sizeof key_types[0] };

const nib_stored_type *nib_stored_type_at(int32_t number)
{
    for (int i = 0; i < TYPES; i++)
        if (types[i].number == number) return &types[i];
    return NULL;
}

const nib_stored_type *nib_stored_type_find(const char *name)
{
    for (int i = 0; name && i < TYPES; i++)
        if (!strcasecmp(types[i].name, name)) return &types[i];
    return NULL;
}

int nib_stored_type_writable(const nib_stored_type *type)
{
    if (type->type == NIB_DTYPE_NONE) return nib_block_get((nib_block)type->number) != NULL;
    return nib_is_float(type->type);
}

const nib_stored_type *nib_stored_type_of(nib_dtype type, const nib_stored_type *blocks)
{
    for (int i = 0; !blocks && type != NIB_DTYPE_NONE && i < TYPES; i++)
        if (types[i].type == type) return &types[i];
    return blocks;
}

const char *nib_key_type_name(nib_key_type type)
{
    return (unsigned)type < KEY_TYPES ? key_types[type].name : "?";
}

uint64_t nib_key_type_bytes(nib_key_type type)
{
    return (unsigned)type < KEY_TYPES ? key_types[type].bytes : 0;
}
