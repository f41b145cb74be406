/* scheme.c - the tables of nibble_schemes.def, and the sizes that follow from a description. */
#include "scheme.h"

#include "internal.h"

#include <ctype.h>
#include <string.h>

static const struct {
    nib_dtype type;
    int bits;
    const char *name;
} dtypes[] = {
#define NIB_DTYPE(ID, name, wire, bits) {NIB_##ID, bits, name},
#include "../../include/nibble_schemes.def"
};

static const nib_rule_row rules[] = {
#define NIB_RULE(ID, name, wire, range, divisor, offset, low, empty, text)                         \
    {NIB_RULE_##ID,                                                                                \
     name,                                                                                         \
     text,                                                                                         \
     NIB_RANGE_##range,                                                                            \
     NIB_DIVISOR_##divisor,                                                                        \
     low,                                                                                          \
     NIB_EMPTY_##empty,                                                                            \
     NIB_OFFSET_##offset},
#include "../../include/nibble_schemes.def"
};

static const nib_layout_row layouts[] = {
#define NIB_LAYOUT(ID, name, wire, c_axis, c_words, c_width, c_flip, c_align, z_axis, z_words,     \
                   z_width, z_flip, z_align, tile, text)                                           \
    {NIB_LAYOUT_##ID,                                                                              \
     name,                                                                                         \
     text,                                                                                         \
     {NIB_AXIS_##c_axis, NIB_WORDS_##c_words, c_width, c_flip, c_align},                           \
     {NIB_AXIS_##z_axis, NIB_WORDS_##z_words, z_width, z_flip, z_align},                           \
     tile},
#include "../../include/nibble_schemes.def"
};

enum { ACTS_A16 = 16, ACTS_A8 = 8 };

static const nib_scheme schemes[] = {
#define NIB_SCHEME(ID, name, wire, bits, rule, group, layout, acts, alias, loads, text)            \
    {name,  alias,      loads, text, wire, bits, NIB_RULE_##rule, NIB_LAYOUT_##layout,             \
     group, ACTS_##acts},
#include "../../include/nibble_schemes.def"
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

int nib_dtype_bits(nib_dtype type)
{
    for (size_t i = 0; i < COUNT(dtypes); i++)
        if (dtypes[i].type == type) return dtypes[i].bits;
    return 0;
}

const char *nib_dtype_name(nib_dtype type)
{
    for (size_t i = 0; i < COUNT(dtypes); i++)
        if (dtypes[i].type == type) return dtypes[i].name;
    return "?";
}

nib_dtype nib_dtype_find(const char *name, size_t length)
{
    for (size_t i = 0; i < COUNT(dtypes); i++)
        if (strlen(dtypes[i].name) == length && !memcmp(dtypes[i].name, name, length))
            return dtypes[i].type;
    return NIB_DTYPE_NONE;
}

const nib_rule_row *nib_rule_find(nib_rule id)
{
    for (size_t i = 0; i < COUNT(rules); i++)
        if (rules[i].id == id) return &rules[i];
    return NULL;
}

const nib_layout_row *nib_layout_find(nib_layout id)
{
    for (size_t i = 0; i < COUNT(layouts); i++)
        if (layouts[i].id == id) return &layouts[i];
    return NULL;
}

const char *nib_rule_name(nib_rule rule)
{
    const nib_rule_row *row = nib_rule_find(rule);
    return row ? row->name : "?";
}

const char *nib_layout_name(nib_layout layout)
{
    const nib_layout_row *row = nib_layout_find(layout);
    return row ? row->name : "?";
}

nib_offset nib_rule_offset(nib_rule rule)
{
    const nib_rule_row *row = nib_rule_find(rule);
    return row ? row->offset : NIB_OFFSET_NONE;
}

int64_t nib_layout_tile_rows(nib_layout layout)
{
    const nib_layout_row *row = nib_layout_find(layout);
    return row ? row->tile : 0;
}

size_t nib_scheme_count(void) { return COUNT(schemes); }

const nib_scheme *nib_scheme_at(size_t index)
{
    return index < COUNT(schemes) ? &schemes[index] : NULL;
}

/* Equal but for case, and with '-' and '_' alike. */
static int same_name(const char *a, const char *b)
{
    for (;; a++, b++) {
        int x = *a == '-' ? '_' : tolower((unsigned char)*a),
            y = *b == '-' ? '_' : tolower((unsigned char)*b);
        if (x != y) return 0;
        if (!x) return 1;
    }
}

const nib_scheme *nib_scheme_find(const char *name)
{
    for (size_t i = 0; name && i < COUNT(schemes); i++)
        if (same_name(name, schemes[i].name) || same_name(name, schemes[i].alias))
            return &schemes[i];
    return NULL;
}

/* ---- shapes ---- */

nib_status nib_grid_check(const nib_grid *grid)
{
    int64_t count;
    if (!grid) return NIB_FAIL(NIB_E_ARGUMENT, "grid is NULL");
    if (grid->rows < 0 || grid->cols < 0 || !nib_mul(grid->rows, grid->cols, &count) ||
        !nib_mul(count, 4, &count))
        return NIB_FAIL(
            NIB_E_SHAPE,
            "grid of %lld x %lld elements; both must be 0 or more and their bytes fit in 63 bits",
            (long long)grid->rows, (long long)grid->cols);
    if (count == 0) return NIB_OK;
    if (grid->period < 1 || grid->period > grid->rows || grid->rows % grid->period)
        return NIB_FAIL(NIB_E_SHAPE, "grid.period is %lld; it must divide the %lld rows",
                        (long long)grid->period, (long long)grid->rows);
    if (grid->group < 1 || grid->group > grid->cols)
        return NIB_FAIL(NIB_E_SHAPE, "grid.group is %lld; it must be 1 to the %lld columns",
                        (long long)grid->group, (long long)grid->cols);
    return NIB_OK;
}

nib_status nib_grid_rows(int64_t rows, int64_t cols, int64_t group, nib_grid *grid_ret)
{
    if (group < 0)
        return NIB_FAIL(NIB_E_SHAPE, "group is %lld; it must be 0 (a whole row) or more",
                        (long long)group);
    nib_grid grid = {rows, cols, rows, group == 0 || group > cols ? cols : group};
    NIB_TRY(nib_grid_check(&grid));
    NIB_TRY(nib_check_ret("grid_ret", grid_ret));
    *grid_ret = grid;
    return NIB_OK;
}

nib_status nib_grid_tensor(int64_t rows, int64_t cols, nib_grid *grid_ret)
{
    nib_grid grid = {rows, cols, 1, cols};
    NIB_TRY(nib_grid_check(&grid));
    NIB_TRY(nib_check_ret("grid_ret", grid_ret));
    *grid_ret = grid;
    return NIB_OK;
}

nib_status nib_grid_axis(const int64_t *shape, int rank, int axis, nib_grid *grid_ret)
{
    if (!shape) return NIB_FAIL(NIB_E_ARGUMENT, "shape is NULL");
    if (rank < 1 || rank > 8 || axis < 0 || axis >= rank)
        return NIB_FAIL(NIB_E_SHAPE,
                        "axis %d of %d dimensions; an axis is 0 to rank-1 and a rank 1 to 8", axis,
                        rank);
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < rank; i++)
        if (shape[i] < 0 || (i < axis && !nib_mul(outer, shape[i], &outer)) ||
            (i > axis && !nib_mul(inner, shape[i], &inner)))
            return NIB_FAIL(NIB_E_SHAPE,
                            "dimension %d is %lld; the product of all must fit in 63 bits", i,
                            (long long)shape[i]);
    int last = axis == rank - 1;
    int64_t rows;
    if (!nib_mul(outer, shape[axis], &rows))
        return NIB_FAIL(NIB_E_SHAPE, "the tensor's elements do not fit in 63 bits");
    nib_grid grid =
        last ? (nib_grid){outer, shape[axis], 1, 1} : (nib_grid){rows, inner, shape[axis], inner};
    NIB_TRY(nib_grid_check(&grid));
    NIB_TRY(nib_check_ret("grid_ret", grid_ret));
    *grid_ret = grid;
    return NIB_OK;
}

nib_status nib_place_make(const nib_place_row *row, int64_t rows, int64_t cols, int bits,
                          nib_place *place_ret)
{
    nib_place p = {0};
    int64_t stream_bits, bytes, total;
    p.axis = row->axis;
    p.strided = row->words == NIB_WORDS_STRIDED;
    p.width = !row->width ? bits : bits > 8 ? 16 : row->width;
    p.flip = row->flip ? 1 << (p.width - 1) : 0;
    p.streams = row->axis == NIB_AXIS_COLS ? rows : cols;
    p.length = row->axis == NIB_AXIS_COLS ? cols : rows;
    if (!nib_mul(p.length, p.width, &stream_bits))
        return NIB_FAIL(NIB_E_OVERFLOW, "a plane's size overflows");
    bytes = nib_ceil_div(stream_bits, 8);
    p.pitch = nib_ceil_div(bytes, row->align) * row->align;
    if (!nib_mul(p.pitch, p.streams, &total))
        return NIB_FAIL(NIB_E_OVERFLOW, "a plane's size overflows");
    *place_ret = p;
    return NIB_OK;
}

nib_status nib_quant_check(const nib_quant *quant, const nib_rule_row **rule_ret,
                           const nib_layout_row **layout_ret)
{
    if (!quant) return NIB_FAIL(NIB_E_ARGUMENT, "quant is NULL");
    NIB_TRY(nib_grid_check(&quant->grid));
    const nib_rule_row *rule = nib_rule_find(quant->rule);
    const nib_layout_row *layout = nib_layout_find(quant->layout);
    if (!rule)
        return NIB_FAIL(NIB_E_ARGUMENT, "quant.rule is %d, which is no rule", (int)quant->rule);
    if (!layout)
        return NIB_FAIL(NIB_E_ARGUMENT, "quant.layout is %d, which is no layout",
                        (int)quant->layout);
    if (quant->bits != 16 && (quant->bits < 2 || quant->bits > 8 || quant->bits == 7))
        return NIB_FAIL(NIB_E_ARGUMENT, "quant.bits is %d; it must be 2, 3, 4, 5, 6, 8 or 16",
                        quant->bits);
    if (layout->codes.width && layout->codes.width != quant->bits)
        return NIB_FAIL(NIB_E_UNSUPPORTED, "layout %s holds codes of %d bits, not %d", layout->name,
                        layout->codes.width, quant->bits);
    if (!nib_is_float(quant->scale_type))
        return NIB_FAIL(NIB_E_ARGUMENT, "quant.scale_type is %d (%s); it must be F32, F16 or BF16",
                        (int)quant->scale_type, nib_dtype_name(quant->scale_type));
    if (rule_ret) *rule_ret = rule;
    if (layout_ret) *layout_ret = layout;
    return NIB_OK;
}

nib_status nib_plane_bytes(const nib_quant *quant, nib_plane plane, size_t *bytes_ret)
{
    const nib_rule_row *rule;
    const nib_layout_row *layout;
    NIB_TRY(nib_check_ret("bytes_ret", bytes_ret));
    NIB_TRY(nib_quant_check(quant, &rule, &layout));
    const nib_grid *g = &quant->grid;
    int empty = g->rows == 0 || g->cols == 0;
    int64_t scale_cols = empty ? 0 : nib_ceil_div(g->cols, g->group);
    int64_t period = empty ? 0 : g->period;
    int64_t scale_bytes = period * scale_cols * (nib_dtype_bits(quant->scale_type) / 8);
    nib_place place;
    switch (plane) {
    case NIB_PLANE_CODES:
        NIB_TRY(nib_place_make(&layout->codes, g->rows, g->cols, quant->bits, &place));
        *bytes_ret = (size_t)(place.streams * place.pitch);
        return NIB_OK;
    case NIB_PLANE_SCALES: *bytes_ret = (size_t)scale_bytes; return NIB_OK;
    case NIB_PLANE_OFFSETS:
        if (rule->offset == NIB_OFFSET_ZERO) {
            NIB_TRY(nib_place_make(&layout->zeros, period, scale_cols, quant->bits, &place));
            scale_bytes = place.streams * place.pitch;
        }
        *bytes_ret = rule->offset == NIB_OFFSET_NONE ? 0 : (size_t)scale_bytes;
        return NIB_OK;
    default: return NIB_FAIL(NIB_E_ARGUMENT, "plane is %d; it must be 0 to 2", (int)plane);
    }
}
