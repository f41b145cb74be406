/* test_ref.c - the reference against closed forms: what docs/numerics.md promises of every rule,
 * and what it says of groups that are empty, tiny, huge or poisoned. */
#include "on_ref.h"

#include <float.h>

static const int code_bits[] = {2, 3, 4, 5, 6, 8, 16};
static const nib_dtype types[] = {NIB_F32, NIB_F16, NIB_BF16};
static const nib_rule rules[] = {NIB_RULE_SYM_RESTRICTED, NIB_RULE_SYM_FULL, NIB_RULE_SIGNED_MAX,
                                 NIB_RULE_ASYM_ZERO, NIB_RULE_ASYM_MIN};

#define EACH(array, i) for (size_t i = 0; i < sizeof(array) / sizeof(array)[0]; i++)

static const char *label(const nib_quant *q, nib_dtype type)
{
    static char text[96];
    snprintf(text, sizeof text, "%s, %d bits, scales %s, x %s", nib_rule_name(q->rule), q->bits,
             nib_dtype_name(q->scale_type), nib_dtype_name(type));
    return text;
}

static float normal(uint64_t *random)
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++) sum += (double)(check_random(random) >> 40) * 0x1p-24;
    return (float)sum;
}

/* ---- properties of all rules ---- */

/* What the planes say of one group, as numbers. */
typedef struct decoded_group {
    double s, m, z;         /* z unsigned */
    double lowest, highest; /* the ends of what the codes can express */
} decoded_group;

static decoded_group group_at(const nib_quant *q, const packed *p, int64_t cell)
{
    decoded_group g = {(double)scale_at(q, p, cell), 0.0, ldexp(1.0, q->bits - 1), 0.0, 0.0};
    const unsigned char *offsets = p->plane[NIB_PLANE_OFFSETS].data;
    nib_offset offset = nib_rule_offset(q->rule);
    if (offset == NIB_OFFSET_ZERO) {
        uint16_t wide = 0;
        if (q->bits > 8) memcpy(&wide, offsets + 2 * cell, 2);
        g.z = q->bits > 8 ? (double)wide : (double)offsets[cell];
    }
    if (offset == NIB_OFFSET_MIN) {
        g.z = 0.0;
        g.m = (double)element(q->scale_type, offsets, cell);
    }
    double first = q->rule == NIB_RULE_SYM_RESTRICTED ? 1.0 : 0.0;
    double a = (first - g.z) * g.s + g.m, b = (ldexp(1.0, q->bits) - 1.0 - g.z) * g.s + g.m;
    g.lowest = fmin(a, b);
    g.highest = fmax(a, b);
    return g;
}

/* y is the value nearest to x that the group can express: within half a step between the ends, at
 * the end beyond them; but for the roundings of (x - m) / s + z and u * s + m, each at most 2^-24
 * of its result. How far beyond an end x can lie is the rule's: half a step, but a whole one at the
 * far end of signed_max; with 16-bit scales a little more, as the scale itself is rounded. */
static void nearest_value(const nib_quant *q, nib_dtype type, const float *x, const float *y,
                          const packed *p)
{
    int64_t far_from_nearest = 0, too_far = 0;
    double allowed = q->rule == NIB_RULE_SIGNED_MAX ? 1.0 : 0.5;
    for (int64_t i = 0; i < q->grid.rows * q->grid.cols; i++) {
        int64_t r = i / q->grid.cols, k = i % q->grid.cols;
        decoded_group g = group_at(q, p, cell_of(&q->grid, r, k));
        double inside = fmin(fmax((double)x[i], g.lowest), g.highest), step = fabs(g.s);
        double rounding = 0x1p-22 * (fabs((double)x[i]) + fabs(g.m) + step * g.z);
        far_from_nearest += !(fabs(inside - (double)y[i]) <= 0.5 * step + rounding);
        too_far += !(fabs((double)x[i] - (double)y[i]) <= allowed * step + rounding);
    }
    CHECK(far_from_nearest == 0, "%lld values: %s", (long long)far_from_nearest, label(q, type));
    if (q->scale_type == NIB_F32)
        CHECK(too_far == 0, "%lld values: %s", (long long)too_far, label(q, type));
}

/* Encoding what was decoded gives the same codes. The extremes of each group stay in it (a value
 * that decoded beyond them too), so that its scale does not change. */
static void idempotent(const nib_quant *q, nib_dtype type, const float *x, const float *y,
                       const packed *p)
{
    int64_t count = q->grid.rows * q->grid.cols, cells = cells_of(&q->grid), changed = 0;
    float *again = malloc((size_t)count * 4), *ends = malloc((size_t)cells * 8);
    for (int64_t c = 0; c < cells; c++) ends[2 * c] = INFINITY, ends[2 * c + 1] = -INFINITY;
    for (int64_t i = 0; i < count; i++) {
        float *end = &ends[2 * cell_of(&q->grid, i / q->grid.cols, i % q->grid.cols)];
        end[0] = fminf(end[0], x[i]);
        end[1] = fmaxf(end[1], x[i]);
    }
    for (int64_t i = 0; i < count; i++) {
        const float *end = &ends[2 * cell_of(&q->grid, i / q->grid.cols, i % q->grid.cols)];
        again[i] = x[i] == end[0] || x[i] == end[1] || y[i] < end[0] || y[i] > end[1] ? x[i] : y[i];
    }
    packed second = quantized(q, NIB_F32, again, NIB_NONFINITE_ERROR);
    for (int64_t i = 0; i < count; i++)
        changed += code_at(q, p, i / q->grid.cols, i % q->grid.cols) !=
                   code_at(q, &second, i / q->grid.cols, i % q->grid.cols);
    CHECK(changed == 0, "%lld codes: %s", (long long)changed, label(q, type));
    release(&second);
    free(again);
    free(ends);
}

/* No code that the rule does not make. */
static void codes_in_range(const nib_quant *q, nib_dtype type, const packed *p)
{
    int64_t outside = 0;
    for (int64_t i = 0; i < q->grid.rows * q->grid.cols; i++)
        outside += code_at(q, p, i / q->grid.cols, i % q->grid.cols) <
                   (q->rule == NIB_RULE_SYM_RESTRICTED);
    CHECK(outside == 0, "%lld codes: %s", (long long)outside, label(q, type));
}

static void properties_of(const nib_quant *q, nib_dtype type, const float *values)
{
    int64_t count = q->grid.rows * q->grid.cols;
    float *x = malloc((size_t)count * 4), *y = malloc((size_t)count * 4);
    check_buffer stored = typed(type, values, count);
    for (int64_t i = 0; i < count; i++) x[i] = element(type, stored.data, i);
    packed p = quantized(q, type, stored.data, NIB_NONFINITE_ERROR);
    decode(q, &p, NIB_F32, y);
    nearest_value(q, type, x, y, &p);
    codes_in_range(q, type, &p);
    if (q->bits <= 8) idempotent(q, type, x, y, &p);
    CHECK(p.report.nonfinite == 0 && p.report.first == 0xffffffffu && p.report.empty == 0, "%s",
          label(q, type));
    check_release(&stored);
    release(&p);
    free(x);
    free(y);
}

/* All bits, rules, scale and source types; groups with a tail, and scales shared between rows. */
static void properties(void)
{
    enum { ROWS = 6, COLS = 45 };
    float x[ROWS * COLS];
    uint64_t random = 1;
    for (int i = 0; i < ROWS * COLS; i++) x[i] = normal(&random) * (i % 17 == 3 ? 4.0f : 1.0f);
    EACH(code_bits, b)
    EACH(rules, r)
    EACH(types, s)
    EACH(types, t)
    {
        nib_quant q = by_rows(ROWS, COLS, 16, code_bits[b], rules[r], types[s]);
        properties_of(&q, types[t], x);
        q.grid = (nib_grid){ROWS, COLS, 3, COLS};
        properties_of(&q, types[t], x);
    }
}

/* ---- one group with a known answer ---- */

/* Quantizes `count` values as one group of 4-bit codes and compares everything. */
typedef struct one_group {
    const char *what;
    nib_rule rule;
    nib_dtype scale_type;
    int count;
    float x[4];
    int codes[4];
    uint32_t scale;  /* its bits */
    uint32_t offset; /* the zero point, or the min's bits */
    float y[4];
    nib_report report;
} one_group;

#define NOTHING ((nib_report){0, 0xffffffffu, 0, 0, 0})
#define EMPTY ((nib_report){0, 0xffffffffu, 1, 0, 0})
#define TOO_SMALL ((nib_report){0, 0xffffffffu, 0, 1, 0})
#define SATURATED ((nib_report){0, 0xffffffffu, 0, 0, 1})

/* clang-format off */
static const one_group groups[] = {
    /* +-amax is +-7 steps of amax/7; halves go to the even code */
    {"ties", NIB_RULE_SYM_RESTRICTED, NIB_F32, 4, {7.0f, 0.5f, 1.5f, -2.5f}, {15, 8, 10, 6}, 0x3f800000, 0, {7, 0, 2, -2}, NOTHING},
    {"minus amax", NIB_RULE_SYM_RESTRICTED, NIB_F32, 3, {-7.0f, -6.5f, 3.5f}, {1, 2, 12}, 0x3f800000, 0, {-7, -6, 4}, NOTHING},
    /* scale amax/7.5: 7.5 is cut to 7 steps, -7.5 rounds to -8 */
    {"ends of sym_full", NIB_RULE_SYM_FULL, NIB_F32, 4, {7.5f, -7.5f, 7.0f, -7.0f}, {15, 0, 15, 1}, 0x3f800000, 0, {7, -8, 7, -7}, NOTHING},
    /* the extreme value is -8 steps, so a positive one makes the scale negative */
    {"negative scale", NIB_RULE_SIGNED_MAX, NIB_F32, 4, {8.0f, -8.0f + 1.0f, 0.0f, 3.0f}, {0, 15, 8, 5}, 0xbf800000, 0, {8, -7, -0.0f, 3}, NOTHING},
    {"positive scale", NIB_RULE_SIGNED_MAX, NIB_F32, 4, {-8.0f, 8.0f, 7.4f, 0.0f}, {0, 15, 15, 8}, 0x3f800000, 0, {-8, 7, 7, 0}, NOTHING},
    /* 0 always has a code of its own */
    {"around zero", NIB_RULE_ASYM_ZERO, NIB_F32, 4, {-5.0f, 10.0f, 0.0f, 3.4f}, {0, 15, 5, 8}, 0x3f800000, 5, {-5, 10, 0, 3}, NOTHING},
    {"above zero", NIB_RULE_ASYM_ZERO, NIB_F32, 3, {15.0f, 7.0f, 1.0f}, {15, 7, 1}, 0x3f800000, 0, {15, 7, 1}, NOTHING},
    {"below zero", NIB_RULE_ASYM_ZERO, NIB_F32, 3, {-15.0f, -7.0f, -1.0f}, {0, 8, 14}, 0x3f800000, 15, {-15, -7, -1}, NOTHING},
    {"a min far from zero", NIB_RULE_ASYM_MIN, NIB_F32, 4, {100.0f, 115.0f, 107.5f, 108.5f}, {0, 15, 8, 8}, 0x3f800000, 0x42c80000, {100, 115, 108, 108}, NOTHING},
    /* one element */
    {"one", NIB_RULE_SYM_RESTRICTED, NIB_F32, 1, {3.5f}, {15}, 0x3f000000, 0, {3.5f}, NOTHING},
    {"one", NIB_RULE_SIGNED_MAX, NIB_F32, 1, {2.0f}, {0}, 0xbe800000, 0, {2.0f}, NOTHING},
    {"one", NIB_RULE_ASYM_ZERO, NIB_F32, 1, {-7.5f}, {0}, 0x3f000000, 15, {-7.5f}, NOTHING},
    {"one: no range, so it is its own min", NIB_RULE_ASYM_MIN, NIB_F32, 1, {2.5f}, {0}, 0, 0x40200000, {2.5f}, EMPTY},
    /* zeros, -0 among them */
    {"zeros", NIB_RULE_SYM_RESTRICTED, NIB_F32, 2, {0.0f, -0.0f}, {8, 8}, 0, 0, {0, 0}, EMPTY},
    {"zeros", NIB_RULE_SIGNED_MAX, NIB_F32, 2, {-0.0f, 0.0f}, {8, 8}, 0, 0, {0, 0}, EMPTY},
    {"zeros", NIB_RULE_SYM_FULL, NIB_F32, 2, {0.0f, -0.0f}, {8, 8}, 0x34000000, 0, {0, 0}, EMPTY},
    {"zeros", NIB_RULE_SYM_FULL, NIB_F16, 2, {0.0f, -0.0f}, {8, 8}, 0x1400, 0, {0, 0}, EMPTY},
    {"zeros", NIB_RULE_SYM_FULL, NIB_BF16, 2, {0.0f, -0.0f}, {8, 8}, 0x3c00, 0, {0, 0}, EMPTY},
    {"zeros", NIB_RULE_ASYM_ZERO, NIB_F32, 2, {0.0f, -0.0f}, {0, 0}, 0x34000000, 0, {0, 0}, EMPTY},
    {"zeros", NIB_RULE_ASYM_MIN, NIB_F32, 2, {-0.0f, -0.0f}, {0, 0}, 0, 0, {0, 0}, EMPTY},
    {"a constant", NIB_RULE_ASYM_MIN, NIB_F16, 3, {-0.1f, -0.1f, -0.1f}, {0, 0, 0}, 0, 0xae66, {-0x1.998p-4f, -0x1.998p-4f, -0x1.998p-4f}, EMPTY},
    /* subnormal inputs are zeros; the smallest normal one has no normal scale */
    {"subnormal", NIB_RULE_SYM_RESTRICTED, NIB_F32, 2, {0x1.fffffcp-127f, -0x1p-149f}, {8, 8}, 0, 0, {0, 0}, EMPTY},
    {"2^-126", NIB_RULE_SYM_RESTRICTED, NIB_F32, 2, {0x1p-126f, -0x1p-126f}, {8, 8}, 0, 0, {0, 0}, TOO_SMALL},
    {"2^-126", NIB_RULE_SYM_FULL, NIB_F32, 2, {0x1p-126f, -0x1p-126f}, {8, 8}, 0x34000000, 0, {0, 0}, TOO_SMALL},
    {"7 * 2^-126", NIB_RULE_SYM_RESTRICTED, NIB_F32, 2, {0x1.cp-124f, -0x1p-126f}, {15, 7}, 0x00800000, 0, {0x1.cp-124f, -0x1p-126f}, NOTHING},
    {"f16 scale vanishes", NIB_RULE_SYM_RESTRICTED, NIB_F16, 2, {7 * 0x1p-25f, -1e-9f}, {8, 8}, 0, 0, {0, 0}, TOO_SMALL},
    {"smallest f16 scale", NIB_RULE_SYM_RESTRICTED, NIB_F16, 2, {7 * 0x1.8p-25f, -0x1p-23f}, {13, 6}, 0x0001, 0, {5 * 0x1p-24f, -0x1p-23f}, NOTHING},
    {"f16 min vanishes", NIB_RULE_ASYM_MIN, NIB_F16, 2, {-1e-9f, 15.0f}, {0, 15}, 0x3c00, 0, {0, 15}, NOTHING},
    /* too large for the scale's type */
    {"f16 scale cut", NIB_RULE_SYM_RESTRICTED, NIB_F16, 3, {1e6f, -1e6f, 65504.0f}, {15, 1, 9}, 0x7bff, 0, {458528, -458528, 65504}, SATURATED},
    {"f16 scale cut, negative", NIB_RULE_SIGNED_MAX, NIB_F16, 2, {1e6f, 131008.0f}, {0, 6}, 0xfbff, 0, {524032, 131008}, SATURATED},
    {"f16 min cut", NIB_RULE_ASYM_MIN, NIB_F16, 2, {-1e5f, -1e5f}, {0, 0}, 0, 0xfbff, {-65504, -65504}, {0, 0xffffffffu, 1, 0, 1}},
    {"infinite extent", NIB_RULE_ASYM_ZERO, NIB_F32, 2, {FLT_MAX, -FLT_MAX}, {2, 0}, 0x7f7fffff, 1, {FLT_MAX, -FLT_MAX}, SATURATED},
    /* x - min overflows, and so does 15 steps of the largest scale */
    {"bf16 scale cut", NIB_RULE_ASYM_MIN, NIB_BF16, 2, {FLT_MAX, -FLT_MAX}, {15, 0}, 0x7f7f, 0xff7f, {INFINITY, -0x1.fep127f}, SATURATED},
};
/* clang-format on */

static void known_groups(void)
{
    EACH(groups, i)
    {
        const one_group *e = &groups[i];
        nib_quant q = by_rows(1, e->count, 0, 4, e->rule, e->scale_type);
        packed p = quantized(&q, NIB_F32, e->x, NIB_NONFINITE_ERROR);
        float y[4];
        decode(&q, &p, NIB_F32, y);
        uint32_t scale = 0, offset = 0;
        memcpy(&scale, p.mem[NIB_PLANE_SCALES].handle, size_of(q.scale_type));
        memcpy(&offset, p.mem[NIB_PLANE_OFFSETS].handle, p.mem[NIB_PLANE_OFFSETS].bytes);
        CHECK(scale == e->scale, "%s, %s: scale 0x%x", e->what, nib_rule_name(e->rule), scale);
        CHECK(offset == e->offset, "%s, %s: offset 0x%x", e->what, nib_rule_name(e->rule), offset);
        for (int k = 0; k < e->count; k++) {
            CHECK(code_at(&q, &p, 0, k) == e->codes[k], "%s, %s: code %d is %d", e->what,
                  nib_rule_name(e->rule), k, (int)code_at(&q, &p, 0, k));
            CHECK(bits_of(y[k]) == bits_of(e->y[k]), "%s, %s: y %d is %a", e->what,
                  nib_rule_name(e->rule), k, (double)y[k]);
        }
        CHECK(!memcmp(&p.report, &e->report, sizeof p.report), "%s, %s: report %u %u %u %u %u",
              e->what, nib_rule_name(e->rule), p.report.nonfinite, p.report.first, p.report.empty,
              p.report.underflow, p.report.saturated);
        release(&p);
    }
}

int main(void)
{
    ref_open();
    properties();
    known_groups();
    ref_close();
    return check_done();
}
