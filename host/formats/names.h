/* names.h - finds strings of a table by hash: duplicates and lookups in time linear in the text.
 *
 * The hash is keyed with random bytes, so that no file can be made whose names collide. */
#ifndef NIB_FORMATS_NAMES_H
#define NIB_FORMATS_NAMES_H

#include "arena.h"

/* Entries of any struct whose first member is its name, a `const char *`. */
typedef struct nib_names {
    const void *entries; /* borrowed; may move between calls: set it again */
    size_t stride;
    uint64_t *slots; /* 0: free; otherwise (upper half of the hash) << 32 | index + 1 */
    size_t mask;
    unsigned char secret[192];
} nib_names;

/* The bytes that a table for `count` entries takes. */
uint64_t nib_names_bytes(int64_t count);
/* Room for `count` entries (below 2^31) of `stride` bytes. E_MEMORY, E_IO. */
nib_status nib_names_create(nib_names *names, nib_arena *arena, const void *entries, size_t stride,
                            int64_t count);
void nib_names_drop(nib_names *names, nib_arena *arena);
/* Adds entry `index`, whose name is already in the table of entries; the index of an entry of the
 * same name that is there already, or -1. */
int64_t nib_names_add(nib_names *names, int64_t index);
/* The index of the entry of that name (`length` bytes), or -1. */
int64_t nib_names_find(const nib_names *names, const char *name, size_t length);

#endif
