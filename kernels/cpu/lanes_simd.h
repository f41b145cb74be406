/* lanes_simd.h - single vectors of LANES f32 in the arithmetic of GCC and Clang (`vf`, `vi`, `vu`
 * of vec_*.h), so that one text serves every instruction set; elements in index order. */
#ifndef NIB_CPU_LANES_SIMD_H
#define NIB_CPU_LANES_SIMD_H

#include "../common/number.h"

INLINE vf v_splat(float x) { return x - (vf){0}; }
INLINE vi v_splat_int(int x) { return x - (vi){0}; }
INLINE vi v_iota(void)
{
    vi v;
    for (int i = 0; i < LANES; i++) v[i] = i;
    return v;
}
INLINE vf v_select(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
INLINE vi v_is_nan(vf x) { return ((vi)x & 0x7fffffff) > 0x7f800000; }
INLINE vi v_is_subnormal(vf x) { return ((vi)x & 0x7fffffff) < 0x00800000; }
INLINE vf v_flush(vf x) { return v_select(v_is_subnormal(x), v_splat(0.0f), x); }

/* a where it is below b, else b; and above. */
INLINE vf v_below(vf a, vf b) { return v_select(a < b, a, b); }
INLINE vf v_above(vf a, vf b) { return v_select(a > b, a, b); }

/* Values as stored bits of a type, to nearest even, and back. No NaN. */
INLINE vi v_to_type(vf x, int type)
{
    if (type == NIB_T_F32) return (vi)x;
    if (type == NIB_T_F16) return v_to_f16(x);
    vu u = (vu)x;
    return (vi)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

INLINE vf v_from_type(vi raw, int type)
{
    if (type == NIB_T_F32) return (vf)raw;
    return type == NIB_T_F16 ? v_from_f16(raw) : (vf)(raw << 16);
}

/* LANES elements at p as raw bits, and back. */
INLINE vi v_load_raw(const void *p, int type)
{
    vi raw;
    if (type != NIB_T_F32) return v_load16(p);
    memcpy(&raw, p, sizeof raw);
    return raw;
}

INLINE void v_store_raw(void *p, vi raw, int type)
{
    if (type != NIB_T_F32) v_store16(p, raw);
    else memcpy(p, &raw, sizeof raw);
}

#endif
