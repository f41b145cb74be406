/* access.h - the spans of a launch as host arrays: elements, bits of integer planes, the parameters
 * of a cell (one scale and what goes with it), the report. */
#ifndef NIB_CPU_ACCESS_H
#define NIB_CPU_ACCESS_H

#include "../common/layout.h"
#include "../common/rule.h"

static inline nib_i64 min_i64(nib_i64 a, nib_i64 b) { return a < b ? a : b; }

/* ---- elements of type F32, F16 or BF16 ---- */

static inline float load_element(const void *array, nib_i32 type, nib_i64 index)
{
    nib_u32 raw =
        type == NIB_T_F32 ? ((const nib_u32 *)array)[index] : ((const nib_u16 *)array)[index];
    return nib_from_type(type, raw);
}

static inline void store_element(void *array, nib_i32 type, nib_i64 index, float value)
{
    nib_u32 raw = nib_to_type(type, value);
    if (type == NIB_T_F32) ((nib_u32 *)array)[index] = raw;
    else ((nib_u16 *)array)[index] = (nib_u16)raw;
}

/* ---- integer planes ---- */

static inline nib_u32 load_bits(const nib_u8 *plane, nib_place p, nib_i64 stream, nib_i64 index)
{
    nib_i64 bit = index * p.width, byte = bit >> 3;
    nib_i32 have = 8 - (nib_i32)(bit & 7);
    nib_u32 value = (nib_u32)plane[nib_place_byte(p, stream, byte)] >> (bit & 7);
    for (; have < p.width; have += 8)
        value |= (nib_u32)plane[nib_place_byte(p, stream, ++byte)] << have;
    return (value & ((1u << p.width) - 1u)) ^ (nib_u32)p.flip;
}

/* ---- cells: one per scale; `cell` counts them in scale order ---- */

/* How a cell decodes: the arguments of nib_decode. */
typedef struct cell_decode {
    float scale, min;
    nib_i32 zero; /* unsigned */
} cell_decode;

/* The cell of row `row` of the scales (0..period-1), group `g` in it. */
static inline cell_decode load_cell(void *const span[NIB_HOST_SPANS], const nib_args *a,
                                    nib_i64 row, nib_i64 g)
{
    nib_i64 cell = row * a->scale_cols + g;
    cell_decode c = {load_element(span[NIB_SCALES], a->scale_type, cell), 0.0f, 1 << (a->bits - 1)};
    if (a->offset == NIB_O_MIN) {
        c.min = load_element(span[NIB_OFFSETS], a->scale_type, cell);
        c.zero = 0;
    }
    if (a->offset == NIB_O_ZERO) c.zero = (nib_i32)load_bits(span[NIB_OFFSETS], a->other, row, g);
    return c;
}

static inline void store_zero(void *plane, const nib_args *a, nib_i64 cell, nib_i32 zero)
{
    nib_u8 *row = (nib_u8 *)plane + cell / a->scale_cols * a->other.pitch;
    row[cell % a->scale_cols] = (nib_u8)(zero ^ a->other.flip);
}

/* `c` NULL: the poisoned cell. */
static inline void store_cell(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 cell,
                              const nib_cell *c)
{
    float nan = NIB_BITS_F32(NIB_QNAN_F32);
    store_element(span[NIB_SCALES], a->scale_type, cell, c ? c->scale : nan);
    if (a->offset == NIB_O_MIN)
        store_element(span[NIB_OFFSETS], a->scale_type, cell, c ? c->min : nan);
    if (a->offset == NIB_O_ZERO)
        store_zero(span[NIB_OFFSETS], a, cell, c ? c->bias + (nib_i32)c->zero : 0);
}

/* Values of row `row`, columns begin..end-1, as f32. */
static inline void decode_row(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 row,
                              nib_i64 begin, nib_i64 end, float *values)
{
    for (nib_i64 k = begin; k < end;) {
        cell_decode c = load_cell(span, a, row % a->period, k / a->group);
        nib_i64 stop = min_i64(end, (k / a->group + 1) * a->group);
        for (; k < stop; k++)
            *values++ = nib_decode(load_bits(span[NIB_CODES], a->codes, row, k), c.zero, c.scale,
                                   c.min, a->offset);
    }
}

/* ---- the report: nib_report of nibble.h, which other threads write too ---- */

typedef struct cell_report {
    nib_u32 nonfinite, first, empty, underflow, saturated;
} cell_report;
#define CELL_REPORT_EMPTY ((cell_report){0, 0xffffffffu, 0, 0, 0})

static inline void report_nonfinite(cell_report *report, nib_i64 cell)
{
    nib_u32 index = (nib_u32)min_i64(cell, 0xfffffffe);
    report->nonfinite++;
    if (index < report->first) report->first = index;
}

static inline void report_cell(cell_report *report, const nib_cell *c)
{
    report->empty += (nib_u32)(c->empty && !c->has_range);
    report->underflow += (nib_u32)(c->empty && c->has_range);
    report->saturated += (nib_u32)c->saturated;
}

static inline void report_add(void *shared, const cell_report *report)
{
    nib_u32 *count = shared;
    const nib_u32 add[5] = {report->nonfinite, 0, report->empty, report->underflow,
                            report->saturated};
    if (!shared) return;
    for (int i = 0; i < 5; i++)
        if (add[i]) __atomic_fetch_add(&count[i], add[i], __ATOMIC_RELAXED);
    nib_u32 first = __atomic_load_n(&count[1], __ATOMIC_RELAXED);
    while (report->first < first)
        if (__atomic_compare_exchange_n(&count[1], &first, report->first, 1, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            break;
}

#endif
