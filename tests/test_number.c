/* test_number.c - the conversions of kernels/common/number.h against the reference's and, where the
 * processor has them, the hardware's, under every rounding mode with and without flushing.
 *
 *     test_number            every 7th float and all rounding boundaries; seconds
 *     test_number full       all 2^32 floats; minutes */
#include "../kernels/common/number.h"
#include "on_ref.h"

#include <fenv.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CHUNK = 1 << 16 };

/* ---- floating-point environments that a host may have set ---- */

typedef struct environment {
    const char *name;
    int rounding;
    int flush;
} environment;

static const environment environments[] = {
    {"nearest", FE_TONEAREST, 0},
    {"up, flushing", FE_UPWARD, 1},
    {"down, flushing", FE_DOWNWARD, 1},
    {"toward zero", FE_TOWARDZERO, 0},
};

enum { ENVIRONMENTS = sizeof environments / sizeof environments[0] };

static void enter(const environment *e)
{
    fesetround(e->rounding);
#if defined(__x86_64__)
    _mm_setcsr((_mm_getcsr() & ~0x8040u) | (e->flush ? 0x8040u : 0)); /* FTZ and DAZ */
#endif
}

/* ---- one chunk by each means ---- */

static __attribute__((noinline)) void common_narrow(int type, const uint32_t *in, uint16_t *out,
                                                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (uint16_t)nib_to_type((nib_i32)type, NIB_BITS_F32(in[i]));
}

static __attribute__((noinline)) void common_widen(int type, const uint16_t *in, uint32_t *out,
                                                   size_t count)
{
    for (size_t i = 0; i < count; i++) out[i] = NIB_F32_BITS(nib_from_type((nib_i32)type, in[i]));
}

#if defined(__x86_64__)
/* Every processor with AVX2 has F16C, which clang 14 cannot ask for by name. */
static int has_f16c(void) { return __builtin_cpu_supports("avx2") != 0; }

__attribute__((target("f16c"))) static void f16c_narrow(const uint32_t *in, uint16_t *out,
                                                        size_t count)
{
    for (size_t i = 0; i < count; i += 4) {
        __m128 x = _mm_castsi128_ps(_mm_loadu_si128((const __m128i *)(const void *)(in + i)));
        _mm_storel_epi64((__m128i *)(void *)(out + i), _mm_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
}

__attribute__((target("f16c"))) static void f16c_widen(const uint16_t *in, uint32_t *out,
                                                       size_t count)
{
    for (size_t i = 0; i < count; i += 4) {
        __m128 x = _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(const void *)(in + i)));
        _mm_storeu_si128((__m128i *)(void *)(out + i), _mm_castps_si128(x));
    }
}
#else
static int has_f16c(void) { return 0; }
static void f16c_narrow(const uint32_t *in, uint16_t *out, size_t count)
{
    (void)in, (void)out, (void)count;
}
static void f16c_widen(const uint16_t *in, uint32_t *out, size_t count)
{
    (void)in, (void)out, (void)count;
}
#endif

static void ref_convert(nib_dtype from, void *in, nib_dtype to, void *out, size_t count)
{
    CHECK_OK(nib_convert(ref, (int64_t)count, from, nib_wrap(in, count * size_of(from)), to,
                         nib_wrap(out, count * size_of(to))));
}

/* ---- comparison: one check per chunk ---- */

static void same_narrow(const char *what, const char *environment_name, const uint32_t *in,
                        const uint16_t *got, const uint16_t *expected, size_t count)
{
    if (CHECK(!memcmp(got, expected, count * 2), "%s, %s", what, environment_name)) return;
    size_t i = 0;
    while (got[i] == expected[i]) i++;
    fprintf(stderr, "  0x%08x gives 0x%04x, expected 0x%04x\n", in[i], got[i], expected[i]);
}

/* `with_ref`: the reference takes a hundred times as long as the others. */
static void check_chunk(uint32_t *in, size_t count, int with_ref)
{
    static uint16_t got[CHUNK], hardware[CHUNK], f16[CHUNK], bf16[CHUNK];
    if (has_f16c()) f16c_narrow(in, hardware, count);
    if (with_ref) {
        ref_convert(NIB_F32, in, NIB_F16, f16, count);
        ref_convert(NIB_F32, in, NIB_BF16, bf16, count);
    }
    for (int e = 0; e < ENVIRONMENTS; e++) {
        const char *name = environments[e].name;
        enter(&environments[e]);
        common_narrow(NIB_T_F16, in, got, count);
        enter(&environments[0]);
        if (has_f16c()) same_narrow("f16, hardware", name, in, got, hardware, count);
        if (!with_ref) continue;
        same_narrow("f16, ref", name, in, got, f16, count);
        enter(&environments[e]);
        common_narrow(NIB_T_BF16, in, got, count);
        enter(&environments[0]);
        same_narrow("bf16, ref", name, in, got, bf16, count);
    }
}

/* Every `stride`th float; the reference looks at every 16th chunk, or at all. */
static void walk_floats(uint64_t stride, int all)
{
    static uint32_t in[CHUNK];
    uint64_t next = 0, chunks = 0;
    while (next < UINT64_C(1) << 32) {
        size_t count = 0;
        for (; count < CHUNK && next < UINT64_C(1) << 32; next += stride)
            in[count++] = (uint32_t)next;
        check_chunk(in, count, all || chunks++ % 16 == 0);
    }
}

/* Every upper 19 bits, with the low 13 at, beside and between the points where rounding turns: all
 * ties of both formats and their neighbours, subnormal results included. */
static void walk_edges(void)
{
    static const uint32_t low[] = {0, 1, 0xfff, 0x1000, 0x1001, 0x1fff, 0x0aaa, 0x1555};
    enum { LOWS = sizeof low / sizeof low[0] };
    static uint32_t in[CHUNK];
    for (uint32_t high = 0; high < 1u << 19; high += CHUNK / LOWS) {
        for (uint32_t i = 0; i < CHUNK; i++) in[i] = (high + i / LOWS) << 13 | low[i % LOWS];
        check_chunk(in, CHUNK, 1);
    }
}

static int is_signalling(int type, uint32_t h)
{
    uint32_t infinity = type == NIB_T_F16 ? 0x7c00 : 0x7f80, quiet = type == NIB_T_F16 ? 512 : 64;
    return (h & 0x7fff) > infinity && !(h & quiet);
}

/* All 2^16 numbers of a 16-bit type to F32, and back to themselves. */
static void widen_all(int type)
{
    static uint16_t in[CHUNK], back[CHUNK], expected_back[CHUNK];
    static uint32_t expected[CHUNK], got[CHUNK], hardware[CHUNK];
    for (uint32_t i = 0; i < CHUNK; i++) {
        in[i] = (uint16_t)i;
        uint32_t quiet = is_signalling(type, i) ? type == NIB_T_F16 ? 512 : 64 : 0;
        expected_back[i] = (uint16_t)(i | quiet);
    }
    ref_convert((nib_dtype)type, in, NIB_F32, expected, CHUNK);
    if (type == NIB_T_F16 && has_f16c()) {
        f16c_widen(in, hardware, CHUNK);
        CHECK(!memcmp(expected, hardware, sizeof expected), "ref and F16C");
    }
    for (int e = 0; e < ENVIRONMENTS; e++) {
        enter(&environments[e]);
        common_widen(type, in, got, CHUNK);
        common_narrow(type, got, back, CHUNK);
        enter(&environments[0]);
        CHECK(!memcmp(got, expected, sizeof got), "type %d, %s", type, environments[e].name);
        CHECK(!memcmp(back, expected_back, sizeof back), "type %d there and back, %s", type,
              environments[e].name);
    }
}

/* The largest finite value is the last before infinity; epsilon is what follows 1, less 1. */
static void constants(void)
{
    static const struct {
        int type;
        uint32_t infinity, one;
    } rows[] = {{NIB_T_F32, 0x7f800000, 0x3f800000},
                {NIB_T_F16, 0x7c00, 0x3c00},
                {NIB_T_BF16, 0x7f80, 0x3f80}};
    for (size_t i = 0; i < 3; i++) {
        nib_i32 type = (nib_i32)rows[i].type;
        CHECK(nib_type_max(type) == nib_from_type(type, rows[i].infinity - 1), "type %d", type);
        CHECK(nib_type_epsilon(type) == nib_from_type(type, rows[i].one + 1) - 1.0f, "type %d",
              type);
    }
}

/* The same type: bits are copied, and a signalling 16-bit NaN becomes quiet. */
static void same_type(void)
{
    uint32_t in[4] = {0x7f800001, 0xffc12345, 1, 0x80000000}, out[4];
    ref_convert(NIB_F32, in, NIB_F32, out, 4);
    CHECK(!memcmp(in, out, sizeof in), "F32 to F32 copies");
    uint16_t half[3] = {0x7c01, 0xfe12, 0x8001}, half_out[3];
    ref_convert(NIB_F16, half, NIB_F16, half_out, 3);
    CHECK(half_out[0] == 0x7e01 && half_out[1] == 0xfe12 && half_out[2] == 0x8001, "F16 to F16");
    uint16_t brain[3] = {0x7f81, 0xffd2, 0x8001}, brain_out[3];
    ref_convert(NIB_BF16, brain, NIB_BF16, brain_out, 3);
    CHECK(brain_out[0] == 0x7fc1 && brain_out[1] == 0xffd2 && brain_out[2] == 0x8001,
          "BF16 to BF16");
}

int main(int argc, char **argv)
{
    int all = argc > 1 && !strcmp(argv[1], "full");
    ref_open();
    if (!has_f16c()) check_skip("hardware conversions", "no F16C");
    constants();
    same_type();
    widen_all(NIB_T_F16);
    widen_all(NIB_T_BF16);
    walk_edges();
    walk_floats(all ? 1 : 7, all);
    ref_close();
    return check_done();
}
