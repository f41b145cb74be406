/* test_divide_simd_avx2.c - the quotients and codes of kernels/cpu/divide_simd.h against
 * division: of short values all mantissas, of others a sample. Powers of two change no mantissa,
 * nor do signs. */
#include "../kernels/cpu/vec_avx2.h"

#include "../kernels/cpu/divide_simd.h"
#include "check.h"

enum { SHORT_BITS = 10, SAMPLES = 1 << 21 };

static floats quotient(floats x, floats s) { FLOATS(_mm256_div_ps(x.v[i], s.v[i])); }

/* Lanes where two vectors' bits differ. */
static int differing(floats a, floats b)
{
    int count = 0;
    for (int i = 0; i < PARTS; i++) {
        __m256i equal =
            _mm256_cmpeq_epi32(_mm256_castps_si256(a.v[i]), _mm256_castps_si256(b.v[i]));
        count +=
            __builtin_popcount(~(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(equal)) & 255u);
    }
    return count;
}

static void short_values(void)
{
    static float values[1 << SHORT_BITS];
    for (uint32_t i = 0; i < 1u << SHORT_BITS; i++)
        values[i] = NIB_BITS_F32(0x3f800000u | i << (23 - SHORT_BITS));
    for (uint32_t mantissa = 0; mantissa < 1u << 23; mantissa++) {
        float scale = NIB_BITS_F32(0x3f800000u | mantissa);
        floats s = f_splat(scale), r = f_splat(1.0f / scale);
        int bad = 0;
        for (int i = 0; i < 1 << SHORT_BITS; i += 32) {
            floats x = f_load(values + i, NIB_T_F32);
            bad += differing(divide_short(x, s, r), quotient(x, s));
        }
        if (bad || mantissa == 0) CHECK(bad == 0, "%d quotients by %a differ", bad, (double)scale);
    }
}

/* Runs of short x by a short s whose codes differ: quotients of 2^-6 to 383. */
static int differing_codes(const float *values, float scale, float zero)
{
    floats s = f_splat(scale), r = f_splat(1.0f / scale), z = f_splat(SHORTS_GRID + zero);
    int bad = 0;
    for (int i = 0; i < 1 << SHORT_BITS; i += 32) {
        if (fabsf(values[i + 31] / scale) > SHORTS_MOST - 128.0f) break; /* as are all after it */
        floats x = f_load(values + i, NIB_T_F32), sum = f_add(quotient(x, s), f_splat(zero));
        words got = w_from_low(round_shorts(x, r, z), NIB_T_F32), want = w_round(sum, NIB_T_F32);
        for (int j = 0; j < 2; j++)
            bad += _mm256_movemask_epi8(_mm256_cmpeq_epi16(got.v[j], want.v[j])) != -1;
    }
    return bad;
}

static void short_codes(void)
{
    static const float zeros[] = {0.0f, -128.0f, -1.0f, 127.0f};
    static float values[1 << SHORT_BITS];
    for (int power = -5; power < 9; power++)
        for (int sign = -1; sign <= 1; sign += 2) {
            float unit = (float)sign * ldexpf(1.0f, power);
            int bad = 0;
            for (uint32_t m = 0; m < 1u << SHORT_BITS; m++)
                values[m] = unit * NIB_BITS_F32(0x3f800000u | m << (23 - SHORT_BITS));
            for (uint32_t m = 0; m < 1u << SHORT_BITS; m++) {
                float scale = NIB_BITS_F32(0x3f800000u | m << (23 - SHORT_BITS));
                for (size_t z = 0; z < sizeof zeros / sizeof *zeros; z++)
                    bad += differing_codes(values, scale, zeros[z]);
            }
            CHECK(bad == 0, "%d runs of codes of quotients near %g differ", bad, (double)unit);
        }
}

/* Exponents as far apart as ordinary groups have them (quantize_simd.h). */
static void any_values(void)
{
    uint64_t state = 3;
    int bad = 0;
    for (int i = 0; i < SAMPLES; i++) {
        uint64_t draw = check_random(&state);
        uint32_t exponent = 127 - 90 + (uint32_t)(draw >> 40) % 180;
        float scale = NIB_BITS_F32(((uint32_t)draw & 0x7fffffu) | exponent << 23), x[32];
        for (int j = 0; j < 32; j++) {
            uint64_t r = check_random(&state);
            uint32_t near = exponent - 8 + (uint32_t)(r >> 40) % 17;
            x[j] = NIB_BITS_F32(((uint32_t)r & 0x807fffffu) | near << 23);
        }
        floats v = f_load(x, NIB_T_F32), s = f_splat(scale);
        bad += differing(divide(v, s, f_splat(1.0f / scale)), quotient(v, s));
    }
    CHECK(bad == 0, "%d of %d quotients differ", bad, 32 * SAMPLES);
}

int main(void)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        check_skip("quotients", "no AVX2 and FMA here");
        return check_done();
    }
    short_values();
    short_codes();
    any_values();
    return check_done();
}
