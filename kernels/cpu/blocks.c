/* blocks.c - ggml's blocks in plain C: the searches of kernels/common over one block at a time.
 *
 *   x [rows, cols], importance [cols]  ->  blocks of 32 or 256 elements, docs/schemes/
 *
 * Bound: arithmetic, for all but q8_0 and the plain types: q4_K takes 380 f32 operations a weight.
 */
#include "blocks.h"
#include "../common/lane.h"
#include "kernels.h"

#include "../common/search.h"

/* A block of x, and its importance. */
typedef struct nib_source {
    const void *x;
    const float *importance;
    nib_i64 first;
    nib_i32 type, nonfinite, weighted;
    float mean;
} nib_source;

static inline float nib_source_x(nib_source s, nib_i32 i)
{
    float x = load_element(s.x, s.type, s.first + i);
    return nib_is_finite(x) ? x : nib_substitute(x, s.nonfinite, s.type);
}
static inline float nib_source_weight(nib_source s, nib_i32 i) { return s.importance[i]; }
static inline float nib_source_mean(nib_source s) { return s.mean; }

#include "../common/block_parts.h"

/* Weights of blocks of 32 need the mean square of their row (NIB_W_ROW): it goes into the first
 * four bytes of each block of the row, from where the next launch takes it. */
NIB_CPU_KERNEL(nib_cpu_block_sums)
{
    nib_source s = {.x = span[NIB_X], .type = args->x_type, .nonfinite = args->nonfinite};
    for (nib_i64 row = begin; args->weights == NIB_W_ROW && row < end; row++) {
        float sum = 0.0f;
        s.first = row * args->cols;
        for (nib_i64 k = 0; k < args->cols; k++, s.first++)
            sum += nib_source_x(s, 0) * nib_source_x(s, 0);
        float mean = sum / (float)args->cols;
        nib_u8 *out = (nib_u8 *)span[NIB_OUT] + row * args->scale_cols * args->form.bytes;
        for (nib_i64 i = 0; i < args->scale_cols; i++)
            memcpy(out + i * args->form.bytes, &mean, sizeof mean);
    }
}

static inline void quantize_blocks(void *const span[NIB_HOST_SPANS], const nib_args *a,
                                   nib_i64 begin, nib_i64 end, nib_i32 block)
{
    cell_report report = CELL_REPORT_EMPTY;
    nib_source s = {.x = span[NIB_X],
                    .type = a->x_type,
                    .nonfinite = a->nonfinite,
                    .weighted = a->weights != NIB_W_NONE};
    for (nib_i64 item = begin; item < end; item++) {
        nib_u8 *bytes = (nib_u8 *)span[NIB_OUT] + item * a->form.bytes;
        int nonfinite = 0, zeros = 1;
        s.first = item * a->form.elements;
        if (s.weighted)
            s.importance =
                (const float *)span[NIB_SCALES] + item % a->scale_cols * a->form.elements;
        if (a->weights == NIB_W_ROW) memcpy(&s.mean, bytes, sizeof s.mean);
        for (nib_i32 i = 0; i < a->form.elements; i++) {
            nonfinite |= !nib_is_finite(load_element(s.x, s.type, s.first + i));
            zeros &= nib_source_x(s, i) == 0.0f;
        }
        if (nonfinite && a->nonfinite == NIB_N_ERROR) poison_block(bytes, a->form);
        else nib_block_quantize(s, block, a->form, bytes);
        report_block(&report, a, item, nonfinite, zeros, load_half(bytes, a->form.d_at),
                     load_half(bytes, a->form.m_at));
    }
    report_add(span[NIB_REPORT], &report);
}

/* One function a type, so that each is compiled for its numbers. */
#define NIB_BLOCK(ID, ...)                                                                         \
    static void quantize_##ID(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 begin,  \
                              nib_i64 end)                                                         \
    {                                                                                              \
        quantize_blocks(span, a, begin, end, NIB_B_##ID);                                          \
    }
#include "../../include/nibble_schemes.def"

NIB_CPU_KERNEL(nib_cpu_quantize_blocks)
{
    switch (args->form.block) {
#define NIB_BLOCK(ID, ...)                                                                         \
    case NIB_B_##ID:                                                                               \
        quantize_##ID(span, args, begin, end);                                                     \
        break;
#include "../../include/nibble_schemes.def"
    default: break;
    }
}

/* ---- back ---- */

NIB_CPU_KERNEL(nib_cpu_dequantize_blocks)
{
    nib_block_form f = args->form;
    nib_i32 zero = args->offset == NIB_O_MIN ? 0 : 1 << (args->bits - 1);
    for (nib_i64 item = begin; item < end; item++) {
        const nib_u8 *bytes = (const nib_u8 *)span[NIB_X] + item * f.bytes;
        float scale = 0.0f, min = 0.0f;
        for (nib_i32 i = 0; i < f.elements; i++) {
            if (i % f.group == 0) block_cell(bytes, f, i / f.group, &scale, &min);
            nib_u32 code = nib_plane_code(f, get_parts(bytes, nib_code_at(f, i)));
            store_element(span[NIB_Y], args->y_type, item * f.elements + i,
                          nib_decode(code, zero, scale, min, args->offset));
        }
    }
}

/* The planes of nib_block_quant: 32 codes are a whole number of words, so a block begins and ends
 * with one. */
NIB_CPU_KERNEL(nib_cpu_unpack_blocks)
{
    nib_block_form f = args->form;
    nib_i32 groups = f.elements / f.group, width = args->bits;
    for (nib_i64 item = begin; item < end; item++) {
        const nib_u8 *bytes = (const nib_u8 *)span[NIB_X] + item * f.bytes;
        nib_u8 *byte = (nib_u8 *)span[NIB_CODES] + item * f.elements / 8 * width;
        nib_u32 bits = 0;
        nib_i32 held = 0;
        for (nib_i32 i = 0; i < f.elements; i++) {
            bits |= nib_plane_code(f, get_parts(bytes, nib_code_at(f, i))) << held;
            for (held += width; held >= 8; held -= 8, bits >>= 8) *byte++ = (nib_u8)bits;
        }
        for (nib_i32 j = 0; j < groups; j++) {
            float scale, min;
            block_cell(bytes, f, j, &scale, &min);
            store_element(span[NIB_SCALES], args->scale_type, item * groups + j, scale);
            if (args->offset == NIB_O_MIN)
                store_element(span[NIB_OFFSETS], args->scale_type, item * groups + j, min);
        }
    }
}
