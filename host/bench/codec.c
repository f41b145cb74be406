/* codec.c - quantize and dequantize: whole matrices between a plain type and planes or blocks,
 * against the machine's copy bandwidth. Sampled rows must be those of `ref`, byte for byte. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

typedef struct codec_arm {
    nib_ctx *ctx;
    nib_quant quant;
    nib_block block; /* or NIB_BLOCK_NONE; then they are the first plane, and the only one */
    int quantizes;
    size_t x_bytes, plane_bytes[NIB_PLANES];
    nib_mem x[256], planes[256][NIB_PLANES];
} codec_arm;

enum { MOST_COPIES = 256 };

static int set_m(bench_arm *arm, int64_t m)
{
    codec_arm *a = arm->self;
    (void)m;
    snprintf(arm->record.kernel, sizeof arm->record.kernel, "%s.%s", arm->record.device,
             a->quantizes ? "quantize" : "dequantize");
    arm->record.bytes = (double)a->x_bytes;
    for (int p = 0; p < NIB_PLANES; p++) arm->record.bytes += (double)a->plane_bytes[p];
    return 0;
}

static nib_status move(nib_stream *stream, const codec_arm *a, const nib_quant *q, nib_dtype type,
                       nib_mem x, const nib_mem planes[NIB_PLANES])
{
    const nib_mem none = {0};
    if (a->block && a->quantizes)
        return nib_quantize_blocks(stream, a->block, q->grid.rows, q->grid.cols, type, x, none,
                                   NIB_NONFINITE_ERROR, planes[0], none);
    if (a->block)
        return nib_dequantize_blocks(stream, a->block, q->grid.rows, q->grid.cols, planes[0], type,
                                     x);
    if (!a->quantizes) return nib_dequantize(stream, q, planes, type, x);
    return nib_quantize(stream, q, type, x, NIB_NONFINITE_ERROR, planes, none);
}

static int run(bench_arm *arm, int64_t turn)
{
    codec_arm *a = arm->self;
    int64_t i = turn % arm->copies;
    return bench_status(
        arm->b, move(arm->queue.stream, a, &a->quant, arm->b->spec->type, a->x[i], a->planes[i]),
        arm->record.column);
}

static int wait(bench_arm *arm)
{
    return bench_status(arm->b, nib_sync(arm->queue.stream), arm->record.column);
}

/* ---- the check ---- */

/* Row `r` of every span of a copy, on the host; the spans lie one after another in `to`. */
static int take_row(bench_arm *arm, int64_t copy, int64_t r, char *to,
                    nib_mem spans[1 + NIB_PLANES])
{
    codec_arm *a = arm->self;
    for (int p = -1; p < NIB_PLANES; p++) {
        size_t bytes = (p < 0 ? a->x_bytes : a->plane_bytes[p]) / (size_t)a->quant.grid.rows;
        nib_mem from = p < 0 ? a->x[copy] : a->planes[copy][p];
        spans[p + 1] = nib_wrap(to, bytes);
        if (bytes)
            TRY(bench_status(arm->b,
                             nib_download(arm->queue.stream, to,
                                          nib_slice(from, (size_t)r * bytes, bytes), bytes),
                             "download"));
        to += bytes;
    }
    return wait(arm);
}

/* `ref` makes the row's output anew, over poison; got and made must be the same bytes. */
static int check_row(bench_arm *arm, int64_t r, char *got, char *made, size_t bytes)
{
    codec_arm *a = arm->self;
    nib_mem spans[1 + NIB_PLANES];
    nib_quant row = a->quant;
    TRY(take_row(arm, 0, r, got, spans));
    memcpy(made, got, bytes);
    size_t x_bytes = spans[0].bytes;
    memset(a->quantizes ? made + x_bytes : made, 0xa5, a->quantizes ? bytes - x_bytes : x_bytes);
    for (int p = 0; p <= NIB_PLANES; p++) spans[p].handle = made + ((char *)spans[p].handle - got);
    nib_status status = nib_grid_rows(1, a->quant.grid.cols, a->quant.grid.group, &row.grid);
    if (status == NIB_OK)
        status = move(arm->b->ref_stream, a, &row, arm->b->spec->type, spans[0], spans + 1);
    TRY(bench_status(arm->b, status, "ref"));
    if (!memcmp(got, made, bytes)) return 0;
    return bench_fail(arm->b, 1, "%s of %s on %s, %s: row %lld is not that of ref: not timed",
                      a->quantizes ? "quantize" : "dequantize", arm->record.column,
                      arm->record.device, arm->record.shape.name, (long long)r);
}

static int check(bench_arm *arm)
{
    codec_arm *a = arm->self;
    int64_t rows = a->quant.grid.rows;
    size_t bytes = a->x_bytes / (size_t)rows;
    for (int p = 0; p < NIB_PLANES; p++) bytes += a->plane_bytes[p] / (size_t)rows;
    char *got = bench_memory(arm->b, bytes), *made = bench_memory(arm->b, bytes);
    int code = got && made ? 0 : 4;
    const int64_t sample[] = {0, rows / 3, rows / 2, rows - 1};
    for (size_t i = 0; i < sizeof sample / sizeof *sample && !code; i++)
        code = check_row(arm, sample[i], got, made, bytes);
    free(got), free(made);
    return code;
}

/* ---- opening ---- */

static void close(bench_arm *arm)
{
    codec_arm *a = arm->self;
    if (arm->queue.stream) nib_sync(arm->queue.stream);
    for (int i = 0; i < MOST_COPIES; i++) {
        nib_free(a->ctx, &a->x[i]);
        for (int p = 0; p < NIB_PLANES; p++) nib_free(a->ctx, &a->planes[i][p]);
    }
    bench_queue_close(&arm->queue);
    free(a);
}

static const bench_calls calls = {set_m, run, wait, check, close};

static nib_status plane_bytes(const codec_arm *a, int p, size_t *bytes)
{
    if (!a->block) return nib_plane_bytes(&a->quant, (nib_plane)p, bytes);
    *bytes = 0;
    return p ? NIB_OK : nib_block_bytes(a->block, a->quant.grid.rows, a->quant.grid.cols, bytes);
}

/* The first copy's x is noise, uploaded; the others and the planes are made by the device. */
static int fill(bench_arm *arm, const void *x)
{
    codec_arm *a = arm->self;
    bench *b = arm->b;
    codec_arm forth = *a;
    size_t total = a->x_bytes;
    forth.quantizes = 1;
    for (int p = 0; p < NIB_PLANES; p++) {
        TRY(bench_status(b, plane_bytes(a, p, &a->plane_bytes[p]), "planes"));
        total += a->plane_bytes[p];
    }
    int64_t copies = bench_copies(b, total);
    for (arm->copies = 0; arm->copies < copies && arm->copies < MOST_COPIES; arm->copies++) {
        nib_mem *to = &a->x[arm->copies], *planes = a->planes[arm->copies];
        nib_status status = nib_alloc(a->ctx, a->x_bytes, to);
        if (status == NIB_OK) status = nib_upload(arm->queue.stream, *to, x, a->x_bytes);
        for (int p = 0; p < NIB_PLANES && status == NIB_OK; p++)
            if (a->plane_bytes[p]) status = nib_alloc(a->ctx, a->plane_bytes[p], &planes[p]);
        if (status == NIB_OK)
            status = move(arm->queue.stream, &forth, &a->quant, b->spec->type, *to, planes);
        if (status == NIB_OK) status = nib_sync(arm->queue.stream);
        TRY(bench_status(b, status, "memory"));
    }
    return 0;
}

static int open_arm(bench *b, const bench_shape *shape, nib_ctx *ctx, size_t device,
                    const bench_column *c, const void *x, bench_arms *arms)
{
    bench_arm *arm = bench_arm_new(b, arms, &calls, device);
    codec_arm *a = arm ? calloc(1, sizeof *a) : NULL;
    if (!a) return arm ? bench_fail(b, 4, "no memory") : 2;
    arm->self = a;
    a->ctx = ctx;
    a->block = c->block;
    a->quantizes = b->spec->operation == BENCH_QUANTIZE;
    a->x_bytes = (size_t)(shape->n * shape->k) * bench_type_bytes(b->spec->type);
    snprintf(arm->record.column, sizeof arm->record.column, "%s", c->name);
    arm->record.group = c->group;
    snprintf(arm->record.by, sizeof arm->record.by, "nibble");
    arm->record.ours = 1;
    TRY(bench_quant(b, shape, c, &a->quant));
    TRY(bench_queue_open(b, ctx, &arm->queue));
    return fill(arm, x);
}

int bench_codec_arms(bench *b, const bench_shape *shape, nib_ctx *ctx, size_t device,
                     bench_arms *arms)
{
    bench_operands noise;
    int64_t m = 1;
    bench_spec spec = *b->spec;
    bench quiet = *b;
    spec.m = &m, spec.m_count = 1;
    quiet.spec = &spec;
    int code = bench_operands_make(&quiet, shape, &noise);
    void *x = code ? NULL : bench_convert(b, noise.w, shape->n * shape->k, b->spec->type);
    if (!code && !x) code = 4;
    for (size_t i = 0; i < b->spec->column_count && !code; i++)
        code = open_arm(b, shape, ctx, device, &b->spec->columns[i], x, arms);
    free(x);
    bench_operands_free(&noise);
    return code;
}
