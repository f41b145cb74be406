/* gguf_read.c - reads and checks the header of one GGUF file. Values of keys are checked and
 * left in the file: a vocabulary costs no memory. */
#include "gguf.h"

#include "../core/internal.h"
#include "cursor.h"
#include "json.h"

#include <string.h>

enum {
    LEAST_KEY = 8 + 1 + 4 + 1,        /* bytes: a name of one, a type, a value of one */
    LEAST_TENSOR = 8 + 1 + 4 + 4 + 8, /* bytes: a name of one, rank 0, a type, an offset */
    STRING_CAP = 1 << 30,             /* bytes of a string, elements of an array: ggml's limits */
    NAMES_PIECE = 64 << 10,           /* names are taken from pieces of so many bytes */
};

#define ALIGNMENT_KEY "general.alignment"

/* The state of reading one file. */
typedef struct reader {
    nib_arena *arena;
    nib_shard *shard;
    int32_t number;
    nib_cursor cursor;
    char *names; /* room that is left for names */
    size_t names_left;
    char name[NIB_GGUF_KEY + 1]; /* the one being read, NUL-terminated */
    uint64_t name_bytes;
} reader;

/* ---- names ---- */

/* Copies r->name into the arena. */
static nib_status keep_name(reader *r, const char **name_ret)
{
    size_t bytes = (size_t)r->name_bytes + 1;
    if (bytes > r->names_left) {
        size_t piece = bytes > NAMES_PIECE / 4 ? bytes : NAMES_PIECE;
        char *taken = nib_arena_take(r->arena, piece, 1, "names");
        if (!taken) return NIB_E_MEMORY;
        if (piece == bytes) {
            memcpy(taken, r->name, bytes);
            *name_ret = taken;
            return NIB_OK;
        }
        r->names = taken;
        r->names_left = piece;
    }
    memcpy(r->names, r->name, bytes);
    *name_ret = r->names;
    r->names += bytes;
    r->names_left -= bytes;
    return NIB_OK;
}

/* Takes a string's length; the string is all there. `limit` and `status`: what it may have, and the
 * failure where it has more. */
static nib_status take_length(reader *r, uint64_t limit, nib_status status, const char *what,
                              uint64_t *bytes_ret)
{
    NIB_TRY(nib_cursor_u64(&r->cursor, bytes_ret, what));
    uint64_t left = r->cursor.end - r->cursor.at;
    if (*bytes_ret > limit)
        return NIB_FAIL(status, "%s at byte %llu has %llu bytes; at most %llu are allowed", what,
                        (unsigned long long)r->cursor.at - 8, (unsigned long long)*bytes_ret,
                        (unsigned long long)limit);
    if (*bytes_ret > left)
        return NIB_FAIL(NIB_E_TRUNC, "%s at byte %llu has %llu bytes and the file ends after %llu",
                        what, (unsigned long long)r->cursor.at - 8, (unsigned long long)*bytes_ret,
                        (unsigned long long)left);
    return NIB_OK;
}

/* Reads a name of 1 to `limit` bytes into r->name; neither empty nor with a NUL. */
static nib_status take_name(reader *r, uint64_t limit, nib_status status, const char *what)
{
    NIB_TRY(take_length(r, limit, status, what, &r->name_bytes));
    NIB_TRY(nib_cursor_take(&r->cursor, r->name, r->name_bytes, what));
    r->name[r->name_bytes] = 0;
    if (r->name_bytes == 0)
        return NIB_FAIL(status, "%s at byte %llu is empty", what,
                        (unsigned long long)r->cursor.at - 8);
    if (strlen(r->name) != r->name_bytes)
        return NIB_FAIL(status, "%s \"%.200s\" has a NUL inside", what, r->name);
    return NIB_OK;
}

static nib_status check_utf8(const reader *r)
{
    const char *end = r->name + r->name_bytes;
    for (const char *at = r->name; at < end;) {
        int length = (unsigned char)*at < 0x80 ? 1 : nib_utf8_length(at, end);
        if (!length)
            return NIB_FAIL(NIB_E_UTF8, "byte %d of a tensor's name is 0x%02x, not UTF-8",
                            (int)(at - r->name), (unsigned char)*at);
        at += length;
    }
    return NIB_OK;
}

/* ---- keys ---- */

static nib_status check_bools(reader *r, uint64_t count)
{
    unsigned char piece[4096];
    while (count) {
        uint64_t bytes = count < sizeof piece ? count : sizeof piece;
        NIB_TRY(nib_cursor_take(&r->cursor, piece, bytes, "a boolean"));
        for (uint64_t i = 0; i < bytes; i++)
            if (piece[i] > 1)
                return NIB_FAIL(NIB_E_BOOL, "key \"%.200s\": a boolean is %d; it must be 0 or 1",
                                r->name, piece[i]);
        count -= bytes;
    }
    return NIB_OK;
}

static nib_status fail_array(const reader *r, const char *why, uint64_t count, const char *type)
{
    return NIB_FAIL(NIB_E_ARRAY, "key \"%.200s\": an array of %llu %s: %s", r->name,
                    (unsigned long long)count, type, why);
}

static nib_status skip_strings(reader *r, uint64_t count)
{
    uint64_t bytes;
    for (uint64_t i = 0; i < count; i++) {
        nib_status status = take_length(r, STRING_CAP, NIB_E_STRING, "a string", &bytes);
        if (status == NIB_OK) status = nib_cursor_skip(&r->cursor, bytes, "a string");
        if (status != NIB_OK)
            return nib_fail_prefix(status, "key \"%.200s\", element %llu: ", r->name,
                                   (unsigned long long)i);
    }
    return NIB_OK;
}

static nib_status take_array(reader *r, nib_key *key)
{
    uint32_t type;
    NIB_TRY(nib_cursor_u32(&r->cursor, &type, "an array's type"));
    NIB_TRY(nib_cursor_u64(&r->cursor, &key->count, "an array's length"));
    key->element = (nib_key_type)type;
    const char *name = nib_key_type_name(key->element);
    uint64_t each = nib_key_type_bytes(key->element), left = r->cursor.end - r->cursor.at, bytes;
    if (type == NIB_KEY_ARRAY) return fail_array(r, "arrays do not nest", key->count, name);
    if (!each && type != NIB_KEY_STRING)
        return NIB_FAIL(NIB_E_KVTYPE,
                        "key \"%.200s\": the elements' type is %d; it must be 0 to 12", r->name,
                        (int32_t)type);
    if (key->count > STRING_CAP) return fail_array(r, "at most 2^30 are allowed", key->count, name);
    if (__builtin_mul_overflow(key->count, each ? each : 8, &bytes) || bytes > left)
        return fail_array(r, "so many are not in the file", key->count, name);
    key->value.offset = r->cursor.at;
    if (type == NIB_KEY_STRING) NIB_TRY(skip_strings(r, key->count));
    else if (type == NIB_KEY_BOOL) NIB_TRY(check_bools(r, key->count));
    else NIB_TRY(nib_cursor_skip(&r->cursor, bytes, "an array"));
    key->value.bytes = r->cursor.at - key->value.offset;
    return NIB_OK;
}

static nib_status take_value(reader *r, nib_key *key)
{
    key->count = 1;
    key->value = (nib_span){r->number, r->cursor.at, nib_key_type_bytes(key->type)};
    if (key->type == NIB_KEY_ARRAY) return take_array(r, key);
    if (key->type == NIB_KEY_STRING) {
        nib_status status = take_length(r, STRING_CAP, NIB_E_STRING, "a string", &key->count);
        if (status != NIB_OK) return nib_fail_prefix(status, "key \"%.200s\": ", r->name);
        key->value = (nib_span){r->number, r->cursor.at, key->count};
        return nib_cursor_skip(&r->cursor, key->count, "a string");
    }
    if (!key->value.bytes)
        return NIB_FAIL(NIB_E_KVTYPE, "key \"%.200s\": the value's type is %d; it must be 0 to 12",
                        r->name, (int)key->type);
    unsigned char raw[8] = {0};
    NIB_TRY(nib_cursor_take(&r->cursor, raw, key->value.bytes, "a value"));
    for (int i = 0; i < 8; i++) key->bits |= (uint64_t)raw[i] << (8 * i);
    if (key->type == NIB_KEY_BOOL && key->bits > 1)
        return NIB_FAIL(NIB_E_BOOL, "key \"%.200s\": a boolean is %d; it must be 0 or 1", r->name,
                        raw[0]);
    return NIB_OK;
}

static nib_status take_keys(reader *r)
{
    nib_shard *shard = r->shard;
    for (int64_t i = 0; i < shard->key_count; i++) {
        nib_key *key = &shard->keys[i];
        uint32_t type;
        NIB_TRY(take_name(r, NIB_GGUF_KEY, NIB_E_KEY, "a key"));
        NIB_TRY(nib_cursor_u32(&r->cursor, &type, "a value's type"));
        key->type = (nib_key_type)type;
        NIB_TRY(take_value(r, key));
        NIB_TRY(keep_name(r, &key->name));
        if (nib_names_add(&shard->key_names, i) >= 0)
            return NIB_FAIL(NIB_E_DUP, "key \"%.200s\" comes twice", r->name);
    }
    return NIB_OK;
}

static nib_status find_alignment(reader *r)
{
    const nib_key *key = nib_gguf_key(r->shard, ALIGNMENT_KEY);
    r->shard->alignment = key ? key->bits : NIB_GGUF_ALIGNMENT;
    if (key && key->type != NIB_KEY_U32)
        return NIB_FAIL(NIB_E_ALIGNMENT, ALIGNMENT_KEY " is %s; it must be u32",
                        nib_key_type_name(key->type));
    if (r->shard->alignment == 0 || (r->shard->alignment & (r->shard->alignment - 1)))
        return NIB_FAIL(NIB_E_ALIGNMENT, ALIGNMENT_KEY " is %llu; it must be a power of two",
                        (unsigned long long)r->shard->alignment);
    return NIB_OK;
}

/* ---- tensors ---- */

static nib_status take_shape(reader *r, nib_raw_tensor *tensor)
{
    uint32_t rank;
    uint64_t dimension;
    NIB_TRY(nib_cursor_u32(&r->cursor, &rank, "a tensor's dimensions"));
    if (rank > NIB_GGUF_RANK)
        return NIB_FAIL(NIB_E_RANK, "it has %u dimensions; at most %d are allowed", rank,
                        NIB_GGUF_RANK);
    tensor->rank = (int32_t)rank;
    for (uint32_t i = rank; i-- > 0;) {
        NIB_TRY(nib_cursor_u64(&r->cursor, &dimension, "a tensor's dimensions"));
        tensor->shape[i] = (int64_t)dimension;
        if (tensor->shape[i] < 0)
            return NIB_FAIL(NIB_E_OVERFLOW, "its dimension %u is %llu, beyond 63 bits",
                            rank - 1 - i, (unsigned long long)dimension);
    }
    return NIB_OK;
}

static nib_status take_type(reader *r, nib_raw_tensor *tensor, const nib_stored_type **type_ret)
{
    uint32_t number;
    NIB_TRY(nib_cursor_u32(&r->cursor, &number, "a tensor's type"));
    *type_ret = nib_stored_type_at((int32_t)number);
    if (!*type_ret)
        return NIB_FAIL(NIB_E_DTYPE, "its type is number %d, which is none of ggml's",
                        (int32_t)number);
    tensor->type = (*type_ret)->type;
    tensor->blocks = tensor->type == NIB_DTYPE_NONE ? *type_ret : NULL;
    return NIB_OK;
}

/* Rows are stored one after the other, each in whole blocks. */
static nib_status size_of(const nib_raw_tensor *tensor, const nib_stored_type *type,
                          uint64_t *bytes_ret)
{
    int64_t row = tensor->rank ? tensor->shape[tensor->rank - 1] : 1, bytes, elements = 1;
    if (row % type->elements)
        return NIB_FAIL(NIB_E_ROW, "a row has %lld elements, and %s stores them by %d",
                        (long long)row, type->name, type->elements);
    int fits = nib_mul(row / type->elements, type->bytes, &bytes);
    for (int32_t i = 0; i < tensor->rank; i++)
        fits = fits && nib_mul(elements, tensor->shape[i] ? tensor->shape[i] : 1, &elements);
    for (int32_t i = 0; i + 1 < tensor->rank; i++)
        fits = fits && nib_mul(bytes, tensor->shape[i], &bytes);
    if (!fits) return NIB_FAIL(NIB_E_OVERFLOW, "its size overflows 63 bits");
    *bytes_ret = (uint64_t)bytes;
    return NIB_OK;
}

/* *end: where the data of the tensors before it end, counted from the start of all data,
 * rounded. */
static nib_status take_tensor(reader *r, nib_raw_tensor *tensor, int64_t *end)
{
    const nib_stored_type *type = NULL;
    uint64_t offset;
    NIB_TRY(take_shape(r, tensor));
    NIB_TRY(take_type(r, tensor, &type));
    NIB_TRY(nib_cursor_u64(&r->cursor, &offset, "a tensor's offset"));
    NIB_TRY(size_of(tensor, type, &tensor->span.bytes));
    if (offset != (uint64_t)*end)
        return NIB_FAIL(NIB_E_OFFSET,
                        "its offset is %llu; after the tensors before it must be %lld",
                        (unsigned long long)offset, (long long)*end);
    tensor->span.shard = r->number;
    tensor->span.offset = offset;
    int64_t align = (int64_t)r->shard->alignment, padded;
    if (!nib_add((int64_t)tensor->span.bytes, align - 1, &padded) ||
        !nib_add(*end, padded / align * align, end))
        return NIB_FAIL(NIB_E_OVERFLOW, "the size of all tensors overflows 63 bits");
    return NIB_OK;
}

static nib_status take_tensors(reader *r, nib_raw_tensor *tensors, int64_t count)
{
    nib_names names;
    int64_t end = 0;
    NIB_TRY(nib_names_create(&names, r->arena, tensors, sizeof *tensors, count));
    for (int64_t i = 0; i < count; i++) {
        nib_status status = take_name(r, NIB_GGUF_NAME, NIB_E_NAME, "a tensor's name");
        if (status == NIB_OK) status = check_utf8(r);
        if (status != NIB_OK) return nib_fail_prefix(status, "tensor %lld: ", (long long)i);
        NIB_TRY(keep_name(r, &tensors[i].name));
        status = take_tensor(r, &tensors[i], &end);
        if (status != NIB_OK) return nib_fail_prefix(status, "tensor \"%.200s\": ", r->name);
        if (nib_names_add(&names, i) >= 0)
            return NIB_FAIL(NIB_E_DUP, "tensor \"%.200s\" comes twice", r->name);
    }
    nib_names_drop(&names, r->arena);
    return NIB_OK;
}

/* Makes offsets count from the start of the file. */
static nib_status place_tensors(const reader *r, nib_raw_tensor *tensors, int64_t count)
{
    uint64_t align = r->shard->alignment, file = r->cursor.end;
    uint64_t start = (r->cursor.at + align - 1) / align * align;
    for (int64_t i = 0; i < count; i++) {
        nib_span *span = &tensors[i].span;
        if (span->bytes && (start > file || span->offset > file - start ||
                            span->bytes > file - start - span->offset))
            return NIB_FAIL(NIB_E_TRUNC,
                            "tensor \"%.200s\" needs %llu bytes at %llu, and the file has %llu; it "
                            "is cut short",
                            tensors[i].name, (unsigned long long)span->bytes,
                            (unsigned long long)(start + span->offset), (unsigned long long)file);
        span->offset += start;
        if (span->offset > file) span->offset = file; /* of a tensor without elements */
    }
    return NIB_OK;
}

/* ---- the file ---- */

static nib_status take_head(reader *r, int64_t *tensors_ret)
{
    nib_cursor *c = &r->cursor;
    char magic[4];
    uint32_t version;
    uint64_t tensors, keys;
    if (c->end < NIB_GGUF_HEAD)
        return NIB_FAIL(NIB_E_SHORT, "the file has %llu bytes; a GGUF file has %d or more",
                        (unsigned long long)c->end, NIB_GGUF_HEAD);
    NIB_TRY(nib_cursor_take(c, magic, sizeof magic, "the magic"));
    if (memcmp(magic, "GGUF", sizeof magic))
        return NIB_FAIL(NIB_E_MAGIC, "the file begins with %02x %02x %02x %02x, not with GGUF",
                        (unsigned char)magic[0], (unsigned char)magic[1], (unsigned char)magic[2],
                        (unsigned char)magic[3]);
    NIB_TRY(nib_cursor_u32(c, &version, "the version"));
    if (version != 2 && version != 3)
        return NIB_FAIL(NIB_E_VERSION, "the version is %u%s; 2 and 3 are read", version,
                        version && !(version & 0xffff) ? " (a big-endian file)" : "");
    NIB_TRY(nib_cursor_u64(c, &tensors, "the count of tensors"));
    NIB_TRY(nib_cursor_u64(c, &keys, "the count of keys"));
    uint64_t left = c->end - c->at;
    if (tensors > left / LEAST_TENSOR || tensors >= INT32_MAX)
        return NIB_FAIL(NIB_E_COUNT, "the count of tensors is %lld; %llu bytes do not hold so many",
                        (long long)tensors, (unsigned long long)left);
    if (keys > left / LEAST_KEY || keys >= INT32_MAX)
        return NIB_FAIL(NIB_E_COUNT, "the count of keys is %lld; %llu bytes do not hold so many",
                        (long long)keys, (unsigned long long)left);
    *tensors_ret = (int64_t)tensors;
    r->shard->key_count = (int64_t)keys;
    return NIB_OK;
}

static nib_status read_all(reader *r, nib_raw_tensor **tensors_ret, int64_t *count_ret)
{
    nib_shard *shard = r->shard;
    NIB_TRY(take_head(r, count_ret));
    NIB_TAKE(shard->keys, r->arena, shard->key_count, "the table of keys");
    NIB_TRY(nib_names_create(&shard->key_names, r->arena, shard->keys, sizeof *shard->keys,
                             shard->key_count));
    NIB_TRY(take_keys(r));
    NIB_TRY(find_alignment(r));
    NIB_TAKE(*tensors_ret, r->arena, *count_ret, "the table of tensors");
    NIB_TRY(take_tensors(r, *tensors_ret, *count_ret));
    return place_tensors(r, *tensors_ret, *count_ret);
}

nib_status nib_gguf_read(nib_arena *arena, nib_shard *shard, int32_t number,
                         nib_raw_tensor **tensors_ret, int64_t *count_ret)
{
    reader *r = nib_arena_take(arena, 1, sizeof *r, "reading the header");
    unsigned char *window = nib_arena_take(arena, NIB_CURSOR_WINDOW, 1, "reading the header");
    if (!r || !window) return NIB_E_MEMORY;
    *r = (reader){.arena = arena, .shard = shard, .number = number};
    r->cursor = (nib_cursor){
        .fd = shard->input.fd, .shown = shard->name, .end = shard->input.bytes, .window = window};
    nib_status status = read_all(r, tensors_ret, count_ret);
    nib_arena_drop(arena, window);
    nib_arena_drop(arena, r);
    return status;
}

/* ---- what it says ---- */

const nib_key *nib_gguf_key(const nib_shard *shard, const char *name)
{
    int64_t at = nib_names_find(&shard->key_names, name, strlen(name));
    return at < 0 ? NULL : &shard->keys[at];
}

int nib_gguf_shard_number(const nib_shard *shard, const char *name, uint64_t *value_ret)
{
    const nib_key *key = nib_gguf_key(shard, name);
    if (!key) return 0;
    switch (key->type) {
    case NIB_KEY_U8:
    case NIB_KEY_U16:
    case NIB_KEY_U32:
    case NIB_KEY_U64: break;
    case NIB_KEY_I8:
    case NIB_KEY_I16:
    case NIB_KEY_I32:
    case NIB_KEY_I64:
        if (key->bits >> (8 * nib_key_type_bytes(key->type) - 1)) return 0;
        break;
    default: return 0;
    }
    *value_ret = key->bits;
    return 1;
}
