/* test_modes.c - the host's floating-point modes change no result and survive every call: flushing
 * of subnormals, the other rounding modes, exceptions that trap. test_modes [DEVICE] */
#include "digest.h"

#if !defined(__x86_64__)
int main(void)
{
    check_skip("modes", "written for x86-64's MXCSR");
    return check_done();
}
#else
#include <xmmintrin.h>

static const struct {
    const char *name;
    unsigned mxcsr;
} modes[] = {
    {"the default", 0x1f80},      {"FTZ and DAZ", 0x9fc0},      {"rounding down", 0x3f80},
    {"rounding up", 0x5f80},      {"rounding to zero", 0x7f80}, {"trapping", 0x0000},
    {"FTZ, rounding up", 0xdf80},
};

/* A mode other than the default one must show in ordinary arithmetic, or this tests nothing. */
static int shows(unsigned mxcsr)
{
    volatile float third = 1.0f, three = 3.0f, tiny = 1e-40f, half = 0.5f;
    _mm_setcsr(mxcsr | 0x1f80);
    volatile float up = third / three, down = -third / three, kept = tiny * half;
    _mm_setcsr(0x1f80);
    volatile float nearest = third / three;
    return up != nearest || down != -nearest || kept != tiny * half;
}

int main(int argc, char **argv)
{
    const char *device = argc > 1 ? argv[1] : "cpu";
    nib_ctx *ref, *ctx;
    digest_prepare();
    if (!CHECK_OK(nib_open("ref", NULL, &ref))) return check_done();
    uint64_t expected = digest_all(ref);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if ((modes[i].mxcsr | 0x1f80) != 0x1f80)
            CHECK(shows(modes[i].mxcsr), "%s has no effect", modes[i].name);
        nib_options options = {.size = sizeof options, .threads = 3};
        _mm_setcsr(modes[i].mxcsr & ~0x3fu);
        nib_status status = nib_open(device, &options, &ctx);
        uint64_t got = status == NIB_OK ? digest_all(ctx) : 0;
        unsigned left = _mm_getcsr();
        _mm_setcsr(0x1f80);
        if (status == NIB_E_NO_DEVICE) {
            check_skip(device, nib_last_error());
            break;
        }
        CHECK(status == NIB_OK, "%s", nib_last_error());
        CHECK(got == expected, "%s: other bytes under %s", device, modes[i].name);
        CHECK(left == (modes[i].mxcsr & ~0x3fu), "MXCSR %04x became %04x", modes[i].mxcsr, left);
        nib_close(ctx);
    }
    nib_close(ref);
    return check_done();
}
#endif
