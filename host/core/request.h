/* request.h - turning a public call's arguments into a validated request (kernel.h). */
#ifndef NIB_CORE_REQUEST_H
#define NIB_CORE_REQUEST_H

#include "backend.h"

/* Each fills a whole request or fails with the argument's name, its value and the rule it breaks.
 * The parameters are those of the public functions in nibble.h. */
nib_status nib_request_ranges(const nib_ctx *ctx, const nib_grid *grid, nib_dtype type, nib_mem x,
                              nib_nonfinite nonfinite, nib_mem ranges, nib_mem report,
                              nib_request *request_ret);
nib_status nib_request_quantize(const nib_ctx *ctx, const nib_quant *quant, nib_dtype type,
                                nib_mem x, nib_nonfinite nonfinite,
                                const nib_mem planes[NIB_PLANES], nib_mem report,
                                nib_request *request_ret);
nib_status nib_request_dequantize(const nib_ctx *ctx, const nib_quant *quant,
                                  const nib_mem planes[NIB_PLANES], nib_dtype type, nib_mem y,
                                  nib_request *request_ret);
nib_status nib_request_repack(const nib_ctx *ctx, const nib_quant *quant, nib_plane plane,
                              nib_mem src, nib_layout layout, nib_mem dst,
                              nib_request *request_ret);
nib_status nib_request_convert(const nib_ctx *ctx, int64_t count, nib_dtype x_type, nib_mem x,
                               nib_dtype y_type, nib_mem y, nib_request *request_ret);
nib_status nib_request_errors(const nib_ctx *ctx, const nib_quant *quant, nib_dtype type, nib_mem x,
                              const nib_mem planes[NIB_PLANES], int64_t segment, nib_mem blocks,
                              nib_request *request_ret);
nib_status nib_request_errors_plain(const nib_ctx *ctx, int64_t rows, int64_t cols,
                                    nib_dtype x_type, nib_mem x, nib_dtype y_type, nib_mem y,
                                    int64_t segment, nib_mem blocks, nib_request *request_ret);
nib_status nib_request_histogram(const nib_ctx *ctx, const nib_quant *quant, nib_mem codes,
                                 nib_mem counts, nib_request *request_ret);
nib_status nib_request_quantize_blocks(const nib_ctx *ctx, nib_block block, int64_t rows,
                                       int64_t cols, nib_dtype type, nib_mem x, nib_mem importance,
                                       nib_nonfinite nonfinite, nib_mem blocks, nib_mem report,
                                       nib_request *request_ret);
nib_status nib_request_dequantize_blocks(const nib_ctx *ctx, nib_block block, int64_t rows,
                                         int64_t cols, nib_mem blocks, nib_dtype type, nib_mem y,
                                         nib_request *request_ret);
nib_status nib_request_unpack_blocks(const nib_ctx *ctx, nib_block block, int64_t rows,
                                     int64_t cols, nib_mem blocks, const nib_mem planes[NIB_PLANES],
                                     nib_request *request_ret);

/* ---- what the files that make requests share ---- */

/* E_ARGUMENT where `type` is not F32, F16 or BF16, or `nonfinite` is no policy. */
nib_status nib_request_type(const char *what, nib_dtype type);
nib_status nib_request_nonfinite(nib_nonfinite nonfinite);
/* Whether `mem` has `bytes` bytes at a multiple of `align`; `name` is what an error calls it. */
nib_status nib_request_mem(const nib_ctx *ctx, const char *name, nib_mem mem, int64_t bytes,
                           size_t align);
/* Puts `mem`, checked so, into the request. */
nib_status nib_request_put(nib_request *r, const nib_ctx *ctx, int role, const char *name,
                           nib_mem mem, int64_t bytes, size_t align);
int nib_mem_overlap(const nib_ctx *ctx, const nib_mem *a, const nib_mem *b);
/* No span in the mask `written` may overlap another. */
nib_status nib_request_overlap(const nib_request *r, const nib_ctx *ctx, unsigned written,
                               const char *const names[NIB_SPANS]);
/* What every operation on codes shares: the grid, the rule and the places of both integer
 * planes. */
nib_status nib_request_quant(nib_request *r, const nib_quant *quant, int with_zeros);
/* Checked spans of all planes, after nib_request_quant. */
nib_status nib_request_planes(nib_request *r, const nib_ctx *ctx, const nib_mem planes[NIB_PLANES]);

#endif
