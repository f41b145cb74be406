/* improve_simd.h - q3_K's scales without an importance: the search of nib_search_improved where it
 * changes something, which it seldom does.
 *
 *   groups of all lanes --may a code change?--> no: the first guess's scale
 *                                               yes: into lanes of their own --> the whole search
 *
 * Of groups of a normal distribution 80 % keep their first codes, and a lane that has ended waits
 * for all others of its vector. The look is without chains; it divides roughly, and doubts are for
 * the whole search. Bound: arithmetic, 24 operations a weight for the look, then the chains of the
 * fifth that is searched. */
#ifndef NIB_CPU_IMPROVE_SIMD_H
#define NIB_CPU_IMPROVE_SIMD_H

#include "lane_simd.h"

#include "../common/search.h"

enum { PAIR = 2 * LANES };

/* The scale of the first guess for 16 numbers; the lanes in which one of its codes may change. */
INLINE vm may_improve(const vf *x, vf *scale_ret)
{
    vf code[16], max = nib_extreme(x, 16), inverse = v_splat(-4.0f) / max, zero = v_splat(0.0f);
    vm none = m_less(nib_abs(max), v_splat(NIB_TOO_SMALL));
    vm may = m_less(v_splat(0x1p30f), nib_abs(max)); /* rough inverses of their sums may be 0 */
    nib_code_sums s = {zero, zero};
    NIB_UNROLL
    for (int i = 0; i < 16; i++) {
        vf w = x[i] * x[i];
        code[i] = nib_code_tame(inverse * x[i], -4, 3);
        s.lx = s.lx + w * x[i] * code[i];
        s.l2 = s.l2 + w * code[i] * code[i];
    }
    NIB_UNROLL
    for (int i = 0; i < 16; i++) {
        vf w = x[i] * x[i];
        vf lx = s.lx - w * x[i] * code[i], l2 = s.l2 - w * code[i] * code[i];
        vf next = x[i] * l2 * v_rough_inverse(lx); /* within 2^-11 of itself */
        vf moved = v_min(v_max(next, v_splat(-4.0f)), v_splat(3.0f)) - code[i];
        vm stays = m_both(m_less(nib_abs(moved), v_splat(0.49f)),
                          m_less(nib_abs(next), v_splat(1048576.0f)));
        may = m_either(may, m_both(m_less(zero, lx), m_not(stays)));
    }
    *scale_ret = m_select(none, zero, nib_sums_scale(s));
    return m_both(may, m_not(none));
}

typedef struct improving {
    vf x[16], w[16], code[16];
    nib_code_sums sums;
} improving;

/* Group i begins in x at number[i] and continues every LANES. */
INLINE void start(improving *g, const float *x, const int32_t *number)
{
    vi from;
    memcpy(&from, number, sizeof from);
    for (int i = 0; i < 16; i++) {
        g->x[i] = v_gather(x + i * LANES, from);
        g->w[i] = g->x[i] * g->x[i];
    }
    vf inverse = v_splat(-4.0f) / nib_extreme(g->x, 16);
    for (int i = 0; i < 16; i++) g->code[i] = nib_code_tame(inverse * g->x[i], -4, 3);
    g->sums = nib_sum_codes(g->x, g->w, 16, 4, inverse, 1);
}

/* The whole search for PAIR groups, two and two lanes, as each waits for its own sums. */
INLINE void improve(const float *x, const int32_t *number, vf scale[2])
{
    improving a, b;
    start(&a, x, number);
    start(&b, x, number + LANES);
    for (int pass = 0; pass < 5; pass++) {
        vm changed = m_less(v_splat(0.0f), v_splat(0.0f));
        for (int i = 0; i < 16; i++) {
            vm one = nib_improve_one(a.x[i], a.w[i], -4, 3, &a.code[i], &a.sums);
            vm two = nib_improve_one(b.x[i], b.w[i], -4, 3, &b.code[i], &b.sums);
            changed = m_either(changed, m_either(one, two));
        }
        if (!m_any(changed)) break;
    }
    scale[0] = nib_sums_scale(a.sums);
    scale[1] = nib_sums_scale(b.sums);
}

/* Scales of 16 groups of 16 in every lane. */
INLINE void nib_improved_scales(nib_source s, vf *scale)
{
    int32_t number[16 * LANES + PAIR];
    int count = 0;
    for (int j = 0; j < 16; j++) {
        unsigned may = m_bits(may_improve(s.x + j * 16, &scale[j]));
        for (; may; may &= may - 1) number[count++] = j * 16 * LANES + __builtin_ctz(may);
    }
    memset(number + count, 0, PAIR * sizeof *number);
    for (int i = 0; i < count; i += PAIR) {
        vf found[2];
        improve((const float *)s.x, number + i, found);
        for (int k = i; k < count && k < i + PAIR; k++) /* 16 vectors of x are one of scales */
            scale[number[k] / (16 * LANES)][number[k] % LANES] = found[(k - i) / LANES][k % LANES];
    }
}

#endif
