/* pipeline.c - runs a planned job: tiles of rows stream from the input through the device to the
 * output.
 *
 *   lane 0:  read | kernels | write   read | kernels | write      ...
 *   lane 1:    read | kernels | write   read | kernels | write    ...       merge in order: error sums, finish, progress
 *
 * A tile is about TILE_BYTES of input (it stays in the L2 of the core that read it), or less
 * where the memory cap says so. */
#include "job.h"
#include "lanes.h"
#include "stage.h"

#include "../core/internal.h"
#include "memory_plan.h"
#include "nonfinite.h"
#include "output_job.h"
#include "recode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct slot {
    nib_error_block *blocks;
    nib_report report;
} slot;

typedef struct run {
    nib_job *job;
    const nib_run_options *options;
    nib_ctx *ctx;
    nib_output *output;
    nib_memory_plan plan;
    nib_stage *stages; /* by lane */
    slot *slots;
    uint64_t total_bytes, done_bytes;
    double start, last_report;
} run;

/* ---- finding tiles ---- */

static nib_unit *unit_of(run *r, int64_t tile)
{
    int64_t low = 0,
            high = r->job->unit_count - 1; /* the last unit that begins at or before the tile */
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (r->job->units[middle].first <= tile) low = middle;
        else high = middle - 1;
    }
    return &r->job->units[low];
}

static int64_t number_tiles(nib_job *job)
{
    int64_t tiles = 0;
    for (int64_t i = 0; i < job->unit_count; i++) {
        nib_unit *u = &job->units[i];
        u->tiles = u->done ? 0 : u->rows ? nib_ceil_div(u->rows, u->tile_rows) : 1;
        u->first = tiles;
        tiles += u->tiles;
    }
    return tiles;
}

/* ---- one tile ---- */

static nib_status write_bytes(run *r, nib_stage *stage, int64_t out, uint64_t offset,
                              const void *bytes, size_t count)
{
    double start = nib_seconds();
    nib_status status = nib_output_write(r->output, out, offset, bytes, count);
    stage->write_seconds += nib_seconds() - start;
    stage->written_bytes += count;
    return status;
}

/* A GGUF file with NaN or infinities is not written, in tensors that stay as they are either. */
static nib_status check_copied(const nib_job *job, const nib_unit *u, const void *bytes,
                               int64_t first, int64_t count)
{
    const nib_tensor *t = job->decisions[u->decision].tensor;
    if (!nib_is_float(t->type) || t->blocks || job->recipe.keep_nonfinite ||
        job->recipe.nonfinite != NIB_NONFINITE_ERROR)
        return NIB_OK;
    int64_t size = nib_dtype_bits(t->type) / 8;
    if (nib_nonfinite_find(bytes, t->type, count / size) < 0) return NIB_OK;
    return nib_nonfinite_fail(t, bytes, first / size, count / size);
}

static nib_status copy_tile(run *r, nib_stage *stage, const nib_unit *u, int64_t first,
                            int64_t rows)
{
    NIB_TRY(nib_stage_read(stage, r->job->input, u->source.shard,
                           u->source.offset + (uint64_t)first, NIB_STAGE_X, (size_t)rows));
    if (r->job->gguf) NIB_TRY(check_copied(r->job, u, stage->data[NIB_STAGE_X], first, rows));
    return write_bytes(r, stage, u->out[0], (uint64_t)first, stage->data[NIB_STAGE_X],
                       (size_t)rows);
}

/* Enqueues everything between upload and download of a tile that is quantized. */
static nib_status quantize_on_device(run *r, nib_stage *stage, const nib_decision *d, int64_t rows,
                                     size_t blocks)
{
    nib_quant kernel = nib_tile_kernel_quant(&d->quant, rows),
              stored = nib_tile_quant(&d->quant, rows);
    const nib_report empty = NIB_REPORT_EMPTY;
    nib_mem *device = stage->device;
    const nib_mem planes[NIB_PLANES] = {device[NIB_STAGE_CODES], device[NIB_STAGE_SCALES],
                                        device[NIB_STAGE_OFFSETS]};
    memcpy(stage->data[NIB_STAGE_REPORT], &empty, sizeof empty);
    NIB_TRY(nib_stage_up(stage, NIB_STAGE_REPORT, sizeof empty));
    NIB_TRY(nib_quantize(stage->stream, &kernel, d->tensor->type, device[NIB_STAGE_X],
                         r->job->recipe.nonfinite, planes, device[NIB_STAGE_REPORT]));
    NIB_TRY(nib_errors(stage->stream, &kernel, d->tensor->type, device[NIB_STAGE_X], planes,
                       kernel.grid.cols, device[NIB_STAGE_BLOCKS]));
    if (nib_tile_repacks(&d->quant))
        NIB_TRY(nib_repack(stage->stream, &kernel, NIB_PLANE_OFFSETS, device[NIB_STAGE_OFFSETS],
                           stored.layout, device[NIB_STAGE_PACKED]));
    NIB_TRY(nib_stage_down(stage, NIB_STAGE_BLOCKS, blocks));
    return nib_stage_down(stage, NIB_STAGE_REPORT, sizeof(nib_report));
}

static nib_status write_planes(run *r, nib_stage *stage, const nib_unit *u, const nib_decision *d,
                               int64_t first, int64_t rows)
{
    nib_quant before = nib_tile_quant(&d->quant, first), stored = nib_tile_quant(&d->quant, rows);
    size_t offset[NIB_PLANES], bytes[NIB_PLANES];
    nib_stage_buffer from[NIB_PLANES] = {NIB_STAGE_CODES, NIB_STAGE_SCALES, NIB_STAGE_OFFSETS};
    if (nib_tile_repacks(&d->quant)) from[NIB_PLANE_OFFSETS] = NIB_STAGE_PACKED;
    for (int p = 0; p < NIB_PLANES; p++) {
        NIB_TRY(nib_plane_bytes(&before, (nib_plane)p, &offset[p]));
        NIB_TRY(nib_plane_bytes(&stored, (nib_plane)p, &bytes[p]));
        if (u->out[p] >= 0) NIB_TRY(nib_stage_down(stage, from[p], bytes[p]));
    }
    NIB_TRY(nib_sync(stage->stream));
    for (int p = 0; p < NIB_PLANES; p++)
        if (u->out[p] >= 0)
            NIB_TRY(write_bytes(r, stage, u->out[p], offset[p], stage->data[from[p]], bytes[p]));
    return NIB_OK;
}

static nib_status quantize_tile(run *r, nib_stage *stage, const nib_unit *u, int64_t first,
                                int64_t rows, slot *s)
{
    const nib_decision *d = &r->job->decisions[u->decision];
    size_t bytes = (size_t)(rows * u->row_bytes);
    int64_t blocks;
    NIB_TRY(nib_error_blocks(rows, d->quant.grid.cols, d->quant.grid.cols, &blocks));
    NIB_TRY(nib_stage_read(stage, r->job->input, u->source.shard,
                           u->source.offset + (uint64_t)(first * u->row_bytes), NIB_STAGE_X,
                           bytes));
    double start = nib_seconds();
    NIB_TRY(nib_stage_up(stage, NIB_STAGE_X, bytes));
    NIB_TRY(quantize_on_device(r, stage, d, rows, (size_t)blocks * sizeof(nib_error_block)));
    NIB_TRY(nib_sync(stage->stream));
    stage->kernel_seconds += nib_seconds() - start;
    memcpy(s->blocks, stage->data[NIB_STAGE_BLOCKS], (size_t)blocks * sizeof(nib_error_block));
    memcpy(&s->report, stage->data[NIB_STAGE_REPORT], sizeof s->report);
    if (s->report.nonfinite && r->job->recipe.nonfinite == NIB_NONFINITE_ERROR)
        return nib_nonfinite_fail(d->tensor, stage->data[NIB_STAGE_X], first * d->quant.grid.cols,
                                  rows * d->quant.grid.cols);
    return write_planes(r, stage, u, d, first, rows);
}

static nib_status recode_tile(run *r, nib_stage *stage, const nib_unit *u, int64_t first,
                              int64_t rows, slot *s)
{
    int64_t blocks;
    size_t bytes;
    NIB_TRY(nib_recode_tile(r->job, u, stage, first, rows, &bytes));
    NIB_TRY(nib_recode_blocks(u, rows, &blocks));
    if (blocks)
        memcpy(s->blocks, stage->data[NIB_STAGE_BLOCKS], (size_t)blocks * sizeof(nib_error_block));
    memcpy(&s->report, stage->data[NIB_STAGE_REPORT], sizeof s->report);
    uint64_t offset = (uint64_t)first * (bytes / (size_t)rows);
    return write_bytes(r, stage, u->out[0], offset, stage->data[NIB_STAGE_CODES], bytes);
}

static nib_status dequantize_tile(run *r, nib_stage *stage, const nib_unit *u, int64_t first,
                                  int64_t rows)
{
    const nib_decision *d = &r->job->decisions[u->decision];
    const nib_quant kernel = nib_tile_kernel_quant(&d->tensor->quant, rows);
    size_t row_bytes = (size_t)kernel.grid.cols * (size_t)nib_dtype_bits(d->type) / 8,
           bytes = (size_t)rows * row_bytes;
    NIB_TRY(nib_stage_load_planes(stage, r->job->input, d->tensor, first, rows));
    const nib_mem planes[NIB_PLANES] = {stage->device[NIB_STAGE_CODES],
                                        stage->device[NIB_STAGE_SCALES],
                                        stage->device[NIB_STAGE_OFFSETS]};
    double start = nib_seconds();
    NIB_TRY(nib_dequantize(stage->stream, &kernel, planes, d->type, stage->device[NIB_STAGE_Y]));
    NIB_TRY(nib_stage_down(stage, NIB_STAGE_Y, bytes));
    NIB_TRY(nib_sync(stage->stream));
    stage->kernel_seconds += nib_seconds() - start;
    return write_bytes(r, stage, u->out[0], (uint64_t)first * row_bytes, stage->data[NIB_STAGE_Y],
                       bytes);
}

static nib_status work(void *user, int lane, int64_t tile, int slot_number)
{
    run *r = user;
    const nib_unit *u = unit_of(r, tile);
    int64_t first = (tile - u->first) * u->tile_rows;
    int64_t rows = u->rows - first < u->tile_rows ? u->rows - first : u->tile_rows;
    nib_stage *stage = &r->stages[lane];
    if (rows == 0) return NIB_OK;
    nib_status status = u->work == NIB_WORK_COPY ? copy_tile(r, stage, u, first, rows)
                        : u->work == NIB_WORK_RECODE
                            ? recode_tile(r, stage, u, first, rows, &r->slots[slot_number])
                        : u->work == NIB_WORK_DEQUANTIZE
                            ? dequantize_tile(r, stage, u, first, rows)
                            : quantize_tile(r, stage, u, first, rows, &r->slots[slot_number]);
    const char *name = r->job->decisions[u->decision].tensor->name;
    return status == NIB_OK || status == NIB_E_NONFINITE
               ? status
               : nib_fail_prefix(status, "\"%.200s\": ", name);
}

/* ---- merging ---- */

static void add_report(nib_report *total, const nib_report *tile, int64_t first_group)
{
    if (tile->nonfinite && !total->nonfinite) {
        uint64_t first = (uint64_t)first_group + tile->first;
        total->first = first < UINT32_MAX ? (uint32_t)first : UINT32_MAX - 1;
    }
    total->nonfinite += tile->nonfinite;
    total->empty += tile->empty;
    total->underflow += tile->underflow;
    total->saturated += tile->saturated;
}

static void report_progress(run *r, const nib_unit *finished)
{
    double now = nib_seconds();
    if (!r->options->progress || (!finished && now - r->last_report < 0.1)) return;
    const nib_result *result = finished ? &r->job->results[finished->decision] : NULL;
    nib_progress p = {r->done_bytes, r->total_bytes, now - r->start,
                      finished ? &r->job->decisions[finished->decision] : NULL,
                      result && result->errors.count ? &result->errors : NULL};
    r->options->progress(r->options->user, &p);
    r->last_report = now;
}

static nib_status merge(void *user, int64_t tile, int slot_number)
{
    run *r = user;
    nib_unit *u = unit_of(r, tile);
    const slot *s = &r->slots[slot_number];
    int64_t first = (tile - u->first) * u->tile_rows;
    int64_t rows = u->rows - first < u->tile_rows ? u->rows - first : u->tile_rows;
    nib_result *result = &r->job->results[u->decision];
    if (u->work == NIB_WORK_QUANTIZE && rows) {
        const nib_grid *g = &r->job->decisions[u->decision].quant.grid;
        int64_t blocks;
        NIB_TRY(nib_error_blocks(rows, g->cols, g->cols, &blocks));
        nib_error_add(&result->errors, s->blocks, blocks, rows * g->cols);
        add_report(&result->report, &s->report, first * nib_ceil_div(g->cols, g->group));
    }
    if (u->work == NIB_WORK_RECODE && rows) {
        int64_t blocks;
        NIB_TRY(nib_recode_blocks(u, rows, &blocks));
        if (blocks) nib_error_add(&result->errors, s->blocks, blocks, rows * u->cols);
        add_report(&result->report, &s->report, first * (u->cols / u->to->elements));
    }
    r->done_bytes += (uint64_t)(rows * u->row_bytes);
    int last = tile == u->first + u->tiles - 1;
    if (last) NIB_TRY(nib_job_finish_unit(r->job, r->output, u));
    report_progress(r, last ? u : NULL);
    return NIB_OK;
}

/* ---- the run ---- */

static nib_status take_planned_buffers(run *r)
{
    int lanes = r->plan.lanes, slots = nib_lane_slots(lanes);
    r->stages = calloc((size_t)lanes, sizeof *r->stages);
    r->slots = calloc((size_t)slots, sizeof *r->slots);
    if (!r->stages || !r->slots) return NIB_FAIL(NIB_E_MEMORY, "no memory for %d lanes", lanes);
    for (int i = 0; i < lanes; i++) NIB_TRY(nib_stage_open(&r->stages[i], r->ctx, r->plan.bytes));
    for (int i = 0; i < slots; i++) {
        r->slots[i].blocks = malloc(r->plan.bytes[NIB_STAGE_BLOCKS] + 1);
        if (!r->slots[i].blocks) return NIB_FAIL(NIB_E_MEMORY, "no memory for error sums");
    }
    return NIB_OK;
}

static void release(run *r)
{
    nib_run_stats *stats = &r->job->stats;
    for (int i = 0; r->stages && i < r->plan.lanes; i++) {
        const nib_stage *s = &r->stages[i];
        stats->read_seconds += s->read_seconds;
        stats->kernel_seconds += s->kernel_seconds;
        stats->write_seconds += s->write_seconds;
        stats->read_bytes += s->read_bytes;
        stats->written_bytes += s->written_bytes;
        nib_stage_close(&r->stages[i]);
    }
    for (int i = 0; r->slots && i < nib_lane_slots(r->plan.lanes); i++) free(r->slots[i].blocks);
    free(r->stages);
    free(r->slots);
    r->stages = NULL;
    r->slots = NULL;
}

/* Plans within the caps and takes the lanes' buffers. Where the device has less memory free than
 * its cap allows, plans again with half; the device's own words stand where nothing fits. */
static nib_status take_buffers(run *r)
{
    nib_run_options options = *r->options;
    NIB_TRY(nib_memory_plan_make(r->job, &options, r->ctx, &r->plan));
    for (;;) {
        nib_status status = take_planned_buffers(r);
        if (status != NIB_E_MEMORY || nib_host_memory(r->ctx)) return status;
        char words[1024];
        snprintf(words, sizeof words, "%s", nib_last_error());
        release(r);
        options.max_vram_bytes = r->plan.device_bytes / 2;
        if (nib_memory_plan_make(r->job, &options, r->ctx, &r->plan) != NIB_OK)
            return NIB_FAIL(NIB_E_MEMORY, "%s", words);
    }
}

static nib_status stream(run *r)
{
    for (int64_t i = 0; i < r->job->unit_count; i++) {
        const nib_unit *u = &r->job->units[i];
        r->total_bytes += (uint64_t)(u->rows * u->row_bytes);
        if (u->done) r->done_bytes += (uint64_t)(u->rows * u->row_bytes);
    }
    const nib_lanes lanes = {r->plan.lanes, number_tiles(r->job), r->options->cancel, r, work,
                             merge};
    NIB_TRY(nib_lanes_run(&lanes));
    return nib_file_unchanged(r->job->input);
}

static nib_status run_planned(run *r)
{
    nib_run_stats *stats = &r->job->stats;
    NIB_TRY(nib_job_open_output(r->job, r->options, &r->output));
    nib_status status = stream(r);
    release(r);
    double written = nib_seconds();
    if (status == NIB_OK) status = nib_job_close_output(r->job, r->output);
    stats->sync_seconds = nib_seconds() - written;
    if (status == NIB_OK && r->options->verify) {
        double start = nib_seconds();
        status = nib_output_verify(r->output);
        stats->verify_seconds = nib_seconds() - start;
    }
    double start = nib_seconds();
    if (status == NIB_OK) status = nib_output_commit(r->output);
    stats->sync_seconds += nib_seconds() - start;
    nib_output_close(r->output);
    stats->seconds = nib_seconds() - r->start - stats->verify_seconds;
    return status;
}

nib_status nib_job_run(nib_job *job, const nib_run_options *options)
{
    if (!job || !options || !options->output)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL",
                        !job       ? "job"
                        : !options ? "options"
                                   : "options.output");
    nib_run_options own;
    NIB_TRY(nib_take_given("options", "nib_run_options", options, sizeof own, &own, sizeof own));
    options = &own;
    if (own.threads < 0 || (own.io != NIB_IO_BUFFERED && own.io != NIB_IO_DIRECT))
        return NIB_FAIL(NIB_E_ARGUMENT, "options.%s is %d; it must be %s",
                        own.threads < 0 ? "threads" : "io",
                        own.threads < 0 ? own.threads : (int)own.io,
                        own.threads < 0 ? "0 or more" : "a nib_io");
    if (!*own.output) return NIB_FAIL(NIB_E_ARGUMENT, "options.output is empty");
    run r = {.job = job, .options = options, .start = nib_seconds()};
    job->stats = (nib_run_stats){0};
    memset(job->results, 0, (size_t)job->count * sizeof *job->results);
    const nib_options device_options = {.size = sizeof device_options,
                                        .threads = 1}; /* lanes are the threads */
    NIB_TRY(nib_open(options->device ? options->device : "auto", &device_options, &r.ctx));
    snprintf(job->stats.device, sizeof job->stats.device, "%s", nib_ctx_device(r.ctx)->name);
    nib_status status =
        job->recipe.keep_nonfinite ? nib_job_keep_nonfinite(job, options->cancel) : NIB_OK;
    if (status == NIB_OK) status = take_buffers(&r);
    job->stats.lanes = r.plan.lanes;
    job->stats.peak_memory_bytes = r.plan.total_bytes;
    if (status == NIB_OK) status = run_planned(&r);
    release(&r);
    nib_close(r.ctx);
    return status;
}
