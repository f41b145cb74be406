/* cases.h - the walk's tables: shapes named by their relation to the tiles that kernels use, value
 * distributions, and what varies with them. Every row says why it is there. */
#ifndef NIB_CASES_H
#define NIB_CASES_H

#include "../kernels/common/number.h"
#include "check.h"

/* group: elements along a row; 0 = the whole row. period: 0 = every row has its own scales, else
 * nib_grid.period. */
typedef struct case_shape {
    int64_t rows, cols, group, period;
    const char *why;
} case_shape;

static const case_shape case_shapes[] = {
    {1, 1, 0, 0, "one element"},
    {3, 1, 0, 0, "one column"},
    {1, 7, 0, 0, "below one vector"},
    {5, 15, 0, 0, "one less than a vector"},
    {5, 16, 0, 0, "exactly a vector"},
    {5, 17, 0, 0, "one more than a vector"},
    {3, 31, 0, 0, "one less than a run"},
    {3, 32, 32, 0, "exactly a run"},
    {3, 33, 32, 0, "a run and a group of one"},
    {2, 63, 0, 0, "odd tail of two runs"},
    {4, 64, 32, 0, "two groups"},
    {4, 65, 0, 0, "two runs and one"},
    {2, 96, 64, 0, "a group that is cut short"},
    {3, 127, 64, 0, "tail of 63"},
    {7, 128, 128, 0, "one group of 128"},
    {3, 129, 128, 0, "a group of 128 and one element"},
    {3, 256, 128, 0, "two groups of 128"},
    {2, 384, 128, 0, "three groups, as MiniLM has"},
    {3, 100, 10, 0, "groups that share words"},
    {2, 77, 3, 0, "groups that share bytes"},
    {2, 50, 1, 0, "groups of one"},
    {2, 60, 24, 0, "groups of 24: a multiple of 8 only"},
    {3, 200, 40, 0, "groups of 40: a run and a quarter"},
    {2, 1023, 0, 0, "one less than an error block"},
    {2, 1024, 0, 0, "exactly an error block"},
    {2, 1025, 0, 0, "an error block and one"},
    {2, 2500, 1250, 0, "groups beyond an error block"},
    {1, 4097, 0, 0, "a long row with a tail of one"},
    {1, 5000, 512, 0, "long groups, cut short"},
    {67, 40, 8, 0, "many short rows, small groups"},
    {33, 8, 0, 0, "rows of one word at 4 bits"},
    {260, 3, 0, 0, "many tiny rows"},
    {6, 33, 0, 1, "per tensor"},
    {9, 20, 1, 1, "per column"},
    {12, 10, 0, 3, "per middle axis of a 3-d tensor"},
    {8, 64, 32, 4, "groups shared by halves of the rows"},
    {0, 5, 0, 0, "no rows"},
    {5, 0, 0, 0, "no columns"},
    {3, 16384, 128, 0, "a real row"},
    {10, 16384, 64, 0, "more than a small grid covers at once"},
    {3, 2048, 0, 0, "exactly a block's row of octets"},
    {2, 4104, 0, 0, "one octet beyond two blocks' rows"},
    {2, 8192, 0, 0, "a row of four vectors a thread"},
    {1, 16392, 0, 0, "beyond what a block holds in registers"},
    {20, 512, 256, 0, "groups of a whole warp"},
    {5, 96, 32, 0, "octets that end inside a warp"},
    {300, 32, 32, 0, "more rows than blocks"},
};

/* Values, as f32; `i` is the index, `cols` the row length. */
typedef struct case_values {
    const char *name;
    float (*at)(uint64_t *random, int64_t i, int64_t cols);
    int nonfinite; /* 1: has NaN or infinities */
} case_values;

static inline float case_uniform(uint64_t *random)
{
    return (float)(check_random(random) >> 40) * 0x1p-24f;
}

static inline float case_normal(uint64_t *random)
{
    float sum = 0.0f;
    for (int k = 0; k < 6; k++) sum += case_uniform(random);
    return (sum - 3.0f) * 1.4142135f;
}

static float values_normal(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)i, (void)cols, case_normal(r) * 0.02f;
}
static float values_heavy(uint64_t *r, int64_t i, int64_t cols)
{
    float x = case_normal(r);
    return (void)i, (void)cols, x * x * x * x * x * 0.01f;
}
static float values_outlier(uint64_t *r, int64_t i, int64_t cols)
{
    return case_normal(r) * (i % cols == cols / 3 ? 1e4f : 1.0f);
}
static float values_ramp(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)r, (void)cols, (float)(i % 251 - 125); /* a prime period: swapped blocks show */
}
static float values_ties(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)i, (void)cols, (float)((int64_t)(check_random(r) % 511) - 255) * 0.5f;
}
static float values_equal(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)r, (void)i, (void)cols, -0.37f;
}
static float values_zero(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)cols, (void)i, check_random(r) & 1 ? -0.0f : 0.0f;
}
static float values_one_hot(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)r, i % cols == cols - 1 ? -3.0f : 0.0f;
}
static float values_positive(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)i, (void)cols, 1.0f + case_uniform(r);
}
static float values_negative(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)i, (void)cols, -1.0f - case_uniform(r);
}
static float values_symmetric(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)r, (void)cols, i & 1 ? 2.5f : -2.5f;
}
static float values_subnormal(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)i, (void)cols, NIB_BITS_F32((uint32_t)check_random(r) & 0x80ffffffu);
}
static float values_tiny(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)i, (void)cols, case_normal(r) * 1e-36f;
}
static float values_small(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)i, (void)cols, case_normal(r) * 3e-7f; /* f16 scales become subnormal or vanish */
}
static float values_huge(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)i, (void)cols, (case_uniform(r) - 0.5f) * 2.0f * 3.3e38f;
}
static float values_large(uint64_t *r, int64_t i, int64_t cols)
{
    return (void)i, (void)cols, case_normal(r) * 2e6f; /* f16 scales saturate */
}
static float values_any_bits(uint64_t *r, int64_t i, int64_t cols)
{
    uint32_t u = (uint32_t)check_random(r);
    return (void)i, (void)cols,
           NIB_BITS_F32((u & 0x7f800000u) == 0x7f800000u ? u & 0xbfffffffu : u);
}
static float values_some_nan(uint64_t *r, int64_t i, int64_t cols)
{
    (void)i, (void)cols;
    return check_random(r) % 29 ? case_normal(r)
                                : NIB_BITS_F32(0x7f800001u | (uint32_t)check_random(r));
}
static float values_some_infinite(uint64_t *r, int64_t i, int64_t cols)
{
    (void)i, (void)cols;
    return check_random(r) % 31 ? case_normal(r)
                                : NIB_BITS_F32(0x7f800000u | ((uint32_t)check_random(r) << 31));
}

static const case_values case_distributions[] = {
    {"normal", values_normal, 0},
    {"heavy", values_heavy, 0},
    {"outlier", values_outlier, 0},
    {"ramp", values_ramp, 0},
    {"ties", values_ties, 0},
    {"equal", values_equal, 0},
    {"zero", values_zero, 0},
    {"one-hot", values_one_hot, 0},
    {"positive", values_positive, 0},
    {"negative", values_negative, 0},
    {"symmetric", values_symmetric, 0},
    {"subnormal", values_subnormal, 0},
    {"tiny", values_tiny, 0},
    {"small", values_small, 0},
    {"huge", values_huge, 0},
    {"large", values_large, 0},
    {"any-bits", values_any_bits, 0},
    {"some-nan", values_some_nan, 1},
    {"some-infinite", values_some_infinite, 1},
};

static const int case_bits[] = {2, 3, 4, 5, 6, 8, 16};

#define CASE_COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

#endif
