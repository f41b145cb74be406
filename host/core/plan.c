/* plan.c - the only dispatcher: walks the backend's kernel rows, best first, and takes the first
 * that accepts. */
#include "backend.h"
#include "internal.h"

#include <stdio.h>
#include <string.h>

int64_t nib_item_count(nib_item item, const nib_args *a)
{
    switch (item) {
    case NIB_ITEM_NONE: return 0;
    case NIB_ITEM_CELL: return a->period * a->scale_cols;
    case NIB_ITEM_ROW: return a->rows;
    case NIB_ITEM_RUN: return a->rows * nib_ceil_div(a->cols, 32);
    case NIB_ITEM_OCTET: return a->rows * nib_ceil_div(a->cols, 8);
    case NIB_ITEM_BLOCK:
        return a->segment ? a->rows * nib_ceil_div(a->cols, a->segment) * a->segment_blocks : 0;
    case NIB_ITEM_CHUNK: return nib_ceil_div(a->rows * a->cols, 1024);
    case NIB_ITEM_BYTE: return a->other.streams * a->other.pitch;
    case NIB_ITEM_PANEL: return a->p.tile_n ? a->p.pack_rows / a->p.tile_n : 0;
    case NIB_ITEM_TOKEN: return a->p.x_rows;
    case NIB_ITEM_TILE:
        return nib_ceil_div(a->p.m, a->p.tile_m) * nib_ceil_div(a->rows, a->p.tile_n) * a->p.split;
    case NIB_ITEM_ALL: return 1;
    }
    return 0;
}

static int accepts(uint32_t mask, int number)
{
    return mask == NIB_ANY || (number >= 0 && number < 32 && (mask >> number & 1));
}

/* Whether pieces of `length` columns begin at multiples of `of`. */
static int begin_at(const nib_args *a, int64_t length, int64_t of)
{
    return length == a->cols || length % of == 0;
}

static int aligned(const nib_mem *mem, uintptr_t of)
{
    return ((uintptr_t)mem->handle + mem->offset) % of == 0;
}

/* Every condition of kernel.h, with the words of its refusal. */
static const char *condition_refusal(uint32_t conditions, const nib_request *r)
{
    const nib_args *a = &r->args;
    int warp_group = a->group == 32 || a->group == 64 || a->group == 128 || a->group == 256;
    int align16 = aligned(&r->span[NIB_X], 16) && aligned(&r->span[NIB_Y], 16) &&
                  aligned(&r->span[NIB_CODES], 16) && a->cols % 8 == 0;
    const struct {
        uint32_t condition;
        int holds;
        const char *refusal;
    } checks[] = {
        {NIB_IF_ROWS, a->period == a->rows, "scales shared between rows"},
        {NIB_IF_CODES, a->bits != 0, "plain elements"},
        {NIB_IF_PLAIN, a->bits == 0, "codes"},
        {NIB_IF_GROUP8, begin_at(a, a->group, 8), "group is no multiple of 8"},
        {NIB_IF_GROUP32, begin_at(a, a->group, 32), "group is no multiple of 32"},
        {NIB_IF_GROUP64, begin_at(a, a->group, 64), "group is no multiple of 64"},
        {NIB_IF_SEGMENT32, begin_at(a, a->segment, 32), "segment is no multiple of 32"},
        {NIB_IF_ONE_GROUP, a->group == a->cols, "more than one group a row"},
        {NIB_IF_WARP_GROUP, warp_group && a->cols % a->group == 0,
         "group is not 32, 64, 128 or 256, or cut short"},
        {NIB_IF_ALIGN16, align16, "not aligned to 16 bytes, or cols no multiple of 8"},
        {NIB_IF_NO_SUMS, a->weights != NIB_W_ROW, "weights that need a sum over the row"},
    };
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if ((conditions & checks[i].condition) && !checks[i].holds) return checks[i].refusal;
    return NULL;
}

const char *nib_kernel_refusal(const nib_kernel *k, uint32_t features, const nib_request *r)
{
    const nib_args *a = &r->args;
    if (k->op != r->op) return "another operation";
    if ((k->features & features) != k->features) return "the device lacks the feature";
    if (!accepts(k->bits, a->bits)) return "bits";
    if (!accepts(k->x_types, a->x_type)) return "type of x";
    if (!accepts(k->y_types, a->y_type)) return "type of y";
    if (!accepts(k->scale_types, a->scale_type)) return "type of the scales";
    if (!accepts(k->offsets, a->offset)) return "offset";
    if (k->blocks && !accepts(k->blocks, a->form.block)) return "block type";
    if (k->max_cols && a->cols > k->max_cols) return "too many columns";
    if (k->matmul.pack != r->pack && r->pack != NIB_PACK_NONE) return "another packing of weights";
    if (r->op == NIB_OP_MATMUL) {
        int integers = k->matmul.x_form == NIB_T_I8;
        if (integers != (a->p.acts != NIB_A_FLOAT))
            return integers ? "multiplies int8 activations" : "multiplies float activations";
        if (a->p.m < k->matmul.from_m) return "M is too small";
        if (k->matmul.to_m && a->p.m > k->matmul.to_m) return "M is too large";
    }
    return condition_refusal(k->conditions, r);
}

nib_status nib_plan(const nib_ctx *ctx, const nib_request *request, const char *forced,
                    const nib_kernel **kernel_ret)
{
    const nib_backend *backend = ctx->backend;
    const char *environment = forced ? NULL : nib_env_get(NIB_ENV_KERNEL);
    char reasons[512] = "";
    int named = 0; /* NIBBLE_KERNEL names a row of this operation */
    for (size_t i = 0; environment && i < backend->kernel_count; i++)
        named |=
            backend->kernels[i].op == request->op && !strcmp(backend->kernels[i].name, environment);
    if (named) forced = environment;
    for (size_t i = 0; i < backend->kernel_count; i++) {
        const nib_kernel *kernel = &backend->kernels[i];
        if (kernel->op != request->op || (forced && strcmp(kernel->name, forced))) continue;
        const char *refusal = nib_kernel_refusal(kernel, ctx->features, request);
        if (!refusal) {
            *kernel_ret = kernel;
            return NIB_OK;
        }
        size_t used = strlen(reasons);
        snprintf(reasons + used, sizeof reasons - used, "%s%s: %s", used ? "; " : "", kernel->name,
                 refusal);
    }
    if (!reasons[0])
        return NIB_FAIL(NIB_E_UNSUPPORTED, "%s: no kernel is named %s", backend->name,
                        forced ? forced : "so");
    return NIB_FAIL(NIB_E_UNSUPPORTED, "no kernel of %s accepts this (%d bits): %s", ctx->info.name,
                    request->args.bits, reasons);
}

nib_status nib_run(nib_stream *stream, const nib_request *request, const char *forced)
{
    const nib_kernel *kernel;
    NIB_TRY(nib_plan(stream->ctx, request, forced, &kernel));
    if (nib_item_count(kernel->launch[0].item, &request->args) == 0) return NIB_OK;
    return stream->ctx->backend->launch(stream->ctx->impl, stream->queue, kernel, request);
}
