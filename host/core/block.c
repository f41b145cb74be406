/* block.c - ggml's block types as the table has them, their names and sizes. */
#include "block.h"

#include "internal.h"

#include <strings.h>

static const nib_block_row rows_of_blocks[] = {
#define NIB_BLOCK(ID, name, wire, elements, bytes, bits, group, rule, scale, low_at, low_bits,     \
                  low_run, high_at, high_bits, high_run, d_at, m_at, sub_at, sub, codes, text)     \
    {{name, text, NIB_BLOCK_##ID, elements, bytes},                                                \
     {wire, elements, bytes, group, low_at, low_bits, low_run, high_at, high_bits, high_run, d_at, \
      m_at, sub_at, NIB_SUB_##sub, NIB_CODES_##codes},                                             \
     bits,                                                                                         \
     NIB_RULE_##rule,                                                                              \
     NIB_##scale},
#include "../../include/nibble_schemes.def"
};

enum { BLOCK_COUNT = sizeof rows_of_blocks / sizeof rows_of_blocks[0] };

size_t nib_block_count(void) { return BLOCK_COUNT; }

const nib_block_type *nib_block_at(size_t index)
{
    return index < BLOCK_COUNT ? &rows_of_blocks[index].type : NULL;
}

const nib_block_row *nib_block_row_find(nib_block block)
{
    for (size_t i = 0; i < BLOCK_COUNT; i++)
        if (rows_of_blocks[i].type.block == block) return &rows_of_blocks[i];
    return NULL;
}

const nib_block_type *nib_block_get(nib_block block)
{
    const nib_block_row *row = nib_block_row_find(block);
    return row ? &row->type : NULL;
}

const nib_block_type *nib_block_find(const char *name)
{
    for (size_t i = 0; name && i < BLOCK_COUNT; i++)
        if (!strcasecmp(name, rows_of_blocks[i].type.name)) return &rows_of_blocks[i].type;
    return NULL;
}

nib_status nib_block_check(nib_block block, int64_t rows, int64_t cols,
                           const nib_block_row **row_ret, int64_t *bytes_ret)
{
    const nib_block_row *row = nib_block_row_find(block);
    int64_t count, bytes;
    if (!row) return NIB_FAIL(NIB_E_ARGUMENT, "block is %d, which is no block type", (int)block);
    if (rows < 0 || cols < 0 || !nib_mul(rows, cols, &count) || !nib_mul(count, 4, &bytes))
        return NIB_FAIL(
            NIB_E_SHAPE,
            "matrix of %lld x %lld elements; both must be 0 or more and their bytes fit in 63 bits",
            (long long)rows, (long long)cols);
    if (cols % row->type.elements)
        return NIB_FAIL(NIB_E_SHAPE, "cols is %lld; %s needs a multiple of %d", (long long)cols,
                        row->type.name, row->type.elements);
    *row_ret = row;
    *bytes_ret = count / row->type.elements * row->type.bytes;
    return NIB_OK;
}

nib_status nib_block_bytes(nib_block block, int64_t rows, int64_t cols, size_t *bytes_ret)
{
    const nib_block_row *row;
    int64_t bytes;
    NIB_TRY(nib_check_ret("bytes_ret", bytes_ret));
    NIB_TRY(nib_block_check(block, rows, cols, &row, &bytes));
    *bytes_ret = (size_t)bytes;
    return NIB_OK;
}

nib_status nib_block_quant(nib_block block, int64_t rows, int64_t cols, nib_quant *quant_ret)
{
    const nib_block_row *row;
    int64_t bytes;
    NIB_TRY(nib_check_ret("quant_ret", quant_ret));
    NIB_TRY(nib_block_check(block, rows, cols, &row, &bytes));
    nib_quant quant = {.bits = row->bits,
                       .scale_type = row->scale,
                       .rule = row->rule,
                       .layout = NIB_LAYOUT_CANONICAL};
    NIB_TRY(nib_grid_rows(rows, cols, row->form.group, &quant.grid));
    *quant_ret = quant;
    return NIB_OK;
}
