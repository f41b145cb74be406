/* search.h - ggml's searches for the scale of a group: docs/numerics.md section 10. Sums run in
 * index order and products associate to the left, as there; x and w are private arrays of n
 * lanes (lane.h). Nothing here branches on a value but to leave a loop that would change nothing
 * more. */
#ifndef NIB_SEARCH_H
#define NIB_SEARCH_H

#define NIB_TOO_SMALL 1e-15f /* ggml's GROUP_MAX_EPS */

/* A search's result, and how to get its codes again: clamp(nearest(inverse * (x - from))) +
 * bias. */
typedef struct nib_found {
    nib_f scale, min, inverse, from, bias;
} nib_found;

/* The code nearest to x, as a number. */
NIB_FN nib_f nib_code(nib_f x, nib_i32 low, nib_i32 high)
{
    return nib_from_n(nib_clamp_n(nib_nearest(x), low, high));
}

/* The same where x is known to be a number below 2^21 in magnitude: a sixth of the search's
 * operations less. */
NIB_FN nib_f nib_code_tame(nib_f x, nib_i32 low, nib_i32 high)
{
    nib_f shifted = nib_cut_f(x + 12582912.0f, 12582912.0f + (float)low, 12582912.0f + (float)high);
    return shifted - 12582912.0f;
}

/* The first of the numbers of the largest magnitude, or +0. NaN does not count. */
NIB_FN nib_f nib_extreme(const nib_f *x, nib_i32 n)
{
    nib_f magnitude = nib_same(0.0f), max = nib_same(0.0f);
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) magnitude = nib_larger(nib_abs(x[i]), magnitude);
    NIB_UNROLL
    for (nib_i32 i = n - 1; i >= 0; i--) /* no comparison waits for another */
        max = nib_select(nib_equal(nib_abs(x[i]), magnitude), x[i], max);
    return nib_select(nib_equal(magnitude, nib_same(0.0f)), nib_same(0.0f), max);
}

/* Sums of w x l and w l l. */
typedef struct nib_code_sums {
    nib_f lx, l2;
} nib_code_sums;

NIB_FN nib_code_sums nib_sum_codes(const nib_f *x, const nib_f *w, nib_i32 n, nib_i32 limit,
                                   nib_f inverse, nib_i32 tame)
{
    nib_code_sums s = {nib_same(0.0f), nib_same(0.0f)};
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) {
        nib_f t = inverse * x[i];
        nib_f l = tame ? nib_code_tame(t, -limit, limit - 1) : nib_code(t, -limit, limit - 1);
        s.lx = s.lx + w[i] * x[i] * l;
        s.l2 = s.l2 + w[i] * l * l;
    }
    return s;
}

/* Codes -limit..limit-1: the first guess puts the extreme at -limit, 18 more lie around it.
 * tame: x is finite, so that inverse * x, at most about limit, is tame where the result counts. */
NIB_FN nib_found nib_search_signed(const nib_f *x, const nib_f *w, nib_i32 n, nib_i32 limit,
                                   nib_i32 tame)
{
    nib_found f;
    nib_f zero = nib_same(0.0f), max = nib_extreme(x, n);
    nib_m none = nib_less(nib_abs(max), nib_same(NIB_TOO_SMALL));
    f.inverse = nib_ratio(nib_same(-(float)limit), max);
    nib_code_sums s = nib_sum_codes(x, w, n, limit, f.inverse, tame);
    f.scale = nib_select(nib_equal(s.l2, zero), zero, nib_ratio(s.lx, s.l2));
    nib_f best = f.scale * s.lx;
    for (nib_i32 step = -9; step <= 9; step++) {
        if (step == 0) continue;
        nib_f inverse = nib_ratio(nib_same(-((float)limit + 0.1f * (float)step)), max);
        s = nib_sum_codes(x, w, n, limit, inverse, tame);
        nib_m better = nib_both(nib_less(zero, s.l2), nib_less(best * s.l2, s.lx * s.lx));
        nib_f scale = nib_ratio(s.lx, s.l2);
        f.inverse = nib_select(better, inverse, f.inverse);
        f.scale = nib_select(better, scale, f.scale);
        best = nib_select(better, scale * s.lx, best);
    }
    f.scale = nib_select(none, zero, f.scale);
    f.inverse = nib_select(none, zero, f.inverse);
    f.bias = nib_select(none, zero, nib_same((float)limit));
    f.min = f.from = zero;
    return f;
}

/* Changes code *l of x, which has weight w, to what fits the other codes best; returns the lanes in
 * which it changed. low 0: codes of numbers >= 0, kept in bytes. */
NIB_FN nib_m nib_improve_one(nib_f x, nib_f w, nib_i32 low, nib_i32 high, nib_f *l,
                             nib_code_sums *s)
{
    nib_f zero = nib_same(0.0f), wx = w * x;
    nib_f lx = s->lx - wx * *l, l2 = s->l2 - w * *l * *l;
    nib_m better = nib_less(zero, lx);
    if (low == 0) better = nib_both(better, nib_less(zero, l2));
    nib_n nearest = nib_nearest(nib_ratio(x * l2, lx));
    nib_n cut = nib_clamp_n(nearest, low ? low : -0x7fffffff, high);
    nib_f next = nib_from_n(cut);
    better = nib_both(better, nib_not(nib_equal(next, *l)));
    lx = lx + wx * next;
    l2 = l2 + w * next * next;
    if (low != 0) better = nib_both(better, nib_less(zero, l2));
    better = nib_both(better, nib_less(s->lx * s->lx * l2, lx * lx * s->l2));
    *l = nib_select(better, low ? next : nib_from_n(cut & 255), *l);
    s->lx = nib_select(better, lx, s->lx);
    s->l2 = nib_select(better, l2, s->l2);
    return better;
}

NIB_FN nib_f nib_sums_scale(nib_code_sums s)
{
    return nib_select(nib_less(nib_same(0.0f), s.l2), nib_ratio(s.lx, s.l2), nib_same(0.0f));
}

/* Up to five passes over n codes; returns the scale. */
NIB_FN nib_f nib_improve(const nib_f *x, const nib_f *w, nib_i32 n, nib_i32 high, nib_f *code,
                         nib_code_sums s)
{
    for (nib_i32 pass = 0; pass < 5; pass++) {
        nib_m changed = nib_less(nib_same(0.0f), nib_same(0.0f));
        NIB_UNROLL
        for (nib_i32 i = 0; i < n; i++)
            changed = nib_either(changed, nib_improve_one(x[i], w[i], 0, high, &code[i], &s));
        if (!nib_any(changed)) break;
    }
    return nib_sums_scale(s);
}

/* q3_K's: codes -limit..limit-1 from one guess, then improved; returns the scale. code[n], n <= 16,
 * gets them plus limit, or 0 where there is nothing. */
NIB_FN nib_f nib_search_improved(const nib_f *x, nib_i32 n, nib_i32 limit, nib_f *code)
{
    nib_f w[16], zero = nib_same(0.0f), max = nib_extreme(x, n);
    nib_f inverse = nib_ratio(nib_same(-(float)limit), max);
    nib_m none = nib_less(nib_abs(max), nib_same(NIB_TOO_SMALL));
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) {
        w[i] = x[i] * x[i];
        code[i] = nib_code(inverse * x[i], -limit, limit - 1);
    }
    nib_code_sums s = nib_sum_codes(x, w, n, limit, inverse, 1);
    for (nib_i32 pass = 0; pass < 5; pass++) {
        nib_m changed = nib_less(zero, zero);
        NIB_UNROLL
        for (nib_i32 i = 0; i < n; i++)
            changed =
                nib_either(changed, nib_improve_one(x[i], w[i], -limit, limit - 1, &code[i], &s));
        if (!nib_any(changed)) break;
    }
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++)
        code[i] = nib_select(none, zero, code[i] + nib_same((float)limit));
    return nib_select(none, zero, nib_sums_scale(s));
}

/* Numbers x >= 0 as codes 0..limit, which code[n] gets. */
NIB_FN nib_f nib_search_positive(const nib_f *x, const nib_f *w, nib_i32 n, nib_i32 limit,
                                 nib_f *code)
{
    nib_f zero = nib_same(0.0f), max = zero;
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) max = nib_select(nib_less(max, x[i]), x[i], max);
    nib_m none = nib_less(max, nib_same(NIB_TOO_SMALL));
    nib_f inverse = nib_ratio(nib_same((float)limit), max), best = zero;
    for (nib_i32 step = -5; step <= 4; step++) { /* -5 stands for the first guess */
        if (step == 0) continue;
        nib_f tried =
            step == -5 ? inverse : nib_ratio(nib_same(0.1f * (float)step + (float)limit), max);
        nib_f scale = nib_ratio(nib_same(1.0f), tried), error = zero;
        NIB_UNROLL
        for (nib_i32 i = 0; i < n; i++) {
            nib_n l = nib_nearest(tried * x[i]);
            l = step == -5 ? l & 255 : nib_clamp_n(l, -0x7fffffff, limit);
            nib_f difference = x[i] - scale * nib_from_n(l);
            error = error + w[i] * difference * difference;
        }
        nib_m better = nib_less(error, best);
        inverse = step == -5 ? inverse : nib_select(better, tried, inverse);
        best = step == -5 ? error : nib_select(better, error, best);
    }
    nib_code_sums s = {zero, zero};
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) {
        nib_n l = nib_clamp_n(nib_nearest(inverse * x[i]), -0x7fffffff, limit);
        nib_f value = nib_from_n(l);
        s.lx = s.lx + w[i] * x[i] * value;
        s.l2 = s.l2 + w[i] * value * value;
        code[i] = nib_from_n(l & 255);
    }
    nib_f scale = nib_improve(x, w, n, limit, code, s);
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) code[i] = nib_select(none, zero, code[i]);
    return nib_select(none, zero, scale);
}

/* The error of codes l under scale and min: of |difference| where `absolute`, else of its
 * square. */
NIB_FN nib_f nib_min_error(const nib_f *x, const nib_f *w, const nib_f *l, nib_i32 n, nib_f scale,
                           nib_f min, nib_i32 absolute)
{
    nib_f error = nib_same(0.0f);
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) {
        nib_f difference = scale * l[i] + min - x[i];
        difference = absolute ? nib_abs(difference) : difference * difference;
        error = error + w[i] * difference;
    }
    return error;
}

/* The steps around the first guess: inverses of (first + step * i + limit) / range, i = 0..last. */
typedef struct nib_steps {
    float first, step;
    nib_i32 last, absolute;
} nib_steps;

/* Sums of w l, w l l and w l x for the codes of one step, which l[n] gets. */
typedef struct nib_min_sums {
    nib_f l, l2, xl;
} nib_min_sums;

NIB_FN nib_min_sums nib_sum_min(const nib_f *x, const nib_f *w, nib_i32 n, nib_i32 limit,
                                nib_f inverse, nib_f min, nib_i32 tame, nib_f *l)
{
    nib_min_sums s = {nib_same(0.0f), nib_same(0.0f), nib_same(0.0f)};
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) {
        nib_f t = inverse * (x[i] - min);
        l[i] = tame ? nib_code_tame(t, 0, limit) : nib_code(t, 0, limit);
        nib_f wl = w[i] * l[i];
        s.l = s.l + wl;
        s.l2 = s.l2 + wl * l[i];
        s.xl = s.xl + wl * x[i];
    }
    return s;
}

/* Codes 0..limit with a min: each step fits scale and min to its codes by least squares. */
NIB_FN nib_found nib_search_min(const nib_f *x, const nib_f *w, nib_i32 n, nib_i32 limit,
                                nib_steps steps)
{
    nib_found f;
    nib_f l[32], zero = nib_same(0.0f), min = x[0], max = x[0], sum_w = w[0], sum_x = w[0] * x[0];
    NIB_UNROLL
    for (nib_i32 i = 1; i < n; i++) {
        min = nib_select(nib_less(x[i], min), x[i], min);
        max = nib_select(nib_less(max, x[i]), x[i], max);
        sum_w = sum_w + w[i];
        sum_x = sum_x + w[i] * x[i];
    }
    min = nib_select(nib_less(zero, min), zero, min);
    nib_m some = nib_less(min, max);
    nib_f first_min = min;
    f.from = min;
    f.inverse = nib_ratio(nib_same((float)limit), max - min);
    f.scale = nib_ratio(nib_same(1.0f), f.inverse);
    NIB_UNROLL
    for (nib_i32 i = 0; i < n; i++) l[i] = nib_code(f.inverse * (x[i] - min), 0, limit);
    nib_f best = nib_min_error(x, w, l, n, f.scale, min, steps.absolute);
    for (nib_i32 step = 0; step <= steps.last; step++) {
        float levels = steps.first + steps.step * (float)step + (float)limit;
        nib_f inverse = nib_ratio(nib_same(levels), max - min);
        nib_f lowest = nib_abs(inverse * (first_min - min)),
              highest = nib_abs(inverse * (max - min));
        nib_m tame = nib_both(nib_less(lowest, nib_same(2097152.0f)),
                              nib_less(highest, nib_same(2097152.0f)));
        nib_min_sums s = nib_any(nib_not(tame)) ? nib_sum_min(x, w, n, limit, inverse, min, 0, l)
                                                : nib_sum_min(x, w, n, limit, inverse, min, 1, l);
        nib_f determinant = sum_w * s.l2 - s.l * s.l;
        nib_f scale = nib_ratio(sum_w * s.xl - sum_x * s.l, determinant);
        nib_f low = nib_ratio(s.l2 * sum_x - s.l * s.xl, determinant);
        nib_m above = nib_less(zero, low);
        scale = nib_select(above, nib_ratio(s.xl, s.l2), scale);
        low = nib_select(above, zero, low);
        nib_f error = nib_min_error(x, w, l, n, scale, low, steps.absolute);
        nib_m better = nib_both(nib_less(zero, determinant), nib_less(error, best));
        best = nib_select(better, error, best);
        f.scale = nib_select(better, scale, f.scale);
        f.inverse = nib_select(better, inverse, f.inverse);
        f.from = nib_select(better, min, f.from);
        min = nib_select(better, low, min);
    }
    f.scale = nib_select(some, f.scale, zero);
    f.inverse = nib_select(some, f.inverse, zero);
    f.min = -nib_select(some, min, first_min);
    f.bias = zero;
    return f;
}

/* The nearest of the 16 values and its number, the upper one of two; as in ggml what is no number
 * gets 15. A tie lies half way between two values, exactly; ggml subtracts both and compares, which
 * decides alike: tests/test_search.c. */
typedef struct nib_iq4 {
    nib_f value, index;
} nib_iq4;

NIB_FN nib_iq4 nib_iq4_nearest(nib_f x)
{
    nib_iq4 q = {nib_same(-127.0f), nib_same(0.0f)};
    NIB_UNROLL
    for (nib_i32 k = 1; k < 16; k++) {
        float value = (float)nib_iq4_value(k), below = (float)nib_iq4_value(k - 1);
        nib_m lower = nib_less(x, nib_same((below + value) * 0.5f));
        q.value = nib_select(lower, q.value, nib_same(value));
        q.index = nib_select(lower, q.index, nib_same((float)k));
    }
    return q;
}

/* 32 numbers of the table: the extreme at -127 first, then 15 scales around that. */
NIB_FN nib_f nib_search_iq4(const nib_f *x, const nib_f *w)
{
    nib_f zero = nib_same(0.0f), max = nib_extreme(x, 32), scale = zero, best = zero;
    nib_m none = nib_less(nib_abs(max), nib_same(NIB_TOO_SMALL));
    for (nib_i32 step = -8; step <= 7; step++) { /* -8 stands for the first guess */
        nib_f first = nib_ratio(nib_same(1.0f), nib_ratio(-max, nib_same(-127.0f)));
        nib_f inverse = nib_ratio(nib_same((float)step - 127.0f), max), qx = zero, q2 = zero;
        if (step == -8) inverse = first;
        NIB_UNROLL
        for (nib_i32 i = 0; i < 32; i++) {
            nib_f q = nib_iq4_nearest(inverse * x[i]).value, wq = w[i] * q;
            qx = qx + wq * x[i];
            q2 = q2 + wq * q;
        }
        nib_m some = nib_less(zero, q2);
        nib_f next = nib_select(some, nib_ratio(qx, q2), zero);
        nib_m better = nib_both(some, nib_less(best * q2, qx * qx));
        if (step == -8) better = nib_equal(zero, zero);
        scale = nib_select(better, next, scale);
        best = nib_select(better, next * qx, best);
    }
    return nib_select(none, zero, scale);
}

#endif
