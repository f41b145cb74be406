/* matmul_plan.c - plans: which kernels serve which M, how much memory they need, and telling it. */
#include "matmul.h"

#include "internal.h"
#include "request.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)NIB_A_CODES == (int)NIB_ACTS_CODES && (int)NIB_T_I8 == (int)NIB_I8,
               "args.h and nibble_matmul.h name one number");

enum {
    SPLIT_ROWS = 4096, /* tiles along M, and tiles, beyond which K is never shared: */
    SPLIT_TILES = 4096 /* no device has more blocks at once */
};

/* ---- opening ---- */

/* The first row of `op` that accepts; NULL where none does. */
static const nib_kernel *find_row(const nib_ctx *ctx, const nib_request *request,
                                  const char *forced)
{
    for (size_t i = 0; i < ctx->backend->kernel_count; i++) {
        const nib_kernel *kernel = &ctx->backend->kernels[i];
        if (kernel->op == request->op && (!forced || !strcmp(forced, kernel->name)) &&
            !nib_kernel_refusal(kernel, ctx->features, request))
            return kernel;
    }
    return NULL;
}

/* The lowest M above `m` at which a row begins or has ended; INT64_MAX where there is none. */
static int64_t next_edge(const nib_backend *backend, int64_t m)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < backend->kernel_count; i++) {
        const nib_matmul_row *row = &backend->kernels[i].matmul;
        if (row->from_m > m && row->from_m < next) next = row->from_m;
        if (row->to_m >= m && row->to_m != 0 && row->to_m + 1 < next) next = row->to_m + 1;
    }
    return next;
}

void nib_matmul_for_kernel(nib_args *a, const nib_kernel *kernel, int64_t m)
{
    const nib_matmul_row *row = &kernel->matmul;
    a->p.m = m;
    a->p.x_form = row->x_form;
    a->p.tile_m = row->tile_m;
    a->p.tile_n = row->tile_n;
    a->p.x_rows = nib_ceil_div(m, row->tile_m) * row->tile_m;
}

/* Fills plan->segments for the plan's pack; whether every M of 1..max_m has a kernel. */
static int fill_segments(nib_matmul *plan, const char *forced)
{
    nib_request r = {.op = NIB_OP_MATMUL, .pack = plan->pack, .args = plan->args};
    int covered = 1;
    plan->segment_count = 0;
    for (int64_t m = 1, next; m <= plan->args.p.m; m = next) {
        next = next_edge(plan->ctx->backend, m);
        nib_segment s = {next - 1, NULL, NULL};
        r.args.p.m = m;
        s.kernel = find_row(plan->ctx, &r, forced);
        if (s.kernel && s.kernel->matmul.x_form) {
            nib_request acts = {.op = NIB_OP_ACTS, .args = plan->args};
            nib_matmul_for_kernel(&acts.args, s.kernel, m);
            s.acts = find_row(plan->ctx, &acts, NULL);
            if (!s.acts) s.kernel = NULL;
        }
        covered &= s.kernel != NULL;
        nib_segment *last = plan->segment_count ? &plan->segments[plan->segment_count - 1] : NULL;
        if (last && last->kernel == s.kernel) last->to_m = s.to_m;
        else if (plan->segment_count < NIB_MATMUL_SEGMENTS)
            plan->segments[plan->segment_count++] = s;
        else return 0;
    }
    return covered;
}

static int any_segment(const nib_matmul *plan)
{
    for (int i = 0; i < plan->segment_count; i++)
        if (plan->segments[i].kernel) return 1;
    return 0;
}

/* The pack of the best row that accepts, together with rows for every other M. */
static nib_status choose_pack(nib_matmul *plan, const char *forced)
{
    const nib_backend *backend = plan->ctx->backend;
    uint32_t tried = 0;
    for (size_t i = 0; i < backend->kernel_count; i++) {
        const nib_kernel *kernel = &backend->kernels[i];
        if (kernel->op != NIB_OP_MATMUL || (tried >> kernel->matmul.pack & 1)) continue;
        if (forced && strcmp(forced, kernel->name)) continue;
        tried |= NIB_BIT(kernel->matmul.pack);
        plan->pack = kernel->matmul.pack;
        NIB_TRY(nib_pack_numbers(plan->pack, &plan->args, &plan->weights_bytes));
        nib_request r = {.op = NIB_OP_PACK, .pack = plan->pack, .args = plan->args};
        plan->packer = find_row(plan->ctx, &r, NULL);
        if (!plan->packer) continue;
        if (fill_segments(plan, forced) || (forced && any_segment(plan))) return NIB_OK;
    }
    return NIB_FAIL(NIB_E_UNSUPPORTED,
                    "%s: no kernel%s%s multiplies %d-bit weights, groups of %lld, by such "
                    "activations (`nibble explain` says why)",
                    plan->ctx->info.name, forced ? " named " : "", forced ? forced : "",
                    plan->args.bits, (long long)plan->args.group);
}

int32_t nib_matmul_split(const nib_matmul *plan, const nib_kernel *kernel, const nib_args *a)
{
    int64_t m_tiles = nib_ceil_div(a->p.m, a->p.tile_m);
    if (!kernel->matmul.split || m_tiles > SPLIT_ROWS) return 1;
    int64_t tiles = m_tiles * nib_ceil_div(a->rows, a->p.tile_n);
    if (tiles > SPLIT_TILES) return 1;
    int32_t split = kernel->matmul.split(a, tiles, plan->ctx->info.units);
    return split < 1 ? 1 : split;
}

static int64_t round_64(int64_t bytes) { return nib_ceil_div(bytes, 64) * 64; }

static void grow(int64_t *most, int64_t bytes)
{
    if (round_64(bytes) > *most) *most = round_64(bytes);
}

/* What `m` rows need of each part of the workspace. */
static nib_status add_needs(nib_matmul *plan, const nib_segment *s, int64_t m)
{
    nib_args a = plan->args;
    int64_t elements, product;
    nib_matmul_for_kernel(&a, s->kernel, m);
    if (!nib_mul(a.p.x_rows, a.p.pack_cols, &elements) || !nib_mul(elements, 16, &product) ||
        !nib_mul(a.p.x_rows, a.scale_cols, &product) || !nib_mul(product, 8, &product))
        return NIB_FAIL(NIB_E_OVERFLOW, "the workspace's size overflows; max_m is %lld",
                        (long long)plan->args.p.m);
    if (a.p.x_form) grow(&plan->prepared_bytes, NIB_X_END(a));
    a.p.split = nib_matmul_split(plan, s->kernel, &a);
    if (a.p.split == 1) return NIB_OK;
    int64_t tiles = nib_item_count(NIB_ITEM_TILE, &a) / a.p.split;
    grow(&plan->partial_bytes, tiles * a.p.split * a.p.tile_m * a.p.tile_n * 4);
    return NIB_OK;
}

static nib_status measure_workspace(nib_matmul *plan)
{
    int64_t from = 1, total;
    for (int i = 0; i < plan->segment_count; from = plan->segments[i++].to_m + 1) {
        const nib_segment *s = &plan->segments[i];
        int64_t to = s->to_m < plan->args.p.m ? s->to_m : plan->args.p.m;
        if (!s->kernel) continue;
        NIB_TRY(add_needs(plan, s, to));
        int64_t step = s->kernel->matmul.tile_m, rows = 0;
        for (int64_t m = from; s->kernel->matmul.split && m <= to && rows < SPLIT_ROWS;
             m += step, rows++)
            NIB_TRY(add_needs(plan, s, m));
    }
    for (size_t i = 0; i < plan->ctx->backend->kernel_count; i++)
        if (plan->ctx->backend->kernels[i].matmul.split &&
            plan->prepared_bytes + plan->partial_bytes)
            plan->counter_bytes = SPLIT_TILES * 4;
    if (!nib_add(plan->prepared_bytes, plan->counter_bytes, &total) ||
        !nib_add(plan->partial_bytes, total, &total))
        return NIB_FAIL(NIB_E_OVERFLOW, "the workspace's size overflows");
    plan->workspace_bytes = (size_t)total;
    return NIB_OK;
}

nib_status nib_matmul_plan_forced(nib_ctx *ctx, const nib_matmul_desc *desc, const char *forced,
                                  nib_matmul **plan_ret)
{
    nib_args args;
    if (!ctx || !plan_ret) return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", ctx ? "plan_ret" : "ctx");
    NIB_TRY(nib_matmul_numbers(desc, &args));
    nib_matmul *plan = calloc(1, sizeof *plan);
    if (!plan) return NIB_FAIL(NIB_E_MEMORY, "no memory for a plan (%zu bytes)", sizeof *plan);
    plan->ctx = ctx;
    plan->args = args;
    nib_status status = choose_pack(plan, forced);
    if (status == NIB_OK) status = measure_workspace(plan);
    if (status != NIB_OK) {
        free(plan);
        return status;
    }
    *plan_ret = plan;
    return NIB_OK;
}

/* The row that NIBBLE_KERNEL names, where it is one that multiplies. */
static const char *named_kernel(const nib_ctx *ctx)
{
    const char *name = nib_env_get(NIB_ENV_KERNEL);
    for (size_t i = 0; name && i < ctx->backend->kernel_count; i++)
        if (ctx->backend->kernels[i].op == NIB_OP_MATMUL &&
            !strcmp(name, ctx->backend->kernels[i].name))
            return name;
    return NULL;
}

nib_status nib_matmul_plan_open(nib_ctx *ctx, const nib_matmul_desc *desc, nib_matmul **plan_ret)
{
    return nib_matmul_plan_forced(ctx, desc, ctx ? named_kernel(ctx) : NULL, plan_ret);
}

void nib_matmul_plan_close(nib_matmul *plan) { free(plan); }

size_t nib_matmul_weights_bytes(const nib_matmul *plan) { return plan ? plan->weights_bytes : 0; }
size_t nib_matmul_workspace_bytes(const nib_matmul *plan)
{
    return plan ? plan->workspace_bytes : 0;
}

/* ---- telling ---- */

/* Where segment `i` of the plan begins, and its kernel. */
static nib_matmul_choice choice_of(const nib_matmul *plan, int i)
{
    const nib_segment *s = &plan->segments[i];
    int64_t most = plan->args.p.m;
    return (nib_matmul_choice){.kernel = s->kernel->name,
                               .from_m = i ? plan->segments[i - 1].to_m + 1 : 1,
                               .to_m = s->to_m < most ? s->to_m : most,
                               .error_class = s->kernel->matmul.error_class};
}

nib_status nib_matmul_kernel_at(const nib_matmul *plan, int64_t m, nib_matmul_choice *choice_ret)
{
    int i = 0;
    if (!plan || !choice_ret)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", plan ? "choice_ret" : "plan");
    if (m < 1 || m > plan->args.p.m)
        return NIB_FAIL(NIB_E_SHAPE, "m is %lld; the plan has kernels for 1 to %lld", (long long)m,
                        (long long)plan->args.p.m);
    while (plan->segments[i].to_m < m) i++;
    if (!plan->segments[i].kernel)
        return NIB_FAIL(NIB_E_UNSUPPORTED, "the kernel that was named does not serve m = %lld",
                        (long long)m);
    *choice_ret = choice_of(plan, i);
    return NIB_OK;
}

/* Why a row that accepts the product runs for no M of a plan; NULL and its range where it does. */
static const char *find_range(nib_ctx *ctx, const nib_matmul_desc *desc, const nib_kernel *row,
                              nib_matmul_choice *choice)
{
    const char *refusal = "a kernel above it serves the same M", *forced = named_kernel(ctx);
    nib_matmul *plan;
    if (forced && strcmp(forced, row->name)) return "NIBBLE_KERNEL names another";
    if (nib_matmul_plan_open(ctx, desc, &plan) != NIB_OK)
        return "no plan can be made (nib_matmul_plan_open says why)";
    for (int i = plan->segment_count - 1; i >= 0; i--)
        if (plan->segments[i].kernel == row) *choice = choice_of(plan, i), refusal = NULL;
    nib_matmul_plan_close(plan);
    return refusal;
}

int nib_matmul_choice_at(nib_ctx *ctx, const nib_matmul_desc *desc, size_t index,
                         nib_matmul_choice *choice_ret)
{
    nib_request r = {.op = NIB_OP_MATMUL};
    const nib_kernel *row = NULL;
    size_t bytes, seen = 0;
    if (!ctx || !choice_ret) {
        NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", ctx ? "choice_ret" : "ctx");
        return 0;
    }
    if (nib_matmul_numbers(desc, &r.args) != NIB_OK) return 0;
    for (size_t i = 0; i < ctx->backend->kernel_count && !row; i++)
        if (ctx->backend->kernels[i].op == NIB_OP_MATMUL && seen++ == index)
            row = &ctx->backend->kernels[i];
    if (!row) return 0;
    nib_matmul_choice choice = {row->name, NULL, 0, 0, row->matmul.error_class};
    int64_t most = r.args.p.m;
    r.pack = row->matmul.pack;
    r.args.p.m = row->matmul.from_m > 1 ? row->matmul.from_m : 1;
    if (nib_pack_numbers(r.pack, &r.args, &bytes) != NIB_OK) return 0;
    choice.refusal = nib_kernel_refusal(row, ctx->features, &r);
    if (!choice.refusal && r.args.p.m > most) choice.refusal = "it serves larger M alone";
    if (!choice.refusal) choice.refusal = find_range(ctx, desc, row, &choice);
    *choice_ret = choice;
    return 1;
}
