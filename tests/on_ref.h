/* on_ref.h - what the tests of the reference share: an open stream, quantized tensors in guarded
 * planes, and codes as plain numbers. */
#ifndef NIB_ON_REF_H
#define NIB_ON_REF_H

#include "../include/nibble.h"
#include "check.h"

#include <math.h>

static nib_ctx *ref_ctx;
static nib_stream *ref;

static inline void ref_open(void)
{
    CHECK_OK(nib_open("ref", NULL, &ref_ctx));
    CHECK_OK(nib_stream_open(ref_ctx, &ref));
}

static inline void ref_close(void)
{
    nib_stream_close(ref);
    nib_close(ref_ctx);
}

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline size_t size_of(nib_dtype type) { return (size_t)nib_dtype_bits(type) / 8; }

/* `count` floats as an array of `type`. */
static inline check_buffer typed(nib_dtype type, const float *x, int64_t count)
{
    check_buffer b = check_guarded((size_t)count * size_of(type), 0xa5);
    CHECK_OK(nib_convert(ref, count, NIB_F32, nib_wrap((void *)(uintptr_t)x, (size_t)count * 4),
                         type, nib_wrap(b.data, (size_t)count * size_of(type))));
    return b;
}

static inline float element(nib_dtype type, const void *array, int64_t index)
{
    float x = 0;
    size_t size = size_of(type);
    nib_mem from = nib_wrap((char *)(uintptr_t)array + index * (int64_t)size, size);
    CHECK_OK(nib_convert(ref, 1, type, from, NIB_F32, nib_wrap(&x, 4)));
    return x;
}

/* A quantized tensor. */
typedef struct packed {
    check_buffer plane[NIB_PLANES];
    nib_mem mem[NIB_PLANES];
    nib_report report;
} packed;

static inline packed planes_of(const nib_quant *quant)
{
    packed p = {.report = NIB_REPORT_EMPTY};
    for (int i = 0; i < NIB_PLANES; i++) {
        size_t bytes = 0;
        CHECK_OK(nib_plane_bytes(quant, (nib_plane)i, &bytes));
        p.plane[i] = check_guarded(bytes, 0xa5);
        p.mem[i] = nib_wrap(p.plane[i].data, bytes);
    }
    return p;
}

static inline packed quantized(const nib_quant *quant, nib_dtype type, const void *x,
                               nib_nonfinite nonfinite)
{
    packed p = planes_of(quant);
    size_t bytes = (size_t)(quant->grid.rows * quant->grid.cols) * size_of(type);
    CHECK_OK(nib_quantize(ref, quant, type, nib_wrap((void *)(uintptr_t)x, bytes), nonfinite, p.mem,
                          nib_wrap(&p.report, sizeof p.report)));
    return p;
}

static inline void decode(const nib_quant *quant, const packed *p, nib_dtype type, void *y)
{
    size_t bytes = (size_t)(quant->grid.rows * quant->grid.cols) * size_of(type);
    CHECK_OK(nib_dequantize(ref, quant, p->mem, type, nib_wrap(y, bytes)));
}

static inline void release(packed *p)
{
    for (int i = 0; i < NIB_PLANES; i++) check_release(&p->plane[i]);
}

static inline int64_t scale_cols(const nib_grid *g) { return (g->cols + g->group - 1) / g->group; }
static inline int64_t cells_of(const nib_grid *g) { return g->period * scale_cols(g); }
static inline int64_t cell_of(const nib_grid *g, int64_t r, int64_t k)
{
    return r % g->period * scale_cols(g) + k / g->group;
}

/* Code (r, k) of a canonical plane: its row is one long little-endian number. */
static inline int64_t code_at(const nib_quant *q, const packed *p, int64_t r, int64_t k)
{
    int64_t pitch = (q->grid.cols * q->bits + 31) / 32 * 4, first = k * q->bits;
    uint32_t window = 0;
    for (int64_t i = 0; i < 4 && first / 8 + i < pitch; i++)
        window |= (uint32_t)p->plane[NIB_PLANE_CODES].data[r * pitch + first / 8 + i] << (8 * i);
    return (int64_t)(window >> (first % 8)) & ((INT64_C(1) << q->bits) - 1);
}

static inline float scale_at(const nib_quant *q, const packed *p, int64_t cell)
{
    return element(q->scale_type, p->plane[NIB_PLANE_SCALES].data, cell);
}

/* A description with one scale per `group` elements of a row; 0: a row. */
static inline nib_quant by_rows(int64_t rows, int64_t cols, int64_t group, int bits, nib_rule rule,
                                nib_dtype scale_type)
{
    nib_quant q = {
        .bits = bits, .scale_type = scale_type, .rule = rule, .layout = NIB_LAYOUT_CANONICAL};
    CHECK_OK(nib_grid_rows(rows, cols, group, &q.grid));
    return q;
}

#endif
