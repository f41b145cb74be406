/* quantize_simd.h - quantize row by row: groups of whole runs, or whole rows; one text for each
 * vec_*.h.
 *
 *   x [rows, cols]  ->  keys of a batch of groups -> their cells -> codes, while x is in the cache
 *
 * Bound: reading x once and writing codes and scales once: 2 + bits / 8 bytes an element of
 * bf16. The next batch comes in during the pass for codes, as the pass for ranges is too short
 * to fetch in: half of it there cost int8 a fifth of its speed on Zen 4.
 *
 * A group is done here if its values are finite and its scale is neither tiny nor huge
 * (is_ordinary); any other goes to the plain kernel. So nothing here admits or flushes values: a
 * subnormal x encodes as 0 does, since |x / s| < 2^-66, and so does |(x - m) / s| where m is as
 * small; where m is not, x - m rounds to -m. */
#include "cells_simd.h"
#include "divide_simd.h"
#include "kernels.h"
#include "key.h"
#include "range.h"
#include "runs_simd.h"

enum { BATCH = 64, BATCH_ELEMENTS = 16384 };

/* Consecutive groups of one row, and what they become. */
typedef struct batch {
    nib_i64 row, first, count;       /* groups */
    nib_i64 begin, end;              /* columns */
    int32_t low[BATCH], high[BATCH]; /* keys */
    float scale[BATCH], inverse[BATCH], min[BATCH], zero[BATCH];
    int32_t scale_bits[BATCH], min_bits[BATCH];
    int32_t plain[BATCH];     /* for the plain kernel */
    nib_u32 empty, underflow; /* how many groups, for the report */
    int stream;               /* codes go around the caches */
} batch;

/* ---- ranges ---- */

/* `absolute`: the rule asks for the largest magnitude only. */
INLINE void range_batch(batch *b, const nib_args *a, const nib_u8 *x, int type, int absolute)
{
    int size = type == NIB_T_F32 ? 4 : 2;
    for (nib_i64 g = 0; g < b->count; g++) {
        nib_i64 k = b->begin + g * a->group, stop = min_i64(k + a->group, b->end);
        int32_t low, high;
        span_keys keys = k_start(type);
        for (; k + 64 <= stop; k += 64) {
            k_take(&keys, x + k * size, type, absolute);
            k_take(&keys, x + (k + 32) * size, type, absolute);
        }
        for (; k + 32 <= stop; k += 32) k_take(&keys, x + k * size, type, absolute);
        k_end(keys, type, absolute, &low, &high);
        for (; k < stop; k++) {
            int32_t key = element_key(x, type, k);
            if (absolute) key = key < 0 ? ~key : key;
            if (key > high) high = key;
            if (key < low) low = key;
        }
        b->low[g] = absolute ? ~high : low;
        b->high[g] = high;
    }
}

static void find_ranges(batch *b, const nib_args *a, const nib_u8 *x)
{
    int absolute = a->range == NIB_RANGE_ABS && a->offset == NIB_O_NONE;
    int wide = a->x_type == NIB_T_F32; /* keys of f16 are made as those of bf16 */
    if (wide && absolute) range_batch(b, a, x, NIB_T_F32, 1);
    else if (wide) range_batch(b, a, x, NIB_T_F32, 0);
    else if (absolute) range_batch(b, a, x, NIB_T_BF16, 1);
    else range_batch(b, a, x, NIB_T_BF16, 0);
}

/* ---- cells ---- */

INLINE void store_raw(void *plane, int type, nib_i64 at, const int32_t *bits, nib_i64 count)
{
    for (nib_i64 i = 0; type == NIB_T_F32 && i < count; i++) ((int32_t *)plane)[at + i] = bits[i];
    for (nib_i64 i = 0; type != NIB_T_F32 && i < count; i++)
        ((nib_u16 *)plane)[at + i] = (nib_u16)bits[i];
}

/* -1 where the cell has no tiny or huge scale, 2^-60 <= |s| <= 2^60, and no value that
 * round_shorts could not take (no rule makes a scale so small beside its range). */
INLINE vi is_ordinary(const cells *c, vf min, vf max)
{
    vi magnitude = (vi)c->scale & 0x7fffffff;
    vf most = (vf)magnitude * (SHORTS_MOST - 128.0f);
    vi fits = (c->min != 0.0f) | ((min >= -most) & (max <= most));
    return (magnitude >= (127 - 60) << 23) & (magnitude <= (127 + 60) << 23) & ~c->saturated & fits;
}

INLINE void make_cells(batch *b, const nib_args *a)
{
    int infinity = a->x_type == NIB_T_F32 ? 0x7f800000 : a->x_type == NIB_T_F16 ? 0x7c00 : 0x7f80;
    for (nib_i64 g = 0; g < b->count; g += LANES) {
        vi low, high;
        memcpy(&low, b->low + g, sizeof low);
        memcpy(&high, b->high + g, sizeof high);
        vf min = v_key_value(low, a->x_type), max = v_key_value(high, a->x_type);
        cells c = cells_make(a, min, max);
        vi ordinary = (high < infinity) & (low > ~infinity) & is_ordinary(&c, min, max);
        vi plain = ~ordinary;
        memcpy(b->plain + g, &plain, sizeof plain);
        memcpy(b->scale + g, &c.scale, sizeof low);
        memcpy(b->inverse + g, &c.inverse, sizeof low);
        memcpy(b->min + g, &c.min, sizeof low);
        memcpy(b->zero + g, &c.zero, sizeof low);
        memcpy(b->scale_bits + g, &c.scale_bits, sizeof low);
        memcpy(b->min_bits + g, &c.min_bits, sizeof low);
        unsigned here = b->count - g < LANES ? (1u << (b->count - g)) - 1u : UINT32_MAX;
        unsigned empty = v_mask(c.empty & ordinary) & here, range = v_mask(c.has_range);
        b->empty += (nib_u32)__builtin_popcount(empty & ~range);
        b->underflow += (nib_u32)__builtin_popcount(empty & range);
    }
}

static void store_cells(const batch *b, void *const span[NIB_HOST_SPANS], const nib_args *a)
{
    nib_i64 cell = b->row * a->scale_cols + b->first;
    store_raw(span[NIB_SCALES], a->scale_type, cell, b->scale_bits, b->count);
    if (a->offset == NIB_O_MIN)
        store_raw(span[NIB_OFFSETS], a->scale_type, cell, b->min_bits, b->count);
    for (nib_i64 g = 0; a->offset == NIB_O_ZERO && g < b->count; g++)
        store_zero(span[NIB_OFFSETS], a, cell + g, (1 << (a->bits - 1)) + (int)b->zero[g]);
}

/* ---- codes ---- */

/* What encoding a group needs; `short_x`, `short_s`: divide_simd.h. */
typedef struct encoding {
    floats s, r, m, z; /* where x and s are short, z is what round_shorts wants */
    int type, offset, short_x, short_s;
} encoding;

INLINE words encode_run(const nib_u8 *x, encoding e)
{
    floats v = f_load(x, e.type);
    if (e.short_x && e.short_s) return w_from_low(round_shorts(v, e.r, e.z), e.type);
    if (e.offset == NIB_O_MIN) v = f_sub(v, e.m);
    v = e.short_x ? divide_short(v, e.s, e.r) : divide(v, e.s, e.r);
    if (e.offset == NIB_O_ZERO) v = f_add(v, e.z);
    return w_round(v, e.type);
}

INLINE void encode_batch(const batch *b, const nib_args *a, const nib_u8 *x, nib_u8 *codes,
                         int type, int bits, int offset, int short_s)
{
    int size = type == NIB_T_F32 ? 4 : 2;
    nib_cell limits = nib_cell_limits(bits, offset, a->low);
    code_limits c = {(int)limits.low, (int)limits.high, offset == NIB_O_MIN,
                     limits.bias ^ a->codes.flip, bits};
    nib_i64 ahead = (b->end - b->begin) * size, begin = b->begin, end = b->end, group = a->group;
    int stream = b->stream;
    for (nib_i64 g = 0; g < b->count; g++) {
        if (b->plain[g]) continue;
        nib_i64 k = begin + g * group, stop = min_i64(k + group, end);
        encoding e = {f_splat(b->scale[g]),
                      f_splat(b->inverse[g]),
                      f_splat(b->min[g]),
                      f_splat(short_s ? SHORTS_GRID + b->zero[g] : b->zero[g]),
                      type,
                      offset,
                      type != NIB_T_F32 && offset != NIB_O_MIN,
                      short_s};
        for (; k + 64 <= stop; k += 64) {
            for (int line = 0; line < size; line++) prefetch(x + k * size + ahead + 64 * line);
            words first = encode_run(x + k * size, e), second = encode_run(x + (k + 32) * size, e);
            store_codes_2(codes + (k >> 3) * bits, first, second, c, stream);
        }
        if (k + 32 <= stop)
            store_codes(codes + (k >> 3) * bits, encode_run(x + k * size, e), c, stream);
    }
}

typedef void encoder(const batch *b, const nib_args *a, const nib_u8 *x, nib_u8 *codes);

/* short_s: the scales are f16 or bf16. Only short x gain by that, and with a min none is short. */
#define ENCODER(type, bits, offset, short_s)                                                       \
    static void encode_##type##_##bits##_##offset##_##short_s(const batch *b, const nib_args *a,   \
                                                              const nib_u8 *x, nib_u8 *codes)      \
    {                                                                                              \
        encode_batch(b, a, x, codes, NIB_T_##type, bits, NIB_O_##offset, short_s);                 \
    }
/* clang-format off */
#define FOR_ENCODERS_OF_BITS(X, bits)                                                              \
    X(F32, bits, NONE, 0) X(F32, bits, ZERO, 0) X(F32, bits, MIN, 0)                               \
    X(F16, bits, NONE, 0) X(F16, bits, ZERO, 0) X(F16, bits, MIN, 0)                               \
    X(F16, bits, NONE, 1) X(F16, bits, ZERO, 1)                                                    \
    X(BF16, bits, NONE, 0) X(BF16, bits, ZERO, 0) X(BF16, bits, MIN, 0)                            \
    X(BF16, bits, NONE, 1) X(BF16, bits, ZERO, 1)
#define FOR_ENCODERS(X)                                                                            \
    FOR_ENCODERS_OF_BITS(X, 2) FOR_ENCODERS_OF_BITS(X, 3) FOR_ENCODERS_OF_BITS(X, 4)               \
    FOR_ENCODERS_OF_BITS(X, 5) FOR_ENCODERS_OF_BITS(X, 6) FOR_ENCODERS_OF_BITS(X, 8)
/* clang-format on */
FOR_ENCODERS(ENCODER)

static encoder *find_encoder(const nib_args *a)
{
    int short_s = a->scale_type != NIB_T_F32 && a->x_type != NIB_T_F32 && a->offset != NIB_O_MIN;
#define PICK(type, b, o, s)                                                                        \
    if (a->x_type == NIB_T_##type && a->bits == b && a->offset == NIB_O_##o && short_s == s)       \
        return encode_##type##_##b##_##o##_##s;
    FOR_ENCODERS(PICK)
    return NULL;
}

/* ---- rows ---- */

static void do_plainly(const batch *b, void *const span[NIB_HOST_SPANS], const nib_args *a)
{
    nib_i64 runs = (a->cols + 31) / 32, run = b->row * runs;
    for (nib_i64 g = 0; g < b->count; g++) {
        if (!b->plain[g]) continue;
        nib_i64 k = b->begin + g * a->group, stop = min_i64(k + a->group, b->end);
        nib_i64 cell = b->row * a->scale_cols + b->first + g;
        nib_cpu_quantize_cells(span, a, cell, cell + 1);
        nib_cpu_quantize_runs(span, a, run + k / 32, run + stop / 32);
    }
    if (b->end == a->cols && a->cols % 32) /* the last run is short */
        nib_cpu_quantize_runs(span, a, run + runs - 1, run + runs);
}

NIB_CPU_KERNEL(ISA(nib_cpu_quantize_rows))
{
    const nib_args *a = args;
    encoder *encode = find_encoder(a);
    nib_i64 size = a->x_type == NIB_T_F32 ? 4 : 2;
    nib_i64 step = min_i64(BATCH, BATCH_ELEMENTS / a->group + 1);
    cell_report report = CELL_REPORT_EMPTY;
    batch b = {.empty = 0, .underflow = 0};
    b.stream =
        should_stream(span[NIB_CODES], a->codes.pitch, a->rows * (a->cols * size + a->codes.pitch));
    for (b.row = begin; b.row < end; b.row++) {
        const nib_u8 *x = (const nib_u8 *)span[NIB_X] + b.row * a->cols * size;
        nib_u8 *codes = (nib_u8 *)span[NIB_CODES] + b.row * a->codes.pitch;
        for (b.first = 0; b.first < a->scale_cols; b.first += b.count) {
            b.count = min_i64(step, a->scale_cols - b.first);
            b.begin = b.first * a->group;
            b.end = min_i64(a->cols, b.begin + b.count * a->group);
            find_ranges(&b, a, x);
            make_cells(&b, a);
            store_cells(&b, span, a);
            encode(&b, a, x, codes);
            do_plainly(&b, span, a);
        }
    }
    report.empty = b.empty;
    report.underflow = b.underflow;
    report_add(span[NIB_REPORT], &report);
    if (b.stream) _mm_sfence();
}
