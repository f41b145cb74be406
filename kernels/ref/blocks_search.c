/* blocks_search.c - the searches for a group's scale: docs/numerics.md section 10. Sums run in
 * index order; products associate to the left. */
#include "blocks.h"

#include <math.h>

static const float too_small = 1e-15f; /* ggml's GROUP_MAX_EPS */

int nib_ref_nearest(float x)
{
    if (isnan(x)) return 0;
    float shifted = x + 12582912.0f;
    return (int)(nib_ref_bits(shifted) & 0x007fffffu) - 0x00400000;
}

static int clamp(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

/* The value of the first element of the largest magnitude. */
static float extreme(int n, const float *x)
{
    float max = 0.0f, amax = 0.0f;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > amax) {
            amax = fabsf(x[i]);
            max = x[i];
        }
    return max;
}

static void signed_codes(int n, int limit, const float *x, float inverse, int *code)
{
    for (int i = 0; i < n; i++) code[i] = clamp(nib_ref_nearest(inverse * x[i]), -limit, limit - 1);
}

/* Sums of w x l and w l l. */
static void sums(int n, const float *x, const float *w, const int *code, float *lx_ret,
                 float *l2_ret)
{
    float lx = 0.0f, l2 = 0.0f;
    for (int i = 0; i < n; i++) {
        float l = (float)code[i];
        lx += w[i] * x[i] * l;
        l2 += w[i] * l * l;
    }
    *lx_ret = lx;
    *l2_ret = l2;
}

float nib_ref_search_signed(int n, int limit, const float *x, const float *w, int *code)
{
    float max = extreme(n, x), lx, l2;
    int tried[32];
    for (int i = 0; i < n; i++) code[i] = 0;
    if (fabsf(max) < too_small) return 0.0f;
    signed_codes(n, limit, x, -(float)limit / max, code);
    sums(n, x, w, code, &lx, &l2);
    float scale = l2 != 0.0f ? lx / l2 : 0.0f, best = scale * lx;
    for (int step = -9; step <= 9; step++) {
        if (step == 0) continue;
        signed_codes(n, limit, x, -((float)limit + 0.1f * (float)step) / max, tried);
        sums(n, x, w, tried, &lx, &l2);
        if (!(l2 > 0.0f && lx * lx > best * l2)) continue;
        for (int i = 0; i < n; i++) code[i] = tried[i];
        scale = lx / l2;
        best = scale * lx;
    }
    for (int i = 0; i < n; i++) code[i] += limit;
    return scale;
}

/* One pass over the codes, changing each to what fits the others best; how many changed. `low`: the
 * least code; NULL low: codes of numbers >= 0, kept in bytes. */
static int improve(int n, int limit, const float *x, const float *w, const int *low, int *code,
                   float *lx, float *l2)
{
    int changed = 0;
    for (int i = 0; i < n; i++) {
        float l = (float)code[i];
        float other_lx = *lx - w[i] * x[i] * l, other_l2;
        if (!(other_lx > 0.0f)) continue;
        other_l2 = *l2 - w[i] * l * l;
        if (!low && !(other_l2 > 0.0f)) continue;
        int next = nib_ref_nearest(x[i] * other_l2 / other_lx);
        next = low ? clamp(next, *low, limit) : next > limit ? limit : next;
        if (next == code[i]) continue;
        other_lx += w[i] * x[i] * (float)next;
        other_l2 += w[i] * (float)next * (float)next;
        if (low && !(other_l2 > 0.0f)) continue;
        if (!(other_lx * other_lx * *l2 > *lx * *lx * other_l2)) continue;
        code[i] = low ? next : next & 255;
        *lx = other_lx;
        *l2 = other_l2;
        changed++;
    }
    return changed;
}

float nib_ref_search_q3(int n, int limit, const float *x, int *code)
{
    float max = extreme(n, x), lx, l2, w[32];
    int low = -limit;
    for (int i = 0; i < n; i++) code[i] = 0;
    if (fabsf(max) < too_small) return 0.0f;
    for (int i = 0; i < n; i++) w[i] = x[i] * x[i];
    signed_codes(n, limit, x, -(float)limit / max, code);
    sums(n, x, w, code, &lx, &l2);
    for (int pass = 0; pass < 5; pass++)
        if (!improve(n, limit - 1, x, w, &low, code, &lx, &l2)) break;
    for (int i = 0; i < n; i++) code[i] += limit;
    return l2 > 0.0f ? lx / l2 : 0.0f;
}

float nib_ref_search_positive(int n, int limit, const float *x, const float *w, int *code)
{
    float max = 0.0f, lx, l2, best = 0.0f;
    for (int i = 0; i < n; i++) {
        if (x[i] > max) max = x[i];
        code[i] = 0;
    }
    if (max < too_small) return 0.0f;
    float inverse = (float)limit / max, scale = 1.0f / inverse;
    for (int i = 0; i < n; i++) {
        float difference = x[i] - scale * (float)(nib_ref_nearest(inverse * x[i]) & 255);
        best += w[i] * difference * difference;
    }
    for (int step = -4; step <= 4; step++) {
        if (step == 0) continue;
        float tried = (0.1f * (float)step + (float)limit) / max, error = 0.0f;
        scale = 1.0f / tried;
        for (int i = 0; i < n; i++) {
            int l = nib_ref_nearest(tried * x[i]);
            float difference = x[i] - scale * (float)(l > limit ? limit : l);
            error += w[i] * difference * difference;
        }
        if (!(error < best)) continue;
        best = error;
        inverse = tried;
    }
    for (int i = 0; i < n; i++) {
        int l = nib_ref_nearest(inverse * x[i]);
        code[i] = l > limit ? limit : l;
    }
    sums(n, x, w, code, &lx, &l2);
    for (int i = 0; i < n; i++) code[i] &= 255;
    for (int pass = 0; pass < 5; pass++)
        if (!improve(n, limit, x, w, NULL, code, &lx, &l2)) break;
    return l2 > 0.0f ? lx / l2 : 0.0f;
}

static void positive_codes(int n, int limit, const float *x, float inverse, float min, int *code)
{
    for (int i = 0; i < n; i++) code[i] = clamp(nib_ref_nearest(inverse * (x[i] - min)), 0, limit);
}

static float weighted_error(int n, const float *x, const float *w, const int *code, float scale,
                            float min, int absolute)
{
    float error = 0.0f;
    for (int i = 0; i < n; i++) {
        float difference = scale * (float)code[i] + min - x[i];
        difference = absolute ? fabsf(difference) : difference * difference;
        error += w[i] * difference;
    }
    return error;
}

float nib_ref_search_min(int n, int limit, const float *x, const float *w, nib_ref_steps steps,
                         int *code, float *min_ret)
{
    float min = x[0], max = x[0], sum_w = w[0], sum_x = w[0] * x[0];
    int tried[32];
    for (int i = 1; i < n; i++) {
        if (x[i] < min) min = x[i];
        if (x[i] > max) max = x[i];
        sum_w += w[i];
        sum_x += w[i] * x[i];
    }
    if (min > 0.0f) min = 0.0f;
    *min_ret = -min;
    for (int i = 0; i < n; i++) code[i] = 0;
    if (max <= min) return 0.0f;
    float inverse = (float)limit / (max - min), scale = 1.0f / inverse;
    positive_codes(n, limit, x, inverse, min, code);
    float best = weighted_error(n, x, w, code, scale, min, steps.absolute);
    for (int step = 0; step <= steps.last; step++) {
        inverse = (steps.first + steps.step * (float)step + (float)limit) / (max - min);
        positive_codes(n, limit, x, inverse, min, tried);
        float sum_l = 0.0f, sum_l2 = 0.0f, sum_xl = 0.0f;
        for (int i = 0; i < n; i++) {
            float l = (float)tried[i];
            sum_l += w[i] * l;
            sum_l2 += w[i] * l * l;
            sum_xl += w[i] * l * x[i];
        }
        float determinant = sum_w * sum_l2 - sum_l * sum_l;
        if (!(determinant > 0.0f)) continue;
        float next_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        float next_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        if (next_min > 0.0f) {
            next_min = 0.0f;
            next_scale = sum_xl / sum_l2;
        }
        float error = weighted_error(n, x, w, tried, next_scale, next_min, steps.absolute);
        if (!(error < best)) continue;
        for (int i = 0; i < n; i++) code[i] = tried[i];
        best = error;
        scale = next_scale;
        min = next_min;
    }
    *min_ret = -min;
    return scale;
}

const int nib_ref_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                             1,    13,   25,  38,  53,  69,  89,  113};

int nib_ref_iq4_nearest(float x)
{
    if (x <= (float)nib_ref_iq4[0]) return 0;
    if (x >= (float)nib_ref_iq4[15]) return 15;
    int upper = 1;
    while (upper < 15 && !(x < (float)nib_ref_iq4[upper])) upper++;
    float below = x - (float)nib_ref_iq4[upper - 1], above = (float)nib_ref_iq4[upper] - x;
    return below < above ? upper - 1 : upper;
}
