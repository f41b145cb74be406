/* blocks.h - what the reference kernels for ggml's blocks share. Written from docs/numerics.md
 * section 10 and docs/schemes/, by other means than kernels/common: one bit at a time, arrays and
 * plain loops, every f32 operation one statement of C (SSE or NEON; never contracted). */
#ifndef NIB_REF_BLOCKS_H
#define NIB_REF_BLOCKS_H

#include "witness.h"

/* ggml's numbers of the types. */
enum {
    REF_Q4_0 = 2,
    REF_Q4_1 = 3,
    REF_Q5_0 = 6,
    REF_Q5_1 = 7,
    REF_Q8_0 = 8,
    REF_Q2_K = 10,
    REF_Q3_K = 11,
    REF_Q4_K = 12,
    REF_Q5_K = 13,
    REF_Q6_K = 14,
    REF_IQ4_NL = 20,
    REF_IQ4_XS = 23
};

/* The numbers in a block, as they are stored but each for itself. */
typedef struct nib_ref_block {
    int code[256];
    int sub[16], sub_min[16]; /* factors of d and m, one per group */
    uint32_t d, m;            /* f16 */
} nib_ref_block;

/* What the type stores: how many groups have factors, of how many bits, and whether there are mins.
 */
typedef struct nib_ref_shape {
    int elements, bytes, code_bits, groups, sub_bits, has_min, d_at, m_at;
} nib_ref_shape;

nib_ref_shape nib_ref_block_shape(int block);
void nib_ref_block_pack(int block, const nib_ref_block *b, uint8_t *bytes);
void nib_ref_block_unpack(int block, const uint8_t *bytes, nib_ref_block *b);

/* ---- blocks_search.c: ggml's searches. Each returns a scale and fills codes. ---- */

/* To the nearest integer by adding 1.5 * 2^23, as ggml does: beyond 2^22 whatever that leaves; 0
 * for NaN. */
int nib_ref_nearest(float x);
/* The 16 values of the iq4 types, and the number of the nearest, the upper one of two. */
extern const int nib_ref_iq4[16];
int nib_ref_iq4_nearest(float x);

float nib_ref_search_signed(int n, int limit, const float *x, const float *w, int *code);
float nib_ref_search_q3(int n, int limit, const float *x, int *code);
float nib_ref_search_positive(int n, int limit, const float *x, const float *w, int *code);

typedef struct nib_ref_steps {
    float first, step;
    int last, absolute;
} nib_ref_steps;
float nib_ref_search_min(int n, int limit, const float *x, const float *w, nib_ref_steps steps,
                         int *code, float *min_ret);

/* ---- blocks_quantize.c ---- */

/* The block of x[elements]; qw: its importance, or NULL; row_mean: of the squares of x over the
 * row. */
void nib_ref_block_quantize(int block, const float *x, const float *qw, float row_mean,
                            nib_ref_block *b);

#endif
