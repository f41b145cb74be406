/* test_ref_ops.c - the reference's operations: NaN and infinities under each policy, grids of every
 * kind, ranges, error sums and histograms, against what a few lines of arithmetic say. */
#include "on_ref.h"

#include <float.h>

static const nib_dtype types[] = {NIB_F32, NIB_F16, NIB_BF16};

static uint32_t raw(nib_dtype type, const void *array, int64_t index)
{
    uint32_t bits = 0;
    memcpy(&bits, (const char *)array + index * (int64_t)size_of(type), size_of(type));
    return bits;
}

/* The NaN of a poisoned group, by type. */
static uint32_t nan_of(nib_dtype type)
{
    return type == NIB_F32 ? 0x7fc00000u : type == NIB_F16 ? 0x7e00u : 0x7fc0u;
}

/* ---- NaN and infinities ---- */

/* Three groups of four, the second and third with something not finite. */
static const float not_finite[12] = {1, -2, 3, 4, 5, NAN, 7, 8, INFINITY, 1, -INFINITY, 2};

static void check_poison(nib_rule rule, nib_dtype scale_type, nib_layout layout)
{
    nib_quant q = by_rows(1, 12, 4, 8, rule, scale_type);
    q.layout = layout;
    packed p = quantized(&q, NIB_F32, not_finite, NIB_NONFINITE_ERROR);
    const unsigned char *codes = p.plane[NIB_PLANE_CODES].data;
    unsigned char zero_code = layout == NIB_LAYOUT_CT_INT8 ? 0x80 : 0; /* u = 0, signed */
    CHECK(p.report.nonfinite == 2 && p.report.first == 1, "%u groups from %u", p.report.nonfinite,
          p.report.first);
    CHECK(codes[2] != zero_code, "group 0 is as it should be");
    for (int k = 4; k < 12; k++) CHECK(codes[k] == zero_code, "code %d is 0x%x", k, codes[k]);
    for (int g = 0; g < 3; g++) {
        uint32_t scale = raw(scale_type, p.plane[NIB_PLANE_SCALES].data, g);
        CHECK((scale == nan_of(scale_type)) == (g > 0), "scale %d is 0x%x", g, scale);
        const unsigned char *offsets = p.plane[NIB_PLANE_OFFSETS].data;
        if (g && rule == NIB_RULE_ASYM_ZERO)
            CHECK(offsets[g] == zero_code, "zero %d is 0x%x", g, offsets[g]);
        if (g && rule == NIB_RULE_ASYM_MIN)
            CHECK(raw(scale_type, offsets, g) == nan_of(scale_type), "min %d is a NaN", g);
    }
    for (int t = 0; t < 3; t++) {
        unsigned char y[48];
        decode(&q, &p, types[t], y);
        for (int k = 0; k < 12; k++)
            CHECK((raw(types[t], y, k) == nan_of(types[t])) == (k >= 4), "y %d is 0x%x", k,
                  raw(types[t], y, k));
    }
    release(&p);
}

static void poison(void)
{
    for (int t = 0; t < 3; t++) {
        check_poison(NIB_RULE_SYM_FULL, types[t], NIB_LAYOUT_CANONICAL);
        check_poison(NIB_RULE_ASYM_ZERO, types[t], NIB_LAYOUT_CANONICAL);
        check_poison(NIB_RULE_ASYM_MIN, types[t], NIB_LAYOUT_CANONICAL);
        check_poison(NIB_RULE_SYM_RESTRICTED, types[t], NIB_LAYOUT_CT_INT8);
        check_poison(NIB_RULE_ASYM_ZERO, types[t], NIB_LAYOUT_CT_INT8);
    }
}

/* Under the other policies the planes are those of the substituted values, and the report still
 * counts. */
static void policies(void)
{
    for (int t = 0; t < 3; t++) {
        float largest = types[t] == NIB_F32 ? FLT_MAX : types[t] == NIB_F16 ? 65504 : 0x1.fep127f;
        for (int policy = NIB_NONFINITE_ZERO; policy <= NIB_NONFINITE_SATURATE; policy++) {
            float substituted[12];
            for (int k = 0; k < 12; k++) {
                float x = not_finite[k];
                int cut = isinf(x) && policy == NIB_NONFINITE_SATURATE;
                substituted[k] = isfinite(x) ? x : cut ? copysignf(largest, x) : 0.0f;
            }
            nib_quant q = by_rows(1, 12, 4, 8, NIB_RULE_ASYM_ZERO, NIB_F32);
            check_buffer given = typed(types[t], not_finite, 12);
            check_buffer clean = typed(types[t], substituted, 12);
            packed a = quantized(&q, types[t], given.data, (nib_nonfinite)policy);
            packed b = quantized(&q, types[t], clean.data, NIB_NONFINITE_ERROR);
            for (int i = 0; i < NIB_PLANES; i++)
                CHECK(!memcmp(a.plane[i].data, b.plane[i].data, a.mem[i].bytes), "plane %d", i);
            CHECK(a.report.nonfinite == 2 && a.report.first == 1 && b.report.nonfinite == 0,
                  "policy %d: %u groups from %u", policy, a.report.nonfinite, a.report.first);
            CHECK(a.report.saturated == b.report.saturated, "policy %d", policy);
            release(&a);
            release(&b);
            check_release(&given);
            check_release(&clean);
        }
    }
}

/* A call adds to the report: counts grow, and the lowest index stays. */
static void report_adds_up(void)
{
    nib_quant q = by_rows(1, 12, 4, 8, NIB_RULE_SYM_FULL, NIB_F32);
    packed p = quantized(&q, NIB_F32, not_finite, NIB_NONFINITE_ERROR);
    nib_mem report = nib_wrap(&p.report, sizeof p.report);
    float x[12] = {INFINITY};
    CHECK_OK(
        nib_quantize(ref, &q, NIB_F32, nib_wrap(x, sizeof x), NIB_NONFINITE_ERROR, p.mem, report));
    CHECK(p.report.nonfinite == 3 && p.report.first == 0 && p.report.empty == 2,
          "%u groups from %u, %u empty", p.report.nonfinite, p.report.first, p.report.empty);
    release(&p);
}

/* ---- ranges and grids ---- */

static void same_range(const nib_range *got, float min, float max, const char *what, int64_t cell)
{
    float absmax = fmaxf(fabsf(min), fabsf(max));
    CHECK(bits_of(got->min) == bits_of(min) && bits_of(got->max) == bits_of(max) &&
              bits_of(got->absmax) == bits_of(absmax),
          "%s, group %lld: %a %a %a", what, (long long)cell, (double)got->min, (double)got->max,
          (double)got->absmax);
}

/* Every axis of a [2, 3, 4] tensor: one range per index along it, found by its three indices. */
static void axes(void)
{
    enum { A = 2, B = 3, C = 4 };
    const int64_t shape[3] = {A, B, C};
    float x[A][B][C];
    uint64_t random = 7;
    for (int i = 0; i < A * B * C; i++)
        (&x[0][0][0])[i] = (float)(int64_t)(check_random(&random) % 1000) - 500.0f;
    for (int axis = 0; axis < 3; axis++) {
        nib_grid grid;
        CHECK_OK(nib_grid_axis(shape, 3, axis, &grid));
        CHECK(cells_of(&grid) == shape[axis], "axis %d has %lld scales", axis,
              (long long)cells_of(&grid));
        nib_range ranges[4];
        nib_report report = NIB_REPORT_EMPTY;
        CHECK_OK(nib_ranges(ref, &grid, NIB_F32, nib_wrap(x, sizeof x), NIB_NONFINITE_ERROR,
                            nib_wrap(ranges, sizeof ranges), nib_wrap(&report, sizeof report)));
        for (int64_t at = 0; at < shape[axis]; at++) {
            float min = INFINITY, max = -INFINITY;
            for (int a = 0; a < A; a++)
                for (int b = 0; b < B; b++)
                    for (int c = 0; c < C; c++)
                        if ((axis == 0 ? a : axis == 1 ? b : c) == at) {
                            min = fminf(min, x[a][b][c]);
                            max = fmaxf(max, x[a][b][c]);
                        }
            same_range(&ranges[at], min, max, "axis", at);
        }
        CHECK(report.nonfinite == 0 && report.first == 0xffffffffu, "report");
    }
}

static void one_range_per_tensor(void)
{
    float x[15];
    for (int i = 0; i < 15; i++) x[i] = (float)(i - 4);
    nib_quant q = {.bits = 4,
                   .scale_type = NIB_F32,
                   .rule = NIB_RULE_ASYM_ZERO,
                   .layout = NIB_LAYOUT_CANONICAL};
    CHECK_OK(nib_grid_tensor(3, 5, &q.grid));
    nib_range range;
    CHECK_OK(nib_ranges(ref, &q.grid, NIB_F32, nib_wrap(x, sizeof x), NIB_NONFINITE_ERROR,
                        nib_wrap(&range, sizeof range), (nib_mem){0}));
    same_range(&range, -4, 10, "tensor", 0);
    packed p = quantized(&q, NIB_F32, x, NIB_NONFINITE_ERROR);
    float y[15], step = 14.0f / 15.0f;
    decode(&q, &p, NIB_F32, y);
    CHECK(scale_at(&q, &p, 0) == step, "%a", (double)scale_at(&q, &p, 0));
    for (int i = 0; i < 15; i++) CHECK(fabsf(x[i] - y[i]) <= step / 2 + 1e-6f, "%d", i);
    release(&p);
}

/* A last group that is cut short has its own scale, and the row's spare bits are zero. */
static void tail(void)
{
    float x[2][13];
    for (int r = 0; r < 2; r++)
        for (int k = 0; k < 13; k++) x[r][k] = (k < 8 ? 1.0f : 100.0f) * (float)(r + 1);
    nib_quant q = by_rows(2, 13, 8, 3, NIB_RULE_SYM_RESTRICTED, NIB_F32);
    packed p = quantized(&q, NIB_F32, x, NIB_NONFINITE_ERROR);
    for (int c = 0; c < 4; c++) {
        float amax = (c % 2 ? 100.0f : 1.0f) * (float)(c / 2 + 1);
        CHECK(scale_at(&q, &p, c) == amax / 3.0f, "scale %d", c);
    }
    /* 13 codes of 7 are 39 bits of ones; 64 bits a row */
    static const unsigned char row[8] = {0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0};
    CHECK(p.mem[NIB_PLANE_CODES].bytes == 16, "two words a row");
    CHECK(!memcmp(p.plane[0].data, row, 8) && !memcmp(p.plane[0].data + 8, row, 8), "rows");
    release(&p);
}

static void special_ranges(void)
{
    static const struct {
        const char *what;
        float x[3];
        nib_nonfinite policy;
        float min, max;
    } rows[] = {
        {"zeros", {-0.0f, 0.0f, -0.0f}, NIB_NONFINITE_ERROR, 0, 0},
        {"subnormals", {0x1p-127f, -0x1p-149f, 0}, NIB_NONFINITE_ERROR, 0, 0},
        {"positive", {3, 1, 2}, NIB_NONFINITE_ERROR, 1, 3},
        {"negative", {-3, -1, -2}, NIB_NONFINITE_ERROR, -3, -1},
        {"NaN as zero", {NAN, 1, 2}, NIB_NONFINITE_ZERO, 0, 2},
        {"infinity as zero", {-INFINITY, 1, 2}, NIB_NONFINITE_ZERO, 0, 2},
        {"infinity cut", {-INFINITY, 1, NAN}, NIB_NONFINITE_SATURATE, -FLT_MAX, 1},
    };
    nib_grid grid;
    nib_range range;
    CHECK_OK(nib_grid_rows(1, 3, 0, &grid));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_OK(nib_ranges(ref, &grid, NIB_F32, nib_wrap((void *)(uintptr_t)rows[i].x, 12),
                            rows[i].policy, nib_wrap(&range, sizeof range), (nib_mem){0}));
        same_range(&range, rows[i].min, rows[i].max, rows[i].what, 0);
    }
    float bad[3] = {1, INFINITY, 2};
    CHECK_OK(nib_ranges(ref, &grid, NIB_F32, nib_wrap(bad, 12), NIB_NONFINITE_ERROR,
                        nib_wrap(&range, sizeof range), (nib_mem){0}));
    CHECK(bits_of(range.min) == 0x7fc00000 && bits_of(range.max) == 0x7fc00000 &&
              bits_of(range.absmax) == 0x7fc00000,
          "a poisoned range");
}

/* ---- error sums ---- */

static void plain_errors(int64_t rows, int64_t cols, const float *x, const float *y,
                         int64_t segment, nib_error_block *blocks, int64_t count)
{
    size_t bytes = (size_t)(rows * cols) * 4;
    int64_t expected;
    CHECK_OK(nib_error_blocks(rows, cols, segment, &expected));
    CHECK(expected == count, "%lld blocks", (long long)expected);
    CHECK_OK(nib_errors_plain(ref, rows, cols, NIB_F32, nib_wrap((void *)(uintptr_t)x, bytes),
                              NIB_F32, nib_wrap((void *)(uintptr_t)y, bytes), segment,
                              nib_wrap(blocks, (size_t)count * sizeof *blocks)));
}

/* Sums of small whole numbers are exact in any order, so their closed forms hold to the bit. */
static void exact_errors(void)
{
    enum { ROWS = 2, COLS = 2050 };
    static float x[ROWS * COLS], y[ROWS * COLS];
    for (int i = 0; i < ROWS * COLS; i++) {
        x[i] = (float)(i % 5 - 2);
        y[i] = x[i] + (i % COLS == 1500 ? 3.0f : 0.0f);
    }
    nib_error_block blocks[ROWS * 3];
    plain_errors(ROWS, COLS, x, y, COLS, blocks, ROWS * 3);
    for (int b = 0; b < ROWS * 3; b++) {
        int start = b / 3 * COLS + b % 3 * 1024, stop = b % 3 == 2 ? start + 2 : start + 1024;
        float xx = 0, yy = 0, xy = 0;
        for (int i = start; i < stop; i++) xx += x[i] * x[i], yy += y[i] * y[i], xy += x[i] * y[i];
        int here = b % 3 == 1;
        CHECK(blocks[b].xx == xx && blocks[b].yy == yy && blocks[b].xy == xy, "block %d", b);
        CHECK(blocks[b].ee == (here ? 9.0f : 0.0f) && blocks[b].max == (here ? 3.0f : 0.0f),
              "block %d: %g %g", b, (double)blocks[b].ee, (double)blocks[b].max);
    }
    nib_error_total total = {0};
    nib_error_add(&total, blocks, ROWS * 3, ROWS * COLS);
    CHECK(total.ee == 18.0 && total.max == 3.0 && total.count == ROWS * COLS, "total");
    CHECK(nib_error_mse(&total) == 18.0 / (ROWS * COLS), "mse");
}

/* Lanes add in index order: 1 and thirty-one times 2^-24 in one lane stay 1, as each is half an
 * ulp and goes to even; spread over the lanes they meet first. */
static void error_order(void)
{
    static float x[1024], y[1024];
    nib_error_block block;
    x[0] = 1.0f;
    for (int i = 1; i < 32; i++) x[32 * i] = 0x1p-12f;
    plain_errors(1, 1024, x, y, 1024, &block, 1);
    CHECK(block.xx == 1.0f, "one lane: %a", (double)block.xx);
    for (int i = 1; i < 32; i++) x[32 * i] = 0.0f, x[i] = 0x1p-12f;
    plain_errors(1, 1024, x, y, 1024, &block, 1);
    /* tree: lane 0 takes 16, 8, 4, 2, 1 in turn; the first sum is a tie and stays 1 */
    CHECK(block.xx == 1.0f + 30 * 0x1p-24f, "32 lanes: %a", (double)block.xx);
}

static void special_errors(void)
{
    nib_error_block blocks[6];
    float x[3] = {1, NAN, 2}, y[3] = {1, 1, 1}, infinite[3] = {INFINITY, 1, 2};
    plain_errors(1, 3, x, y, 3, blocks, 1);
    CHECK(bits_of(blocks[0].xx) == 0x7fc00000 && bits_of(blocks[0].max) == 0x7fc00000 &&
              blocks[0].yy == 3.0f,
          "NaN");
    plain_errors(1, 3, infinite, infinite, 3, blocks, 1);
    CHECK(isinf(blocks[0].xx) && bits_of(blocks[0].ee) == 0x7fc00000, "infinity less infinity");
    float small[3] = {0x1p-140f, 0, 0}, zeros[3] = {0, 0, 0};
    plain_errors(1, 3, small, zeros, 3, blocks, 1);
    CHECK(blocks[0].max == 0x1p-140f, "x is not flushed");

    /* 1500 columns in segments of 1200: two blocks each; the second's second holds nothing */
    static float long_x[1500], long_y[1500];
    for (int i = 0; i < 1500; i++) long_x[i] = 1.0f;
    plain_errors(1, 1500, long_x, long_y, 1200, blocks, 4);
    static const float expected[4] = {1024, 176, 300, 0};
    static const nib_error_block nothing;
    for (int b = 0; b < 4; b++) CHECK(blocks[b].ee == expected[b], "block %d", b);
    CHECK(!memcmp(&blocks[3], &nothing, sizeof nothing), "past the end");
}

/* Against codes: the same sums as against what they decode to. */
static void code_errors(void)
{
    enum { ROWS = 3, COLS = 70 };
    float x[ROWS * COLS], y[ROWS * COLS];
    uint64_t random = 3;
    for (int i = 0; i < ROWS * COLS; i++) x[i] = (float)(check_random(&random) % 4096) / 100.0f;
    nib_quant q = by_rows(ROWS, COLS, 32, 4, NIB_RULE_ASYM_MIN, NIB_F16);
    packed p = quantized(&q, NIB_F32, x, NIB_NONFINITE_ERROR);
    decode(&q, &p, NIB_F32, y);
    nib_error_block from_codes[9], plain[9];
    plain_errors(ROWS, COLS, x, y, 32, plain, 9);
    CHECK_OK(nib_errors(ref, &q, NIB_F32, nib_wrap(x, sizeof x), p.mem, 32,
                        nib_wrap(from_codes, sizeof from_codes)));
    CHECK(!memcmp(from_codes, plain, sizeof plain), "blocks");
    CHECK(plain[0].ee > 0.0f && plain[0].max > 0.0f, "there are errors to measure");
    release(&p);
}

static void totals(void)
{
    nib_error_total none = {0}, exact = {4.0, 4.0, 4.0, 0.0, 0.0, 2}, half = exact;
    half.ee = 0.04;
    CHECK(nib_error_mse(&none) == 0.0 && isnan(nib_error_sqnr(&none)) &&
              nib_error_cosine(&none) == 1.0,
          "nothing");
    CHECK(isinf(nib_error_sqnr(&exact)) && nib_error_cosine(&exact) == 1.0, "exact");
    CHECK(fabs(nib_error_sqnr(&half) - 20.0) < 1e-12, "%g dB", nib_error_sqnr(&half));
    nib_error_block bad = {1, 1, 1, 1, NAN}, good = {1, 1, 1, 1, 5};
    nib_error_add(&half, &bad, 1, 1);
    nib_error_add(&half, &good, 1, 1);
    CHECK(isnan(half.max), "a NaN stays");
}

/* ---- histogram ---- */

static void histogram(void)
{
    static const int bits[] = {2, 3, 4, 5, 6, 8};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        nib_quant q = by_rows(4, 37, 8, bits[i], NIB_RULE_ASYM_MIN, NIB_F32);
        float x[4 * 37];
        uint32_t counts[256] = {0}, expected[256] = {0};
        uint64_t random = 5;
        for (int k = 0; k < 4 * 37; k++) x[k] = (float)(check_random(&random) % 1000);
        packed p = quantized(&q, NIB_F32, x, NIB_NONFINITE_ERROR);
        counts[1] = expected[1] = 1000; /* it adds */
        for (int k = 0; k < 4 * 37; k++) expected[code_at(&q, &p, k / 37, k % 37)]++;
        CHECK_OK(nib_histogram(ref, &q, p.mem[0], nib_wrap(counts, sizeof counts)));
        CHECK(!memcmp(counts, expected, sizeof counts), "%d bits", bits[i]);
        release(&p);
    }
}

int main(void)
{
    ref_open();
    poison();
    policies();
    report_adds_up();
    axes();
    one_range_per_tensor();
    tail();
    special_ranges();
    exact_errors();
    error_order();
    special_errors();
    code_errors();
    totals();
    histogram();
    ref_close();
    return check_done();
}
