/* checkpoint.h - what an open checkpoint is inside host/formats. */
#ifndef NIB_FORMATS_CHECKPOINT_H
#define NIB_FORMATS_CHECKPOINT_H

#include "../../include/nibble_file.h"
#include "arena.h"
#include "input.h"
#include "names.h"

typedef struct nib_shard {
    const char *name;
    const char *metadata;
    nib_input input;
    nib_key *keys; /* of a GGUF file, with their names' table; otherwise NULL */
    int64_t key_count;
    nib_names key_names;
    uint64_t alignment; /* of a GGUF file's data */
} nib_shard;

/* Everything but the descriptors lies in the arena. */
struct nib_file {
    nib_arena arena;
    char *path;
    int is_directory;
    int directory; /* descriptor, -1 where a single file is open */
    int follow_links;
    nib_shard *shards;
    int32_t shard_count;
    nib_raw_tensor *raw;
    int64_t raw_count;
    int64_t *owners; /* per raw tensor: the logical tensor it is part of */
    nib_tensor *tensors;
    int64_t count;
    nib_names names; /* of tensors */
    int64_t ignored;
    const char *config; /* "" where there is none */
    const char *format;
};

/* Turns the raw tensors into logical ones: fills owners, tensors, count, names and format. */
nib_status nib_file_make_logical(nib_file *file);

#endif
