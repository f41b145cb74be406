/* arm_nibble.c - nibble's own products: a plan, copies of its packed weights, one workspace. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

typedef struct nibble_arm {
    const bench_operands *operands;
    nib_ctx *ctx;
    nib_matmul_desc desc;
    nib_matmul *plan;
    nib_matmul_choice choice;
    nib_mem x, x_scales, y, workspace, weights[1024];
    bench_weights w; /* on the host, for the check */
    int64_t m;
} nibble_arm;

enum { MOST_COPIES = sizeof((nibble_arm *)0)->weights / sizeof(nib_mem) };

static int set_m(bench_arm *arm, int64_t m)
{
    nibble_arm *a = arm->self;
    bench_record *r = &arm->record;
    TRY(bench_status(arm->b, nib_matmul_kernel_at(a->plan, m, &a->choice), r->column));
    a->m = m;
    snprintf(r->kernel, sizeof r->kernel, "%s", a->choice.kernel);
    int64_t n = r->shape.n, k = r->shape.k;
    r->operations = 2.0 * (double)m * (double)n * (double)k;
    r->bytes = (double)nib_matmul_weights_bytes(a->plan) +
               (double)(m * k) * (double)bench_type_bytes(a->desc.x_type) +
               (double)(m * n) * (double)bench_type_bytes(a->desc.y_type);
    return 0;
}

static int run(bench_arm *arm, int64_t turn)
{
    nibble_arm *a = arm->self;
    nib_matmul_args args = {.size = sizeof args,
                            .m = a->m,
                            .x = a->x,
                            .x_scales = a->x_scales,
                            .weights = a->weights[turn % arm->copies],
                            .y = a->y,
                            .workspace = a->workspace};
    return bench_status(arm->b, nib_matmul_run(arm->queue.stream, a->plan, &args),
                        arm->record.column);
}

static int wait(bench_arm *arm)
{
    return bench_status(arm->b, nib_sync(arm->queue.stream), arm->record.column);
}

/* ---- the check ---- */

/* Row m of x: rounded to its type, or quantized by `ref`. */
static int activation_row(bench_arm *arm, int64_t m, double *to)
{
    nibble_arm *a = arm->self;
    bench *b = arm->b;
    int64_t k = arm->record.shape.k;
    void *typed = bench_convert(b, a->operands->x + m * k, k, b->spec->type);
    float *row = bench_memory(b, (size_t)k * sizeof *row), scale = 0.0f;
    int8_t *codes = bench_memory(b, (size_t)k);
    int code = typed && row && codes ? 0 : 4;
    if (!code) code = bench_floats(b, typed, b->spec->type, k, row);
    if (!code && a->desc.acts != NIB_ACTS_FLOAT)
        code = bench_quantize_rows(b, b->ref_stream, b->spec->type, typed, 1, k, codes, &scale);
    for (int64_t i = 0; !code && i < k; i++)
        to[i] = a->desc.acts == NIB_ACTS_FLOAT ? (double)row[i] : codes[i] * (double)scale;
    free(typed), free(row), free(codes);
    return code;
}

static int compare(bench_arm *arm, const bench_oracle *o)
{
    nibble_arm *a = arm->self;
    size_t row_bytes = (size_t)arm->record.shape.n * bench_type_bytes(a->desc.y_type);
    char *y = bench_memory(arm->b, row_bytes * BENCH_SAMPLES);
    if (!y) return 4;
    const void *rows[BENCH_SAMPLES] = {0};
    nib_status status = NIB_OK;
    for (int64_t i = 0; i < o->m_count && status == NIB_OK; i++) {
        rows[i] = y + (size_t)i * row_bytes;
        nib_mem from = nib_slice(a->y, (size_t)o->m[i] * row_bytes, row_bytes);
        status = nib_download(arm->queue.stream, y + (size_t)i * row_bytes, from, row_bytes);
    }
    nib_status synced = nib_sync(arm->queue.stream);
    int code = bench_status(arm->b, status != NIB_OK ? status : synced, "download");
    if (!code) code = bench_oracle_check(arm->b, &arm->record, o, rows, a->desc.y_type);
    free(y);
    return code;
}

static int check(bench_arm *arm)
{
    nibble_arm *a = arm->self;
    bench_oracle o;
    int64_t k = arm->record.shape.k;
    int code = bench_oracle_make(arm->b, a->m, arm->record.shape.n, k, &o);
    o.error_class = a->choice.error_class;
    for (int64_t i = 0; i < o.n_count && !code; i++)
        code = bench_weights_row(arm->b, &a->w, o.n[i], o.w + i * k);
    for (int64_t i = 0; i < o.m_count && !code; i++)
        code = activation_row(arm, o.m[i], o.x + i * k);
    if (!code) code = compare(arm, &o);
    bench_oracle_free(&o);
    return code;
}

/* ---- opening ---- */

static void close(bench_arm *arm)
{
    nibble_arm *a = arm->self;
    if (arm->queue.stream) nib_sync(arm->queue.stream);
    for (int64_t i = 0; i < arm->copies; i++) nib_free(a->ctx, &a->weights[i]);
    nib_free(a->ctx, &a->x), nib_free(a->ctx, &a->x_scales);
    nib_free(a->ctx, &a->y), nib_free(a->ctx, &a->workspace);
    nib_matmul_plan_close(a->plan);
    bench_queue_close(&arm->queue);
    bench_weights_free(&a->w);
    free(a);
}

static const bench_calls calls = {set_m, run, wait, check, close};

static int put(bench_arm *arm, const void *data, size_t bytes, nib_mem *mem)
{
    nibble_arm *a = arm->self;
    TRY(bench_status(arm->b, nib_alloc(a->ctx, bytes, mem), "memory"));
    if (!data) return 0;
    TRY(bench_status(arm->b, nib_upload(arm->queue.stream, *mem, data, bytes), "upload"));
    return bench_status(arm->b, nib_sync(arm->queue.stream), "upload");
}

/* Every copy is packed anew from the same planes. */
static int make_weights(bench_arm *arm)
{
    nibble_arm *a = arm->self;
    nib_mem planes[NIB_PLANES] = {0};
    int64_t copies = bench_copies(arm->b, nib_matmul_weights_bytes(a->plan));
    int code = 0;
    for (int p = 0; p < NIB_PLANES && !code; p++)
        if (a->w.bytes[p]) code = put(arm, a->w.planes[p], a->w.bytes[p], &planes[p]);
    for (arm->copies = 0; arm->copies < copies && arm->copies < MOST_COPIES && !code;) {
        nib_mem *to = &a->weights[arm->copies];
        code = put(arm, NULL, nib_matmul_weights_bytes(a->plan), to);
        if (code) break;
        arm->copies++;
        code =
            bench_status(arm->b, nib_matmul_pack(arm->queue.stream, a->plan, planes, *to), "pack");
    }
    if (!code) code = wait(arm);
    for (int p = 0; p < NIB_PLANES; p++) nib_free(a->ctx, &planes[p]);
    return code;
}

static int make_activations(bench_arm *arm)
{
    nibble_arm *a = arm->self;
    const bench_operands *o = a->operands;
    int64_t count = o->max_m * o->shape->k;
    size_t y_bytes = (size_t)(o->max_m * o->shape->n) * bench_type_bytes(a->desc.y_type);
    if (a->desc.acts == NIB_ACTS_CODES) {
        TRY(put(arm, o->x_codes, (size_t)count, &a->x));
        TRY(put(arm, o->x_scales, (size_t)o->max_m * sizeof *o->x_scales, &a->x_scales));
    } else {
        void *x = bench_convert(arm->b, o->x, count, a->desc.x_type);
        int code = x ? put(arm, x, (size_t)count * bench_type_bytes(a->desc.x_type), &a->x) : 4;
        free(x);
        TRY(code);
    }
    TRY(put(arm, NULL, y_bytes, &a->y));
    if (nib_matmul_workspace_bytes(a->plan))
        TRY(put(arm, NULL, nib_matmul_workspace_bytes(a->plan), &a->workspace));
    return bench_status(arm->b, nib_matmul_prepare(arm->queue.stream, a->plan, a->workspace),
                        "prepare");
}

static int describe(bench *b, const bench_operands *o, const bench_column *c, nib_acts acts,
                    nib_matmul_desc *desc)
{
    *desc = (nib_matmul_desc){.size = sizeof *desc,
                              .max_m = o->max_m,
                              .experts = 1,
                              .acts = acts,
                              .x_type = acts == NIB_ACTS_CODES ? NIB_I8 : b->spec->type,
                              .y_type = b->spec->type};
    return bench_quant(b, o->shape, c, &desc->weights);
}

static int open_arm(const bench_operands *o, nib_ctx *ctx, size_t device, const bench_column *c,
                    nib_acts acts, bench_arms *arms)
{
    bench *b = o->b;
    nib_matmul_desc desc;
    nib_matmul *plan;
    char name[BENCH_NAME];
    snprintf(name, sizeof name, "%.30s%s", c->name, acts == NIB_ACTS_CODES ? " codes" : "");
    TRY(describe(b, o, c, acts, &desc));
    nib_status status = nib_matmul_plan_open(ctx, &desc, &plan);
    if (status == NIB_E_UNSUPPORTED) return bench_note(b, name, "%s", nib_last_error());
    TRY(bench_status(b, status, name));
    bench_arm *arm = bench_arm_new(b, arms, &calls, device);
    nibble_arm *a = arm ? calloc(1, sizeof *a) : NULL;
    if (!a) {
        nib_matmul_plan_close(plan);
        return arm ? bench_fail(b, 4, "no memory") : 2;
    }
    arm->self = a;
    *a = (nibble_arm){.operands = o, .ctx = ctx, .desc = desc, .plan = plan};
    memcpy(arm->record.column, name, sizeof name);
    arm->record.group = c->group;
    snprintf(arm->record.by, sizeof arm->record.by, "nibble");
    arm->record.ours = 1;
    arm->record.peak = acts != NIB_ACTS_FLOAT   ? BENCH_INT8
                       : desc.x_type == NIB_F32 ? BENCH_F32
                                                : BENCH_F16;
    TRY(bench_queue_open(b, ctx, &arm->queue));
    TRY(bench_weights_make(o, c, &a->w));
    TRY(make_weights(arm));
    return make_activations(arm);
}

int bench_nibble_arms(const bench_operands *o, nib_ctx *ctx, size_t device, bench_arms *arms)
{
    const bench_spec *spec = o->b->spec;
    for (size_t i = 0; i < spec->column_count; i++) {
        const bench_column *c = &spec->columns[i];
        if (c->act_bits == 16) {
            TRY(open_arm(o, ctx, device, c, NIB_ACTS_FLOAT, arms));
            continue;
        }
        TRY(open_arm(o, ctx, device, c, NIB_ACTS_DYNAMIC, arms));
        TRY(open_arm(o, ctx, device, c, NIB_ACTS_CODES, arms)); /* without quantizing x */
    }
    return 0;
}
