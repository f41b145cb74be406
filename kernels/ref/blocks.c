/* blocks.c - the operations on ggml's blocks, block by block: docs/numerics.md section 10. */
#include "blocks.h"

#include <math.h>
#include <string.h>

/* x as the quantizer sees it: subnormals stay. */
static float admit(float x, const nib_args *a)
{
    if (isfinite(x)) return x;
    if (isnan(x) || a->nonfinite != NIB_N_SATURATE) return 0.0f;
    return (float)copysign(nib_ref_largest(a->x_type), (double)x);
}

static void report_block(uint32_t *count, int nonfinite, int poisoned, int zeros,
                         const nib_ref_block *b, int64_t index)
{
    if (!count) return; /* nib_report: nonfinite, first, empty, underflow, saturated */
    uint32_t place = index < 0xfffffffe ? (uint32_t)index : 0xfffffffe;
    if (nonfinite) {
        count[0]++;
        if (place < count[1]) count[1] = place;
    }
    if (poisoned) return;
    int infinite = (b->d & 0x7c00u) == 0x7c00u || (b->m & 0x7c00u) == 0x7c00u;
    count[2] += (uint32_t)zeros;
    count[3] += (uint32_t)(!zeros && (b->d & 0x7fffu) == 0);
    count[4] += (uint32_t)infinite;
}

/* The mean of the squares of a row. */
static float row_mean(void *const span[NIB_HOST_SPANS], const nib_args *a, int64_t row)
{
    float sum = 0.0f;
    for (int64_t k = 0; k < a->cols; k++) {
        float x = admit(nib_ref_read(span[NIB_X], a->x_type, row * a->cols + k), a);
        sum += x * x;
    }
    return sum / (float)a->cols;
}

static void quantize_one(void *const span[NIB_HOST_SPANS], const nib_args *a, int64_t index,
                         float mean)
{
    int block = a->form.block, nonfinite = 0, zeros = 1;
    nib_ref_shape shape = nib_ref_block_shape(block);
    const float *importance = span[NIB_SCALES];
    float x[256];
    nib_ref_block b;
    for (int i = 0; i < shape.elements; i++) {
        float given = nib_ref_read(span[NIB_X], a->x_type, index * shape.elements + i);
        nonfinite |= !isfinite(given);
        x[i] = admit(given, a);
        zeros &= x[i] == 0.0f;
    }
    int poisoned = nonfinite && a->nonfinite == NIB_N_ERROR;
    if (importance) importance += index * shape.elements % a->cols;
    nib_ref_block_quantize(block, x, importance, mean, &b);
    if (poisoned) {
        memset(&b, 0, sizeof b);
        b.d = 0x7e00;
        b.m = shape.has_min ? 0x7e00 : 0;
    }
    report_block(span[NIB_REPORT], nonfinite, poisoned, zeros, &b, index);
    nib_ref_block_pack(block, &b, (uint8_t *)span[NIB_OUT] + index * shape.bytes);
}

NIB_REF_KERNEL(nib_ref_quantize_blocks)
{
    (void)begin, (void)end;
    int64_t of_row = a->cols / a->form.elements;
    for (int64_t row = 0; row < a->rows; row++) {
        float mean = a->weights == NIB_W_ROW ? row_mean(span, a, row) : 0.0f;
        for (int64_t i = 0; i < of_row; i++) quantize_one(span, a, row * of_row + i, mean);
    }
}

/* ---- back ---- */

/* The integer that a stored code stands for, less the zero point where there is no min. */
static int number(int block, int code)
{
    switch (block) {
    case REF_Q4_0: return code - 8;
    case REF_Q5_0: return code - 16;
    case REF_Q8_0: return code < 128 ? code : code - 256;
    case REF_Q3_K: return code - 4;
    case REF_Q6_K: return code - 32;
    case REF_IQ4_NL:
    case REF_IQ4_XS: return nib_ref_iq4[code];
    default: return code;
    }
}

/* Scale and min of the group of element i, before any min's sign is turned. */
static void group_of(int block, const nib_ref_block *b, int i, float *scale_ret, float *min_ret)
{
    nib_ref_shape shape = nib_ref_block_shape(block);
    float d = nib_ref_value(NIB_T_F16, b->d), m = nib_ref_value(NIB_T_F16, b->m);
    int j = shape.groups ? i / (256 / shape.groups) : 0, sub = b->sub[j];
    if (block == REF_Q3_K || block == REF_IQ4_XS) sub -= 32;
    if (block == REF_Q6_K && sub > 127) sub -= 256;
    *scale_ret = shape.groups ? d * (float)sub : d;
    *min_ret = !shape.has_min ? 0.0f : shape.groups ? -(m * (float)b->sub_min[j]) : m;
    if (!isfinite(d) || !isfinite(m)) *scale_ret = *min_ret = nib_ref_float(0x7fc00000u);
}

NIB_REF_KERNEL(nib_ref_dequantize_blocks)
{
    (void)begin, (void)end;
    int block = a->form.block;
    nib_ref_shape shape = nib_ref_block_shape(block);
    for (int64_t index = 0; index < a->rows * a->cols / shape.elements; index++) {
        nib_ref_block b;
        nib_ref_block_unpack(block, (const uint8_t *)span[NIB_X] + index * shape.bytes, &b);
        for (int i = 0; i < shape.elements; i++) {
            float scale, min;
            group_of(block, &b, i, &scale, &min);
            float y = (float)number(block, b.code[i]) * scale;
            if (shape.has_min) y += min;
            if (!isfinite(scale)) y = nib_ref_float(0x7fc00000u);
            nib_ref_write(span[NIB_Y], a->y_type, index * shape.elements + i, y);
        }
    }
}

NIB_REF_KERNEL(nib_ref_unpack_blocks)
{
    (void)begin, (void)end;
    int block = a->form.block, zero = a->offset == NIB_O_NONE ? 1 << (a->bits - 1) : 0;
    nib_ref_shape shape = nib_ref_block_shape(block);
    int64_t group = a->form.group;
    nib_ref_clear(span[NIB_CODES], &a->codes);
    for (int64_t index = 0; index < a->rows * a->cols / shape.elements; index++) {
        nib_ref_block b;
        nib_ref_block_unpack(block, (const uint8_t *)span[NIB_X] + index * shape.bytes, &b);
        for (int i = 0; i < shape.elements; i++) {
            int64_t at = index * shape.elements + i, row = at / a->cols, col = at % a->cols;
            nib_ref_put(span[NIB_CODES], &a->codes, row, col, number(block, b.code[i]) + zero);
            if (i % group) continue;
            float scale, min;
            group_of(block, &b, i, &scale, &min);
            nib_ref_write(span[NIB_SCALES], a->scale_type, at / group, scale);
            if (shape.has_min) nib_ref_write(span[NIB_OFFSETS], a->scale_type, at / group, min);
        }
    }
}
