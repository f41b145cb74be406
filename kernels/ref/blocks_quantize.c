/* blocks_quantize.c - one block, type by type: docs/numerics.md section 10. */
#include "blocks.h"

#include <math.h>
#include <string.h>

/* What is no number becomes what x86 makes of it. */
static uint32_t to_f16(float x) { return isnan(x) ? 0xfe00 : nib_ref_stored(NIB_T_F16, x); }
static float from_f16(uint32_t h) { return nib_ref_value(NIB_T_F16, h); }
static int clamp(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

/* The integer part in 8 bits; 0 where that does not fit 32 bits (1 / d overflowed). */
static int truncated(float x)
{
    if (!(fabsf(x) < 2147483648.0f)) return 0;
    return (int)x & 255;
}

static float extreme(int n, const float *x)
{
    float max = 0.0f;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(max)) max = x[i];
    return max;
}

static float squares(int n, const float *x)
{
    float sum = 0.0f;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

static float inverse_of(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

/* ---- blocks of 32 ---- */

static void plain_symmetric(const float *x, int limit, nib_ref_block *b)
{
    float d = extreme(32, x) / -(float)limit, inverse = inverse_of(d);
    b->d = to_f16(d);
    for (int i = 0; i < 32; i++) {
        int code = truncated(x[i] * inverse + ((float)limit + 0.5f));
        b->code[i] = code > 2 * limit - 1 ? 2 * limit - 1 : code;
    }
}

static void plain_min(const float *x, int levels, nib_ref_block *b)
{
    float min = x[0], max = x[0];
    for (int i = 1; i < 32; i++) {
        if (x[i] < min) min = x[i];
        if (x[i] > max) max = x[i];
    }
    float d = (max - min) / (float)levels, inverse = inverse_of(d);
    b->d = to_f16(d);
    b->m = to_f16(min);
    for (int i = 0; i < 32; i++) {
        int code = truncated((x[i] - min) * inverse + 0.5f);
        b->code[i] = code > levels ? levels : code;
    }
}

static void plain_bytes(const float *x, nib_ref_block *b)
{
    float d = fabsf(extreme(32, x)) / 127.0f, inverse = inverse_of(d);
    b->d = to_f16(d);
    for (int i = 0; i < 32; i++) b->code[i] = truncated(roundf(x[i] * inverse));
}

static const nib_ref_steps weighted_steps = {-0.9f, 0.05f, 36, 0};

static void weighted_32(int block, const float *x, const float *qw, float row_mean,
                        nib_ref_block *b)
{
    float w[32], min;
    int limit = block == REF_Q4_0 || block == REF_Q4_1 ? 8 : 16;
    for (int i = 0; i < 32; i++) w[i] = qw[i] * sqrtf(row_mean + x[i] * x[i]);
    if (block == REF_Q4_0 || block == REF_Q5_0) {
        b->d = to_f16(nib_ref_search_signed(32, limit, x, w, b->code));
        return;
    }
    b->d = to_f16(nib_ref_search_min(32, 2 * limit - 1, x, w, weighted_steps, b->code, &min));
    b->m = to_f16(-min);
}

/* ---- iq4 ---- */

/* The scale of 32 numbers of the table. */
static float search_iq4(const float *x, const float *w)
{
    float max = extreme(32, x);
    if (fabsf(max) < 1e-15f) return 0.0f;
    float d = 0.0f, best = 0.0f;
    for (int step = -8; step <= 7; step++) { /* -8 stands for the first guess */
        float low = (float)nib_ref_iq4[0], sum_qx = 0.0f, sum_q2 = 0.0f;
        float inverse = step == -8 ? 1.0f / (-max / low) : ((float)step + low) / max;
        for (int i = 0; i < 32; i++) {
            float q = (float)nib_ref_iq4[nib_ref_iq4_nearest(inverse * x[i])];
            sum_qx += w[i] * q * x[i];
            sum_q2 += w[i] * q * q;
        }
        if (step != -8 && !(sum_q2 > 0.0f && sum_qx * sum_qx > best * sum_q2)) continue;
        d = sum_q2 > 0.0f ? sum_qx / sum_q2 : 0.0f;
        best = d * sum_qx;
    }
    return d;
}

static void iq4(int block, const float *x, const float *qw, nib_ref_block *b)
{
    int groups = block == REF_IQ4_XS ? 8 : 1, n = 32 * groups;
    float mean = squares(n, x) * (2.0f / (float)n), scale[8], w[32], largest = 0.0f;
    for (int j = 0; j < groups; j++) {
        for (int i = 0; i < 32; i++) {
            float v = x[32 * j + i];
            w[i] = qw ? qw[32 * j + i] * sqrtf(mean + v * v) : v * v;
        }
        scale[j] = search_iq4(x + 32 * j, w);
        if (fabsf(scale[j]) > fabsf(largest)) largest = scale[j];
    }
    float d = block == REF_IQ4_XS ? -largest / 32.0f : scale[0];
    b->d = to_f16(d);
    for (int j = 0; j < groups; j++) {
        int l = clamp(nib_ref_nearest(inverse_of(d) * scale[j]), -32, 31);
        float inverse = block == REF_IQ4_XS ? inverse_of(d * (float)l) : inverse_of(d);
        b->sub[j] = l + 32;
        for (int i = 0; i < 32; i++)
            b->code[32 * j + i] = nib_ref_iq4_nearest(inverse * x[32 * j + i]);
    }
}

/* ---- superblocks with mins ---- */

/* Factors of the largest scale, without an importance. */
static float factors(int groups, int limit, const float *scale, int *sub)
{
    float max = 0.0f;
    for (int j = 0; j < groups; j++)
        if (scale[j] > max) max = scale[j];
    float inverse = max > 0.0f ? (float)limit / max : 0.0f;
    for (int j = 0; j < groups; j++) {
        sub[j] = nib_ref_nearest(inverse * scale[j]) & 255;
        if (limit == 63 && sub[j] > 63) sub[j] = 63;
    }
    return max > 0.0f ? max / (float)limit : 0.0f;
}

static void weigh(int block, int n, const float *x, const float *qw, float mean, float *w)
{
    float rms = qw ? 0.0f : sqrtf(squares(n, x) / (float)n);
    for (int i = 0; i < n; i++) {
        if (qw) w[i] = qw[i] * sqrtf(mean + x[i] * x[i]);
        else w[i] = block == REF_Q2_K ? fabsf(x[i]) : rms + fabsf(x[i]);
    }
}

static void with_mins(int block, const float *x, const float *qw, nib_ref_block *b)
{
    int groups = block == REF_Q2_K ? 16 : 8, n = 256 / groups;
    int limit = block == REF_Q2_K ? 3 : block == REF_Q4_K ? 15 : 31;
    int sub_limit = block == REF_Q2_K ? 15 : 63;
    nib_ref_steps steps = {-0.5f, 0.1f, 15, block == REF_Q2_K};
    if (block == REF_Q4_K) steps = (nib_ref_steps){-1.0f, 0.1f, 20, 0};
    float mean = (block == REF_Q2_K ? 1.0f : 2.0f) * squares(256, x) / 256.0f;
    float scale[16], min[16], total[16], w[32];
    for (int j = 0; j < groups; j++) {
        weigh(block, n, x + n * j, qw ? qw + n * j : NULL, mean, w);
        total[j] = 0.0f;
        for (int i = 0; i < n; i++) total[j] += w[i];
        scale[j] = nib_ref_search_min(n, limit, x + n * j, w, qw ? weighted_steps : steps,
                                      b->code + n * j, &min[j]);
    }
    float d = qw ? nib_ref_search_positive(groups, sub_limit, scale, total, b->sub)
                 : factors(groups, sub_limit, scale, b->sub);
    float m = qw ? nib_ref_search_positive(groups, sub_limit, min, total, b->sub_min)
                 : factors(groups, sub_limit, min, b->sub_min);
    b->d = to_f16(d);
    b->m = to_f16(m);
    for (int j = 0; j < groups; j++) {
        if (block == REF_Q2_K) { /* one byte, into which both go unmasked */
            int byte = (b->sub[j] | b->sub_min[j] << 4) & 255;
            b->sub[j] = byte % 16;
            b->sub_min[j] = byte / 16;
        }
        float step = from_f16(b->d) * (float)b->sub[j];
        float low = from_f16(b->m) * (float)b->sub_min[j];
        for (int i = n * j; step != 0.0f && i < n * (j + 1); i++)
            b->code[i] = clamp(nib_ref_nearest((x[i] + low) / step), 0, limit);
    }
}

/* ---- superblocks without mins ---- */

/* The codes of each group for the scale that is stored; a group whose scale is 0 keeps what the
 * search found. */
static void encode_groups(const float *x, int limit, int bias, nib_ref_block *b)
{
    for (int j = 0; j < 16; j++) {
        float step = from_f16(b->d) * (float)(b->sub[j] - bias);
        for (int i = 16 * j; step != 0.0f && i < 16 * (j + 1); i++)
            b->code[i] = clamp(nib_ref_nearest(x[i] / step), -limit, limit - 1) + limit;
    }
}

static void q3_k(const float *x, const float *qw, nib_ref_block *b)
{
    float scale[16], total[16], mean = 2.0f * squares(256, x) / 256.0f;
    for (int j = 0; j < 16; j++) {
        float w[16];
        total[j] = 0.0f;
        for (int i = 0; qw && i < 16; i++) {
            float v = x[16 * j + i];
            w[i] = qw[16 * j + i] * sqrtf(mean + v * v);
            total[j] += w[i];
        }
        scale[j] = qw ? nib_ref_search_signed(16, 4, x + 16 * j, w, b->code + 16 * j)
                      : nib_ref_search_q3(16, 4, x + 16 * j, b->code + 16 * j);
    }
    if (qw) b->d = to_f16(nib_ref_search_signed(16, 32, scale, total, b->sub));
    float largest = extreme(16, scale);
    if (!qw && largest != 0.0f) {
        float inverse = -32.0f / largest;
        for (int j = 0; j < 16; j++)
            b->sub[j] = clamp(nib_ref_nearest(inverse * scale[j]), -32, 31) + 32;
        b->d = to_f16(1.0f / inverse);
    }
    encode_groups(x, 4, 32, b);
}

static void q6_k(const float *x, const float *qw, nib_ref_block *b)
{
    float scale[16], w[16];
    for (int j = 0; j < 16; j++) {
        for (int i = 0; i < 16; i++) w[i] = qw ? qw[16 * j + i] : x[16 * j + i] * x[16 * j + i];
        scale[j] = nib_ref_search_signed(16, 32, x + 16 * j, w, b->code + 16 * j);
    }
    float largest = extreme(16, scale);
    if (fabsf(largest) < 1e-15f) {
        memset(b, 0, sizeof *b);
        return;
    }
    float inverse = -128.0f / largest;
    b->d = to_f16(1.0f / inverse);
    for (int j = 0; j < 16; j++) {
        int l = nib_ref_nearest(inverse * scale[j]);
        l = (l > 127 ? 127 : l) & 255;
        b->sub[j] = l < 128 ? l : l - 256;
    }
    encode_groups(x, 32, 0, b);
}

void nib_ref_block_quantize(int block, const float *x, const float *qw, float row_mean,
                            nib_ref_block *b)
{
    memset(b, 0, sizeof *b);
    switch (block) {
    case REF_Q4_0:
    case REF_Q5_0:
        if (!qw) plain_symmetric(x, block == REF_Q4_0 ? 8 : 16, b);
        else weighted_32(block, x, qw, row_mean, b);
        break;
    case REF_Q4_1:
    case REF_Q5_1:
        if (!qw) plain_min(x, block == REF_Q4_1 ? 15 : 31, b);
        else weighted_32(block, x, qw, row_mean, b);
        break;
    case REF_Q8_0: plain_bytes(x, b); break;
    case REF_Q2_K:
    case REF_Q4_K:
    case REF_Q5_K: with_mins(block, x, qw, b); break;
    case REF_Q3_K: q3_k(x, qw, b); break;
    case REF_Q6_K: q6_k(x, qw, b); break;
    default: iq4(block, x, qw, b); break;
    }
}
