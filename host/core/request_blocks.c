/* request_blocks.c - validates calls on ggml's blocks, as request.c does the others. */
#include "block.h"
#include "internal.h"
#include "request.h"
#include "scheme.h"

#define NIB_BLOCK(ID, ...)                                                                         \
    _Static_assert((int)NIB_B_##ID == (int)NIB_BLOCK_##ID, "args.h and nibble.h name one number");
#include "../../include/nibble_schemes.def"

/* What the spans hold in each call. */
static const char *const quantize_names[NIB_SPANS] = {
    [NIB_X] = "x", [NIB_SCALES] = "importance", [NIB_OUT] = "blocks", [NIB_REPORT] = "report"};
static const char *const decode_names[NIB_SPANS] = {[NIB_X] = "blocks",
                                                    [NIB_CODES] = "codes",
                                                    [NIB_SCALES] = "scales",
                                                    [NIB_OFFSETS] = "offsets",
                                                    [NIB_Y] = "y"};

/* An item of these calls is a cell, here one block. */
static nib_status start(nib_request *r, nib_block block, int64_t rows, int64_t cols,
                        int64_t *bytes_ret)
{
    const nib_block_row *row;
    nib_args *a = &r->args;
    NIB_TRY(nib_block_check(block, rows, cols, &row, bytes_ret));
    a->rows = a->period = cols ? rows : 0; /* no items where there are no elements */
    a->cols = cols;
    a->group = row->form.elements;
    a->scale_cols = cols / row->form.elements;
    a->bits = row->bits;
    a->scale_type = (nib_i32)row->scale;
    a->offset = (nib_i32)nib_rule_offset(row->rule);
    a->form = row->form;
    return NIB_OK;
}

nib_status nib_request_quantize_blocks(const nib_ctx *ctx, nib_block block, int64_t rows,
                                       int64_t cols, nib_dtype type, nib_mem x, nib_mem importance,
                                       nib_nonfinite nonfinite, nib_mem blocks, nib_mem report,
                                       nib_request *request_ret)
{
    nib_request r = {.op = NIB_OP_QUANTIZE_BLOCKS};
    const char *const *names = quantize_names;
    int64_t bytes;
    NIB_TRY(start(&r, block, rows, cols, &bytes));
    NIB_TRY(nib_request_type("type", type));
    NIB_TRY(nib_request_nonfinite(nonfinite));
    size_t size = (size_t)nib_dtype_bits(type) / 8;
    r.args.x_type = (nib_i32)type;
    r.args.nonfinite = (nib_i32)nonfinite;
    NIB_TRY(nib_request_put(&r, ctx, NIB_X, names[NIB_X], x, rows * cols * (int64_t)size, size));
    if (importance.handle) {
        if (block == NIB_BLOCK_Q8_0)
            return NIB_FAIL(NIB_E_UNSUPPORTED, "q8_0 takes no importance; pass a zeroed nib_mem");
        NIB_TRY(nib_request_put(&r, ctx, NIB_SCALES, names[NIB_SCALES], importance,
                                cols * (int64_t)sizeof(float), sizeof(float)));
        /* ggml weighs these by the sum of squares over the row, the others over the block */
        int of_row = r.args.form.sub == NIB_SUB_NONE && r.args.form.codes == NIB_CODES_PLAIN;
        r.args.weights = of_row ? NIB_W_ROW : NIB_W_BLOCK;
    }
    NIB_TRY(nib_request_put(&r, ctx, NIB_OUT, names[NIB_OUT], blocks, bytes, 2));
    if (report.handle) {
        r.args.has_report = 1;
        NIB_TRY(nib_request_put(&r, ctx, NIB_REPORT, names[NIB_REPORT], report, sizeof(nib_report),
                                sizeof(uint32_t)));
    }
    NIB_TRY(nib_request_overlap(&r, ctx, NIB_BIT(NIB_OUT) | NIB_BIT(NIB_REPORT), names));
    *request_ret = r;
    return NIB_OK;
}

nib_status nib_request_dequantize_blocks(const nib_ctx *ctx, nib_block block, int64_t rows,
                                         int64_t cols, nib_mem blocks, nib_dtype type, nib_mem y,
                                         nib_request *request_ret)
{
    nib_request r = {.op = NIB_OP_DEQUANTIZE_BLOCKS};
    int64_t bytes;
    NIB_TRY(start(&r, block, rows, cols, &bytes));
    NIB_TRY(nib_request_type("type", type));
    size_t size = (size_t)nib_dtype_bits(type) / 8;
    r.args.y_type = (nib_i32)type;
    NIB_TRY(nib_request_put(&r, ctx, NIB_X, decode_names[NIB_X], blocks, bytes, 2));
    NIB_TRY(
        nib_request_put(&r, ctx, NIB_Y, decode_names[NIB_Y], y, rows * cols * (int64_t)size, size));
    NIB_TRY(nib_request_overlap(&r, ctx, NIB_BIT(NIB_Y), decode_names));
    *request_ret = r;
    return NIB_OK;
}

nib_status nib_request_unpack_blocks(const nib_ctx *ctx, nib_block block, int64_t rows,
                                     int64_t cols, nib_mem blocks, const nib_mem planes[NIB_PLANES],
                                     nib_request *request_ret)
{
    nib_request r = {.op = NIB_OP_UNPACK_BLOCKS};
    nib_quant quant;
    int64_t bytes;
    NIB_TRY(start(&r, block, rows, cols, &bytes));
    if (!planes) return NIB_FAIL(NIB_E_ARGUMENT, "planes is NULL");
    NIB_TRY(nib_request_put(&r, ctx, NIB_X, decode_names[NIB_X], blocks, bytes, 2));
    NIB_TRY(nib_block_quant(block, rows, cols, &quant));
    NIB_TRY(nib_place_make(&nib_layout_find(quant.layout)->codes, rows, cols, quant.bits,
                           &r.args.codes));
    size_t scale = (size_t)nib_dtype_bits(quant.scale_type) / 8;
    const size_t align[NIB_PLANES] = {4, scale, scale};
    for (int p = 0; p < NIB_PLANES; p++) {
        size_t plane_bytes;
        NIB_TRY(nib_plane_bytes(&quant, (nib_plane)p, &plane_bytes));
        NIB_TRY(nib_request_put(&r, ctx, NIB_CODES + p, decode_names[NIB_CODES + p], planes[p],
                                (int64_t)plane_bytes, align[p]));
    }
    NIB_TRY(nib_request_overlap(
        &r, ctx, NIB_BIT(NIB_CODES) | NIB_BIT(NIB_SCALES) | NIB_BIT(NIB_OFFSETS), decode_names));
    *request_ret = r;
    return NIB_OK;
}
