/* key.h - bit patterns of elements as integers in the order of their values: exact extremes
 * whatever a thread's floating-point modes are. -0 is below +0. */
#ifndef NIB_CPU_KEY_H
#define NIB_CPU_KEY_H

#include "../common/number.h"

static inline int32_t element_key(const void *array, nib_i32 type, nib_i64 index)
{
    if (type == NIB_T_F32) {
        int32_t u = ((const int32_t *)array)[index];
        return u ^ (u >> 31 & 0x7fffffff);
    }
    int32_t u = ((const int16_t *)array)[index];
    return u ^ (u >> 31 & 0x7fff);
}

static inline float key_value(int32_t key, nib_i32 type)
{
    if (type == NIB_T_F32) return NIB_BITS_F32((uint32_t)(key ^ (key >> 31 & 0x7fffffff)));
    return nib_from_type(type, (uint32_t)(key ^ (key >> 31 & 0x7fff)) & 0xffffu);
}

/* Whether all values between two keys are finite. */
static inline int keys_finite(int32_t low, int32_t high, nib_i32 type)
{
    int32_t infinity = type == NIB_T_F32 ? 0x7f800000 : type == NIB_T_F16 ? 0x7c00 : 0x7f80;
    return high < infinity && low > ~infinity;
}

#endif
