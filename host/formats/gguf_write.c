/* gguf_write.c - see gguf_write.h. The layout is llama-quantize's: data begin and each tensor
 * ends at a multiple of 32 bytes, filled with zeros; outermost dimensions of 1 are not written. */
#include "gguf_write.h"

#include "../core/internal.h"
#include "gguf.h"

#include <stdlib.h>
#include <string.h>

enum { VERSION = 3, COPY = 1 << 20 };

static void put(nib_text *text, uint64_t value, int bytes)
{
    unsigned char raw[8];
    for (int i = 0; i < 8; i++) raw[i] = (unsigned char)(value >> (8 * i));
    nib_text_add(text, raw, (size_t)bytes);
}

static void put_name(nib_text *text, const char *name)
{
    put(text, strlen(name), 8);
    nib_text_add(text, name, strlen(name));
}

static void pad(nib_text *text)
{
    static const char zeros[NIB_GGUF_ALIGNMENT];
    nib_text_add(text, zeros,
                 (NIB_GGUF_ALIGNMENT - text->size % NIB_GGUF_ALIGNMENT) % NIB_GGUF_ALIGNMENT);
}

/* ---- keys ---- */

void nib_gguf_put_number(nib_text *text, const char *name, nib_key_type type, uint64_t bits)
{
    put_name(text, name);
    put(text, (uint64_t)type, 4);
    put(text, bits, (int)nib_key_type_bytes(type));
}

void nib_gguf_put_string(nib_text *text, const char *name, const char *value)
{
    put_name(text, name);
    put(text, NIB_KEY_STRING, 4);
    put_name(text, value);
}

nib_status nib_gguf_put_key(nib_text *text, const nib_file *file, const nib_key *key)
{
    put_name(text, key->name);
    put(text, (uint64_t)key->type, 4);
    if (key->type == NIB_KEY_ARRAY) put(text, (uint64_t)key->element, 4);
    if (key->type == NIB_KEY_ARRAY || key->type == NIB_KEY_STRING) put(text, key->count, 8);
    size_t piece = key->value.bytes < COPY ? (size_t)key->value.bytes : COPY;
    char *buffer = malloc(piece + 1);
    if (!buffer) return NIB_FAIL(NIB_E_MEMORY, "no memory for %zu bytes", piece);
    nib_status status = text->status;
    for (uint64_t at = 0; at < key->value.bytes && status == NIB_OK; at += piece) {
        size_t part = key->value.bytes - at < piece ? (size_t)(key->value.bytes - at) : piece;
        status = nib_file_read(file, key->value.shard, key->value.offset + at, buffer, part);
        if (status == NIB_OK) nib_text_add(text, buffer, part);
    }
    free(buffer);
    return status == NIB_OK ? text->status : status;
}

/* ---- tensors ---- */

static nib_status put_tensor(nib_text *text, const nib_new_tensor *tensor, uint64_t offset)
{
    const nib_stored_type *type = nib_stored_type_of(tensor->type, tensor->blocks);
    int32_t outer = 0; /* dimensions of 1 that are left out */
    while (outer + 1 < tensor->rank && tensor->shape[outer] == 1) outer++;
    int32_t rank = tensor->rank > 0 ? tensor->rank - outer : 1;
    if (strlen(tensor->name) > NIB_GGUF_NAME)
        return NIB_FAIL(NIB_E_NAME, "a GGUF file's names have at most %d bytes; this one has %zu",
                        NIB_GGUF_NAME, strlen(tensor->name));
    if (rank > NIB_GGUF_RANK)
        return NIB_FAIL(NIB_E_RANK, "a GGUF file's tensors have at most %d dimensions; it has %d",
                        NIB_GGUF_RANK, rank);
    if (!type)
        return NIB_FAIL(NIB_E_DTYPE, "a GGUF file cannot hold %s", nib_dtype_name(tensor->type));
    put_name(text, tensor->name);
    put(text, (uint64_t)rank, 4);
    for (int32_t i = 0; i < rank; i++)
        put(text, tensor->rank ? (uint64_t)tensor->shape[tensor->rank - 1 - i] : 1, 8);
    put(text, (uint64_t)type->number, 4);
    put(text, offset, 8);
    return NIB_OK;
}

nib_status nib_gguf_plan_shard(nib_planned_shard *shard, const nib_output_entry *entries,
                               int64_t count, const nib_output_options *options, int32_t number)
{
    const nib_key_text none = {0}, *keys = options->keys ? &options->keys[number] : &none;
    nib_text *text = &shard->header;
    int64_t data = 0;
    nib_text_add(text, "GGUF", 4);
    put(text, VERSION, 4);
    put(text, (uint64_t)count, 8);
    put(text, (uint64_t)keys->count, 8);
    nib_text_add(text, keys->bytes, keys->size);
    for (int64_t i = 0; i < count; i++) {
        int64_t padded;
        entries[i].planned->offset = (uint64_t)data;
        nib_status status = put_tensor(text, entries[i].tensor, (uint64_t)data);
        if (status != NIB_OK)
            return nib_fail_prefix(status, "tensor \"%.200s\": ", entries[i].tensor->name);
        if (!nib_add((int64_t)entries[i].planned->bytes, NIB_GGUF_ALIGNMENT - 1, &padded) ||
            !nib_add(data, padded / NIB_GGUF_ALIGNMENT * NIB_GGUF_ALIGNMENT, &data))
            return NIB_FAIL(NIB_E_OVERFLOW, "the size of %s overflows", shard->name);
    }
    pad(text);
    NIB_TRY(text->status);
    for (int64_t i = 0; i < count; i++) entries[i].planned->offset += text->size;
    if (!nib_add(data, (int64_t)text->size, &data))
        return NIB_FAIL(NIB_E_OVERFLOW, "the size of %s overflows", shard->name);
    shard->bytes = (uint64_t)data;
    return NIB_OK;
}
