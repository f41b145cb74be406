/* test_divide.c - nib_divide's long division (kernels/common/number.h), for devices whose own is
 * not correctly rounded, against the processor's.
 *
 * test_divide [COUNT]: random pairs of each kind (default 3 million). */
#define NIB_DIVIDE_LONG
#include "../kernels/common/number.h"

#include "check.h"

/* A float with its exponent field in low..high. */
static float make(uint64_t random, uint32_t low, uint32_t high)
{
    uint32_t exponent = low + (uint32_t)(random >> 40) % (high - low + 1);
    return NIB_BITS_F32((uint32_t)(random & 0x807fffffu) | exponent << 23);
}

static long different;

static void compare(float x, float s)
{
    uint32_t expected = NIB_F32_BITS(x / s), got = NIB_F32_BITS(nib_divide(x, s));
    if (expected == got) return;
    if (different++ < 10)
        fprintf(stderr, "%a / %a gives %08x, not %08x\n", (double)x, (double)s, got, expected);
}

/* Dividend and divisor exponents of each kind. */
static const struct {
    const char *name;
    uint32_t x_low, x_high, s_low, s_high;
} kinds[] = {
    {"near one", 120, 134, 120, 134},           {"any", 0, 254, 1, 254},
    {"subnormal dividends", 0, 0, 1, 127},      {"subnormal quotients", 60, 80, 180, 205},
    {"overflowing quotients", 240, 254, 1, 20}, {"about the least normal", 1, 24, 110, 130},
};

static void random_pairs(long count)
{
    uint64_t state = 2;
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        long before = different;
        for (long i = 0; i < count; i++) {
            uint64_t x = check_random(&state), s = check_random(&state);
            compare(make(x, kinds[kind].x_low, kinds[kind].x_high),
                    make(s, kinds[kind].s_low, kinds[kind].s_high));
        }
        CHECK(different == before, "%s: %ld of %ld differ", kinds[kind].name, different - before,
              count);
    }
}

/* What random pairs hardly meet: significands at the ends, exact and half-way quotients, and every
 * divisor that a rule has. */
static void corners(void)
{
    static const uint32_t fractions[] = {0, 1, 2, 0x3fffff, 0x400000, 0x400001, 0x7ffffe, 0x7fffff};
    enum { FRACTIONS = sizeof fractions / sizeof fractions[0] };
    long before = different;
    for (uint32_t x = 0; x < 256 * FRACTIONS; x++)
        for (uint32_t s = FRACTIONS; s < 255 * FRACTIONS; s++) {
            float dividend = NIB_BITS_F32((x / FRACTIONS) << 23 | fractions[x % FRACTIONS]);
            float divisor = NIB_BITS_F32((s / FRACTIONS) << 23 | fractions[s % FRACTIONS]);
            if (dividend == dividend) compare(x & 1 ? -dividend : dividend, divisor);
        }
    for (uint32_t bits = 0; bits < 0x7f800000u; bits += 997)
        for (int b = 2; b <= 8; b++) {
            float half_way = (float)(1 << (b - 1)), levels = (float)((1 << b) - 1);
            const float divisors[] = {half_way - 1.0f, levels / 2.0f, -half_way, levels};
            for (int i = b == 2; i < 4; i++) compare(NIB_BITS_F32(bits), divisors[i]);
        }
    CHECK(different == before, "%ld corners differ", different - before);
}

int main(int argc, char **argv)
{
    random_pairs(argc > 1 ? atol(argv[1]) : 3000000);
    corners();
    return check_done();
}
