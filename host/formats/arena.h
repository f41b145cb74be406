/* arena.h - memory for an open checkpoint's tables: counted against a cap, freed at once. */
#ifndef NIB_FORMATS_ARENA_H
#define NIB_FORMATS_ARENA_H

#include "../../include/nibble.h"

/* Start from zeros and set `cap`. */
typedef struct nib_arena {
    struct nib_arena_block *blocks;
    size_t cap;  /* bytes it may hold; 0 = no cap */
    size_t used; /* bytes held */
} nib_arena;

/* `count` elements of `size` bytes, zeroed, aligned for any type; NULL with E_MEMORY's text where
 * the cap or the machine does not give them. `what` names them in the text. Never NULL for nothing.
 */
void *nib_arena_take(nib_arena *arena, uint64_t count, size_t size, const char *what);
/* Gives one piece back early. */
void nib_arena_drop(nib_arena *arena, void *piece);
/* E_MEMORY if `bytes` more (64 bits: not yet checked) are above the cap, naming all that is needed.
 */
nib_status nib_arena_check(const nib_arena *arena, uint64_t bytes, const char *what);
void nib_arena_free(nib_arena *arena);

/* Returns from the enclosing function where a piece could not be had. */
#define NIB_TAKE(pointer, arena, count, what)                                                      \
    do {                                                                                           \
        (pointer) = nib_arena_take((arena), (uint64_t)(count), sizeof *(pointer), (what));         \
        if (!(pointer)) return NIB_E_MEMORY;                                                       \
    } while (0)

#endif
