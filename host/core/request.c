/* request.c - validates a call and works out its numbers, so that kernels check nothing. */
#include "request.h"

#include "internal.h"
#include "scheme.h"

#define SAME(a, b) _Static_assert((int)(a) == (int)(b), "args.h and nibble.h name one number")
SAME(NIB_T_F32, NIB_F32);
SAME(NIB_T_F16, NIB_F16);
SAME(NIB_T_BF16, NIB_BF16);
SAME(NIB_O_NONE, NIB_OFFSET_NONE);
SAME(NIB_O_ZERO, NIB_OFFSET_ZERO);
SAME(NIB_O_MIN, NIB_OFFSET_MIN);
SAME(NIB_N_ERROR, NIB_NONFINITE_ERROR);
SAME(NIB_N_ZERO, NIB_NONFINITE_ZERO);
SAME(NIB_N_SATURATE, NIB_NONFINITE_SATURATE);
_Static_assert(sizeof(nib_args) == 320,
               "args.h states the size that every backend passes by value");

static const char *const span_names[NIB_SPANS] = {"x", "codes", "scales", "offsets",
                                                  "y", "out",   "report"};

nib_status nib_request_type(const char *what, nib_dtype type)
{
    if (nib_is_float(type)) return NIB_OK;
    return NIB_FAIL(NIB_E_ARGUMENT, "%s is %d (%s); it must be F32, F16 or BF16", what, (int)type,
                    nib_dtype_name(type));
}

nib_status nib_request_nonfinite(nib_nonfinite nonfinite)
{
    if (nonfinite >= NIB_NONFINITE_ERROR && nonfinite <= NIB_NONFINITE_SATURATE) return NIB_OK;
    return NIB_FAIL(NIB_E_ARGUMENT, "nonfinite is %d; it must be 0 to 2", (int)nonfinite);
}

nib_status nib_request_mem(const nib_ctx *ctx, const char *name, nib_mem mem, int64_t bytes,
                           size_t align)
{
    if (!mem.handle)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL; it needs %lld bytes", name, (long long)bytes);
    if ((uint64_t)mem.bytes < (uint64_t)bytes)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s has %zu bytes; it needs %lld", name, mem.bytes,
                        (long long)bytes);
    uintptr_t address = mem.offset + (ctx->backend->host_memory ? (uintptr_t)mem.handle : 0);
    if (address % align)
        return NIB_FAIL(NIB_E_ALIGN, "%s begins at byte %llu; it must be a multiple of %zu", name,
                        (unsigned long long)address, align);
    return NIB_OK;
}

nib_status nib_request_put(nib_request *r, const nib_ctx *ctx, int role, const char *name,
                           nib_mem mem, int64_t bytes, size_t align)
{
    if (bytes == 0) return NIB_OK;
    NIB_TRY(nib_request_mem(ctx, name, mem, bytes, align));
    mem.bytes = (size_t)bytes;
    r->span[role] = mem;
    return NIB_OK;
}

int nib_mem_overlap(const nib_ctx *ctx, const nib_mem *a, const nib_mem *b)
{
    int host = ctx->backend->host_memory;
    if (!a->handle || !b->handle || (!host && a->handle != b->handle)) return 0;
    uintptr_t a0 = a->offset + (host ? (uintptr_t)a->handle : 0);
    uintptr_t b0 = b->offset + (host ? (uintptr_t)b->handle : 0);
    return a0 < b0 + b->bytes && b0 < a0 + a->bytes;
}

static nib_status put(nib_request *r, const nib_ctx *ctx, int role, nib_mem mem, int64_t bytes,
                      size_t align)
{
    return nib_request_put(r, ctx, role, span_names[role], mem, bytes, align);
}

nib_status nib_request_overlap(const nib_request *r, const nib_ctx *ctx, unsigned written,
                               const char *const names[NIB_SPANS])
{
    for (int i = 0; i < NIB_SPANS; i++)
        for (int j = 0; j < NIB_SPANS; j++) {
            if (i == j || !(written >> i & 1)) continue;
            if (nib_mem_overlap(ctx, &r->span[i], &r->span[j]))
                return NIB_FAIL(NIB_E_ARGUMENT, "%s overlaps %s", names[i], names[j]);
        }
    return NIB_OK;
}

static nib_status check_overlap(const nib_request *r, const nib_ctx *ctx, unsigned written)
{
    return nib_request_overlap(r, ctx, written, span_names);
}

static size_t type_bytes(nib_dtype type) { return (size_t)nib_dtype_bits(type) / 8; }

static int64_t elements(const nib_args *a) { return a->rows * a->cols; }

static void set_grid(nib_args *a, const nib_grid *grid)
{
    int empty = grid->rows == 0 || grid->cols == 0;
    a->rows = grid->rows;
    a->cols = grid->cols;
    a->period = empty ? 0 : grid->period;
    a->group = empty ? 1 : grid->group;
    a->scale_cols = empty ? 0 : nib_ceil_div(grid->cols, grid->group);
}

nib_status nib_request_quant(nib_request *r, const nib_quant *quant, int with_zeros)
{
    const nib_rule_row *rule;
    const nib_layout_row *layout;
    NIB_TRY(nib_quant_check(quant, &rule, &layout));
    nib_args *a = &r->args;
    set_grid(a, &quant->grid);
    a->bits = quant->bits;
    a->scale_type = (nib_i32)quant->scale_type;
    a->offset = (nib_i32)rule->offset;
    a->range = rule->range;
    a->divisor = rule->divisor;
    a->low = rule->low;
    a->empty = rule->empty;
    NIB_TRY(nib_place_make(&layout->codes, a->rows, a->cols, a->bits, &a->codes));
    if (a->codes.axis != NIB_AXIS_COLS || a->codes.strided)
        return NIB_FAIL(NIB_E_UNSUPPORTED,
                        "layout %s does not store codes in rows; repack it to canonical first",
                        layout->name);
    if (!with_zeros || rule->offset != NIB_OFFSET_ZERO) return NIB_OK;
    NIB_TRY(nib_place_make(&layout->zeros, a->period, a->scale_cols, a->bits, &a->other));
    if (a->other.axis != NIB_AXIS_COLS || a->other.strided || a->other.width % 8)
        return NIB_FAIL(NIB_E_UNSUPPORTED,
                        "layout %s packs zeros; use layout canonical and repack the zeros to it",
                        layout->name);
    return NIB_OK;
}

static size_t code_align(const nib_args *a)
{
    return a->codes.pitch % 4 == 0 && a->codes.width != 8 ? 4 : a->codes.width == 16 ? 2 : 1;
}

nib_status nib_request_planes(nib_request *r, const nib_ctx *ctx, const nib_mem planes[NIB_PLANES])
{
    const nib_args *a = &r->args;
    if (!planes) return NIB_FAIL(NIB_E_ARGUMENT, "planes is NULL");
    size_t scale_size = type_bytes((nib_dtype)a->scale_type),
           zero_size = (size_t)a->other.width / 8;
    int64_t cells = a->period * a->scale_cols;
    NIB_TRY(put(r, ctx, NIB_CODES, planes[NIB_PLANE_CODES], a->codes.streams * a->codes.pitch,
                code_align(a)));
    NIB_TRY(
        put(r, ctx, NIB_SCALES, planes[NIB_PLANE_SCALES], cells * (int64_t)scale_size, scale_size));
    if (a->offset == NIB_OFFSET_ZERO)
        return put(r, ctx, NIB_OFFSETS, planes[NIB_PLANE_OFFSETS],
                   a->other.streams * a->other.pitch, zero_size);
    if (a->offset == NIB_OFFSET_MIN)
        return put(r, ctx, NIB_OFFSETS, planes[NIB_PLANE_OFFSETS], cells * (int64_t)scale_size,
                   scale_size);
    return NIB_OK;
}

static nib_status put_elements(nib_request *r, const nib_ctx *ctx, int role, const char *what,
                               nib_dtype type, nib_mem mem)
{
    NIB_TRY(nib_request_type(what, type));
    if (role == NIB_X) r->args.x_type = (nib_i32)type;
    else r->args.y_type = (nib_i32)type;
    return put(r, ctx, role, mem, elements(&r->args) * (int64_t)type_bytes(type), type_bytes(type));
}

static nib_status put_report(nib_request *r, const nib_ctx *ctx, nib_mem report)
{
    if (!report.handle) return NIB_OK;
    r->args.has_report = 1;
    return put(r, ctx, NIB_REPORT, report, sizeof(nib_report), sizeof(uint32_t));
}

nib_status nib_request_ranges(const nib_ctx *ctx, const nib_grid *grid, nib_dtype type, nib_mem x,
                              nib_nonfinite nonfinite, nib_mem ranges, nib_mem report,
                              nib_request *request_ret)
{
    nib_request r = {.op = NIB_OP_RANGES};
    NIB_TRY(nib_grid_check(grid));
    NIB_TRY(nib_request_nonfinite(nonfinite));
    set_grid(&r.args, grid);
    r.args.nonfinite = (nib_i32)nonfinite;
    NIB_TRY(put_elements(&r, ctx, NIB_X, "type", type, x));
    int64_t bytes;
    if (!nib_mul(r.args.period * r.args.scale_cols, sizeof(nib_range), &bytes))
        return NIB_FAIL(NIB_E_OVERFLOW, "the ranges' size overflows");
    NIB_TRY(put(&r, ctx, NIB_OUT, ranges, bytes, sizeof(float)));
    NIB_TRY(put_report(&r, ctx, report));
    NIB_TRY(check_overlap(&r, ctx, NIB_BIT(NIB_OUT) | NIB_BIT(NIB_REPORT)));
    *request_ret = r;
    return NIB_OK;
}

nib_status nib_request_quantize(const nib_ctx *ctx, const nib_quant *quant, nib_dtype type,
                                nib_mem x, nib_nonfinite nonfinite,
                                const nib_mem planes[NIB_PLANES], nib_mem report,
                                nib_request *request_ret)
{
    nib_request r = {.op = NIB_OP_QUANTIZE};
    NIB_TRY(nib_request_quant(&r, quant, 1));
    NIB_TRY(nib_request_nonfinite(nonfinite));
    r.args.nonfinite = (nib_i32)nonfinite;
    NIB_TRY(put_elements(&r, ctx, NIB_X, "type", type, x));
    NIB_TRY(nib_request_planes(&r, ctx, planes));
    NIB_TRY(put_report(&r, ctx, report));
    NIB_TRY(check_overlap(&r, ctx,
                          NIB_BIT(NIB_CODES) | NIB_BIT(NIB_SCALES) | NIB_BIT(NIB_OFFSETS) |
                              NIB_BIT(NIB_REPORT)));
    *request_ret = r;
    return NIB_OK;
}

nib_status nib_request_dequantize(const nib_ctx *ctx, const nib_quant *quant,
                                  const nib_mem planes[NIB_PLANES], nib_dtype type, nib_mem y,
                                  nib_request *request_ret)
{
    nib_request r = {.op = NIB_OP_DEQUANTIZE};
    NIB_TRY(nib_request_quant(&r, quant, 1));
    NIB_TRY(nib_request_planes(&r, ctx, planes));
    NIB_TRY(put_elements(&r, ctx, NIB_Y, "type", type, y));
    NIB_TRY(check_overlap(&r, ctx, NIB_BIT(NIB_Y)));
    *request_ret = r;
    return NIB_OK;
}

nib_status nib_request_repack(const nib_ctx *ctx, const nib_quant *quant, nib_plane plane,
                              nib_mem src, nib_layout layout, nib_mem dst, nib_request *request_ret)
{
    nib_request r = {.op = NIB_OP_REPACK};
    nib_quant target = quant ? *quant : (nib_quant){.bits = 0};
    const nib_rule_row *rule;
    const nib_layout_row *from, *to;
    target.layout = layout;
    NIB_TRY(nib_quant_check(quant, &rule, &from));
    if (!nib_layout_find(layout))
        return NIB_FAIL(NIB_E_ARGUMENT, "layout is %d, which is no layout", (int)layout);
    NIB_TRY(nib_quant_check(&target, NULL, &to));
    set_grid(&r.args, &quant->grid);
    r.args.bits = quant->bits;
    if (plane != NIB_PLANE_CODES && (plane != NIB_PLANE_OFFSETS || rule->offset != NIB_OFFSET_ZERO))
        return NIB_FAIL(NIB_E_ARGUMENT, "plane is %d; only codes and zeros are repacked",
                        (int)plane);
    int codes = plane == NIB_PLANE_CODES;
    int64_t rows = codes ? r.args.rows : r.args.period,
            cols = codes ? r.args.cols : r.args.scale_cols;
    NIB_TRY(nib_place_make(codes ? &from->codes : &from->zeros, rows, cols, quant->bits,
                           &r.args.codes));
    NIB_TRY(
        nib_place_make(codes ? &to->codes : &to->zeros, rows, cols, quant->bits, &r.args.other));
    r.args.rows = rows;
    r.args.cols = cols;
    NIB_TRY(put(&r, ctx, NIB_CODES, src, r.args.codes.streams * r.args.codes.pitch, 1));
    NIB_TRY(put(&r, ctx, NIB_Y, dst, r.args.other.streams * r.args.other.pitch, 1));
    NIB_TRY(check_overlap(&r, ctx, NIB_BIT(NIB_Y)));
    *request_ret = r;
    return NIB_OK;
}

nib_status nib_request_convert(const nib_ctx *ctx, int64_t count, nib_dtype x_type, nib_mem x,
                               nib_dtype y_type, nib_mem y, nib_request *request_ret)
{
    nib_request r = {.op = NIB_OP_CONVERT};
    int64_t bytes;
    if (count < 0 || !nib_mul(count, 4, &bytes))
        return NIB_FAIL(NIB_E_SHAPE,
                        "count is %lld; it must be 0 or more and its bytes fit in 63 bits",
                        (long long)count);
    set_grid(&r.args, &(nib_grid){1, count, 1, count});
    NIB_TRY(put_elements(&r, ctx, NIB_X, "x_type", x_type, x));
    NIB_TRY(put_elements(&r, ctx, NIB_Y, "y_type", y_type, y));
    NIB_TRY(check_overlap(&r, ctx, NIB_BIT(NIB_Y)));
    *request_ret = r;
    return NIB_OK;
}

nib_status nib_error_blocks(int64_t rows, int64_t cols, int64_t segment, int64_t *count_ret)
{
    nib_grid grid = {rows, cols, rows, cols};
    NIB_TRY(nib_grid_check(&grid));
    NIB_TRY(nib_check_ret("count_ret", count_ret));
    if (rows == 0 || cols == 0) {
        *count_ret = 0;
        return NIB_OK;
    }
    if (segment < 1 || segment > cols)
        return NIB_FAIL(NIB_E_SHAPE, "segment is %lld; it must be 1 to the %lld columns",
                        (long long)segment, (long long)cols);
    *count_ret = rows * nib_ceil_div(cols, segment) * nib_ceil_div(segment, 1024);
    return NIB_OK;
}

static nib_status put_blocks(nib_request *r, const nib_ctx *ctx, int64_t segment, nib_mem blocks)
{
    int64_t count, bytes;
    NIB_TRY(nib_error_blocks(r->args.rows, r->args.cols, segment, &count));
    if (!nib_mul(count, sizeof(nib_error_block), &bytes))
        return NIB_FAIL(NIB_E_OVERFLOW, "the blocks' size overflows");
    r->args.segment = segment;
    r->args.segment_blocks = segment > 0 ? nib_ceil_div(segment, 1024) : 0;
    NIB_TRY(put(r, ctx, NIB_OUT, blocks, bytes, sizeof(float)));
    return check_overlap(r, ctx, NIB_BIT(NIB_OUT));
}

nib_status nib_request_errors(const nib_ctx *ctx, const nib_quant *quant, nib_dtype type, nib_mem x,
                              const nib_mem planes[NIB_PLANES], int64_t segment, nib_mem blocks,
                              nib_request *request_ret)
{
    nib_request r = {.op = NIB_OP_ERRORS};
    NIB_TRY(nib_request_quant(&r, quant, 1));
    NIB_TRY(put_elements(&r, ctx, NIB_X, "type", type, x));
    NIB_TRY(nib_request_planes(&r, ctx, planes));
    NIB_TRY(put_blocks(&r, ctx, segment, blocks));
    *request_ret = r;
    return NIB_OK;
}

nib_status nib_request_errors_plain(const nib_ctx *ctx, int64_t rows, int64_t cols,
                                    nib_dtype x_type, nib_mem x, nib_dtype y_type, nib_mem y,
                                    int64_t segment, nib_mem blocks, nib_request *request_ret)
{
    nib_request r = {.op = NIB_OP_ERRORS};
    nib_grid grid = {rows, cols, rows, cols};
    NIB_TRY(nib_grid_check(&grid));
    set_grid(&r.args, &grid);
    NIB_TRY(put_elements(&r, ctx, NIB_X, "x_type", x_type, x));
    NIB_TRY(put_elements(&r, ctx, NIB_Y, "y_type", y_type, y));
    NIB_TRY(put_blocks(&r, ctx, segment, blocks));
    *request_ret = r;
    return NIB_OK;
}

nib_status nib_request_histogram(const nib_ctx *ctx, const nib_quant *quant, nib_mem codes,
                                 nib_mem counts, nib_request *request_ret)
{
    nib_request r = {.op = NIB_OP_HISTOGRAM};
    NIB_TRY(nib_request_quant(&r, quant, 0));
    const nib_args *a = &r.args;
    if (a->bits > 8)
        return NIB_FAIL(NIB_E_UNSUPPORTED, "a histogram of %d-bit codes; 8 bits is the most",
                        a->bits);
    if (elements(a) > UINT32_MAX)
        return NIB_FAIL(NIB_E_SHAPE, "%lld codes; a histogram counts at most 2^32 - 1 a call",
                        (long long)elements(a));
    NIB_TRY(put(&r, ctx, NIB_CODES, codes, a->codes.streams * a->codes.pitch, code_align(a)));
    NIB_TRY(put(&r, ctx, NIB_OUT, counts, INT64_C(4) << a->bits, sizeof(uint32_t)));
    NIB_TRY(check_overlap(&r, ctx, NIB_BIT(NIB_OUT)));
    *request_ret = r;
    return NIB_OK;
}
