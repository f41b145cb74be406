/* memory_plan.c - see memory_plan.h. The caps are hard: what does not fit is refused before
 * anything is read. */
#include "memory_plan.h"

#include "../core/internal.h"
#include "lanes.h"
#include "recode.h"

enum {
    /* Program, libraries, stacks, the allocator's own: 12 MiB measured, twice that. */
    BASE_BYTES = 24 << 20,
    DEFAULT_CAP_MIB = 2048,
    HOST_TILE_BYTES = 1 << 20,    /* stays in a core's L2 with its output */
    DEVICE_TILE_BYTES = 16 << 20, /* a launch and two copies cost nothing beside it */
    LEAST_TILE_BYTES = 64 << 10,
    DEVICE_LANES = 4,
    OUTPUT_ENTRY_BYTES = 512, /* nib_output's tables, an output tensor */
};

static int64_t floor_to(int64_t value, int64_t multiple) { return value / multiple * multiple; }

static nib_status need_of_quantized(const nib_quant *quant, int64_t rows, size_t x_bytes,
                                    size_t y_bytes, size_t bytes[])
{
    int64_t blocks;
    NIB_TRY(nib_tile_need(quant, rows, bytes));
    NIB_TRY(nib_error_blocks(rows, quant->grid.cols, quant->grid.cols, &blocks));
    size_t need[NIB_STAGE_BUFFERS] = {[NIB_STAGE_X] = x_bytes,
                                      [NIB_STAGE_Y] = y_bytes,
                                      [NIB_STAGE_BLOCKS] = (size_t)blocks * sizeof(nib_error_block),
                                      [NIB_STAGE_REPORT] = sizeof(nib_report)};
    for (int i = 0; i < NIB_STAGE_BUFFERS; i++)
        if (bytes[i] < need[i]) bytes[i] = need[i];
    return NIB_OK;
}

/* A tile's plain side, source or result, has about `tile` bytes; F16 where there is none. */
static nib_status cut_recode(nib_unit *u, int64_t tile, size_t bytes[NIB_STAGE_BUFFERS])
{
    int64_t from = nib_dtype_bits(u->from->type), to = nib_dtype_bits(u->to->type);
    int64_t bits = from > to ? from : to > 0 ? to : 16, wide;
    if (!nib_mul(u->cols, bits, &wide))
        return NIB_FAIL(NIB_E_OVERFLOW, "the size of a row overflows");
    wide /= 8;
    u->tile_rows = wide ? tile / wide : u->rows;
    if (u->tile_rows < 1) u->tile_rows = 1;
    return nib_recode_need(u, u->rows < u->tile_rows ? u->rows : u->tile_rows, bytes);
}

/* Cuts every unit into tiles of about `tile` bytes and takes the largest needs. */
static nib_status cut(nib_job *job, int64_t tile, size_t bytes[NIB_STAGE_BUFFERS])
{
    for (int i = 0; i < NIB_STAGE_BUFFERS; i++) bytes[i] = 0;
    for (int64_t i = 0; i < job->unit_count; i++) {
        nib_unit *u = &job->units[i];
        const nib_decision *d = &job->decisions[u->decision];
        if (u->work == NIB_WORK_COPY) {
            u->tile_rows = tile;
            int64_t most = u->rows < tile ? u->rows : tile;
            if (bytes[NIB_STAGE_X] < (size_t)most) bytes[NIB_STAGE_X] = (size_t)most;
            continue;
        }
        if (u->work == NIB_WORK_RECODE) {
            NIB_TRY(cut_recode(u, tile, bytes));
            continue;
        }
        int quantizes = u->work == NIB_WORK_QUANTIZE;
        const nib_quant *quant = quantizes ? &d->quant : &d->tensor->quant;
        int bytes_each = nib_dtype_bits(quantizes ? d->tensor->type : d->type) / 8;
        int64_t wide = quant->grid.cols * bytes_each; /* the float side */
        int64_t multiple = nib_tile_multiple(quant),
                rows = floor_to(wide ? tile / wide : u->rows, multiple);
        u->tile_rows = rows < multiple ? multiple : rows;
        int64_t most = u->rows < u->tile_rows ? u->rows : u->tile_rows;
        size_t float_bytes = (size_t)(most * wide);
        NIB_TRY(need_of_quantized(quant, most, quantizes ? float_bytes : 0,
                                  quantizes ? 0 : float_bytes, bytes));
    }
    return NIB_OK;
}

/* One lane's buffers, with its share of the slots. */
size_t nib_memory_lane(const size_t bytes[NIB_STAGE_BUFFERS])
{
    size_t sum = (size_t)nib_lane_slots(1) * bytes[NIB_STAGE_BLOCKS] +
                 3 * 4096; /* slots, at most; stacks are touched a little */
    for (int i = 0; i < NIB_STAGE_BUFFERS; i++)
        sum += bytes[i] ? (bytes[i] + 4095) / 4096 * 4096 + NIB_STAGE_SLACK : 0;
    return sum;
}

size_t nib_memory_base(void) { return BASE_BYTES; }

size_t nib_memory_cap(const nib_run_options *options)
{
    return options->max_memory_bytes ? options->max_memory_bytes : (size_t)DEFAULT_CAP_MIB << 20;
}

static int wanted_lanes(const nib_run_options *options, const nib_ctx *ctx)
{
    if (!nib_host_memory(ctx)) return DEVICE_LANES;
    int threads = options->threads > 0 ? options->threads : nib_cores();
    /* a lane that waits for the disk leaves its core idle */
    return options->io == NIB_IO_DIRECT ? threads + 2 : threads;
}

nib_status nib_memory_refuse(const char *field, size_t cap, size_t tables, size_t lane)
{
    return NIB_FAIL(
        NIB_E_MEMORY,
        "options.%s of %zu bytes is too little: %zu MiB are needed (tables %zu MiB, one "
        "lane %zu MiB)",
        field, cap, ((tables + lane) >> 20) + 1, tables >> 20, (lane >> 20) + 1);
}

nib_status nib_memory_plan_make(nib_job *job, const nib_run_options *options, const nib_ctx *ctx,
                                nib_memory_plan *plan_ret)
{
    int host = nib_host_memory(ctx), lanes = wanted_lanes(options, ctx);
    size_t cap = nib_memory_cap(options);
    size_t vram = options->max_vram_bytes ? options->max_vram_bytes : (size_t)DEFAULT_CAP_MIB << 20;
    size_t fixed = BASE_BYTES + nib_file_memory(job->input) + nib_job_memory(job) +
                   (size_t)job->tensor_count * OUTPUT_ENTRY_BYTES;
    nib_memory_plan plan = {.lanes = lanes};
    size_t lane = 0;
    int fits = 0;
    for (int64_t tile = host ? HOST_TILE_BYTES : DEVICE_TILE_BYTES;
         !fits && tile >= LEAST_TILE_BYTES; tile /= 2)
        for (plan.lanes = lanes; !fits && plan.lanes >= 1;
             plan.lanes = fits ? plan.lanes : plan.lanes / 2) {
            NIB_TRY(cut(job, tile, plan.bytes));
            lane = nib_memory_lane(plan.bytes);
            fits = fixed + lane * (size_t)plan.lanes <= cap &&
                   (host || lane * (size_t)plan.lanes <= vram);
        }
    if (!fits)
        return fixed + lane > cap ? nib_memory_refuse("max_memory_bytes", cap, fixed, lane)
                                  : nib_memory_refuse("max_vram_bytes", vram, 0, lane);
    plan.device_bytes = lane * (size_t)plan.lanes;
    plan.total_bytes = fixed + plan.device_bytes;
    *plan_ret = plan;
    return NIB_OK;
}
