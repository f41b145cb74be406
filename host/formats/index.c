/* index.c - see index.h. */
#include "index.h"

#include "../core/internal.h"
#include "json.h"
#include "path.h"

#include <stdlib.h>
#include <string.h>

/* Where weight_map stands, checked to be an object, and what it takes. */
typedef struct map_place {
    nib_json json; /* at its '{' */
    int64_t entries;
    size_t name_bytes;
} map_place;

static nib_status count_entries(nib_json *json, map_place *place)
{
    int more;
    place->json = *json;
    NIB_TRY(nib_json_enter(json, '{', &more));
    for (; more; place->entries++) {
        nib_json_text key;
        NIB_TRY(nib_json_key(json, &key));
        place->name_bytes += key.length + 1;
        NIB_TRY(nib_json_skip(json));
        NIB_TRY(nib_json_next(json, '}', &more));
    }
    return NIB_OK;
}

/* Every other key ("metadata") only informs and is passed over. */
static nib_status find_map(const char *text, size_t length, map_place *place_ret)
{
    nib_json json = nib_json_open(text, length);
    map_place place = {.json.text = NULL};
    int more;
    if (nib_json_peek(&json) == '[')
        return NIB_FAIL(NIB_E_INDEX, "the index is an array; it must be an object");
    NIB_TRY(nib_json_enter(&json, '{', &more));
    while (more) {
        nib_json_text key;
        NIB_TRY(nib_json_key(&json, &key));
        if (!nib_json_is(key, "weight_map")) {
            NIB_TRY(nib_json_skip(&json));
        } else if (place.json.text) {
            return NIB_FAIL(NIB_E_DUP, "weight_map is given twice");
        } else if (nib_json_peek(&json) != '{') {
            return NIB_FAIL(NIB_E_INDEX, "weight_map is not an object");
        } else {
            NIB_TRY(count_entries(&json, &place));
        }
        NIB_TRY(nib_json_next(&json, '}', &more));
    }
    NIB_TRY(nib_json_close(&json));
    if (!place.json.text)
        return NIB_FAIL(NIB_E_INDEX, "weight_map, which says where the tensors are, is missing");
    *place_ret = place;
    return NIB_OK;
}

/* The number of the shard that a value of weight_map names; a new one is added. */
static nib_status parse_shard(nib_json *json, nib_arena *arena, nib_index *index,
                              nib_names *shard_names, int32_t *shard_ret)
{
    nib_json_text text;
    char name[256 * 6]; /* a byte may be written as six, \u0061 */
    if (nib_json_peek(json) != '"') return NIB_FAIL(NIB_E_INDEX, "its shard is not a string");
    NIB_TRY(nib_json_string(json, &text));
    if (text.length >= sizeof name)
        return NIB_FAIL(NIB_E_PATH, "its shard's name has %zu bytes; a file name has 1 to 255",
                        text.length);
    size_t length = nib_json_decode(text, name);
    NIB_TRY(nib_check_plain_name("its shard", name, length));
    int64_t found = nib_names_find(shard_names, name, length);
    if (found < 0) {
        if (index->shard_count == NIB_INDEX_SHARDS)
            return NIB_FAIL(NIB_E_INDEX, "the index names more than %d shards", NIB_INDEX_SHARDS);
        char *copy;
        NIB_TAKE(copy, arena, length + 1, "shard names");
        memcpy(copy, name, length);
        found = index->shard_count++;
        index->shards[found] = copy;
        nib_names_add(shard_names, found);
    }
    *shard_ret = (int32_t)found;
    return NIB_OK;
}

static nib_status parse_entries(map_place *place, nib_arena *arena, nib_index *index)
{
    nib_names shard_names;
    char *name;
    int64_t most = place->entries < NIB_INDEX_SHARDS ? place->entries : NIB_INDEX_SHARDS;
    NIB_TAKE(index->entries, arena, place->entries, "index entries");
    NIB_TAKE(index->shards, arena, most, "shards");
    NIB_TAKE(name, arena, place->name_bytes, "tensor names");
    NIB_TRY(nib_names_create(&index->names, arena, index->entries, sizeof *index->entries,
                             place->entries));
    NIB_TRY(nib_names_create(&shard_names, arena, index->shards, sizeof *index->shards, most));

    int more;
    NIB_TRY(nib_json_enter(&place->json, '{', &more));
    for (; more; index->count++) {
        nib_index_entry *entry = &index->entries[index->count];
        nib_json_text key;
        NIB_TRY(nib_json_key(&place->json, &key));
        size_t length = nib_json_decode(key, name);
        if (length == 0 || memchr(name, 0, length))
            return NIB_FAIL(NIB_E_NAME, "weight_map names a tensor with %s",
                            length ? "a NUL in its name" : "an empty name");
        entry->name = name;
        name += length + 1;
        if (nib_names_add(&index->names, index->count) >= 0)
            return NIB_FAIL(NIB_E_DUP, "weight_map names tensor \"%.200s\" twice", entry->name);
        nib_status status = parse_shard(&place->json, arena, index, &shard_names, &entry->shard);
        if (status != NIB_OK) return nib_fail_prefix(status, "tensor \"%.200s\": ", entry->name);
        NIB_TRY(nib_json_next(&place->json, '}', &more));
    }
    nib_names_drop(&shard_names, arena);
    return NIB_OK;
}

typedef struct shard_order {
    const char *name;
    int32_t was;
} shard_order;

static int by_name(const void *left, const void *right)
{
    return strcmp(((const shard_order *)left)->name, ((const shard_order *)right)->name);
}

/* Shards by name, so that their order does not depend on that of weight_map. */
static nib_status sort_shards(nib_arena *arena, nib_index *index)
{
    shard_order *order;
    int32_t *now;
    NIB_TAKE(order, arena, index->shard_count, "shards");
    NIB_TAKE(now, arena, index->shard_count, "shards");
    for (int32_t i = 0; i < index->shard_count; i++) order[i] = (shard_order){index->shards[i], i};
    qsort(order, (size_t)index->shard_count, sizeof *order, by_name);
    for (int32_t i = 0; i < index->shard_count; i++) {
        index->shards[i] = order[i].name;
        now[order[i].was] = i;
    }
    for (int64_t i = 0; i < index->count; i++)
        index->entries[i].shard = now[index->entries[i].shard];
    nib_arena_drop(arena, now);
    nib_arena_drop(arena, order);
    return NIB_OK;
}

nib_status nib_index_parse(const char *text, size_t length, nib_arena *arena, nib_index *index_ret)
{
    nib_index index = {0};
    map_place place;
    NIB_TRY(find_map(text, length, &place));
    NIB_TRY(parse_entries(&place, arena, &index));
    NIB_TRY(sort_shards(arena, &index));
    *index_ret = index;
    return NIB_OK;
}
