/* safetensors.h - the header of a safetensors file: 8 bytes of length N, N bytes of JSON, data. */
#ifndef NIB_FORMATS_SAFETENSORS_H
#define NIB_FORMATS_SAFETENSORS_H

#include "../../include/nibble_file.h"
#include "arena.h"

enum {
    NIB_HEADER_PREFIX = 8,      /* bytes of the length */
    NIB_HEADER_CAP = 100000000, /* the reference reader's limit on N */
};

/* N out of the file's first bytes, checked against the file's size. E_SHORT, E_HEADER_LEN,
 * E_HEADER_BIG. `prefix` holds min(8, file_bytes) bytes. */
nib_status nib_header_length(const unsigned char *prefix, uint64_t file_bytes, size_t *length_ret);

/* What a header's tables will take. */
typedef struct nib_header_counts {
    int64_t tensors;
    size_t name_bytes; /* of all names with their NULs, or more */
    int64_t metadata_keys;
} nib_header_counts;

/* Checks that the text is JSON of the right outer form, and counts. */
nib_status nib_header_count(const char *text, size_t length, nib_header_counts *counts_ret);

typedef struct nib_header {
    nib_raw_tensor *tensors; /* counts.tensors, in order of offset, which counts from the start of
                                the file; span.shard is 0 */
    char *names;             /* their names' bytes */
    char *metadata;          /* the text of __metadata__, "" where there is none */
} nib_header;

/* Checks everything and fills the tables, which are pieces of the arena (some may be there on
 * failure). */
nib_status nib_header_parse(const char *text, size_t length, const nib_header_counts *counts,
                            uint64_t file_bytes, nib_arena *arena, nib_header *header_ret);

#endif
