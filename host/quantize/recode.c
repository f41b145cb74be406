/* recode.c - see recode.h. */
#include "recode.h"

#include "../core/internal.h"
#include "gguf_names.h"
#include "nonfinite.h"

#include <string.h>

static int is_blocks(const nib_stored_type *type) { return type->type == NIB_DTYPE_NONE; }
static nib_block block_of(const nib_stored_type *type) { return (nib_block)type->number; }

static nib_status bytes_of(const nib_stored_type *type, int64_t rows, int64_t cols,
                           size_t *bytes_ret)
{
    int64_t bytes;
    if (!nib_mul(cols / type->elements, type->bytes, &bytes) || !nib_mul(bytes, rows, &bytes))
        return NIB_FAIL(NIB_E_OVERFLOW, "the size of a tile overflows");
    *bytes_ret = (size_t)bytes;
    return NIB_OK;
}

nib_status nib_recode_blocks(const nib_unit *u, int64_t rows, int64_t *blocks_ret)
{
    *blocks_ret = 0;
    return is_blocks(u->to) ? nib_error_blocks(rows, u->cols, u->cols, blocks_ret) : NIB_OK;
}

nib_status nib_recode_need(const nib_unit *u, int64_t rows, size_t bytes[NIB_STAGE_BUFFERS])
{
    size_t need[NIB_STAGE_BUFFERS] = {[NIB_STAGE_REPORT] = sizeof(nib_report)}, wide = 0;
    int64_t blocks;
    NIB_TRY(bytes_of(u->from, rows, u->cols, &need[NIB_STAGE_X]));
    NIB_TRY(bytes_of(u->to, rows, u->cols, &need[NIB_STAGE_CODES]));
    NIB_TRY(bytes_of(nib_stored_type_find("F32"), rows, u->cols, &wide));
    NIB_TRY(nib_recode_blocks(u, rows, &blocks));
    need[NIB_STAGE_BLOCKS] = (size_t)blocks * sizeof(nib_error_block);
    if (is_blocks(u->to)) need[NIB_STAGE_Y] = wide;
    if (is_blocks(u->to) && is_blocks(u->from)) need[NIB_STAGE_WIDE] = wide;
    if (u->importance) need[NIB_STAGE_IMPORTANCE] = (size_t)u->cols * sizeof(float);
    for (int i = 0; i < NIB_STAGE_BUFFERS; i++)
        if (bytes[i] < need[i]) bytes[i] = need[i];
    return NIB_OK;
}

/* ---- reading ---- */

/* Permuted rows come one by one. */
static nib_status read_rows(const nib_job *job, const nib_unit *u, nib_stage *stage, int64_t first,
                            int64_t rows)
{
    size_t row = (size_t)u->row_bytes;
    if (!u->head_rows)
        return nib_stage_read(stage, job->input, u->source.shard,
                              u->source.offset + (uint64_t)first * row, NIB_STAGE_X,
                              (size_t)rows * row);
    double start = nib_seconds();
    unsigned char *x = stage->host[NIB_STAGE_X];
    for (int64_t i = 0; i < rows; i++) {
        uint64_t from = (uint64_t)nib_gguf_source_row(first + i, u->head_rows) * row;
        NIB_TRY(nib_file_read(job->input, u->source.shard, u->source.offset + from,
                              x + (size_t)i * row, row));
    }
    stage->data[NIB_STAGE_X] = x;
    if (nib_host_memory(stage->ctx)) stage->device[NIB_STAGE_X] = nib_wrap(x, (size_t)rows * row);
    stage->read_seconds += nib_seconds() - start;
    stage->read_bytes += (size_t)rows * row;
    return NIB_OK;
}

/* ---- numbers that are not finite ---- */

static nib_status fail_blocks(const nib_tensor *t, const char *why, int64_t first, int64_t rows)
{
    return NIB_FAIL(NIB_E_NONFINITE, "\"%.200s\": %s, in rows %lld to %lld", t->name, why,
                    (long long)first, (long long)(first + rows - 1));
}

/* What quantizing met. */
static nib_status check_report(const nib_job *job, const nib_unit *u, const nib_stage *stage,
                               int64_t first, int64_t rows)
{
    const nib_tensor *t = job->decisions[u->decision].tensor;
    nib_report report;
    memcpy(&report, stage->data[NIB_STAGE_REPORT], sizeof report);
    if (report.nonfinite && job->recipe.nonfinite == NIB_NONFINITE_ERROR)
        return is_blocks(u->from)
                   ? fail_blocks(t, "its blocks hold NaN or infinite scales", first, rows)
                   : nib_nonfinite_fail(t, stage->data[NIB_STAGE_X], first * u->cols,
                                        rows * u->cols);
    if (report.saturated)
        return fail_blocks(t, "weights so large that a scale is beyond F16; give it another type",
                           first, rows);
    return NIB_OK;
}

/* Plain numbers before they are converted. */
static nib_status check_plain(const nib_job *job, const nib_unit *u, nib_stage *stage,
                              int64_t first, int64_t rows)
{
    void *x = stage->data[NIB_STAGE_X];
    int64_t count = rows * u->cols;
    if (job->recipe.nonfinite != NIB_NONFINITE_ERROR)
        nib_nonfinite_replace(x, u->from->type, count,
                              job->recipe.nonfinite == NIB_NONFINITE_SATURATE);
    else if (nib_nonfinite_find(x, u->from->type, count) >= 0)
        return nib_nonfinite_fail(job->decisions[u->decision].tensor, x, first * u->cols, count);
    return NIB_OK;
}

/* Plain numbers after they were converted: what was finite may not be so in the new type. */
static nib_status check_converted(const nib_job *job, const nib_unit *u, const nib_stage *stage,
                                  int64_t first, int64_t rows)
{
    int64_t at = nib_nonfinite_find(stage->data[NIB_STAGE_CODES], u->to->type, rows * u->cols);
    if (at < 0) return NIB_OK;
    return NIB_FAIL(
        NIB_E_NONFINITE, "\"%.200s\": element %lld is not finite as %s; take bf16 or f32",
        job->decisions[u->decision].tensor->name, (long long)(first * u->cols + at), u->to->name);
}

/* ---- on the device ---- */

/* The rows that share importance are one call each: `each` rows, less to begin with in the
 * middle of an expert. `x` and `out` are of whole tiles. */
static nib_status quantize_rows(const nib_job *job, const nib_unit *u, nib_stage *stage,
                                nib_dtype type, nib_mem x, int64_t first, int64_t rows)
{
    size_t x_row = (size_t)u->cols * (size_t)nib_dtype_bits(type) / 8;
    size_t out_row = (size_t)(u->cols / u->to->elements) * (size_t)u->to->bytes;
    nib_mem importance = {0};
    for (int64_t done = 0; done < rows;) {
        int64_t at = first + done, some = rows - done;
        if (u->importance) {
            int64_t left = u->importance_rows - at % u->importance_rows;
            const float *values = u->importance + at / u->importance_rows * u->cols;
            if (some > left) some = left;
            NIB_TRY(nib_stage_lend(stage, NIB_STAGE_IMPORTANCE, values,
                                   (size_t)u->cols * sizeof *values));
            importance = stage->device[NIB_STAGE_IMPORTANCE];
        }
        NIB_TRY(nib_quantize_blocks(stage->stream, block_of(u->to), some, u->cols, type,
                                    nib_slice(x, (size_t)done * x_row, (size_t)some * x_row),
                                    importance, job->recipe.nonfinite,
                                    nib_slice(stage->device[NIB_STAGE_CODES],
                                              (size_t)done * out_row, (size_t)some * out_row),
                                    stage->device[NIB_STAGE_REPORT]));
        done += some;
    }
    return NIB_OK;
}

static nib_status to_blocks(const nib_job *job, const nib_unit *u, nib_stage *stage, int64_t first,
                            int64_t rows, int64_t blocks)
{
    nib_mem *device = stage->device, x = device[NIB_STAGE_X];
    nib_dtype type = u->from->type;
    if (is_blocks(u->from)) {
        type = NIB_F32;
        x = device[NIB_STAGE_WIDE];
        NIB_TRY(nib_dequantize_blocks(stage->stream, block_of(u->from), rows, u->cols,
                                      device[NIB_STAGE_X], type, x));
    }
    NIB_TRY(quantize_rows(job, u, stage, type, x, first, rows));
    NIB_TRY(nib_dequantize_blocks(stage->stream, block_of(u->to), rows, u->cols,
                                  device[NIB_STAGE_CODES], NIB_F32, device[NIB_STAGE_Y]));
    NIB_TRY(nib_errors_plain(stage->stream, rows, u->cols, type, x, NIB_F32, device[NIB_STAGE_Y],
                             u->cols, device[NIB_STAGE_BLOCKS]));
    NIB_TRY(nib_stage_down(stage, NIB_STAGE_BLOCKS, (size_t)blocks * sizeof(nib_error_block)));
    return nib_stage_down(stage, NIB_STAGE_REPORT, sizeof(nib_report));
}

static nib_status to_plain(const nib_unit *u, nib_stage *stage, int64_t rows)
{
    nib_mem *device = stage->device;
    if (is_blocks(u->from))
        return nib_dequantize_blocks(stage->stream, block_of(u->from), rows, u->cols,
                                     device[NIB_STAGE_X], u->to->type, device[NIB_STAGE_CODES]);
    return nib_convert(stage->stream, rows * u->cols, u->from->type, device[NIB_STAGE_X],
                       u->to->type, device[NIB_STAGE_CODES]);
}

nib_status nib_recode_tile(const nib_job *job, const nib_unit *u, nib_stage *stage, int64_t first,
                           int64_t rows, size_t *bytes_ret)
{
    const nib_report empty = NIB_REPORT_EMPTY;
    size_t read = 0, made = 0;
    int64_t blocks;
    NIB_TRY(bytes_of(u->from, rows, u->cols, &read));
    NIB_TRY(bytes_of(u->to, rows, u->cols, &made));
    NIB_TRY(nib_recode_blocks(u, rows, &blocks));
    NIB_TRY(read_rows(job, u, stage, first, rows));
    double start = nib_seconds();
    if (!is_blocks(u->from) && !is_blocks(u->to)) NIB_TRY(check_plain(job, u, stage, first, rows));
    memcpy(stage->data[NIB_STAGE_REPORT], &empty, sizeof empty);
    NIB_TRY(nib_stage_up(stage, NIB_STAGE_X, read));
    NIB_TRY(nib_stage_up(stage, NIB_STAGE_REPORT, sizeof empty));
    NIB_TRY(is_blocks(u->to) ? to_blocks(job, u, stage, first, rows, blocks)
                             : to_plain(u, stage, rows));
    NIB_TRY(nib_stage_down(stage, NIB_STAGE_CODES, made));
    NIB_TRY(nib_sync(stage->stream));
    stage->kernel_seconds += nib_seconds() - start;
    *bytes_ret = made;
    return is_blocks(u->to) ? check_report(job, u, stage, first, rows)
                            : check_converted(job, u, stage, first, rows);
}
