/* range.h - the range of one cell, element by element: what every range in plain C is. */
#ifndef NIB_CPU_RANGE_H
#define NIB_CPU_RANGE_H

#include "access.h"

typedef struct cell_range {
    float min, max;    /* of the admitted values */
    nib_i32 nonfinite; /* it holds a NaN or an infinity */
} cell_range;

/* Takes in columns begin..end-1 of a row. Start from {INFINITY, -INFINITY, 0}. */
static inline void range_row(cell_range *range, void *const span[NIB_HOST_SPANS], const nib_args *a,
                             nib_i64 row, nib_i64 begin, nib_i64 end)
{
    for (nib_i64 k = begin; k < end; k++) {
        float x = load_element(span[NIB_X], a->x_type, row * a->cols + k);
        float admitted = nib_admit(x, a->nonfinite, a->x_type);
        range->nonfinite |= !nib_is_finite(x);
        if (admitted < range->min) range->min = admitted;
        if (admitted > range->max) range->max = admitted;
    }
}

static inline cell_range range_cell(void *const span[NIB_HOST_SPANS], const nib_args *a,
                                    nib_i64 cell)
{
    cell_range range = {INFINITY, -INFINITY, 0};
    nib_i64 begin = cell % a->scale_cols * a->group, end = min_i64(a->cols, begin + a->group);
    for (nib_i64 row = cell / a->scale_cols; row < a->rows; row += a->period)
        range_row(&range, span, a, row, begin, end);
    return range;
}

#endif
