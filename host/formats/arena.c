/* arena.c - see arena.h. */
#include "arena.h"

#include "../core/internal.h"

#include <stdlib.h>

/* In front of each piece. */
typedef struct nib_arena_block {
    struct nib_arena_block *next, *previous;
    size_t bytes;
    size_t reserved; /* keeps the piece aligned to 16 */
} nib_arena_block;

_Static_assert(sizeof(nib_arena_block) % 16 == 0, "pieces are aligned for any type");

nib_status nib_arena_check(const nib_arena *arena, uint64_t bytes, const char *what)
{
    uint64_t need;
    if (arena->cap && (__builtin_add_overflow(arena->used, bytes, &need) || need > arena->cap))
        return NIB_FAIL(NIB_E_MEMORY,
                        "the checkpoint's tables need at least %llu bytes of memory (%s: %llu), "
                        "the cap is %zu; raise options.max_memory_bytes",
                        (unsigned long long)arena->used + bytes, what, (unsigned long long)bytes,
                        arena->cap);
    return NIB_OK;
}

void *nib_arena_take(nib_arena *arena, uint64_t count, size_t size, const char *what)
{
    uint64_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, sizeof(nib_arena_block), &bytes) || bytes > SIZE_MAX) {
        NIB_FAIL(NIB_E_MEMORY, "%s: %llu elements of %zu bytes do not fit in memory", what,
                 (unsigned long long)count, size);
        return NULL;
    }
    if (nib_arena_check(arena, bytes, what) != NIB_OK) return NULL;
    nib_arena_block *block = calloc(1, (size_t)bytes);
    if (!block) {
        NIB_FAIL(NIB_E_MEMORY, "out of memory: %s need %llu bytes", what,
                 (unsigned long long)bytes);
        return NULL;
    }
    block->bytes = (size_t)bytes;
    block->next = arena->blocks;
    if (block->next) block->next->previous = block;
    arena->blocks = block;
    arena->used += block->bytes;
    return block + 1;
}

void nib_arena_drop(nib_arena *arena, void *piece)
{
    if (!piece) return;
    nib_arena_block *block = (nib_arena_block *)piece - 1;
    if (block->next) block->next->previous = block->previous;
    if (block->previous) block->previous->next = block->next;
    else arena->blocks = block->next;
    arena->used -= block->bytes;
    free(block);
}

void nib_arena_free(nib_arena *arena)
{
    while (arena->blocks) nib_arena_drop(arena, arena->blocks + 1);
}
