/* imatrix.h - importance matrices: how much each input column of a weight matters, as
 * llama-imatrix measured it. Two formats: GGUF (tensors NAME.in_sum2 and NAME.counts), and the
 * older one:
 *
 *     i32 entries | entries:  i32 bytes | name | i32 calls | i32 values | f32 values     (then a note)
 */
#ifndef NIB_FORMATS_IMATRIX_H
#define NIB_FORMATS_IMATRIX_H

#include "../../include/nibble_file.h"
#include "arena.h"
#include "names.h"

/* The importance of one weight's columns: `values` of each matrix (expert) after the other. */
typedef struct nib_imatrix_entry {
    const char *name; /* the weight's */
    float *values;    /* all finite */
    int64_t count;
} nib_imatrix_entry;

/* Zeroed: none. Everything lies in the arena. */
typedef struct nib_imatrix {
    nib_arena arena;
    nib_imatrix_entry *entries;
    int64_t count;
    nib_names names;
} nib_imatrix;

/* Reads a file; `cap` bytes of memory at most (0: no cap). Importance is sum / count in single
 * precision, 1 where a count is 0. E_IMPORTANCE and what opening a file fails with. On failure
 * nothing is left to free. */
nib_status nib_imatrix_read(const char *path, size_t cap, nib_imatrix *matrix_ret);
/* NULL where there is none of that name. */
const nib_imatrix_entry *nib_imatrix_find(const nib_imatrix *matrix, const char *name);
void nib_imatrix_free(nib_imatrix *matrix);

#endif
