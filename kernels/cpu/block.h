/* block.h - error blocks: where one lies, and how its 32 lanes meet (docs/numerics.md section 6).
 */
#ifndef NIB_CPU_BLOCK_H
#define NIB_CPU_BLOCK_H

#include "access.h"

enum { BLOCK = 1024, LANES_OF_ERRORS = 32, XX = 0, YY, XY, EE, SUMS };

typedef struct error_lanes {
    float sum[SUMS][LANES_OF_ERRORS], max[LANES_OF_ERRORS];
} error_lanes;

typedef struct error_block_at {
    nib_i64 row, begin, end; /* columns; none where the block lies past a short last segment */
} error_block_at;

static inline error_block_at error_block_find(const nib_args *a, nib_i64 item)
{
    nib_i64 segments = (a->cols + a->segment - 1) / a->segment,
            of_row = segments * a->segment_blocks;
    nib_i64 segment = item % of_row / a->segment_blocks;
    nib_i64 begin = segment * a->segment + item % a->segment_blocks * BLOCK;
    nib_i64 end = min_i64(begin + BLOCK, min_i64((segment + 1) * a->segment, a->cols));
    return (error_block_at){item / of_row, begin, end};
}

static inline int is_nan(float x) { return (NIB_F32_BITS(x) & 0x7fffffffu) > 0x7f800000u; }

/* What a maximum becomes with another value. */
static inline float larger(float max, float next)
{
    return is_nan(max) ? max : is_nan(next) || next > max ? next : max;
}

static inline float plain_nan(float x) { return is_nan(x) ? NIB_BITS_F32(NIB_QNAN_F32) : x; }

static inline void error_lanes_meet(error_lanes *l, float *block)
{
    for (int stride = LANES_OF_ERRORS / 2; stride > 0; stride /= 2)
        for (int i = 0; i < stride; i++) {
            for (int j = 0; j < SUMS; j++) l->sum[j][i] += l->sum[j][i + stride];
            l->max[i] = larger(l->max[i], l->max[i + stride]);
        }
    for (int j = 0; j < SUMS; j++) block[j] = plain_nan(l->sum[j][0]);
    block[SUMS] = plain_nan(l->max[0]);
}

#endif
