/* scheme.h - rows of nibble_schemes.def as structs, for host code. */
#ifndef NIB_CORE_SCHEME_H
#define NIB_CORE_SCHEME_H

#include "../../include/nibble.h"
#include "../../kernels/common/args.h"

typedef struct nib_rule_row {
    nib_rule id;
    const char *name, *text;
    int range, divisor, low, empty;
    nib_offset offset;
} nib_rule_row;

/* How a layout places one integer plane. */
typedef struct nib_place_row {
    int axis, words, width, flip, align;
} nib_place_row;

typedef struct nib_layout_row {
    nib_layout id;
    const char *name, *text;
    nib_place_row codes, zeros;
    int64_t tile;
} nib_layout_row;

/* NULL for an unknown number. */
const nib_rule_row *nib_rule_find(nib_rule id);
const nib_layout_row *nib_layout_find(nib_layout id);

/* Works out where the bits of a plane of [rows, cols] elements of `bits` bits lie. E_OVERFLOW. */
nib_status nib_place_make(const nib_place_row *row, int64_t rows, int64_t cols, int bits,
                          nib_place *place_ret);

/* Checks a grid; E_SHAPE names the field. */
nib_status nib_grid_check(const nib_grid *grid);

/* Checks a description and returns its rows of the tables (any of which may be NULL to ignore). */
nib_status nib_quant_check(const nib_quant *quant, const nib_rule_row **rule_ret,
                           const nib_layout_row **layout_ret);

#endif
