/* block.h - rows of the block table as structs, for host code. */
#ifndef NIB_CORE_BLOCK_H
#define NIB_CORE_BLOCK_H

#include "../../include/nibble.h"
#include "../../kernels/common/args.h"

typedef struct nib_block_row {
    nib_block_type type;
    nib_block_form form;
    int bits;
    nib_rule rule;
    nib_dtype scale;
} nib_block_row;

/* NULL for an unknown number. */
const nib_block_row *nib_block_row_find(nib_block block);

/* Checks a matrix of blocks and returns its row and the blocks' size. */
nib_status nib_block_check(nib_block block, int64_t rows, int64_t cols,
                           const nib_block_row **row_ret, int64_t *bytes_ret);

#endif
