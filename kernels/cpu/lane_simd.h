/* lane_simd.h - the names of kernels/common/lane.h for vectors: each lane is a block, so that sums
 * keep the order that they have within one. */
#ifndef NIB_CPU_LANE_SIMD_H
#define NIB_CPU_LANE_SIMD_H

#include "lanes_simd.h"

#define NIB_LANE_H /* instead of it */
#undef NIB_FN      /* the searches are compiled for their constants */
#define NIB_FN INLINE
#undef NIB_UNROLL
#if defined(__clang__)
#define NIB_UNROLL _Pragma("unroll 4")
#else
#define NIB_UNROLL _Pragma("GCC unroll 4")
#endif

typedef vf nib_f;
typedef vi nib_n;
typedef vm nib_m;

NIB_FN nib_f nib_same(float x) { return v_splat(x); }
NIB_FN nib_n nib_same_n(nib_i32 x) { return v_splat_int(x); }
NIB_FN nib_m nib_less(nib_f a, nib_f b) { return m_less(a, b); }
NIB_FN nib_m nib_equal(nib_f a, nib_f b) { return m_equal(a, b); }
NIB_FN nib_m nib_less_n(nib_n a, nib_n b) { return m_less_int(a, b); }
NIB_FN nib_m nib_both(nib_m a, nib_m b) { return m_both(a, b); }
NIB_FN nib_m nib_either(nib_m a, nib_m b) { return m_either(a, b); }
NIB_FN nib_m nib_not(nib_m a) { return m_not(a); }
NIB_FN nib_i32 nib_any(nib_m a) { return m_any(a); }
NIB_FN nib_f nib_select(nib_m m, nib_f a, nib_f b) { return m_select(m, a, b); }
NIB_FN nib_n nib_select_n(nib_m m, nib_n a, nib_n b) { return m_select_int(m, a, b); }
NIB_FN nib_n nib_clamp_n(nib_n x, nib_i32 low, nib_i32 high)
{
    return v_least(v_most(x, v_splat_int(low)), v_splat_int(high));
}
NIB_FN nib_f nib_cut_f(nib_f x, float low, float high)
{
    return v_min(v_max(x, v_splat(low)), v_splat(high));
}
NIB_FN nib_f nib_larger(nib_f a, nib_f b) { return v_max(a, b); }
NIB_FN nib_f nib_abs(nib_f x) { return (vf)((vi)x & 0x7fffffff); }
NIB_FN nib_f nib_from_n(nib_n x) { return v_from_int(x); }
NIB_FN nib_f nib_ratio(nib_f a, nib_f b) { return a / b; }
NIB_FN nib_f nib_root(nib_f x) { return v_sqrt(x); }

/* What is no number has the mantissa of the one that x86 makes, so it becomes 0. */
NIB_FN nib_n nib_nearest(nib_f x) { return ((vi)(x + 12582912.0f) & 0x007fffff) - 0x00400000; }

NIB_FN nib_n nib_truncated(nib_f x) { return v_truncate(x) & 255; }
NIB_FN nib_n nib_truncated_to(nib_f x, nib_i32 most)
{
    return nib_clamp_n(nib_truncated(x), 0, most);
}

NIB_FN nib_n nib_half(nib_f x)
{
    return m_select_int(m_equal(x, x), v_to_f16(x), v_splat_int(0xfe00));
}
NIB_FN nib_f nib_from_half(nib_n h) { return v_from_f16(h); }

#endif
