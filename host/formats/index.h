/* index.h - model.safetensors.index.json: which shard holds which tensor. */
#ifndef NIB_FORMATS_INDEX_H
#define NIB_FORMATS_INDEX_H

#include "arena.h"
#include "names.h"

enum { NIB_INDEX_CAP = 100000000, NIB_INDEX_SHARDS = 65536 };

typedef struct nib_index_entry {
    const char *name; /* of the tensor */
    int32_t shard;
    int32_t found; /* for the caller's use */
} nib_index_entry;

typedef struct nib_index {
    nib_index_entry *entries;
    int64_t count;
    const char **shards; /* plain file names, sorted */
    int32_t shard_count;
    nib_names names; /* of entries */
} nib_index;

/* Checks the text and fills the tables, which are pieces of the arena (some may be there on
 * failure). E_INDEX, E_JSON, E_UTF8, E_NAME, E_DUP, E_PATH, E_MEMORY. */
nib_status nib_index_parse(const char *text, size_t length, nib_arena *arena, nib_index *index_ret);

#endif
