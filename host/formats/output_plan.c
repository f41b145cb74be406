/* output_plan.c - see output_plan.h. */
#include "output_plan.h"

#include "../core/internal.h"
#include "gguf.h"
#include "gguf_write.h"
#include "json.h"
#include "safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef nib_output_entry entry;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->tensor->name, ((const entry *)b)->tensor->name);
}

static int by_place(const void *a, const void *b)
{
    const nib_new_tensor *left = ((const entry *)a)->tensor, *right = ((const entry *)b)->tensor;
    if (left->shard != right->shard) return left->shard < right->shard ? -1 : 1;
    int left_bits = nib_dtype_bits(left->type), right_bits = nib_dtype_bits(right->type);
    return left_bits != right_bits ? right_bits - left_bits : strcmp(left->name, right->name);
}

/* As the caller numbers them. */
static int by_number(const void *a, const void *b)
{
    const nib_new_tensor *left = ((const entry *)a)->tensor, *right = ((const entry *)b)->tensor;
    if (left->shard != right->shard) return left->shard < right->shard ? -1 : 1;
    return (left > right) - (left < right);
}

/* Blocks count as elements of so many bits; a row has only whole ones. */
static nib_status tensor_bytes(const nib_new_tensor *whole, uint64_t *bytes_ret)
{
    nib_new_tensor blocks = *whole;
    const nib_new_tensor *tensor = whole;
    int64_t bits = nib_dtype_bits(tensor->type);
    if (whole->blocks && whole->rank > 0 && whole->rank <= NIB_MAX_RANK) {
        int64_t *row = &blocks.shape[whole->rank - 1];
        if (*row % whole->blocks->elements)
            return NIB_FAIL(NIB_E_ROW, "its rows of %lld elements are no whole blocks of %d",
                            (long long)*row, whole->blocks->elements);
        *row /= whole->blocks->elements;
        bits = 8 * (int64_t)whole->blocks->bytes;
        tensor = &blocks;
    }
    if (!bits) return NIB_FAIL(NIB_E_DTYPE, "its element type is %d", (int)tensor->type);
    if (tensor->rank < 0 || tensor->rank > NIB_MAX_RANK)
        return NIB_FAIL(NIB_E_RANK, "its rank is %d; at most %d is", tensor->rank, NIB_MAX_RANK);
    int fits = 1, empty = 0;
    for (int i = 0; i < tensor->rank; i++) {
        if (tensor->shape[i] < 0)
            return NIB_FAIL(NIB_E_SHAPE, "its dimension %d is %lld", i,
                            (long long)tensor->shape[i]);
        empty |= tensor->shape[i] == 0;
        fits = fits && nib_mul(bits, tensor->shape[i], &bits);
    }
    if (!fits && !empty) return NIB_FAIL(NIB_E_OVERFLOW, "its bits do not fit in 63 bits");
    if (empty) bits = 0;
    if (bits % 8)
        return NIB_FAIL(NIB_E_SHAPE, "its %lld bits are not whole bytes", (long long)bits);
    *bytes_ret = (uint64_t)bits / 8;
    return NIB_OK;
}

/* Checks each tensor for itself. */
static nib_status check_tensors(nib_output_plan *plan, const nib_new_tensor *tensors)
{
    for (int64_t i = 0; i < plan->count; i++) {
        const nib_new_tensor *tensor = &tensors[i];
        if (!tensor->name || !*tensor->name)
            return NIB_FAIL(NIB_E_NAME, "tensor %lld has no name", (long long)i);
        if (!strcmp(tensor->name, "__metadata__"))
            return NIB_FAIL(NIB_E_NAME, "a tensor cannot be named __metadata__");
        if (tensor->shard < 0 || tensor->shard >= NIB_OUTPUT_SHARDS)
            return NIB_FAIL(NIB_E_ARGUMENT, "tensor \"%.200s\": shard is %d; it must be 0 to %d",
                            tensor->name, tensor->shard, NIB_OUTPUT_SHARDS - 1);
        nib_planned_tensor *planned = &plan->tensors[i];
        *planned = (nib_planned_tensor){.name = tensor->name, .shard = tensor->shard};
        nib_status status = tensor_bytes(tensor, &planned->bytes);
        if (status != NIB_OK) return nib_fail_prefix(status, "tensor \"%.200s\": ", tensor->name);
        if (tensor->shard >= plan->shard_count) plan->shard_count = tensor->shard + 1;
    }
    if (plan->shard_count == 0) plan->shard_count = 1;
    return NIB_OK;
}

/* ---- texts ---- */

/* A member of __metadata__, decoded. */
typedef struct pair {
    const char *key, *value;
} pair;

static int by_key(const void *a, const void *b)
{
    return strcmp(((const pair *)a)->key, ((const pair *)b)->key);
}

/* Decodes a string to *at and steps over it and its NUL. */
static nib_status take_string(nib_json_text string, char **at, const char **string_ret)
{
    size_t length = nib_json_decode(string, *at);
    (*at)[length] = 0;
    if (strlen(*at) != length) return NIB_FAIL(NIB_E_META, "\"%.64s\" has a NUL inside", *at);
    *string_ret = *at;
    *at += length + 1;
    return NIB_OK;
}

/* Reads an object of strings into `pairs`; `at` has room for them. */
static nib_status read_pairs(const char *metadata, pair *pairs, char *at, size_t *count_ret)
{
    nib_json json = nib_json_open(metadata, strlen(metadata));
    nib_json_text text;
    int more;
    NIB_TRY(nib_json_enter(&json, '{', &more));
    for (size_t i = 0; more; *count_ret = ++i) {
        NIB_TRY(nib_json_key(&json, &text));
        NIB_TRY(take_string(text, &at, &pairs[i].key));
        NIB_TRY(nib_json_string(&json, &text));
        NIB_TRY(take_string(text, &at, &pairs[i].value));
        NIB_TRY(nib_json_next(&json, '}', &more));
    }
    return nib_json_close(&json);
}

/* Sorts and writes `count` pairs, and "format" where none of them is. */
static nib_status put_pairs(nib_text *text, pair *pairs, size_t count)
{
    size_t i = 0;
    while (i < count && strcmp(pairs[i].key, "format")) i++;
    if (i == count) pairs[count++] = (pair){"format", "pt"};
    qsort(pairs, count, sizeof *pairs, by_key);
    for (i = 0; i < count; i++) {
        if (i && !strcmp(pairs[i - 1].key, pairs[i].key))
            return NIB_FAIL(NIB_E_META, "metadata: key \"%.64s\" is given twice", pairs[i].key);
        nib_text_format(text, i ? "," : "\"__metadata__\":{");
        nib_text_quote(text, pairs[i].key);
        nib_text_add(text, ":", 1);
        nib_text_quote(text, pairs[i].value);
    }
    nib_text_add(text, "}", 1);
    return text->status;
}

/* Adds "__metadata__":{...}, keys sorted. Not by jansson, which under a failed allocation loses
 * bytes of a string, or ends the process (2.14, lex_save). */
static nib_status add_metadata(nib_text *text, const char *metadata)
{
    if (!metadata) metadata = "{}";
    size_t length = strlen(metadata), count = 0;
    pair *pairs = calloc(length / 4 + 2, sizeof *pairs); /* a pair takes 5 bytes or more */
    char *room = malloc(length + 1);
    nib_status status =
        pairs && room ? NIB_OK : NIB_FAIL(NIB_E_MEMORY, "no memory for the metadata");
    if (status == NIB_OK && read_pairs(metadata, pairs, room, &count) != NIB_OK)
        status = nib_fail_prefix(NIB_E_META, "metadata: ");
    if (status == NIB_OK) status = put_pairs(text, pairs, count);
    free(room);
    free(pairs);
    return status;
}

static void add_tensor(nib_text *text, const entry *added)
{
    const nib_new_tensor *tensor = added->tensor;
    nib_text_add(text, ",", 1);
    nib_text_quote(text, tensor->name);
    nib_text_format(text, ":{\"dtype\":\"%s\",\"shape\":[", nib_dtype_name(tensor->type));
    for (int i = 0; i < tensor->rank; i++)
        nib_text_format(text, "%s%lld", i ? "," : "", (long long)tensor->shape[i]);
    unsigned long long begin = added->planned->offset, bytes = added->planned->bytes;
    nib_text_format(text, "],\"data_offsets\":[%llu,%llu]}", begin, begin + bytes);
}

/* Ends the header: pads it and writes its length in front. */
static nib_status close_header(nib_text *text, const char *shard)
{
    nib_text_add(text, "}", 1);
    size_t padding = (NIB_OUTPUT_BLOCK - text->size % NIB_OUTPUT_BLOCK) % NIB_OUTPUT_BLOCK;
    nib_text_format(text, "%*s", (int)(padding % 256), "");
    for (size_t i = 0; i < padding / 256; i++) nib_text_format(text, "%256s", "");
    NIB_TRY(text->status);
    uint64_t length = text->size - NIB_HEADER_PREFIX;
    if (length > NIB_HEADER_CAP)
        return NIB_FAIL(NIB_E_HEADER_BIG,
                        "the header of %s would have %llu bytes and readers accept %d; "
                        "write more shards",
                        shard, (unsigned long long)length, NIB_HEADER_CAP);
    for (int i = 0; i < NIB_HEADER_PREFIX; i++) text->data[i] = (char)(length >> (8 * i));
    return NIB_OK;
}

/* The header of one shard, and the places of its tensors `entries`. */
static nib_status make_safetensors(nib_planned_shard *shard, const entry *entries, int64_t count,
                                   const nib_output_options *options, int32_t number)
{
    (void)number;
    int64_t data = 0;
    nib_text *text = &shard->header;
    nib_text_add(text, "\0\0\0\0\0\0\0\0{", NIB_HEADER_PREFIX + 1);
    NIB_TRY(add_metadata(text, options->metadata));
    for (int64_t i = 0; i < count; i++) {
        entries[i].planned->offset = (uint64_t)data;
        if (!nib_add(data, (int64_t)entries[i].planned->bytes, &data))
            return NIB_FAIL(NIB_E_OVERFLOW, "the size of %s overflows", shard->name);
        add_tensor(text, &entries[i]);
    }
    NIB_TRY(close_header(text, shard->name));
    for (int64_t i = 0; i < count; i++) entries[i].planned->offset += text->size;
    int64_t bytes;
    if (!nib_add(data, (int64_t)text->size, &bytes))
        return NIB_FAIL(NIB_E_OVERFLOW, "the size of %s overflows", shard->name);
    shard->bytes = (uint64_t)bytes;
    return NIB_OK;
}

/* What the two containers do each in its own way. */
typedef struct container {
    const char *suffix;
    int (*order)(const void *a, const void *b);
    int indexed;
    nib_status (*make)(nib_planned_shard *shard, const entry *entries, int64_t count,
                       const nib_output_options *options, int32_t number);
} container;

static const container containers[] = {
    [NIB_SAFETENSORS] = {NIB_OUTPUT_SUFFIX, by_place, 1, make_safetensors},
    [NIB_GGUF] = {NIB_GGUF_SUFFIX, by_number, 0, nib_gguf_plan_shard},
};
enum { CONTAINERS = sizeof containers / sizeof containers[0] };

static nib_status make_shards(nib_output_plan *plan, const entry *entries,
                              const nib_output_options *options)
{
    const container *files = &containers[options->container];
    int64_t at = 0;
    for (int32_t i = 0; i < plan->shard_count; i++) {
        nib_planned_shard *shard = &plan->shards[i];
        if (plan->shard_count == 1)
            snprintf(shard->name, sizeof shard->name, "model%s", files->suffix);
        else
            snprintf(shard->name, sizeof shard->name, "model-%05d-of-%05d%s", i + 1,
                     plan->shard_count, files->suffix);
        int64_t first = at;
        while (at < plan->count && entries[at].tensor->shard == i) at++;
        if (at == first && plan->count)
            return NIB_FAIL(NIB_E_ARGUMENT, "shard %d of %d has no tensor", i, plan->shard_count);
        NIB_TRY(files->make(shard, entries + first, at - first, options, i));
        if (__builtin_add_overflow(plan->bytes, shard->bytes, &plan->bytes))
            return NIB_FAIL(NIB_E_OVERFLOW, "the size of the output overflows");
    }
    return NIB_OK;
}

/* As huggingface_hub writes it: two spaces, sorted. */
static nib_status make_index(nib_output_plan *plan, const entry *entries)
{
    uint64_t total = 0;
    for (int64_t i = 0; i < plan->count; i++) total += plan->tensors[i].bytes;
    nib_text *text = &plan->index;
    nib_text_format(text,
                    "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n  \"weight_map\": {",
                    (unsigned long long)total);
    for (int64_t i = 0; i < plan->count; i++) {
        nib_text_format(text, i ? ",\n    " : "\n    ");
        nib_text_quote(text, entries[i].tensor->name);
        nib_text_format(text, ": \"%s\"", plan->shards[entries[i].tensor->shard].name);
    }
    nib_text_format(text, "\n  }\n}\n");
    return text->status;
}

static nib_status make_texts(nib_output_plan *plan, const nib_new_tensor *tensors, entry *entries,
                             const nib_output_options *options)
{
    const container *files = &containers[options->container];
    for (int64_t i = 0; i < plan->count; i++) entries[i] = (entry){&tensors[i], &plan->tensors[i]};
    qsort(entries, (size_t)plan->count, sizeof *entries, files->order);
    NIB_TRY(make_shards(plan, entries, options));
    qsort(entries, (size_t)plan->count, sizeof *entries, by_name);
    for (int64_t i = 1; i < plan->count; i++)
        if (!strcmp(entries[i - 1].tensor->name, entries[i].tensor->name))
            return NIB_FAIL(NIB_E_DUP, "two tensors are named \"%.200s\"", entries[i].tensor->name);
    return plan->shard_count > 1 && files->indexed ? make_index(plan, entries) : NIB_OK;
}

static nib_status make(nib_output_plan *plan, const nib_new_tensor *tensors,
                       const nib_output_options *options)
{
    size_t count = (size_t)plan->count;
    plan->tensors = calloc(count + 1, sizeof *plan->tensors);
    if (!plan->tensors) return NIB_FAIL(NIB_E_MEMORY, "no memory to plan %zu tensors", count);
    NIB_TRY(check_tensors(plan, tensors));
    plan->shards = calloc((size_t)plan->shard_count, sizeof *plan->shards);
    entry *entries = calloc(count + 1, sizeof *entries);
    nib_status status = plan->shards && entries
                            ? make_texts(plan, tensors, entries, options)
                            : NIB_FAIL(NIB_E_MEMORY, "no memory to plan %zu tensors", count);
    free(entries);
    return status;
}

nib_status nib_output_plan_make(const nib_new_tensor *tensors, int64_t count,
                                const nib_output_options *options, nib_output_plan *plan_ret)
{
    if ((unsigned)options->container >= CONTAINERS)
        return NIB_FAIL(NIB_E_ARGUMENT, "container is %d; it must be below %d",
                        (int)options->container, CONTAINERS);
    if (count < 0 || count >= INT32_MAX || (count && !tensors))
        return NIB_FAIL(NIB_E_ARGUMENT, "%lld tensors, given %s", (long long)count,
                        tensors ? "as an array" : "as NULL");
    nib_output_plan plan = {.count = count};
    nib_status status = make(&plan, tensors, options);
    if (status == NIB_OK) *plan_ret = plan;
    else nib_output_plan_free(&plan);
    return status;
}

void nib_output_plan_free(nib_output_plan *plan)
{
    for (int32_t i = 0; plan->shards && i < plan->shard_count; i++)
        nib_text_free(&plan->shards[i].header);
    free(plan->shards);
    free(plan->tensors);
    nib_text_free(&plan->index);
    *plan = (nib_output_plan){0};
}
