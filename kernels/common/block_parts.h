/* block_parts.h - from the values of one block (or of a block per lane) to the numbers that it
 * stores: docs/numerics.md section 10. Before it come lane.h, search.h and, from the kernel that
 * includes it, the type nib_source with
 *     nib_f nib_source_x(nib_source s, nib_i32 i)       element i of the block, admitted
 *     nib_f nib_source_weight(nib_source s, nib_i32 i)  its importance, where s.weighted
 *     nib_f nib_source_mean(nib_source s)               the mean of the squares of the row, for the
 *                                                       types of 32 elements
 * `block` is a constant wherever these are inlined. */
#ifndef NIB_BLOCK_PARTS_H
#define NIB_BLOCK_PARTS_H

/* What a block stores but for the codes, and what those are made from. */
typedef struct nib_parts {
    nib_n d, m; /* f16 */
    nib_n sub[16], sub_min[16];
    nib_f step[16],
        low[16]; /* per group: x is about code * step - low; iq4 and the plain types: 1 / step */
    nib_found found[16]; /* for codes where the step is 0 */
} nib_parts;

/* Numbers of a type: groups of n elements, codes below 2 * limit (without mins) or up to limit. */
NIB_FN nib_i32 nib_group_of(nib_i32 block)
{
    return block == NIB_B_Q2_K || block == NIB_B_Q3_K || block == NIB_B_Q6_K ? 16 : 32;
}
NIB_FN nib_i32 nib_groups_of(nib_i32 block)
{
    return block == NIB_B_IQ4_NL || block < NIB_B_Q2_K ? 1 : 256 / nib_group_of(block);
}
NIB_FN nib_i32 nib_limit_of(nib_i32 block)
{
    switch (block) {
    case NIB_B_Q2_K: return 3;
    case NIB_B_Q3_K: return 4;
    case NIB_B_Q4_0: return 8;
    case NIB_B_Q4_1:
    case NIB_B_Q4_K: return 15;
    case NIB_B_Q5_0: return 16;
    case NIB_B_Q5_1:
    case NIB_B_Q5_K: return 31;
    default: return 32; /* q6_K */
    }
}

NIB_FN nib_f nib_squares(nib_source s, nib_i32 from, nib_i32 n)
{
    nib_f sum = nib_same(0.0f);
    for (nib_i32 i = from; i < from + n; i++) sum = sum + nib_source_x(s, i) * nib_source_x(s, i);
    return sum;
}

/* Group j and its weights; `mean`: of squares, what the type adds to each before the root. */
NIB_FN void nib_load_group(nib_source s, nib_i32 block, nib_i32 j, nib_f mean, nib_f *x, nib_f *w)
{
    nib_i32 n = nib_group_of(block);
    nib_f sum = nib_same(0.0f);
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) {
        x[i] = nib_source_x(s, j * n + i);
        sum = sum + x[i] * x[i];
    }
    nib_f rms = nib_root(nib_ratio(sum, nib_same((float)n)));
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) {
        nib_f square = x[i] * x[i];
        if (s.weighted) {
            nib_f importance = nib_source_weight(s, j * n + i);
            w[i] = block == NIB_B_Q6_K ? importance : importance * nib_root(mean + square);
        } else if (block == NIB_B_Q2_K) w[i] = nib_abs(x[i]);
        else w[i] = block == NIB_B_Q4_K || block == NIB_B_Q5_K ? rms + nib_abs(x[i]) : square;
    }
}

NIB_FN nib_f nib_total(const nib_f *w, nib_i32 n)
{
    nib_f sum = nib_same(0.0f);
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) sum = sum + w[i];
    return sum;
}

NIB_FN nib_f nib_inverse_or_0(nib_f d)
{
    nib_f zero = nib_same(0.0f);
    return nib_select(nib_equal(d, zero), zero, nib_ratio(nib_same(1.0f), d));
}

/* ---- 32 elements ---- */

NIB_FN void nib_parts_plain(nib_source s, nib_i32 block, nib_parts *p)
{
    nib_i32 limit = nib_limit_of(block), mins = block == NIB_B_Q4_1 || block == NIB_B_Q5_1;
    nib_f x[32], d, min, max;
    NIB_UNROLL
    for (nib_i32 i = 0; i < 32; i++) x[i] = nib_source_x(s, i);
    min = max = x[0];
    NIB_UNROLL
    for (nib_i32 i = 1; mins && i < 32; i++) {
        min =
            nib_select(nib_less(x[i], min), x[i], min); /* of two zeros the first, which m shows */
        max = nib_larger(x[i], max); /* it meets min alone, and 0 - 0 is 0 whichever they are */
    }
    if (mins) d = nib_ratio(max - min, nib_same((float)limit));
    else if (block == NIB_B_Q8_0) d = nib_ratio(nib_abs(nib_extreme(x, 32)), nib_same(127.0f));
    else d = nib_extreme(x, 32) * nib_same(-1.0f / (float)limit); /* a power of two */
    p->d = nib_half(d);
    p->m = nib_half(min);
    p->step[0] = nib_inverse_or_0(d);
    p->low[0] = min;
}

NIB_FN nib_steps nib_steps_of(nib_i32 block, nib_i32 weighted)
{
    nib_steps s;
    s.first = weighted ? -0.9f : block == NIB_B_Q4_K ? -1.0f : -0.5f;
    s.step = weighted ? 0.05f : 0.1f;
    s.last = weighted ? 36 : block == NIB_B_Q4_K ? 20 : 15;
    s.absolute = !weighted && block == NIB_B_Q2_K;
    return s;
}

NIB_FN void nib_parts_weighted(nib_source s, nib_i32 block, nib_parts *p)
{
    nib_f x[32], w[32];
    nib_load_group(s, block, 0, nib_source_mean(s), x, w);
    if (block == NIB_B_Q4_0 || block == NIB_B_Q5_0)
        p->found[0] = nib_search_signed(x, w, 32, nib_limit_of(block), 1);
    else p->found[0] = nib_search_min(x, w, 32, nib_limit_of(block), nib_steps_of(block, 1));
    p->d = nib_half(p->found[0].scale);
    p->m = nib_half(-p->found[0].min);
}

/* ---- a group of a superblock: on a GPU a lane has one, elsewhere they follow one another ---- */

/* From the sum of squares of the block to what nib_load_group adds to each weight's square. */
NIB_FN nib_f nib_mean_of(nib_i32 block, nib_f squares)
{
    if (block == NIB_B_IQ4_NL) return squares * (2.0f / 32.0f);
    if (block == NIB_B_IQ4_XS) return squares * (2.0f / 256.0f);
    return squares * (block == NIB_B_Q2_K ? 1.0f : 2.0f) * (1.0f / 256.0f);
}

/* What the search of the type finds; of iq4 the scale alone. q3_K without an importance has
 * another: nib_improved_group. */
NIB_FN nib_found nib_search_group(nib_i32 block, nib_i32 weighted, const nib_f *x, const nib_f *w)
{
    nib_i32 n = nib_group_of(block), limit = nib_limit_of(block);
    if (block == NIB_B_Q2_K || block == NIB_B_Q4_K || block == NIB_B_Q5_K)
        return nib_search_min(x, w, n, limit, nib_steps_of(block, weighted));
    if (block == NIB_B_Q3_K || block == NIB_B_Q6_K) return nib_search_signed(x, w, n, limit, 1);
    nib_found f;
    f.scale = nib_search_iq4(x, w);
    f.min = f.inverse = f.from = f.bias = nib_same(0.0f);
    return f;
}

/* The scale and the codes of group j without an importance. */
NIB_FN nib_f nib_improved_group(nib_source s, nib_i32 j, nib_f *code)
{
    nib_f x[16];
    NIB_UNROLL
    for (nib_i32 i = 0; i < 16; i++) x[i] = nib_source_x(s, j * 16 + i);
    return nib_search_improved(x, 16, 4, code);
}

#if !defined(NIB_CPU_LANE_SIMD_H) /* kernels/cpu/improve_simd.h */
NIB_FN void nib_improved_scales(nib_source s, nib_f *scale)
{
    nib_f code[16];
    for (nib_i32 j = 0; j < 16; j++) scale[j] = nib_improved_group(s, j, code);
}
#endif

/* ---- factors of scales and mins, 0..limit ---- */

NIB_FN nib_i32 nib_factor_limit(nib_i32 block) { return block == NIB_B_Q2_K ? 15 : 63; }

/* The f16 of the unit of factors whose largest scale is `max`, or 0; *inverse of it before that. */
NIB_FN nib_n nib_unit_of_largest(nib_f max, nib_i32 limit, nib_f *inverse)
{
    nib_f zero = nib_same(0.0f);
    nib_m some = nib_less(zero, max);
    *inverse = nib_select(some, nib_ratio(nib_same((float)limit), max), zero);
    return nib_half(nib_select(some, nib_ratio(max, nib_same((float)limit)), zero));
}

NIB_FN nib_n nib_factor_of(nib_f scale, nib_f inverse, nib_i32 limit)
{
    nib_n l = nib_nearest(inverse * scale) & 255;
    return limit == 63 ? nib_clamp_n(l, 0, 63) : l;
}

/* Without an importance; returns the unit. */
NIB_FN nib_n nib_factors(const nib_f *scale, nib_i32 groups, nib_i32 limit, nib_n *sub)
{
    nib_f max = nib_same(0.0f), inverse;
    for (nib_i32 j = 0; j < groups; j++) max = nib_select(nib_less(max, scale[j]), scale[j], max);
    nib_n unit = nib_unit_of_largest(max, limit, &inverse);
    for (nib_i32 j = 0; j < groups; j++) sub[j] = nib_factor_of(scale[j], inverse, limit);
    return unit;
}

NIB_FN nib_n nib_weighted_factors(const nib_f *scale, const nib_f *total, nib_i32 groups,
                                  nib_i32 limit, nib_n *sub)
{
    nib_f code[16];
    nib_f unit = nib_search_positive(scale, total, groups, limit, code);
    NIB_UNROLL
    for (nib_i32 j = 0; j < groups; j++) sub[j] = nib_nearest(code[j]);
    return nib_half(unit);
}

/* From the factors of group j and the units to what its codes are made from. */
NIB_FN void nib_step_mins(nib_i32 block, nib_parts *p, nib_i32 j)
{
    if (block == NIB_B_Q2_K) { /* one byte, into which both go unmasked */
        nib_n byte = (p->sub[j] | p->sub_min[j] << 4) & 255;
        p->sub[j] = byte & 15;
        p->sub_min[j] = byte >> 4;
    }
    p->step[j] = nib_from_half(p->d) * nib_from_n(p->sub[j]);
    p->low[j] = nib_from_half(p->m) * nib_from_n(p->sub_min[j]);
}

NIB_FN void nib_parts_mins(nib_source s, nib_i32 block, nib_parts *p)
{
    nib_i32 n = nib_group_of(block), groups = 256 / n, limit = nib_factor_limit(block);
    nib_f scale[16], min[16], total[16], mean = nib_same(0.0f);
    if (s.weighted) mean = nib_mean_of(block, nib_squares(s, 0, 256));
    for (nib_i32 j = 0; j < groups; j++) {
        nib_f x[32], w[32];
        nib_load_group(s, block, j, mean, x, w);
        total[j] = nib_total(w, n);
        p->found[j] = nib_search_group(block, s.weighted, x, w);
        scale[j] = p->found[j].scale;
        min[j] = p->found[j].min;
    }
    if (s.weighted) {
        p->d = nib_weighted_factors(scale, total, groups, limit, p->sub);
        p->m = nib_weighted_factors(min, total, groups, limit, p->sub_min);
    } else {
        p->d = nib_factors(scale, groups, limit, p->sub);
        p->m = nib_factors(min, groups, limit, p->sub_min);
    }
    for (nib_i32 j = 0; j < groups; j++) nib_step_mins(block, p, j);
}

/* ---- signed factors of scales alone ---- */

/* What they are made with: cut(nearest(inverse * scale)) + bias, or 0 where there is nothing. */
typedef struct nib_unit {
    nib_n half_; /* d as stored */
    nib_f d;     /* iq4: before that */
    nib_f inverse, bias;
    nib_m none;
} nib_unit;

NIB_FN nib_unit nib_unit_of(nib_i32 block, nib_i32 weighted, const nib_f *scale, const nib_f *total)
{
    nib_unit u;
    nib_f zero = nib_same(0.0f), one = nib_same(1.0f);
    u.d = u.bias = zero;
    u.none = nib_less(zero, zero);
    if (block == NIB_B_Q3_K && weighted) {
        nib_found f = nib_search_signed(scale, total, 16, 32, 0);
        u.half_ = nib_half(f.scale);
        u.inverse = f.inverse;
        u.bias = f.bias;
        return u;
    }
    nib_f largest = nib_extreme(scale, nib_groups_of(block));
    if (block == NIB_B_IQ4_NL || block == NIB_B_IQ4_XS) {
        nib_f d = block == NIB_B_IQ4_NL ? scale[0] : nib_ratio(-largest, nib_same(32.0f));
        u.inverse = nib_inverse_or_0(d);
        u.half_ = nib_half(d);
        u.d = d;
        return u;
    }
    if (block == NIB_B_Q3_K) u.none = nib_equal(largest, zero);
    else u.none = nib_less(nib_abs(largest), nib_same(NIB_TOO_SMALL));
    u.inverse = nib_ratio(nib_same(block == NIB_B_Q3_K ? -32.0f : -128.0f), largest);
    u.half_ = nib_half(nib_select(u.none, zero, nib_ratio(one, u.inverse)));
    return u;
}

/* The factor of group j, whose scale is given, and what its codes are made from. */
NIB_FN void nib_step_signed(nib_i32 block, nib_i32 weighted, nib_unit u, nib_f scale, nib_parts *p,
                            nib_i32 j)
{
    nib_f zero = nib_same(0.0f), scaled = u.inverse * scale;
    if (block == NIB_B_IQ4_NL || block == NIB_B_IQ4_XS) {
        nib_n l = nib_clamp_n(nib_nearest(scaled), -32, 31);
        p->sub[j] = l + 32;
        p->step[j] = block == NIB_B_IQ4_NL ? u.inverse : nib_inverse_or_0(u.d * nib_from_n(l));
    } else if (block == NIB_B_Q6_K) {
        nib_n l = nib_clamp_n(nib_nearest(scaled), -0x7fffffff, 127) & 255;
        p->sub[j] = nib_select_n(u.none, nib_same_n(0), (l ^ 128) - 128);
        p->step[j] = nib_from_half(u.half_) * nib_from_n(p->sub[j]);
        /* a block of nothing: codes 0 */
        p->found[j].bias = nib_select(u.none, zero, p->found[j].bias);
        p->found[j].inverse = nib_select(u.none, zero, p->found[j].inverse);
    } else {
        nib_n l = weighted ? nib_nearest(nib_code(scaled, -32, 31) + u.bias)
                           : nib_clamp_n(nib_nearest(scaled), -32, 31) + 32;
        p->sub[j] = nib_select_n(u.none, nib_same_n(0), l);
        p->step[j] = nib_from_half(u.half_) * nib_from_n(p->sub[j] - 32);
    }
}

NIB_FN void nib_parts_signed(nib_source s, nib_i32 block, nib_parts *p)
{
    nib_i32 n = nib_group_of(block), groups = nib_groups_of(block);
    nib_i32 improved = block == NIB_B_Q3_K && !s.weighted;
    nib_f scale[16], total[16], mean = nib_same(0.0f);
    if (s.weighted && block != NIB_B_Q6_K) mean = nib_mean_of(block, nib_squares(s, 0, n * groups));
    for (nib_i32 j = 0; !improved && j < groups; j++) {
        nib_f x[32], w[32];
        nib_load_group(s, block, j, mean, x, w);
        total[j] = nib_total(w, n);
        p->found[j] = nib_search_group(block, s.weighted, x, w);
        scale[j] = p->found[j].scale;
    }
    if (improved) nib_improved_scales(s, scale);
    nib_unit u = nib_unit_of(block, s.weighted, scale, total);
    p->d = u.half_;
    for (nib_i32 j = 0; j < groups; j++) nib_step_signed(block, s.weighted, u, scale[j], p, j);
}

NIB_FN void nib_parts_of(nib_source s, nib_i32 block, nib_parts *p)
{
    p->m = nib_same_n(0);
    switch (block) {
    case NIB_B_Q2_K:
    case NIB_B_Q4_K:
    case NIB_B_Q5_K: nib_parts_mins(s, block, p); break;
    case NIB_B_Q3_K:
    case NIB_B_Q6_K:
    case NIB_B_IQ4_NL:
    case NIB_B_IQ4_XS: nib_parts_signed(s, block, p); break;
    default:
        if (s.weighted) nib_parts_weighted(s, block, p);
        else nib_parts_plain(s, block, p);
    }
}

/* ---- codes ---- */

NIB_FN nib_n nib_plain_code(nib_i32 block, const nib_parts *p, nib_f x)
{
    nib_i32 limit = nib_limit_of(block);
    nib_f v = x * p->step[0];
    if (block == NIB_B_Q8_0) { /* to the nearest, ties away from zero */
        nib_f half_ =
            nib_select(nib_less(v, nib_same(0.0f)), nib_same(-0.49999997f), nib_same(0.49999997f));
        return nib_truncated(v + half_);
    }
    if (block == NIB_B_Q4_1 || block == NIB_B_Q5_1)
        return nib_truncated_to((x - p->low[0]) * p->step[0] + nib_same(0.5f), limit);
    return nib_truncated_to(v + nib_same((float)limit + 0.5f), 2 * limit - 1);
}

/* Whether a type has mins: its codes then begin at 0, else at -limit. */
NIB_FN nib_i32 nib_has_mins(nib_i32 block)
{
    return block == NIB_B_Q4_1 || block == NIB_B_Q5_1 || block == NIB_B_Q2_K ||
           block == NIB_B_Q4_K || block == NIB_B_Q5_K;
}

/* The code of x by a step that is not 0, of the iq4 types and those of 256 elements. */
NIB_FN nib_n nib_step_code(nib_i32 block, nib_f x, nib_f step, nib_f low)
{
    nib_i32 limit = nib_limit_of(block), mins = nib_has_mins(block);
    if (block == NIB_B_IQ4_NL || block == NIB_B_IQ4_XS)
        return nib_nearest(nib_iq4_nearest(step * x).index);
    nib_n nearest = nib_nearest(nib_ratio(mins ? x + low : x, step));
    return mins ? nib_clamp_n(nearest, 0, limit) : nib_clamp_n(nearest, -limit, limit - 1) + limit;
}

/* The code that the search found for x. */
NIB_FN nib_n nib_found_code(nib_i32 block, nib_f x, nib_found f)
{
    nib_i32 limit = nib_limit_of(block), mins = nib_has_mins(block);
    nib_f code = nib_code(f.inverse * (x - f.from), mins ? 0 : -limit, mins ? limit : limit - 1);
    return nib_nearest(code + f.bias);
}

/* The codes of group j, as they are stored. */
NIB_FN void nib_codes_of(nib_source s, nib_i32 block, const nib_parts *p, nib_i32 j, nib_n *code)
{
    nib_i32 n = nib_group_of(block), legacy = block < NIB_B_Q2_K;
    nib_i32 iq4 = block == NIB_B_IQ4_NL || block == NIB_B_IQ4_XS;
    nib_i32 improved = block == NIB_B_Q3_K && !s.weighted;
    nib_m gone = nib_equal(p->step[j], nib_same(0.0f));
    if (improved) {
        nib_f found[16];
        NIB_UNROLL
        for (nib_i32 i = 0; i < 16; i++) found[i] = nib_same(0.0f);
        if (nib_any(gone)) nib_improved_group(s, j, found);
        NIB_UNROLL
        for (nib_i32 i = 0; i < 16; i++) code[i] = nib_nearest(found[i]);
    }
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) {
        nib_f x = nib_source_x(s, j * n + i);
        if (legacy && !s.weighted) code[i] = nib_plain_code(block, p, x);
        else if (legacy) code[i] = nib_found_code(block, x, p->found[j]);
        else if (iq4) code[i] = nib_step_code(block, x, p->step[j], p->low[j]);
        else {
            nib_n found = improved ? code[i] : nib_found_code(block, x, p->found[j]);
            nib_n stepped = nib_step_code(block, x, p->step[j], p->low[j]);
            code[i] = nib_select_n(gone, found, stepped);
        }
    }
}

#if !defined(NIB_CPU_LANE_SIMD_H)
/* One block into a private array of f.bytes bytes. */
NIB_FN void nib_block_quantize(nib_source s, nib_i32 block, nib_block_form f, nib_u8 *bytes)
{
    nib_parts p;
    nib_parts_of(s, block, &p);
    for (nib_i32 i = 0; i < f.bytes; i++) bytes[i] = 0;
    nib_put_half(bytes, f.d_at, (nib_u32)p.d);
    nib_put_half(bytes, f.m_at, (nib_u32)p.m);
    for (nib_i32 j = 0; j < nib_groups_of(block); j++) {
        nib_i32 n = nib_group_of(block), code[32];
        nib_codes_of(s, block, &p, j, code);
        for (nib_i32 i = 0; i < n; i++) nib_put_parts(bytes, nib_code_at(f, j * n + i), code[i]);
        if (f.sub == NIB_SUB_NONE) continue;
        nib_put_parts(bytes, nib_sub_at(f, 0, j), p.sub[j]);
        if (f.m_at != NIB_NOWHERE) nib_put_parts(bytes, nib_sub_at(f, 1, j), p.sub_min[j]);
    }
}
#endif

#endif
