/* errors_simd.h - error sums per block in their fixed order (docs/numerics.md section 6): a run of
 * 32 elements is the 32 lanes; one text for each vec_*.h.
 *
 *   row -> segments of whole runs -> blocks of 1024 -> runs
 *   x, and codes or y  ->  out: nib_error_block {xx, yy, xy, ee, max} per block
 *
 * Bound: eleven operations an element, or reading x and the codes. */
#include "access.h"
#include "block.h"
#include "kernels.h"
#include "lanes_simd.h"
#include "runs_simd.h"

/* The sums of 32 lanes in registers. */
typedef struct sums {
    vf xx[PARTS], yy[PARTS], xy[PARTS], ee[PARTS], max[PARTS];
} sums;

/* A NaN difference is left out of max: it stays in ee, which nothing else makes NaN. */
INLINE void sums_take(sums *s, const vf x[PARTS], const vf y[PARTS])
{
    for (int i = 0; i < PARTS; i++) {
        vf d = x[i] - y[i];
        vf size = (vf)((vi)d & 0x7fffffff);
        s->xx[i] += x[i] * x[i];
        s->yy[i] += y[i] * y[i];
        s->xy[i] += x[i] * y[i];
        s->ee[i] += d * d;
        s->max[i] = v_max(size, s->max[i]);
    }
}

/* Part by part: a loop here becomes a call of memset, and the sums leave the registers. */
INLINE sums sums_start(void)
{
    sums s;
#define START(i) s.xx[i] = s.yy[i] = s.xy[i] = s.ee[i] = s.max[i] = v_splat(0.0f);
    EACH_PART(START)
    return s;
}

/* The tree of lanes, from stride 16 down to 1. */
INLINE float meet(vf lanes[PARTS])
{
    for (int half = PARTS / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return v_meet(lanes[0]);
}

INLINE void sums_end(sums *s, float *block)
{
    vf max = s->max[0];
    for (int i = 1; i < PARTS; i++) max = v_max(max, s->max[i]);
    block[XX] = plain_nan(meet(s->xx));
    block[YY] = plain_nan(meet(s->yy));
    block[XY] = plain_nan(meet(s->xy));
    block[EE] = plain_nan(meet(s->ee));
    block[SUMS] = is_nan(block[EE]) ? block[EE] : v_largest(max);
}

/* A run of elements. */
INLINE void load_run(vf v[PARTS], const void *array, int type, nib_i64 index)
{
    int size = type == NIB_T_F32 ? 4 : 2;
    const nib_u8 *p = (const nib_u8 *)array + index * size;
    for (int i = 0; i < PARTS; i++)
        v[i] = v_from_type(v_load_raw(p + i * LANES * size, type), type);
}

/* What a block of codes decodes with, one group at a time. */
typedef struct decoder {
    nib_i64 stop; /* the first column past the current group */
    words zero;
    vf scale, min;
} decoder;

INLINE void decoder_group(decoder *d, void *const span[NIB_HOST_SPANS], const nib_args *a,
                          nib_i64 row, nib_i64 k)
{
    cell_decode c = load_cell(span, a, row % a->period, k / a->group);
    int finite = nib_is_finite(c.scale) && nib_is_finite(c.min);
    d->stop = (k / a->group + 1) * a->group;
    d->zero = w_splat(c.zero);
    d->scale = v_splat(finite ? c.scale : NIB_BITS_F32(NIB_QNAN_F32));
    d->min = v_splat(finite ? c.min : 0.0f);
}

INLINE void decode_run(vf y[PARTS], const decoder *d, const nib_u8 *codes, int flip, int bits,
                       int has_min)
{
    words w = w_sub(w_xor(load_codes(codes, bits), w_splat(flip)), d->zero);
    floats f = f_from_words(w, NIB_T_F32);
    for (int i = 0; i < PARTS; i++) {
        y[i] = (vf)f.v[i] * d->scale;
        if (has_min) y[i] += d->min;
    }
}

/* The short last run of a block, with zeros behind it, which add nothing. */
static void load_rest(float x[32], float y[32], void *const span[NIB_HOST_SPANS], const nib_args *a,
                      nib_i64 row, nib_i64 begin, nib_i64 end)
{
    nib_i64 at = row * a->cols + begin;
    memset(x, 0, 32 * sizeof *x);
    memset(y, 0, 32 * sizeof *y);
    if (a->bits) decode_row(span, a, row, begin, end, y);
    for (nib_i64 i = 0; i < end - begin; i++) {
        x[i] = load_element(span[NIB_X], a->x_type, at + i);
        if (!a->bits) y[i] = load_element(span[NIB_Y], a->y_type, at + i);
    }
}

/* One block; bits 0: y is an array of elements. */
INLINE void measure(void *const span[NIB_HOST_SPANS], const nib_args *a, error_block_at b,
                    float *block, int x_type, int bits, int has_min)
{
    sums s = sums_start();
    decoder d = {.stop = 0};
    const nib_u8 *codes = bits ? (const nib_u8 *)span[NIB_CODES] + b.row * a->codes.pitch : NULL;
    nib_i64 k = b.begin, row = b.row * a->cols;
    for (; k + 32 <= b.end; k += 32) {
        vf x[PARTS], y[PARTS];
        load_run(x, span[NIB_X], x_type, row + k);
        if (bits) {
            if (k >= d.stop) decoder_group(&d, span, a, b.row, k);
            decode_run(y, &d, codes + (k >> 3) * bits, a->codes.flip, bits, has_min);
        } else if (a->y_type == NIB_T_F32) load_run(y, span[NIB_Y], NIB_T_F32, row + k);
        else if (a->y_type == NIB_T_F16) load_run(y, span[NIB_Y], NIB_T_F16, row + k);
        else load_run(y, span[NIB_Y], NIB_T_BF16, row + k);
        sums_take(&s, x, y);
    }
    if (k < b.end) {
        float rest_x[32], rest_y[32];
        vf x[PARTS], y[PARTS];
        load_rest(rest_x, rest_y, span, a, b.row, k, b.end);
        load_run(x, rest_x, NIB_T_F32, 0);
        load_run(y, rest_y, NIB_T_F32, 0);
        sums_take(&s, x, y);
    }
    sums_end(&s, block);
}

typedef void measurer(void *const span[NIB_HOST_SPANS], const nib_args *a, error_block_at b,
                      float *block);

#define MEASURER(type, bits, offset)                                                               \
    static void measure_##type##_##bits##_##offset(                                                \
        void *const span[NIB_HOST_SPANS], const nib_args *a, error_block_at b, float *block)       \
    {                                                                                              \
        measure(span, a, b, block, NIB_T_##type, bits, NIB_O_##offset == NIB_O_MIN);               \
    }
FOR_TYPES_BITS_MINS(MEASURER)
MEASURER(F32, 0, NONE)
MEASURER(F16, 0, NONE)
MEASURER(BF16, 0, NONE)

static measurer *find_measurer(int type, int bits, int offset)
{
    if (offset == NIB_O_ZERO) offset = NIB_O_NONE; /* both are (u - z) * s */
#define PICK(t, b, o)                                                                              \
    if (type == NIB_T_##t && bits == b && offset == NIB_O_##o) return measure_##t##_##b##_##o;
    FOR_TYPES_BITS_MINS(PICK)
    return type == NIB_T_F32   ? measure_F32_0_NONE
           : type == NIB_T_F16 ? measure_F16_0_NONE
                               : measure_BF16_0_NONE;
}

NIB_CPU_KERNEL(ISA(nib_cpu_errors))
{
    measurer *measure_block = find_measurer(args->x_type, args->bits, args->offset);
    for (nib_i64 item = begin; item < end; item++)
        measure_block(span, args, error_block_find(args, item),
                      (float *)span[NIB_OUT] + item * (SUMS + 1));
}
