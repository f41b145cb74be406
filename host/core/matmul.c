/* matmul.c - what is done with a plan: packing weights, preparing a workspace, running. */
#include "matmul.h"

#include "internal.h"
#include "request.h"

/* What every call on a stream asks of it. */
static nib_status check_stream(const nib_stream *stream, const nib_matmul *plan)
{
    if (!stream || !plan) return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", stream ? "plan" : "stream");
    if (stream->ctx == plan->ctx) return NIB_OK;
    return NIB_FAIL(NIB_E_ARGUMENT, "the stream is of %s, the plan of another context",
                    stream->ctx->info.name);
}

/* ---- packing ---- */

nib_status nib_matmul_pack(nib_stream *stream, const nib_matmul *plan,
                           const nib_mem planes[NIB_PLANES], nib_mem weights)
{
    NIB_TRY(check_stream(stream, plan));
    nib_request r = {.op = NIB_OP_PACK, .pack = plan->pack, .args = plan->args};
    if (plan->weights_bytes == 0 || plan->args.rows == 0) return NIB_OK;
    NIB_TRY(nib_request_planes(&r, plan->ctx, planes));
    NIB_TRY(nib_request_mem(plan->ctx, "weights", weights, (int64_t)plan->weights_bytes, 64));
    weights.bytes = plan->weights_bytes;
    for (int i = NIB_CODES; i <= NIB_OFFSETS; i++)
        if (nib_mem_overlap(plan->ctx, &weights, &r.span[i]))
            return NIB_FAIL(NIB_E_ARGUMENT, "weights overlaps a plane");
    r.span[NIB_Y] = weights;
    return plan->ctx->backend->launch(plan->ctx->impl, stream->queue, plan->packer, &r);
}

nib_status nib_matmul_prepare(nib_stream *stream, const nib_matmul *plan, nib_mem workspace)
{
    static const unsigned char zeros[4096];
    NIB_TRY(check_stream(stream, plan));
    if (plan->workspace_bytes)
        NIB_TRY(
            nib_request_mem(plan->ctx, "workspace", workspace, (int64_t)plan->workspace_bytes, 64));
    for (int64_t at = 0; at < plan->counter_bytes; at += (int64_t)sizeof zeros) {
        int64_t rest = plan->counter_bytes - at;
        size_t bytes = rest < (int64_t)sizeof zeros ? (size_t)rest : sizeof zeros;
        NIB_TRY(nib_upload(stream, nib_slice(workspace, (size_t)at, bytes), zeros, bytes));
    }
    const nib_backend *backend = plan->ctx->backend;
    for (int i = 0; i < plan->segment_count && backend->load; i++) {
        const nib_segment *s = &plan->segments[i];
        if (s->kernel) NIB_TRY(backend->load(plan->ctx->impl, stream->queue, s->kernel));
        if (s->acts) NIB_TRY(backend->load(plan->ctx->impl, stream->queue, s->acts));
    }
    return NIB_OK;
}

/* ---- running ---- */

/* Bytes from the first element of `rows` rows to the end of the last. */
static nib_status matrix_bytes(const char *name, int64_t rows, int64_t cols, int64_t pitch,
                               int64_t element, int64_t *bytes_ret)
{
    int64_t bytes;
    if (pitch < cols)
        return NIB_FAIL(NIB_E_SHAPE, "%s_pitch is %lld; it must be %lld or more", name,
                        (long long)pitch, (long long)cols);
    if (!nib_mul(rows - 1, pitch, &bytes) || !nib_add(bytes, cols, &bytes) ||
        !nib_mul(bytes, element, &bytes))
        return NIB_FAIL(NIB_E_OVERFLOW, "the size of %s overflows: %lld rows, %s_pitch %lld", name,
                        (long long)rows, name, (long long)pitch);
    *bytes_ret = bytes;
    return NIB_OK;
}

/* Spans of a run, by the names that the caller knows. */
enum { RUN_X, RUN_X_SCALES, RUN_X_ZEROS, RUN_WEIGHTS, RUN_BIAS, RUN_Y, RUN_WORKSPACE, RUN_SPANS };
static const char *const run_names[RUN_SPANS] = {"x",    "x_scales", "x_zeros",  "weights",
                                                 "bias", "y",        "workspace"};

static int64_t type_bytes(nib_i32 type) { return type ? nib_dtype_bits((nib_dtype)type) / 8 : 0; }

/* Checks every span of a run and cuts it to what the run uses. */
static nib_status check_run(const nib_matmul *plan, const nib_matmul_args *args, const nib_args *a,
                            nib_mem mem[RUN_SPANS])
{
    const nib_mem given[RUN_SPANS] = {args->x,    args->x_scales, args->x_zeros,  args->weights,
                                      args->bias, args->y,        args->workspace};
    const nib_product *p = &a->p;
    int given_scales = p->acts >= NIB_A_STATIC;
    int64_t bytes[RUN_SPANS] = {0}, scales = p->x_one ? 1 : p->m;
    int64_t align[RUN_SPANS] = {type_bytes(a->x_type), 4, 4, 64, type_bytes(p->bias_type),
                                type_bytes(a->y_type), 64};
    if (a->cols) /* of nothing, no span is needed */
        NIB_TRY(matrix_bytes("x", p->m, a->cols, p->x_pitch, align[RUN_X], &bytes[RUN_X]));
    NIB_TRY(matrix_bytes("y", p->m, a->rows, p->y_pitch, align[RUN_Y], &bytes[RUN_Y]));
    bytes[RUN_X_SCALES] = given_scales ? scales * 4 : 0;
    bytes[RUN_X_ZEROS] = given_scales && p->x_zeros ? scales * 4 : 0;
    bytes[RUN_WEIGHTS] = (int64_t)plan->weights_bytes;
    bytes[RUN_BIAS] = a->rows * type_bytes(p->bias_type);
    bytes[RUN_WORKSPACE] = (int64_t)plan->workspace_bytes;
    for (int i = 0; i < RUN_SPANS; i++) {
        mem[i] = (nib_mem){NULL, 0, 0};
        if (!bytes[i]) continue;
        NIB_TRY(nib_request_mem(plan->ctx, run_names[i], given[i], bytes[i], (size_t)align[i]));
        mem[i] = (nib_mem){given[i].handle, given[i].offset, (size_t)bytes[i]};
    }
    for (int i = 0; i < RUN_SPANS; i++)
        for (int j = RUN_Y; j < RUN_SPANS; j++)
            if (i != j && nib_mem_overlap(plan->ctx, &mem[i], &mem[j]))
                return NIB_FAIL(NIB_E_ARGUMENT, "%s overlaps %s", run_names[j], run_names[i]);
    return NIB_OK;
}

static nib_status launch_run(nib_stream *stream, const nib_matmul *plan, const nib_segment *s,
                             nib_request *r, const nib_mem mem[RUN_SPANS])
{
    const nib_backend *backend = plan->ctx->backend;
    nib_mem x = mem[RUN_X];
    if (s->acts) {
        nib_request acts = {.op = NIB_OP_ACTS, .args = r->args};
        nib_mem prepared =
            nib_slice(mem[RUN_WORKSPACE], (size_t)plan->counter_bytes, (size_t)NIB_X_END(r->args));
        acts.span[NIB_X] = x;
        acts.span[NIB_SCALES] = mem[RUN_X_SCALES];
        acts.span[NIB_OFFSETS] = mem[RUN_X_ZEROS];
        acts.span[NIB_OUT] = prepared;
        if (prepared.bytes)
            NIB_TRY(backend->launch(plan->ctx->impl, stream->queue, s->acts, &acts));
        x = prepared;
    }
    r->span[NIB_X] = x;
    r->span[NIB_WEIGHTS] = mem[RUN_WEIGHTS];
    r->span[NIB_BIAS] = mem[RUN_BIAS];
    r->span[NIB_Y] = mem[RUN_Y];
    if (r->args.p.split > 1) {
        r->span[NIB_COUNTERS] = nib_slice(mem[RUN_WORKSPACE], 0, (size_t)plan->counter_bytes);
        r->span[NIB_PARTIALS] =
            nib_slice(mem[RUN_WORKSPACE], (size_t)(plan->counter_bytes + plan->prepared_bytes),
                      (size_t)plan->partial_bytes);
    }
    return backend->launch(plan->ctx->impl, stream->queue, s->kernel, r);
}

nib_status nib_matmul_run(nib_stream *stream, const nib_matmul *plan, const nib_matmul_args *given)
{
    nib_matmul_args own, *args = &own;
    NIB_TRY(check_stream(stream, plan));
    if (!given) return NIB_FAIL(NIB_E_ARGUMENT, "args is NULL");
    NIB_TRY(nib_take_given("args", "nib_matmul_args", given, sizeof own, &own, sizeof own));
    if (args->m < 0 || args->m > plan->args.p.m)
        return NIB_FAIL(NIB_E_SHAPE, "m is %lld; the plan takes 0 to %lld", (long long)args->m,
                        (long long)plan->args.p.m);
    if (args->m == 0 || plan->args.rows == 0) return NIB_OK;
    const nib_segment *s = plan->segments;
    while (s->to_m < args->m) s++;
    if (!s->kernel)
        return NIB_FAIL(NIB_E_UNSUPPORTED, "the kernel that was named does not serve m = %lld",
                        (long long)args->m);
    nib_request r = {.op = NIB_OP_MATMUL, .pack = plan->pack, .args = plan->args};
    nib_matmul_for_kernel(&r.args, s->kernel, args->m);
    r.args.p.x_pitch = args->x_pitch ? args->x_pitch : r.args.cols;
    r.args.p.y_pitch = args->y_pitch ? args->y_pitch : r.args.rows;
    r.args.p.split = nib_matmul_split(plan, s->kernel, &r.args);
    nib_mem mem[RUN_SPANS];
    NIB_TRY(check_run(plan, args, &r.args, mem));
    return launch_run(stream, plan, s, &r, mem);
}
