/* safetensors.c - see safetensors.h. As strict as the reference reader (huggingface/safetensors,
 * tensor.rs) and stricter: no duplicates, no NUL in names, at most 8 dimensions, no unknown keys.
 */
#include "safetensors.h"

#include "../core/internal.h"
#include "json.h"
#include "names.h"

#include <stdlib.h>
#include <string.h>

#define METADATA "__metadata__"

/* How the files begin that users take for safetensors. */
static const struct {
    const char *magic, *what;
} strangers[] = {
    {"GGUF", "; it is a GGUF file"},
    {"PK\3\4", "; it is a zip archive, as PyTorch's .bin and .pt files are"},
    {"version ", "; it is a Git LFS pointer: fetch the file itself with 'git lfs pull'"},
    {"<!", "; it is a web page: download the file itself"},
    {"{", "; it is JSON text"},
};

static const char *stranger(const unsigned char *prefix)
{
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        if (!memcmp(prefix, strangers[i].magic, strlen(strangers[i].magic)))
            return strangers[i].what;
    return "; it is no safetensors file, or damaged";
}

nib_status nib_header_length(const unsigned char *prefix, uint64_t file_bytes, size_t *length_ret)
{
    if (file_bytes < NIB_HEADER_PREFIX)
        return NIB_FAIL(NIB_E_SHORT, "the file has %llu bytes; a safetensors file has at least 10",
                        (unsigned long long)file_bytes);
    uint64_t length = 0;
    for (int i = NIB_HEADER_PREFIX - 1; i >= 0; i--) length = length << 8 | prefix[i];
    if (length < 2 || length > file_bytes - NIB_HEADER_PREFIX)
        return NIB_FAIL(NIB_E_HEADER_LEN,
                        "its first 8 bytes say that the header has %llu bytes; 2 to %llu are "
                        "possible%s",
                        (unsigned long long)length,
                        (unsigned long long)file_bytes - NIB_HEADER_PREFIX, stranger(prefix));
    if (length > NIB_HEADER_CAP)
        return NIB_FAIL(NIB_E_HEADER_BIG, "the header has %llu bytes; the format allows %d",
                        (unsigned long long)length, NIB_HEADER_CAP);
    *length_ret = (size_t)length;
    return NIB_OK;
}

nib_status nib_header_count(const char *text, size_t length, nib_header_counts *counts_ret)
{
    nib_header_counts counts = {0};
    nib_json json = nib_json_open(text, length);
    int more;
    NIB_TRY(nib_json_enter(&json, '{', &more));
    while (more) {
        nib_json_text key;
        NIB_TRY(nib_json_key(&json, &key));
        if (nib_json_is(key, METADATA) && nib_json_peek(&json) == '{') {
            int more_keys;
            NIB_TRY(nib_json_enter(&json, '{', &more_keys));
            for (; more_keys; counts.metadata_keys++) {
                NIB_TRY(nib_json_key(&json, &key));
                NIB_TRY(nib_json_skip(&json));
                NIB_TRY(nib_json_next(&json, '}', &more_keys));
            }
        } else {
            counts.tensors++;
            counts.name_bytes += key.length + 1;
            NIB_TRY(nib_json_skip(&json));
        }
        NIB_TRY(nib_json_next(&json, '}', &more));
    }
    NIB_TRY(nib_json_close(&json));
    *counts_ret = counts;
    return NIB_OK;
}

/* ---- one tensor ---- */

static nib_status parse_dtype(nib_json *json, nib_raw_tensor *tensor)
{
    nib_json_text text;
    char name[32] = "";
    NIB_TRY(nib_json_string(json, &text));
    size_t length = text.length <= sizeof name ? nib_json_decode(text, name) : 0;
    tensor->type = nib_dtype_find(name, length);
    if (tensor->type != NIB_DTYPE_NONE) return NIB_OK;
    return NIB_FAIL(NIB_E_DTYPE, "dtype \"%.*s\" is not one of safetensors'",
                    (int)(text.length < 64 ? text.length : 64), text.raw);
}

static nib_status parse_shape(nib_json *json, nib_raw_tensor *tensor)
{
    int more;
    NIB_TRY(nib_json_enter(json, '[', &more));
    while (more) {
        uint64_t size;
        NIB_TRY(nib_json_u64(json, &size));
        if (tensor->rank == NIB_MAX_RANK)
            return NIB_FAIL(NIB_E_RANK, "it has more than %d dimensions", NIB_MAX_RANK);
        if (size > INT64_MAX)
            return NIB_FAIL(NIB_E_OVERFLOW, "dimension %d is %llu; it must fit in 63 bits",
                            tensor->rank, (unsigned long long)size);
        tensor->shape[tensor->rank++] = (int64_t)size;
        NIB_TRY(nib_json_next(json, ']', &more));
    }
    return NIB_OK;
}

static nib_status parse_offsets(nib_json *json, nib_raw_tensor *tensor)
{
    uint64_t offsets[2];
    int count = 0, more;
    NIB_TRY(nib_json_enter(json, '[', &more));
    while (more) {
        if (count == 2) return NIB_FAIL(NIB_E_JSON, "data_offsets has more than two numbers");
        NIB_TRY(nib_json_u64(json, &offsets[count++]));
        NIB_TRY(nib_json_next(json, ']', &more));
    }
    if (count != 2) return NIB_FAIL(NIB_E_JSON, "data_offsets has %d of two numbers", count);
    if (offsets[0] > offsets[1])
        return NIB_FAIL(NIB_E_OFFSET, "data_offsets begin at %llu and end before, at %llu",
                        (unsigned long long)offsets[0], (unsigned long long)offsets[1]);
    tensor->span.offset = offsets[0];
    tensor->span.bytes = offsets[1] - offsets[0];
    return NIB_OK;
}

/* Shape and type against the span. Dimensions of 0 are left out of the product, so that no shape
 * that is kept can overflow later. */
static nib_status check_size(const nib_raw_tensor *tensor)
{
    uint64_t bits = (uint64_t)nib_dtype_bits(tensor->type);
    int empty = 0;
    for (int i = 0; i < tensor->rank; i++) {
        empty |= tensor->shape[i] == 0;
        if (tensor->shape[i] &&
            (__builtin_mul_overflow(bits, (uint64_t)tensor->shape[i], &bits) || bits > INT64_MAX))
            return NIB_FAIL(NIB_E_OVERFLOW, "its dimensions' product overflows");
    }
    if (empty) bits = 0;
    if (bits % 8)
        return NIB_FAIL(NIB_E_DTYPE, "its %llu bits (%s) are not whole bytes",
                        (unsigned long long)bits, nib_dtype_name(tensor->type));
    if (bits / 8 != tensor->span.bytes)
        return NIB_FAIL(NIB_E_SIZE, "data_offsets span %llu bytes; shape and dtype need %llu",
                        (unsigned long long)tensor->span.bytes, (unsigned long long)bits / 8);
    return NIB_OK;
}

static nib_status parse_tensor(nib_json *json, nib_raw_tensor *tensor)
{
    static const struct {
        const char *key;
        nib_status (*parse)(nib_json *json, nib_raw_tensor *tensor);
    } fields[] = {{"dtype", parse_dtype}, {"shape", parse_shape}, {"data_offsets", parse_offsets}};
    enum { FIELDS = sizeof fields / sizeof fields[0] };
    unsigned seen = 0;
    int more;
    NIB_TRY(nib_json_enter(json, '{', &more));
    while (more) {
        nib_json_text key;
        NIB_TRY(nib_json_key(json, &key));
        unsigned i = 0;
        while (i < FIELDS && !nib_json_is(key, fields[i].key)) i++;
        if (i == FIELDS)
            return NIB_FAIL(NIB_E_JSON, "key \"%.*s\" is not one of safetensors'",
                            (int)(key.length < 64 ? key.length : 64), key.raw);
        if (seen >> i & 1) return NIB_FAIL(NIB_E_DUP, "%s is given twice", fields[i].key);
        seen |= 1u << i;
        NIB_TRY(fields[i].parse(json, tensor));
        NIB_TRY(nib_json_next(json, '}', &more));
    }
    for (unsigned i = 0; i < FIELDS; i++)
        if (!(seen >> i & 1)) return NIB_FAIL(NIB_E_JSON, "%s is missing", fields[i].key);
    return check_size(tensor);
}

/* ---- the whole ---- */

static nib_status parse_metadata(nib_json *json, int64_t count, nib_arena *arena, char **text_ret)
{
    const char **keys;
    char *bytes;
    nib_names names;
    if (nib_json_peek(json) != '{')
        return NIB_FAIL(NIB_E_META, METADATA " is not an object of strings");
    const char *start = json->at;
    nib_json whole = *json;
    NIB_TRY(nib_json_skip(&whole));
    size_t size = (size_t)(whole.at - start);
    NIB_TAKE(keys, arena, count, "metadata keys");
    NIB_TAKE(bytes, arena, size, "metadata keys");
    NIB_TRY(nib_names_create(&names, arena, keys, sizeof *keys, count));

    char *next = bytes;
    int more;
    NIB_TRY(nib_json_enter(json, '{', &more));
    for (int64_t i = 0; more; i++) {
        nib_json_text key, value;
        NIB_TRY(nib_json_key(json, &key));
        keys[i] = next;
        size_t length = nib_json_decode(key, next);
        next += length + 1;
        if (memchr(keys[i], 0, length)) return NIB_FAIL(NIB_E_META, METADATA ": a key has a NUL");
        if (nib_names_add(&names, i) >= 0)
            return NIB_FAIL(NIB_E_DUP, METADATA ": key \"%.64s\" is given twice", keys[i]);
        if (nib_json_peek(json) != '"')
            return NIB_FAIL(NIB_E_META, METADATA ": the value of \"%.64s\" is not a string",
                            keys[i]);
        NIB_TRY(nib_json_string(json, &value));
        NIB_TRY(nib_json_next(json, '}', &more));
    }
    nib_names_drop(&names, arena);
    nib_arena_drop(arena, bytes);
    nib_arena_drop(arena, keys);
    NIB_TAKE(*text_ret, arena, size + 1, "metadata");
    memcpy(*text_ret, start, size);
    return NIB_OK;
}

static nib_status parse_members(const char *text, size_t length, const nib_header_counts *counts,
                                nib_arena *arena, nib_header *header)
{
    nib_json json = nib_json_open(text, length);
    char *name = header->names;
    nib_names names;
    int more, metadata = 0;
    NIB_TRY(
        nib_names_create(&names, arena, header->tensors, sizeof *header->tensors, counts->tensors));
    NIB_TRY(nib_json_enter(&json, '{', &more));
    for (int64_t i = 0; more;) {
        nib_json_text key;
        NIB_TRY(nib_json_key(&json, &key));
        if (nib_json_is(key, METADATA)) {
            if (metadata++) return NIB_FAIL(NIB_E_DUP, METADATA " is given twice");
            NIB_TRY(parse_metadata(&json, counts->metadata_keys, arena, &header->metadata));
        } else {
            nib_raw_tensor *tensor = &header->tensors[i];
            size_t bytes = nib_json_decode(key, name);
            if (bytes == 0 || memchr(name, 0, bytes))
                return NIB_FAIL(NIB_E_NAME, "tensor %lld of the header has %s", (long long)i,
                                bytes ? "a NUL in its name" : "an empty name");
            tensor->name = name;
            name += bytes + 1;
            if (nib_names_add(&names, i++) >= 0)
                return NIB_FAIL(NIB_E_DUP, "tensor \"%.200s\" is there twice", tensor->name);
            nib_status status = parse_tensor(&json, tensor);
            if (status != NIB_OK)
                return nib_fail_prefix(status, "tensor \"%.200s\": ", tensor->name);
        }
        NIB_TRY(nib_json_next(&json, '}', &more));
    }
    nib_names_drop(&names, arena);
    return NIB_OK;
}

static int by_offset(const void *left, const void *right)
{
    const nib_raw_tensor *a = left, *b = right;
    if (a->span.offset != b->span.offset) return a->span.offset < b->span.offset ? -1 : 1;
    if (a->span.bytes != b->span.bytes) return a->span.bytes < b->span.bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Sorts, unless a writer did (most do). */
static void sort(nib_raw_tensor *tensors, int64_t count)
{
    int64_t i = 1;
    while (i < count && by_offset(&tensors[i - 1], &tensors[i]) < 0) i++;
    if (i < count) qsort(tensors, (size_t)count, sizeof *tensors, by_offset);
}

/* The tensors must cover the data exactly, without gap or overlap: nothing can hide in the file. */
static nib_status check_cover(const nib_raw_tensor *tensors, int64_t count, uint64_t data_bytes)
{
    uint64_t end = 0;
    for (int64_t i = 0; i < count; i++) {
        const nib_span *span = &tensors[i].span;
        if (span->offset < end)
            return NIB_FAIL(NIB_E_OFFSET,
                            "tensors \"%.200s\" and \"%.200s\" overlap at byte %llu of the data",
                            tensors[i - 1].name, tensors[i].name, (unsigned long long)span->offset);
        if (span->offset > end)
            return NIB_FAIL(NIB_E_HOLE,
                            "bytes %llu to %llu of the data, before tensor \"%.200s\", belong to "
                            "no tensor",
                            (unsigned long long)end, (unsigned long long)span->offset,
                            tensors[i].name);
        end = span->offset + span->bytes;
    }
    if (end > data_bytes)
        return NIB_FAIL(NIB_E_TRUNC,
                        "the file has %llu of the %llu bytes of data that its tensors need; it is "
                        "cut off or not yet downloaded whole",
                        (unsigned long long)data_bytes, (unsigned long long)end);
    if (end < data_bytes)
        return NIB_FAIL(NIB_E_HOLE, "%llu bytes after the last tensor belong to no tensor",
                        (unsigned long long)(data_bytes - end));
    return NIB_OK;
}

nib_status nib_header_parse(const char *text, size_t length, const nib_header_counts *counts,
                            uint64_t file_bytes, nib_arena *arena, nib_header *header_ret)
{
    nib_header header = {0};
    NIB_TAKE(header.tensors, arena, counts->tensors, "tensors");
    NIB_TAKE(header.names, arena, counts->name_bytes, "tensor names");
    NIB_TRY(parse_members(text, length, counts, arena, &header));
    if (!header.metadata) NIB_TAKE(header.metadata, arena, 1, "metadata");
    uint64_t data_start = NIB_HEADER_PREFIX + (uint64_t)length;
    sort(header.tensors, counts->tensors);
    NIB_TRY(check_cover(header.tensors, counts->tensors, file_bytes - data_start));
    for (int64_t i = 0; i < counts->tensors; i++) header.tensors[i].span.offset += data_start;
    *header_ret = header;
    return NIB_OK;
}
