/* test_accumulators.c - where sums stop being right in each accumulator: the figures of
 * docs/numerics.md section 8, each found here by adding. 16-bit floating-point sums are rounded by
 * the reference's own conversion after every addition. */
#include "../include/nibble_matmul.h"
#include "on_ref.h"

typedef float rounding(float sum);

/* The value of `type` nearest to x. */
static float round_to(nib_dtype type, float x)
{
    uint32_t stored = 0;
    float y = 0.0f;
    if (nib_convert(ref, 1, NIB_F32, nib_wrap(&x, 4), type, nib_wrap(&stored, 2)) ||
        nib_convert(ref, 1, type, nib_wrap(&stored, 2), NIB_F32, nib_wrap(&y, 4)))
        CHECK(0, "%s", nib_last_error());
    return y;
}

static float in_f16(float x) { return round_to(NIB_F16, x); }
static float in_bf16(float x) { return round_to(NIB_BF16, x); }
static float in_f32(float x) { return x; }

/* Adds `term` until the sum no longer changes, at most `most` times. */
static float stuck_at(rounding *rounded, float term, int64_t most)
{
    float sum = 0.0f;
    for (int64_t i = 0; i < most; i++) {
        volatile float next = rounded(sum + term);
        if (next == sum) break;
        sum = next;
    }
    return sum;
}

static void floating(void)
{
    CHECK(stuck_at(in_f16, 1.0f, 10000) == 2048.0f, "f16");
    CHECK(stuck_at(in_bf16, 1.0f, 10000) == 256.0f, "bf16");
    CHECK(stuck_at(in_f32, 1.0f, INT64_C(20000000)) == 16777216.0f, "f32");
    /* a dot product of 4096 equal products 1/16 * 1/16, exactly 16 */
    CHECK(stuck_at(in_f16, 0x1p-8f, 4096) == 8.0f, "f16 loses half of it");
    CHECK(stuck_at(in_bf16, 0x1p-8f, 4096) == 1.0f, "bf16 keeps a sixteenth of it");
    float sum = 0.0f;
    for (int i = 0; i < 4096; i++) sum += 0x1p-8f;
    CHECK(sum == 16.0f, "f32 is exact");
    /* f16 also ends: 65504 is its largest */
    CHECK(isinf(in_f16(255.0f * 255.0f + 255.0f * 255.0f)), "two products of 255 * 255");
}

/* The largest error of sums of `terms` random products x * y in [-1, 1], against sums in double, as
 * a share of the sum of magnitudes. */
static double worst_share(rounding *rounded, int terms)
{
    double worst = 0.0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        uint64_t random = seed;
        float sum = 0.0f;
        double exact = 0.0, magnitude = 0.0;
        for (int i = 0; i < terms; i++) {
            float x = in_bf16((float)(int64_t)(check_random(&random) % 2001) / 1000.0f - 1.0f);
            float y = in_bf16((float)(int64_t)(check_random(&random) % 2001) / 1000.0f);
            sum = rounded(sum + x * y); /* x * y: 16 bits, exact in f32 */
            exact += (double)x * (double)y;
            magnitude += fabs((double)x * (double)y);
        }
        worst = fmax(worst, fabs((double)sum - exact) / magnitude);
    }
    return worst;
}

static void floating_products(void)
{
    double f16 = worst_share(in_f16, 4096), bf16 = worst_share(in_bf16, 4096),
           f32 = worst_share(in_f32, 4096);
    printf("4096 products, error / sum of magnitudes: f16 %.1e, bf16 %.1e, f32 %.1e\n", f16, bf16,
           f32);
    CHECK(f32 < 1e-7, "f32: %g", f32);
    CHECK(f16 > 100 * f32 && bf16 > 1000 * f32, "16-bit sums lose digits: %g, %g", f16, bf16);
}

/* How many products a * b fit before the sum leaves a signed integer of `bits` bits. */
static int64_t products_that_fit(int64_t a, int64_t b, int bits)
{
    int64_t highest = (INT64_C(1) << (bits - 1)) - 1, lowest = -highest - 1, sum = 0, count = 0;
    while (sum + a * b <= highest && sum + a * b >= lowest) {
        sum += a * b;
        count++;
    }
    return count;
}

static void integers(void)
{
    /* int8 * int8 in int16 */
    CHECK(products_that_fit(127, 127, 16) == 2, "127 * 127");
    CHECK(products_that_fit(-128, -128, 16) == 1, "128 * 128");
    /* in int32: K up to which no sum can overflow */
    CHECK(products_that_fit(127, 127, 32) == 133144, "codes of -127..127");
    CHECK(products_that_fit(-128, -128, 32) == 131071, "codes of -128..127");
    CHECK(products_that_fit(255, 127, 32) == 66311, "unsigned by signed codes");
    CHECK(products_that_fit(-8, -128, 32) == 2097151, "4-bit by 8-bit codes");
    /* int16 * int16 needs 64 bits */
    CHECK(products_that_fit(32767, 32767, 32) == 2, "32767 * 32767");
    CHECK(products_that_fit(-32768, -32768, 32) == 1, "32768 * 32768");
}

/* Whether nibble would multiply int8 activations with `bits`-bit weights of K columns, one
 * group. */
static int accepted(nib_acts acts, int x_zeros, int bits, int64_t k)
{
    nib_matmul_desc d = {.size = sizeof d, .max_m = 1, .acts = acts, .x_zeros = x_zeros};
    d.weights = (nib_quant){.bits = bits,
                            .scale_type = NIB_F32,
                            .rule = NIB_RULE_SYM_FULL,
                            .layout = NIB_LAYOUT_CANONICAL};
    d.x_type = acts == NIB_ACTS_CODES ? NIB_I8 : NIB_F32, d.y_type = NIB_F32;
    nib_matmul *plan = NULL;
    nib_status status = nib_grid_rows(1, k, 0, &d.weights.grid);
    if (status == NIB_OK) status = nib_matmul_plan_open(ref_ctx, &d, &plan);
    nib_matmul_plan_close(plan);
    return status == NIB_OK;
}

/* The products that nibble allows to be added in int32 are those that fit. */
static void integers_in_plans(void)
{
    static const struct {
        nib_acts acts;
        int x_zeros, bits;
        int64_t x, w; /* the largest */
    } cases[] = {{NIB_ACTS_DYNAMIC, 0, 8, 127, 128},
                 {NIB_ACTS_CODES, 0, 8, 128, 128},
                 {NIB_ACTS_DYNAMIC, 1, 8, 255, 128},
                 {NIB_ACTS_CODES, 0, 4, 128, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t most = products_that_fit(cases[i].x, cases[i].w, 32);
        CHECK(accepted(cases[i].acts, cases[i].x_zeros, cases[i].bits, most), "case %zu: %s", i,
              nib_last_error());
        CHECK(!accepted(cases[i].acts, cases[i].x_zeros, cases[i].bits, most + 1), "case %zu", i);
    }
}

/* f32 counts int8 products exactly while every partial sum is at most 2^24: K = 1040. */
static void integers_in_f32(void)
{
    float sum = 0.0f;
    int64_t exact = 0;
    int count = 0;
    while ((int64_t)sum == exact) {
        sum += 127.0f * 127.0f;
        exact += 127 * 127;
        count++;
    }
    CHECK(count == 1041, "the first wrong sum has %d products", count);
}

int main(void)
{
    ref_open();
    floating();
    floating_products();
    integers();
    integers_in_plans();
    integers_in_f32();
    ref_close();
    return check_done();
}
