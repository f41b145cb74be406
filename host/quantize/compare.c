/* compare.c - measures two checkpoints against each other, tensor by tensor, in tiles of rows. */
#include "lanes.h"
#include "memory_plan.h"
#include "stage.h"

#include "../core/internal.h"

#include <stdlib.h>
#include <string.h>

/* A pair of logical tensors; one that is not measured has a note and no tiles. */
typedef struct pair {
    const nib_tensor *x, *y;
    const char *note;
    int as_bytes; /* neither is floating-point: equal bytes or not */
    int64_t rows, cols, tile_rows, first, tiles;
    nib_error_total errors;
} pair;

enum { TILE_BYTES = 1 << 20, DEVICE_TILE_BYTES = 16 << 20, LEAST_TILE_BYTES = 64 << 10 };

typedef struct comparison {
    const nib_file *a, *b;
    nib_ctx *ctx;
    pair *pairs;
    int64_t count, tiles;
    nib_stage *x, *y;         /* by lane */
    nib_error_block **blocks; /* by slot */
    const nib_run_options *options;
    void (*each)(void *user, const nib_compared *compared);
    void *user;
    int64_t next; /* the next pair to tell */
} comparison;

static int is_float(const nib_tensor *t)
{
    return t->quantized == 1 || t->quantized == 3 || (!t->quantized && nib_is_float(t->type));
}

/* GGUF files leave out outermost dimensions of 1. */
static int same_shape(const nib_tensor *x, const nib_tensor *y)
{
    int32_t rank = x->rank > y->rank ? x->rank : y->rank;
    for (int32_t i = 1; i <= rank; i++)
        if ((i <= x->rank ? x->shape[x->rank - i] : 1) !=
            (i <= y->rank ? y->shape[y->rank - i] : 1))
            return 0;
    return 1;
}

/* Why two tensors cannot be measured, or NULL. */
static const char *unmeasurable(const nib_tensor *x, const nib_tensor *y)
{
    if (!y) return "only in A";
    if (!same_shape(x, y)) return "shapes differ";
    if (x->blocks && x->blocks == y->blocks) return NULL;
    if (x->quantized == 2 || y->quantized == 2)
        return "quantized in a way that nibble does not decode";
    if (x->type != y->type && (!is_float(x) || !is_float(y))) return "types differ";
    return NULL;
}

static pair make_pair(const nib_tensor *x, const nib_tensor *y, int64_t tile_bytes)
{
    pair p = {.x = x, .y = y, .note = unmeasurable(x, y)};
    if (p.note) return p;
    if (!is_float(x)) {
        p.as_bytes = 1;
        p.rows = (int64_t)x->span[0].bytes;
        p.cols = 1;
        p.tile_rows = tile_bytes;
        p.tiles = nib_ceil_div(p.rows, p.tile_rows);
        return p;
    }
    p.rows = 1;
    p.cols = x->rank ? x->shape[x->rank - 1] : 1;
    for (int32_t i = 0; i + 1 < x->rank; i++) p.rows *= x->shape[i];
    int64_t multiple = x->quantized == 1 ? nib_tile_multiple(&x->quant) : 1,
            other = y->quantized == 1 ? nib_tile_multiple(&y->quant) : 1;
    if (other > multiple) multiple = other;
    int64_t rows = p.cols ? tile_bytes / (4 * p.cols) / multiple * multiple : p.rows;
    p.tile_rows = rows < multiple ? multiple : rows;
    p.tiles = p.rows && p.cols ? nib_ceil_div(p.rows, p.tile_rows) : 0;
    return p;
}

/* Equal bytes give a block of zeros; others a largest error of 1, which merge turns into a note. */
static nib_status measure_bytes(comparison *c, int lane, const pair *p, int64_t first, int64_t rows,
                                nib_error_block *block)
{
    const nib_span *x = &p->x->span[0], *y = &p->y->span[0];
    uint64_t at = (uint64_t)first;
    size_t bytes = (size_t)rows;
    NIB_TRY(nib_stage_read(&c->x[lane], c->a, x->shard, x->offset + at, NIB_STAGE_X, bytes));
    NIB_TRY(nib_stage_read(&c->y[lane], c->b, y->shard, y->offset + at, NIB_STAGE_X, bytes));
    *block = (nib_error_block){0};
    if (memcmp(c->x[lane].data[NIB_STAGE_X], c->y[lane].data[NIB_STAGE_X], bytes)) block->max = 1;
    return NIB_OK;
}

/* Of plain elements or blocks. */
static int64_t row_bytes(const nib_tensor *t, int64_t cols)
{
    return t->blocks ? cols / t->blocks->elements * t->blocks->bytes
                     : cols * (nib_dtype_bits(t->type) / 8);
}

/* What a tile of one side needs. */
static nib_status side_need(const nib_tensor *t, int64_t rows, int64_t cols,
                            size_t bytes[NIB_STAGE_BUFFERS])
{
    size_t x = (size_t)(rows * row_bytes(t, cols)), y = (size_t)(rows * cols) * 4;
    if (t->quantized && bytes[NIB_STAGE_Y] < y) bytes[NIB_STAGE_Y] = y;
    if (t->quantized == 1) return nib_tile_need(&t->quant, rows, bytes);
    if (bytes[NIB_STAGE_X] < x) bytes[NIB_STAGE_X] = x;
    return NIB_OK;
}

/* Loads rows of a tensor; afterwards its elements, planes or blocks are on the device. */
static nib_status load(nib_stage *stage, const nib_file *file, const nib_tensor *t, int64_t first,
                       int64_t rows, int64_t cols)
{
    if (t->quantized == 1) return nib_stage_load_planes(stage, file, t, first, rows);
    int64_t row = row_bytes(t, cols);
    size_t bytes = (size_t)(rows * row);
    NIB_TRY(nib_stage_read(stage, file, t->span[0].shard,
                           t->span[0].offset + (uint64_t)(first * row), NIB_STAGE_X, bytes));
    return nib_stage_up(stage, NIB_STAGE_X, bytes);
}

static void planes_of(const nib_stage *stage, nib_mem planes[NIB_PLANES])
{
    for (int p = 0; p < NIB_PLANES; p++) planes[p] = stage->device[NIB_STAGE_CODES + p];
}

/* The loaded rows as plain elements. */
static nib_status decode(nib_stage *stage, const nib_tensor *t, int64_t rows, int64_t cols,
                         nib_dtype *type_ret, nib_mem *elements_ret)
{
    nib_mem planes[NIB_PLANES];
    *type_ret = t->quantized ? NIB_F32 : t->type;
    *elements_ret = stage->device[t->quantized ? NIB_STAGE_Y : NIB_STAGE_X];
    if (!t->quantized) return NIB_OK;
    if (t->blocks)
        return nib_dequantize_blocks(stage->stream, (nib_block)t->blocks->number, rows, cols,
                                     stage->device[NIB_STAGE_X], NIB_F32, *elements_ret);
    nib_quant quant = nib_tile_kernel_quant(&t->quant, rows);
    planes_of(stage, planes);
    return nib_dequantize(stage->stream, &quant, planes, NIB_F32, *elements_ret);
}

static nib_status measure(comparison *c, int lane, const pair *p, int64_t first, int64_t rows,
                          nib_error_block *blocks)
{
    nib_stage *x = &c->x[lane], *y = &c->y[lane];
    nib_mem planes[NIB_PLANES];
    nib_dtype type;
    int64_t count;
    NIB_TRY(nib_error_blocks(rows, p->cols, p->cols, &count));
    NIB_TRY(load(x, c->a, p->x, first, rows, p->cols));
    NIB_TRY(load(y, c->b, p->y, first, rows, p->cols));
    nib_dtype y_type;
    nib_mem x_elements, y_elements, out = y->device[NIB_STAGE_BLOCKS];
    NIB_TRY(decode(x, p->x, rows, p->cols, &type, &x_elements));
    NIB_TRY(nib_sync(x->stream)); /* the two sides have streams of their own */
    if (p->y->quantized == 1) {
        nib_quant quant = nib_tile_kernel_quant(&p->y->quant, rows);
        planes_of(y, planes);
        NIB_TRY(nib_errors(y->stream, &quant, type, x_elements, planes, p->cols, out));
    } else {
        NIB_TRY(decode(y, p->y, rows, p->cols, &y_type, &y_elements));
        NIB_TRY(nib_errors_plain(y->stream, rows, p->cols, type, x_elements, y_type, y_elements,
                                 p->cols, out));
    }
    NIB_TRY(nib_stage_down(y, NIB_STAGE_BLOCKS, (size_t)count * sizeof *blocks));
    NIB_TRY(nib_sync(y->stream));
    memcpy(blocks, y->data[NIB_STAGE_BLOCKS], (size_t)count * sizeof *blocks);
    return NIB_OK;
}

static pair *pair_of(comparison *c, int64_t tile)
{
    int64_t low = 0, high = c->count - 1; /* the last pair that begins at or before the tile */
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (c->pairs[middle].first <= tile) low = middle;
        else high = middle - 1;
    }
    return &c->pairs[low];
}

static nib_status work(void *user, int lane, int64_t tile, int slot)
{
    comparison *c = user;
    const pair *p = pair_of(c, tile);
    int64_t first = (tile - p->first) * p->tile_rows, left = p->rows - first;
    int64_t rows = left < p->tile_rows ? left : p->tile_rows;
    nib_status status = p->as_bytes ? measure_bytes(c, lane, p, first, rows, c->blocks[slot])
                                    : measure(c, lane, p, first, rows, c->blocks[slot]);
    return status == NIB_OK ? NIB_OK : nib_fail_prefix(status, "\"%.200s\": ", p->x->name);
}

/* Tells every pair before `end` that was not told yet. */
static void tell(comparison *c, int64_t end)
{
    for (; c->next < end; c->next++) {
        const pair *p = &c->pairs[c->next];
        const nib_compared told = {p->x->name, p->errors, p->note};
        c->each(c->user, &told);
    }
}

static nib_status merge(void *user, int64_t tile, int slot)
{
    comparison *c = user;
    pair *p = pair_of(c, tile);
    int64_t first = (tile - p->first) * p->tile_rows, left = p->rows - first;
    int64_t rows = left < p->tile_rows ? left : p->tile_rows, count;
    NIB_TRY(nib_error_blocks(rows, p->cols, p->cols, &count));
    if (!p->as_bytes) nib_error_add(&p->errors, c->blocks[slot], count, rows * p->cols);
    else if (c->blocks[slot]->max != 0.0f) p->note = "bytes differ";
    if (tile == p->first + p->tiles - 1) tell(c, p - c->pairs + 1);
    return NIB_OK;
}

/* Cuts every pair into tiles of about `tile_bytes`, numbers them and takes the largest needs. */
static nib_status cut(comparison *c, int64_t tile_bytes, size_t x_bytes[NIB_STAGE_BUFFERS],
                      size_t y_bytes[NIB_STAGE_BUFFERS])
{
    int64_t most_blocks = 1;
    c->tiles = 0;
    memset(x_bytes, 0, NIB_STAGE_BUFFERS * sizeof *x_bytes);
    memset(y_bytes, 0, NIB_STAGE_BUFFERS * sizeof *y_bytes);
    for (int64_t i = 0; i < c->count; i++) {
        pair *p = &c->pairs[i];
        *p = make_pair(p->x, p->y, tile_bytes);
        p->first = c->tiles;
        c->tiles += p->tiles;
        if (!p->tiles) continue;
        int64_t rows = p->rows < p->tile_rows ? p->rows : p->tile_rows, blocks;
        if (p->as_bytes) {
            if (x_bytes[NIB_STAGE_X] < (size_t)rows) x_bytes[NIB_STAGE_X] = (size_t)rows;
            if (y_bytes[NIB_STAGE_X] < (size_t)rows) y_bytes[NIB_STAGE_X] = (size_t)rows;
            continue;
        }
        NIB_TRY(side_need(p->x, rows, p->cols, x_bytes));
        NIB_TRY(side_need(p->y, rows, p->cols, y_bytes));
        NIB_TRY(nib_error_blocks(rows, p->cols, p->cols, &blocks));
        if (blocks > most_blocks) most_blocks = blocks;
    }
    y_bytes[NIB_STAGE_BLOCKS] = (size_t)most_blocks * sizeof(nib_error_block);
    return NIB_OK;
}

/* The largest tiles, and up to *lanes lanes, that fit under the cap. */
static nib_status plan(comparison *c, int *lanes, size_t x_bytes[], size_t y_bytes[])
{
    size_t cap = nib_memory_cap(c->options), lane = 0;
    size_t fixed = nib_memory_base() + nib_file_memory(c->a) + nib_file_memory(c->b) +
                   (size_t)c->count * sizeof *c->pairs;
    for (int64_t tile = nib_host_memory(c->ctx) ? TILE_BYTES : DEVICE_TILE_BYTES;
         tile >= LEAST_TILE_BYTES; tile /= 2) {
        NIB_TRY(cut(c, tile, x_bytes, y_bytes));
        lane = nib_memory_lane(x_bytes) + nib_memory_lane(y_bytes);
        if (fixed + lane > cap) continue;
        size_t most = (cap - fixed) / lane;
        if (most < (size_t)*lanes) *lanes = (int)most;
        return NIB_OK;
    }
    return nib_memory_refuse("max_memory_bytes", cap, fixed, lane);
}

static nib_status run(comparison *c, int lanes, const size_t x_bytes[], const size_t y_bytes[])
{
    for (int i = 0; i < lanes; i++) {
        NIB_TRY(nib_stage_open(&c->x[i], c->ctx, x_bytes));
        NIB_TRY(nib_stage_open(&c->y[i], c->ctx, y_bytes));
    }
    for (int i = 0; i < nib_lane_slots(lanes); i++)
        if (!(c->blocks[i] = malloc(y_bytes[NIB_STAGE_BLOCKS])))
            return NIB_FAIL(NIB_E_MEMORY, "no memory for error sums");
    const nib_lanes engine = {lanes, c->tiles, c->options->cancel, c, work, merge};
    NIB_TRY(nib_lanes_run(&engine));
    tell(c, c->count);
    for (int64_t i = 0; i < nib_file_count(c->b); i++) {
        const nib_tensor *t = nib_file_at(c->b, i);
        const nib_compared told = {.name = t->name, .note = "only in B"};
        if (!nib_file_find(c->a, t->name)) c->each(c->user, &told);
    }
    NIB_TRY(nib_file_unchanged(c->a));
    return nib_file_unchanged(c->b);
}

nib_status nib_compare(const nib_file *a, const nib_file *b, const nib_run_options *options,
                       void (*each)(void *user, const nib_compared *compared), void *user)
{
    if (!a || !b || !each)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", !a ? "a" : !b ? "b" : "each");
    nib_run_options own = {.size = sizeof own};
    if (options)
        NIB_TRY(
            nib_take_given("options", "nib_run_options", options, sizeof own, &own, sizeof own));
    comparison c = {
        .a = a, .b = b, .options = &own, .each = each, .user = user, .count = nib_file_count(a)};
    const nib_options device_options = {.size = sizeof device_options, .threads = 1};
    NIB_TRY(nib_open(own.device ? own.device : "auto", &device_options, &c.ctx));
    int lanes = !nib_host_memory(c.ctx) ? 2 : own.threads > 0 ? own.threads : nib_cores();
    size_t x_bytes[NIB_STAGE_BUFFERS], y_bytes[NIB_STAGE_BUFFERS];
    c.pairs = calloc((size_t)c.count + 1, sizeof *c.pairs);
    nib_status status = c.pairs ? NIB_OK : NIB_FAIL(NIB_E_MEMORY, "no memory for the table");
    for (int64_t i = 0; i < c.count && status == NIB_OK; i++) {
        const nib_tensor *x = nib_file_at(a, i);
        c.pairs[i] = (pair){.x = x, .y = nib_file_find(b, x->name)};
    }
    if (status == NIB_OK) status = plan(&c, &lanes, x_bytes, y_bytes);
    c.x = calloc((size_t)lanes, sizeof *c.x);
    c.y = calloc((size_t)lanes, sizeof *c.y);
    c.blocks = calloc((size_t)nib_lane_slots(lanes), sizeof *c.blocks);
    if (status == NIB_OK && (!c.x || !c.y || !c.blocks))
        status = NIB_FAIL(NIB_E_MEMORY, "no memory for %d lanes", lanes);
    if (status == NIB_OK) status = run(&c, lanes, x_bytes, y_bytes);
    for (int i = 0; i < lanes && c.x && c.y; i++) {
        nib_stage_close(&c.x[i]);
        nib_stage_close(&c.y[i]);
    }
    for (int i = 0; c.blocks && i < nib_lane_slots(lanes); i++) free(c.blocks[i]);
    free(c.blocks);
    free(c.x);
    free(c.y);
    free(c.pairs);
    nib_close(c.ctx);
    return status;
}
