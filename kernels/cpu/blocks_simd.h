/* blocks_simd.h - ggml's blocks, LANES of them at once: lane = block, element i of all in one
 * vector, so that every sum runs in a block's own order. Included after a vec_*.h.
 *
 *   x of LANES blocks --transposed--> x[elements] vectors --search.h--> numbers of the blocks
 *   x of one block after the other --its numbers--> its codes --shifted together--> its bytes
 *
 * In a tail below LANES blocks the other lanes are zeros. Bound: arithmetic; q4_K takes 21 steps of
 * 17 operations a weight (AVX-512, 16 lanes: about 25 cycles a weight). */
#ifndef NIB_CPU_BLOCKS_SIMD_H
#define NIB_CPU_BLOCKS_SIMD_H

#include "blocks.h"
#include "kernels.h"
#include "lane_simd.h"

#include "../common/search.h"

typedef struct nib_source {
    const vf *x, *importance;
    nib_i32 weighted;
    vf mean;
} nib_source;

NIB_FN vf nib_source_x(nib_source s, nib_i32 i) { return s.x[i]; }
NIB_FN vf nib_source_weight(nib_source s, nib_i32 i) { return s.importance[i]; }
NIB_FN vf nib_source_mean(nib_source s) { return s.mean; }

#include "improve_simd.h"

#include "../common/block_parts.h"

#include "blocks_plain_simd.h"

/* LANES blocks on their way. */
typedef struct batch {
    vf x[256], importance[256];
    float rows[LANES * 256], tail[LANES * 256], rows_of_importance[LANES * 256];
    nib_u8 codes[256][LANES], row[256];
    nib_parts parts;
    vm nonfinite, zeros;
} batch;

/* Element i of each block into one vector; NaN and infinities by policy. */
INLINE void load_batch(batch *b, const nib_args *a, const void *x, int elements)
{
    const nib_u8 *from = x;
    nib_i32 size = a->x_type == NIB_T_F32 ? 4 : 2;
    for (int i = 0; i < LANES * elements; i += LANES) {
        vf row = v_from_type(v_load_raw(from + i * size, a->x_type), a->x_type);
        memcpy(b->rows + i, &row, sizeof row);
    }
    vi any = v_splat_int(0);
    vm bad = m_less_int(any, any);
    for (int i = 0; i < elements; i += LANES) v_turn(b->rows + i, elements, b->x + i);
    for (int i = 0; i < elements; i++) {
        vi magnitude = (vi)b->x[i] & 0x7fffffff;
        any |= magnitude;
        bad = m_either(bad, m_less_int(v_splat_int(0x7f7fffff), magnitude));
    }
    b->nonfinite = bad;
    b->zeros = m_less_int(any, v_splat_int(1));
    if (!m_any(bad)) return;
    any = v_splat_int(0);
    for (int i = 0; i < elements; i++) {
        for (int lane = 0; lane < LANES; lane++) {
            float value = b->x[i][lane];
            if (!nib_is_finite(value))
                b->x[i][lane] = nib_substitute(value, a->nonfinite, a->x_type);
        }
        any |= (vi)b->x[i] & 0x7fffffff;
    }
    b->zeros = m_less_int(any, v_splat_int(1));
}

typedef uint8_t bytes16 __attribute__((vector_size(16)));

/* A plane of codes' parts of `bits` bits from bit `shift` of the codes, in runs. */
INLINE void put_plane(nib_u8 *bytes, const nib_u8 *code, int elements, int shift, int bits, int run)
{
    int of_byte = 8 / bits, mask = (1 << bits) - 1;
    for (int chunk = 0; chunk < elements && run == 1; chunk += of_byte, bytes++) {
        int byte = 0;
        for (int k = 0; k < of_byte; k++) byte |= (code[chunk + k] >> shift & mask) << (k * bits);
        *bytes = (nib_u8)byte;
    }
    for (int chunk = 0; chunk < elements && run > 1; chunk += run * of_byte)
        for (int l = 0; l < run; l += 16, bytes += 16) {
            bytes16 sum = {0}, part;
            for (int k = 0; k < of_byte; k++) {
                memcpy(&part, code + chunk + k * run + l, sizeof part);
                sum |= (part >> shift & (nib_u8)mask) << (k * bits);
            }
            memcpy(bytes, &sum, sizeof sum);
        }
}

INLINE int sub_bytes(nib_block_form f)
{
    if (f.sub == NIB_SUB_NONE) return 0;
    return f.sub == NIB_SUB_SPLIT ? 6 : f.sub == NIB_SUB_SIXES || f.sub == NIB_SUB_PAIRS ? 12 : 16;
}

INLINE void store_block(const batch *b, nib_block_form f, int lane, nib_u8 *bytes)
{
    for (int i = 0; i < sub_bytes(f); i++) bytes[f.sub_at + i] = 0;
    nib_put_half(bytes, f.d_at, (nib_u32)b->parts.d[lane]);
    nib_put_half(bytes, f.m_at, (nib_u32)b->parts.m[lane]);
    for (int j = 0; f.sub != NIB_SUB_NONE && j < f.elements / f.group; j++) {
        nib_put_parts(bytes, nib_sub_at(f, 0, j), b->parts.sub[j][lane]);
        if (f.m_at != NIB_NOWHERE)
            nib_put_parts(bytes, nib_sub_at(f, 1, j), b->parts.sub_min[j][lane]);
    }
    put_plane(bytes + f.low_at, b->row, f.elements, 0, f.low_bits, f.low_run);
    if (f.high_bits)
        put_plane(bytes + f.high_at, b->row, f.elements, f.low_bits, f.high_bits, f.high_run);
}

/* The importance of LANES blocks from `item` on; after the last block of a row comes the first. */
INLINE void load_importance(batch *b, const nib_args *a, const float *importance, nib_i64 item,
                            int elements)
{
    nib_i64 first = item % a->scale_cols;
    const float *rows = importance + first * elements;
    if (first + LANES > a->scale_cols) {
        for (int lane = 0; lane < LANES; lane++) {
            memcpy(b->rows_of_importance + lane * elements, importance + first * elements,
                   (size_t)elements * sizeof *rows);
            first = first + 1 < a->scale_cols ? first + 1 : 0;
        }
        rows = b->rows_of_importance;
    }
    for (int i = 0; i < elements; i += LANES) v_turn(rows + i, elements, b->importance + i);
}

/* Whether a block has codes that its step does not tell: of weights that are not finite, or of a
 * step of 0. */
INLINE int is_odd(const batch *b, nib_block_form f, int count)
{
    vm odd = b->nonfinite;
    for (int j = 0; j < nib_groups_of(f.block) && f.elements == 256; j++)
        odd = m_either(odd, m_equal(b->parts.step[j], v_splat(0.0f)));
    odd = m_both(odd, m_less_int(v_iota(), v_splat_int(count)));
    return m_any(odd);
}

/* The codes of all blocks, element by element. */
INLINE void turned_codes(batch *b, nib_source s, nib_block_form f)
{
    int n = nib_group_of(f.block);
    for (int j = 0; j < nib_groups_of(f.block); j++) {
        nib_n code[32];
        nib_codes_of(s, f.block, &b->parts, j, code);
        for (int i = 0; i < n; i++) v_store_bytes(b->codes[j * n + i], code[i]);
    }
}

INLINE nib_found found_of_lane(const nib_found *f, int lane)
{
    return (nib_found){v_splat(0.0f), v_splat(0.0f), v_splat(f->inverse[lane]),
                       v_splat(f->from[lane]), v_splat(f->bias[lane])};
}

/* The codes of one block that is not odd, LANES elements at once. */
INLINE void row_codes(batch *b, nib_block_form f, int lane)
{
    const float *x = b->rows + lane * f.elements;
    int n = nib_group_of(f.block), legacy = f.block < NIB_B_Q2_K;
    for (int j = 0; j < nib_groups_of(f.block); j++) {
        vf step = v_splat(b->parts.step[j][lane]), low = v_splat(b->parts.low[j][lane]), run;
        nib_found found;
        if (legacy) found = found_of_lane(&b->parts.found[j], lane);
        for (int i = j * n; i < j * n + n; i += LANES) {
            memcpy(&run, x + i, sizeof run);
            v_store_bytes(b->row + i, legacy ? nib_found_code(f.block, run, found)
                                             : nib_step_code(f.block, run, step, low));
        }
    }
}

/* Blocks item..item + count - 1, LANES at most. */
INLINE void quantize_batch(batch *b, void *const span[NIB_HOST_SPANS], const nib_args *a,
                           cell_report *report, nib_i64 item, int count, nib_block_form f,
                           nib_i32 weighted)
{
    int n = f.elements, block_bytes = n * (a->x_type == NIB_T_F32 ? 4 : 2);
    const nib_u8 *x = (const nib_u8 *)span[NIB_X] + item * block_bytes;
    nib_u8 *out = (nib_u8 *)span[NIB_OUT] + item * f.bytes;
    nib_source s = {b->x, b->importance, weighted, v_splat(0.0f)};
    if (count < LANES) {
        memset(b->tail, 0, sizeof b->tail);
        x = memcpy(b->tail, x, (size_t)(count * block_bytes));
    }
    load_batch(b, a, x, n);
    if (weighted) load_importance(b, a, span[NIB_SCALES], item, n);
    for (int lane = 0; a->weights == NIB_W_ROW && lane < count; lane++) {
        float mean;
        memcpy(&mean, out + lane * f.bytes, sizeof mean);
        s.mean[lane] = mean;
    }
    nib_parts_of(s, f.block, &b->parts);
    int odd = is_odd(b, f, count);
    if (odd) turned_codes(b, s, f);
    for (int lane = 0; lane < count; lane++, out += f.bytes) {
        int nonfinite = m_lane(b->nonfinite, lane);
        for (int i = 0; i < n && odd; i++) b->row[i] = b->codes[i][lane];
        if (!odd) row_codes(b, f, lane);
        if (nonfinite && a->nonfinite == NIB_N_ERROR) poison_block(out, f);
        else store_block(b, f, lane, out);
        report_block(report, a, item + lane, nonfinite, m_lane(b->zeros, lane),
                     load_half(out, f.d_at), load_half(out, f.m_at));
    }
}

INLINE void quantize_batches(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 begin,
                             nib_i64 end, nib_block_form f, nib_i32 weighted)
{
    cell_report report = CELL_REPORT_EMPTY;
    batch b;
    for (; begin < end; begin += LANES)
        quantize_batch(&b, span, a, &report, begin, (int)min_i64(end - begin, LANES), f, weighted);
    report_add(span[NIB_REPORT], &report);
}

INLINE void quantize_form(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 begin,
                          nib_i64 end, nib_block_form f)
{
    if (a->weights) quantize_batches(span, a, begin, end, f, 1);
    else if (f.sub == NIB_SUB_NONE && f.codes != NIB_CODES_IQ4)
        quantize_plain(span, a, begin, end, f);
    else quantize_batches(span, a, begin, end, f, 0);
}

/* One function a type, with and without an importance, compiled for its numbers. */
#define NIB_BLOCK(ID, name, wire, elements, bytes, bits, group, rule, scale, low_at, low_bits,     \
                  low_run, high_at, high_bits, high_run, d_at, m_at, sub_at, sub, codes, text)     \
    static void quantize_##ID(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 begin,  \
                              nib_i64 end)                                                         \
    {                                                                                              \
        const nib_block_form f = {wire,     elements, bytes,   group,         low_at,              \
                                  low_bits, low_run,  high_at, high_bits,     high_run,            \
                                  d_at,     m_at,     sub_at,  NIB_SUB_##sub, NIB_CODES_##codes};  \
        quantize_form(span, a, begin, end, f);                                                     \
    }
#include "../../include/nibble_schemes.def"

/* The sum of squares of LANES rows, each in its own order; returns 0 where one holds a NaN or an
 * infinity. */
INLINE int sum_rows(const nib_u8 *x, nib_i64 cols, int type, vf *sum_ret)
{
    int size = type == NIB_T_F32 ? 4 : 2;
    vf sum = v_splat(0.0f), turned[LANES];
    float rows[LANES * LANES];
    vm bad = m_less(sum, sum);
    for (nib_i64 k = 0; k < cols; k += LANES) {
        for (int r = 0; r < LANES; r++) {
            vf run = v_from_type(v_load_raw(x + (r * cols + k) * size, type), type);
            bad = m_either(bad, m_less_int(v_splat_int(0x7f7fffff), (vi)run & 0x7fffffff));
            memcpy(rows + r * LANES, &run, sizeof run);
        }
        v_turn(rows, LANES, turned);
        for (int i = 0; i < LANES; i++) sum += turned[i] * turned[i];
    }
    *sum_ret = sum;
    return !m_any(bad);
}

INLINE void sum_blocks(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 begin,
                       nib_i64 end, int type)
{
    nib_i64 row_bytes = a->cols * (type == NIB_T_F32 ? 4 : 2);
    for (; end - begin >= LANES; begin += LANES) {
        vf sum;
        if (!sum_rows((const nib_u8 *)span[NIB_X] + begin * row_bytes, a->cols, type, &sum)) {
            nib_cpu_block_sums(span, a, begin, begin + LANES);
            continue;
        }
        vf mean = sum / (float)a->cols;
        nib_u8 *out = (nib_u8 *)span[NIB_OUT] + begin * a->scale_cols * a->form.bytes;
        for (nib_i64 i = 0; i < LANES * a->scale_cols; i++, out += a->form.bytes) {
            float of_row = mean[i / a->scale_cols];
            memcpy(out, &of_row, sizeof of_row);
        }
    }
    nib_cpu_block_sums(span, a, begin, end);
}

/* The mean squares of whole rows of blocks of 32, where the plain kernel puts them. */
NIB_CPU_KERNEL(ISA(nib_cpu_block_sums))
{
    if (args->weights != NIB_W_ROW) return;
    if (args->x_type == NIB_T_F32) sum_blocks(span, args, begin, end, NIB_T_F32);
    else if (args->x_type == NIB_T_F16) sum_blocks(span, args, begin, end, NIB_T_F16);
    else sum_blocks(span, args, begin, end, NIB_T_BF16);
}

NIB_CPU_KERNEL(ISA(nib_cpu_quantize_blocks))
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

#endif
