/* cpu_features.c - cpuid and xgetbv, asked directly: compilers' own helpers know different names.
 * Bits: Intel SDM volume 2, CPUID; volume 1, 13.3 and 15.2 (XCR0 before AVX). */
#include "cpu_features.h"

#include "../core/internal.h"

#include <stdio.h>
#include <string.h>

#define LEVELS(X)                                                                                  \
    X("generic", 0)                                                                                \
    X("avx2", NIB_CPU_AVX2)                                                                        \
    X("avx512", NIB_CPU_AVX512 * 2 - 1)                                                            \
    X("vnni", NIB_CPU_VNNI * 2 - 1)                                                                \
    X("bf16", NIB_CPU_BF16 * 2 - 1)                                                                \
    X("amx", NIB_CPU_AMX * 2 - 1)

static const struct {
    const char *name;
    uint32_t features;
} levels[] = {
#define X(name, features) {name, features},
    LEVELS(X)
#undef X
};

enum { LEVEL_COUNT = sizeof levels / sizeof levels[0] };

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(NIB_TILES)
enum { EMULATED = 1 }; /* by tests, on whatever has AVX-512 */
#else
enum { EMULATED = 0 };
#endif

/* Linux lets a process use tiles once it has asked to (5.16: arch_prctl with ARCH_REQ_XCOMP_PERM
 * and XFEATURE_XTILE_DATA), all its threads with it. */
static int tiles_granted(void) { return EMULATED || syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

static int has(unsigned word, unsigned bits) { return (word & bits) == bits; }

/* Each level only where the one below it is there. */
static uint32_t probe(void)
{
    unsigned a, b, c, d, b7, c7, d7, xcr0, high;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    if (!has(c, bit_FMA | bit_OSXSAVE | bit_AVX | bit_F16C)) return 0;
    __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    if (!has(xcr0, 0x06)) return 0; /* the system saves xmm and ymm */
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7) || !has(b7, bit_AVX2 | bit_BMI2)) return 0;
    const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
    if (!has(b7, avx512) || !has(xcr0, 0xe6)) return NIB_CPU_AVX2; /* and masks and zmm */
    if (EMULATED) return NIB_CPU_AMX | (NIB_CPU_AVX512 * 2 - 1);
    if (!has(c7, bit_AVX512VNNI)) return NIB_CPU_AVX512 * 2 - 1;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !has(a, bit_AVX512BF16))
        return NIB_CPU_VNNI * 2 - 1;
    const unsigned amx = 1u << 22 | 1u << 24 | 1u << 25;                   /* bf16, tile, int8 */
    if (!has(d7, amx) || !has(xcr0, 0x600e6)) return NIB_CPU_BF16 * 2 - 1; /* and tiles */
    return NIB_CPU_AMX * 2 - 1;
}
#else
static int tiles_granted(void) { return 0; }
static uint32_t probe(void) { return 0; }
#endif

/* Cuts features to the level that NIBBLE_CPU names. */
static nib_status cut_features(uint32_t *features)
{
    const char *level = nib_env_get(NIB_ENV_CPU);
    if (!level) return NIB_OK;
    for (int i = 0; i < LEVEL_COUNT; i++)
        if (!strcmp(level, levels[i].name)) {
            *features &= levels[i].features;
            return NIB_OK;
        }
#define X(name, features) " " name
    return NIB_FAIL(NIB_E_ARGUMENT, "NIBBLE_CPU is %s; it must be one of:" LEVELS(X), level);
#undef X
}

nib_status nib_cpu_features(uint32_t *features_ret)
{
    *features_ret = probe();
    NIB_TRY(cut_features(features_ret));
    if ((*features_ret & NIB_CPU_AMX) && !tiles_granted()) *features_ret &= ~(uint32_t)NIB_CPU_AMX;
    return NIB_OK;
}

void nib_cpu_features_text(uint32_t features, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "%s", features ? "" : levels[0].name);
    for (int i = 1; i < LEVEL_COUNT && used < size; i++)
        if ((features & levels[i].features) == levels[i].features)
            used += (size_t)snprintf(text + used, size - used, "%s%s", i > 1 ? " " : "",
                                     levels[i].name);
}
