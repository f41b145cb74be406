/* cpu_features.h - which instruction sets the cpu backend's kernels may use. */
#ifndef NIB_CPU_FEATURES_H
#define NIB_CPU_FEATURES_H

#include "../core/backend.h"

/* Feature bits of kernel rows; one per level above `generic`. */
enum {
    NIB_CPU_AVX2 = 1 << 0,   /* AVX2, FMA, F16C, BMI2 */
    NIB_CPU_AVX512 = 1 << 1, /* AVX-512 F, BW, VL, DQ; and all of the above */
    NIB_CPU_VNNI = 1 << 2,   /* AVX-512 VNNI; and all of the above */
    NIB_CPU_BF16 = 1 << 3,   /* AVX-512 BF16; and all of the above */
    NIB_CPU_AMX = 1 << 4,    /* AMX TILE, INT8, BF16; and all of the above */
};

/* What the processor and the operating system support, cut to the level that NIBBLE_CPU names.
 * Asks the system for AMX's tiles, for the whole process, where they are in that level.
 * E_ARGUMENT for an unknown level; *features_ret is then the uncut set. */
nib_status nib_cpu_features(uint32_t *features_ret);

/* "avx2 avx512 vnni"; "generic" where there are none. */
void nib_cpu_features_text(uint32_t features, char *text, size_t size);

#endif
