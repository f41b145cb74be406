/* keys.c - what a GGUF file says beside its tensors, as text and as JSON. */
#include "cli.h"

#include <string.h>

enum { SHOWN = 200 }; /* bytes of a string; longer ones, as chat templates, are cut */

/* The beginning of a string key; "" where it cannot be read. */
static void key_text(const nib_file *file, const nib_key *key, char text[SHOWN + 1])
{
    size_t bytes = key->value.bytes < SHOWN ? (size_t)key->value.bytes : SHOWN;
    memset(text, 0, SHOWN + 1);
    if (nib_file_read(file, key->value.shard, key->value.offset, text, bytes) != NIB_OK) *text = 0;
}

static double key_float(const nib_key *key)
{
    float narrow;
    double wide;
    uint32_t low = (uint32_t)key->bits;
    memcpy(&narrow, &low, sizeof narrow);
    memcpy(&wide, &key->bits, sizeof wide);
    return key->type == NIB_KEY_F32 ? (double)narrow : wide;
}

/* The number of a signed key, whose sign bit stands at its own width. */
static int64_t key_signed(const nib_key *key)
{
    int shift = key->type == NIB_KEY_I8    ? 56
                : key->type == NIB_KEY_I16 ? 48
                : key->type == NIB_KEY_I32 ? 32
                                           : 0;
    return (int64_t)(key->bits << shift) >> shift;
}

static json_t *json_key(const nib_file *file, const nib_key *key)
{
    char text[SHOWN + 1];
    switch (key->type) {
    case NIB_KEY_STRING: key_text(file, key, text); return json_text(text);
    case NIB_KEY_ARRAY:
        return json_pack("{s:s, s:I}", "array", nib_key_type_name(key->element), "count",
                         (json_int_t)key->count);
    case NIB_KEY_F32:
    case NIB_KEY_F64: return json_number(key_float(key));
    case NIB_KEY_BOOL: return json_boolean(key->bits != 0);
    case NIB_KEY_I8:
    case NIB_KEY_I16:
    case NIB_KEY_I32:
    case NIB_KEY_I64: return json_integer(key_signed(key));
    default: return json_bytes(key->bits);
    }
}

json_t *json_keys(const nib_file *file)
{
    json_t *object = json_object();
    const nib_key *key;
    for (int64_t i = 0; (key = nib_file_key_at(file, 0, i)) != NULL; i++) {
        json_t *name = json_text(key->name);
        json_object_set_new(object, json_string_value(name), json_key(file, key));
        json_decref(name);
    }
    return object;
}

static void print_string(const nib_file *file, const char *what, const char *name)
{
    char text[SHOWN + 1];
    const nib_key *key = nib_file_key_find(file, 0, name);
    if (!key || key->type != NIB_KEY_STRING) return;
    key_text(file, key, text);
    printf("%s", what);
    print_safe(stdout, text);
}

void print_keys(const nib_file *file)
{
    const nib_key *type = nib_file_key_find(file, 0, "general.file_type");
    if (type && type->type != NIB_KEY_U32) type = NULL;
    int64_t count = 0;
    while (nib_file_key_at(file, 0, count)) count++;
    print_string(file, "architecture: ", "general.architecture");
    print_string(file, ", name: ", "general.name");
    for (size_t i = 0; type && i < nib_mixture_count(); i++)
        if ((uint64_t)nib_mixture_at(i)->file_type == type->bits)
            printf(", mixture: %s", nib_mixture_at(i)->name);
    printf("; %lld keys (--json lists them)\n", (long long)count);
}
