/* test_quotient.c - kernels/common/quotient.h against IEEE division: every pair of 11-bit
 * significands, and random x of 24 bits with scales of 11 over every exponent that
 * nib_quotient_holds admits.
 *
 * test_quotient [COUNT]: how many random pairs (default 20 million; 2 billion were tried once). */
#include "../kernels/common/quotient.h"
#include "check.h"

static long wrong(float x, float s, float r)
{
    return NIB_F32_BITS(nib_quotient(x, s, r)) != NIB_F32_BITS(x / s);
}

int main(int argc, char **argv)
{
    long different = 0, count = argc > 1 ? atol(argv[1]) : 20000000;
    for (uint32_t i = 1024; i < 2048; i++) {
        float s = (float)i, r = 1.0f / s;
        CHECK(nib_quotient_holds(s), "s = %g", (double)s);
        for (uint32_t k = 1024; k < 2048; k++) different += wrong((float)k, s, r);
    }
    CHECK(different == 0, "%ld of 1048576 pairs of 11-bit significands differ", different);

    uint64_t random = 7;
    for (long i = 0; i < count; i++) {
        uint64_t u = check_random(&random);
        uint32_t exponent = 127 - 79 + (uint32_t)(u >> 56) % 178;
        float s = NIB_BITS_F32(exponent << 23 | ((uint32_t)u & 0x7fe000u) |
                               ((uint32_t)(u >> 20) & 0x80000000u));
        float t = NIB_BITS_F32((127u + (uint32_t)(u >> 48) % 28 - 20) << 23 |
                               ((uint32_t)(u >> 24) & 0x7fffffu));
        float x = s * t;
        if (!CHECK(nib_quotient_holds(s), "s = %a", (double)s)) break;
        different += wrong(x, s, 1.0f / s);
    }
    CHECK(different == 0, "%ld of %ld random pairs differ", different, count);
    CHECK(!nib_quotient_holds(1.00001f) && !nib_quotient_holds(0x1p-90f) &&
          !nib_quotient_holds(0x1p101f) && !nib_quotient_holds(0.0f) &&
          !nib_quotient_holds(INFINITY));
    return check_done();
}
