/* witness.h - what the reference kernels share: numbers, places and groups as docs/numerics.md
 * defines them. Written from that page alone, by other means than kernels/common (double
 * arithmetic, ldexp, one bit at a time), so that the two can only agree by both being right.
 *
 * Every f32 operation here is computed in double and rounded once, with a cast. For sums, products
 * and quotients of two f32 that equals the f32 operation, also where the result is subnormal: a
 * product and any sum below 2^-126 are exact in double, and 53 >= 2 * 24 + 2 digits decide the rest
 * (Figueroa, "When is double rounding innocuous?", 1995). */
#ifndef NIB_REF_WITNESS_H
#define NIB_REF_WITNESS_H

#include "../common/args.h"

/* ---- number.c ---- */

/* The binary32 with these bits, and back. */
float nib_ref_float(uint32_t bits);
uint32_t nib_ref_bits(float x);
/* NIB_T_F32, F16, BF16: the value of stored bits, exact, and the stored bits nearest to a value. */
float nib_ref_value(int type, uint32_t stored);
uint32_t nib_ref_stored(int type, float x);
/* Element `index` of a dense array of the type. */
float nib_ref_read(const void *array, int type, int64_t index);
void nib_ref_write(void *array, int type, int64_t index, float x);
double nib_ref_largest(int type); /* finite value */
double nib_ref_epsilon(int type);

/* ---- place.c ---- */

/* Element (row, col) of an integer plane, unsigned: the layout's flip is undone. */
int64_t nib_ref_get(const void *plane, const nib_place *place, int64_t row, int64_t col);
/* Writes an element into a plane whose bits there are zero. */
void nib_ref_put(void *plane, const nib_place *place, int64_t row, int64_t col, int64_t element);
void nib_ref_clear(void *plane, const nib_place *place);

/* ---- group.c ---- */

/* What one group turned into. */
typedef struct nib_ref_group {
    float min, max;                    /* of the admitted values */
    int nonfinite;                     /* holds a NaN or infinity */
    int poisoned;                      /* and the policy is `error` */
    float s, m;                        /* as stored */
    double z;                          /* z', the zero point less H */
    double bias, low, high;            /* B, lo, hi */
    int is_empty, underflowed, is_cut; /* for the report */
} nib_ref_group;

/* x as sections 1 and 3 see it. */
float nib_ref_admit(float x, int type, int nonfinite);
/* The range of group (p, c) of x. */
nib_ref_group nib_ref_measure(const void *x, const nib_args *a, int64_t p, int64_t c);
/* Fills in the rest, from min and max. */
void nib_ref_parameters(nib_ref_group *g, const nib_args *a);
/* u of an admitted value. */
int64_t nib_ref_code(const nib_ref_group *g, float x);
/* The f32 value of element (r, k) of the planes. */
float nib_ref_decoded(void *const span[NIB_HOST_SPANS], const nib_args *a, int64_t r, int64_t k);
/* Adds group number `index` to the report; `quantized`: with its scale's fate. */
void nib_ref_report(void *report, const nib_ref_group *g, int64_t index, int quantized);

/* ---- the kernels: host/ref/ref_kernels.def; one item does everything ---- */

#define NIB_REF_KERNEL(name)                                                                       \
    void name(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 begin, nib_i64 end)
NIB_REF_KERNEL(nib_ref_ranges);
NIB_REF_KERNEL(nib_ref_quantize);
NIB_REF_KERNEL(nib_ref_dequantize);
NIB_REF_KERNEL(nib_ref_repack);
NIB_REF_KERNEL(nib_ref_convert);
NIB_REF_KERNEL(nib_ref_errors);
NIB_REF_KERNEL(nib_ref_histogram);
NIB_REF_KERNEL(nib_ref_quantize_blocks);
NIB_REF_KERNEL(nib_ref_dequantize_blocks);
NIB_REF_KERNEL(nib_ref_unpack_blocks);
NIB_REF_KERNEL(nib_ref_pack);
NIB_REF_KERNEL(nib_ref_acts);
NIB_REF_KERNEL(nib_ref_matmul_float);
NIB_REF_KERNEL(nib_ref_matmul_int8);

#endif
