/* names.c - see names.h. Open addressing with linear probing, at most half full. */
#include "names.h"

#include "../core/internal.h"

#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t slots_for(int64_t count)
{
    uint64_t slots = 8;
    while (slots < 2 * (uint64_t)count) slots *= 2;
    return slots;
}

uint64_t nib_names_bytes(int64_t count) { return slots_for(count) * sizeof(uint64_t); }

nib_status nib_names_create(nib_names *names, nib_arena *arena, const void *entries, size_t stride,
                            int64_t count)
{
    if (count >= INT32_MAX)
        return NIB_FAIL(NIB_E_MEMORY, "%lld names; a table holds fewer than 2^31",
                        (long long)count);
    uint64_t slots = slots_for(count);
    nib_names made = {.entries = entries, .stride = stride, .mask = (size_t)slots - 1};
    if (getentropy(made.secret, sizeof made.secret))
        return NIB_FAIL(NIB_E_IO, "the system gives no random bytes (getentropy)");
    NIB_TAKE(made.slots, arena, slots, "the table of names");
    *names = made;
    return NIB_OK;
}

void nib_names_drop(nib_names *names, nib_arena *arena)
{
    nib_arena_drop(arena, names->slots);
    names->slots = NULL;
}

/* The slot that holds the name, or the free one where it belongs. */
static size_t probe(const nib_names *names, const char *name, size_t length, uint64_t hash)
{
    size_t at = (size_t)hash & names->mask;
    for (;; at = (at + 1) & names->mask) {
        uint64_t slot = names->slots[at];
        if (slot == 0) return at;
        if (slot >> 32 != hash >> 32) continue;
        const char *other =
            *(const char *const *)((const char *)names->entries +
                                   ((size_t)(slot & UINT32_MAX) - 1) * names->stride);
        if (!strncmp(other, name, length) && !other[length]) return at;
    }
}

static uint64_t hash_of(const nib_names *names, const char *name, size_t length)
{
    return XXH3_64bits_withSecret(name, length, names->secret, sizeof names->secret);
}

int64_t nib_names_add(nib_names *names, int64_t index)
{
    const char *name =
        *(const char *const *)((const char *)names->entries + (size_t)index * names->stride);
    size_t length = strlen(name);
    uint64_t hash = hash_of(names, name, length);
    size_t at = probe(names, name, length, hash);
    if (names->slots[at]) return (int64_t)(names->slots[at] & UINT32_MAX) - 1;
    names->slots[at] = (hash & ~(uint64_t)UINT32_MAX) | (uint64_t)(index + 1);
    return -1;
}

int64_t nib_names_find(const nib_names *names, const char *name, size_t length)
{
    if (!names->slots) return -1;
    size_t at = probe(names, name, length, hash_of(names, name, length));
    return (int64_t)(names->slots[at] & UINT32_MAX) - 1;
}
