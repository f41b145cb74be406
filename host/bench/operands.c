/* operands.c - the numbers that are multiplied: near normal weights and activations, and what their
 * types make of them. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

size_t bench_type_bytes(nib_dtype type) { return (size_t)nib_dtype_bits(type) / 8; }

/* splitmix64 */
static uint64_t random_bits(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The sum of four uniform numbers: near normal, of standard deviation `deviation`. */
static float near_normal(uint64_t *state, float deviation)
{
    uint64_t r = random_bits(state);
    float sum = (float)(r & 0xffff) + (float)(r >> 16 & 0xffff) + (float)(r >> 32 & 0xffff) +
                (float)(r >> 48);
    return (sum - 131070.0f) * (deviation / 37837.0f);
}

/* Rows cut from one long run of noise, each from another place: real numbers at the speed of a
 * copy. (Zeros would draw less power, and clock higher.) */
static void fill(float *to, int64_t rows, int64_t cols, const float *noise, int64_t noise_count)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0, at = r * 7919 % noise_count; c < cols; at = 0) {
            int64_t run = cols - c < noise_count - at ? cols - c : noise_count - at;
            memcpy(to + r * cols + c, noise + at, (size_t)run * sizeof *to);
            c += run;
        }
}

int bench_quantize_rows(bench *b, nib_stream *stream, nib_dtype type, const void *x, int64_t rows,
                        int64_t cols, int8_t *codes, float *scales)
{
    nib_quant q = {.bits = 8,
                   .scale_type = NIB_F32,
                   .rule = NIB_RULE_SYM_RESTRICTED,
                   .layout = NIB_LAYOUT_CT_INT8};
    nib_status status = nib_grid_rows(rows, cols, 0, &q.grid);
    const nib_mem planes[NIB_PLANES] = {nib_wrap(codes, (size_t)(rows * cols)),
                                        nib_wrap(scales, (size_t)rows * sizeof *scales),
                                        {0}},
                  none = {0};
    nib_mem from = nib_wrap((void *)(uintptr_t)x, (size_t)(rows * cols) * bench_type_bytes(type));
    if (status == NIB_OK)
        status = nib_quantize(stream, &q, type, from, NIB_NONFINITE_ERROR, planes, none);
    return bench_status(b, status, "activations");
}

int bench_floats(bench *b, const void *from, nib_dtype type, int64_t count, float *to)
{
    nib_mem src = nib_wrap((void *)(uintptr_t)from, (size_t)count * bench_type_bytes(type)),
            dst = nib_wrap(to, (size_t)count * sizeof *to);
    return bench_status(b, nib_convert(b->cpu_stream, count, type, src, NIB_F32, dst), "convert");
}

void *bench_convert(bench *b, const float *from, int64_t count, nib_dtype type)
{
    size_t bytes = (size_t)count * bench_type_bytes(type);
    void *to = bench_memory(b, bytes);
    nib_mem src = nib_wrap((void *)(uintptr_t)from, (size_t)count * sizeof *from);
    if (to &&
        bench_status(b, nib_convert(b->cpu_stream, count, NIB_F32, src, type, nib_wrap(to, bytes)),
                     "convert")) {
        free(to);
        return NULL;
    }
    return to;
}

static int make_codes(bench *b, bench_operands *o)
{
    int64_t count = o->max_m * o->shape->k;
    o->x_codes = bench_memory(b, (size_t)count);
    o->x_scales = bench_memory(b, (size_t)o->max_m * sizeof *o->x_scales);
    if (!o->x_codes || !o->x_scales) return 4;
    void *x = bench_convert(b, o->x, count, b->spec->type);
    if (!x) return 4;
    int code = bench_quantize_rows(b, b->cpu_stream, b->spec->type, x, o->max_m, o->shape->k,
                                   o->x_codes, o->x_scales);
    free(x);
    return code;
}

int bench_operands_make(bench *b, const bench_shape *shape, bench_operands *o)
{
    enum { NOISE = 1 << 20 };
    *o = (bench_operands){.b = b, .shape = shape, .max_m = b->spec->m[b->spec->m_count - 1]};
    float *noise = bench_memory(b, NOISE * sizeof *noise);
    uint64_t state = 1;
    for (int i = 0; noise && i < NOISE; i++) noise[i] = near_normal(&state, 1.0f);
    o->x = bench_memory(b, (size_t)(o->max_m * shape->k) * sizeof *o->x);
    if (noise && o->x) fill(o->x, o->max_m, shape->k, noise, NOISE);
    for (int i = 0; noise && i < NOISE; i++) noise[i] *= 0.02f;
    o->w = noise && o->x ? bench_memory(b, (size_t)(shape->n * shape->k) * sizeof *o->w) : NULL;
    if (o->w) fill(o->w, shape->n, shape->k, noise, NOISE);
    free(noise);
    return o->w ? make_codes(b, o) : 4;
}

void bench_operands_free(bench_operands *o)
{
    free(o->w), free(o->x), free(o->x_codes), free(o->x_scales);
}

/* ---- quantized weights ---- */

int bench_quant(bench *b, const bench_shape *shape, const bench_column *c, nib_quant *q)
{
    return bench_status(b, bench_column_quant(c, shape, b->spec->type, q), c->name);
}

/* The planes of blocks: of the bytes that a GGUF file would hold. */
static int unpack_blocks(bench *b, const bench_shape *shape, const bench_column *c, nib_mem from,
                         const nib_mem planes[NIB_PLANES])
{
    size_t bytes;
    const nib_mem none = {0};
    TRY(bench_status(b, nib_block_bytes(c->block, shape->n, shape->k, &bytes), c->name));
    void *memory = bench_memory(b, bytes);
    if (!memory) return 4;
    nib_mem blocks = nib_wrap(memory, bytes);
    nib_status status = nib_quantize_blocks(b->cpu_stream, c->block, shape->n, shape->k, NIB_F32,
                                            from, none, NIB_NONFINITE_ERROR, blocks, none);
    if (status == NIB_OK)
        status = nib_unpack_blocks(b->cpu_stream, c->block, shape->n, shape->k, blocks, planes);
    free(memory);
    return bench_status(b, status, c->name);
}

int bench_weights_make(const bench_operands *o, const bench_column *c, bench_weights *w)
{
    bench *b = o->b;
    const nib_mem none = {0};
    nib_mem planes[NIB_PLANES];
    memset(w, 0, sizeof *w);
    TRY(bench_quant(b, o->shape, c, &w->quant));
    for (int p = 0; p < NIB_PLANES; p++) {
        TRY(bench_status(b, nib_plane_bytes(&w->quant, (nib_plane)p, &w->bytes[p]), c->name));
        w->planes[p] = bench_memory(b, w->bytes[p]);
        if (!w->planes[p]) return 4;
        planes[p] = nib_wrap(w->planes[p], w->bytes[p]);
    }
    nib_mem from = nib_wrap(o->w, (size_t)(o->shape->n * o->shape->k) * sizeof *o->w);
    if (!c->scheme) return unpack_blocks(b, o->shape, c, from, planes);
    return bench_status(
        b, nib_quantize(b->cpu_stream, &w->quant, NIB_F32, from, NIB_NONFINITE_ERROR, planes, none),
        c->name);
}

void bench_weights_free(bench_weights *w)
{
    for (int p = 0; p < NIB_PLANES; p++) free(w->planes[p]);
}

int bench_weights_row(bench *b, const bench_weights *w, int64_t n, double *to)
{
    int64_t k = w->quant.grid.cols;
    nib_quant q = w->quant;
    nib_mem planes[NIB_PLANES];
    for (int p = 0; p < NIB_PLANES; p++) {
        size_t pitch = w->bytes[p] / (size_t)q.grid.rows;
        planes[p] = nib_wrap((char *)w->planes[p] + (size_t)n * pitch, pitch);
    }
    float *row = bench_memory(b, (size_t)k * sizeof *row);
    if (!row) return 4;
    nib_status status = nib_grid_rows(1, k, q.grid.group, &q.grid);
    nib_mem out = nib_wrap(row, (size_t)k * sizeof *row);
    if (status == NIB_OK) status = nib_dequantize(b->ref_stream, &q, planes, NIB_F32, out);
    for (int64_t i = 0; i < k; i++) to[i] = (double)row[i];
    free(row);
    return bench_status(b, status, "ref");
}

/* ---- for vendors ---- */

int bench_plain_operands(const bench_operands *o, nib_dtype type, void **x_ret, void **w_ret)
{
    bench *b = o->b;
    int64_t n = o->shape->n, k = o->shape->k;
    if (type != NIB_I8) {
        *x_ret = bench_convert(b, o->x, o->max_m * k, type);
        *w_ret = *x_ret ? bench_convert(b, o->w, n * k, type) : NULL;
        return *w_ret ? 0 : 4;
    }
    *x_ret = bench_memory(b, (size_t)(o->max_m * k));
    *w_ret = bench_memory(b, (size_t)(n * k));
    float *scales = bench_memory(b, (size_t)n * sizeof *scales);
    int code = *x_ret && *w_ret && scales ? 0 : 4;
    if (!code) memcpy(*x_ret, o->x_codes, (size_t)(o->max_m * k));
    if (!code) code = bench_quantize_rows(b, b->cpu_stream, NIB_F32, o->w, n, k, *w_ret, scales);
    free(scales);
    return code;
}

int bench_numbers(bench *b, const void *rows, nib_dtype type, int64_t row, int64_t cols, double *to)
{
    if (type == NIB_I8) {
        for (int64_t i = 0; i < cols; i++) to[i] = ((const int8_t *)rows)[row * cols + i];
        return 0;
    }
    float *floats = bench_memory(b, (size_t)cols * sizeof *floats);
    if (!floats) return 4;
    int code = bench_floats(b, (const uint16_t *)rows + row * cols, type, cols, floats);
    for (int64_t i = 0; i < cols; i++) to[i] = (double)floats[i];
    free(floats);
    return code;
}
