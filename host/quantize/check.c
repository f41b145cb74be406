/* check.c - reads every tensor of a checkpoint and looks for values that no consumer can use. */
#include "nonfinite.h"

#include "../core/internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { PIECE_BYTES = 1 << 20, DECODED = 1 << 18 /* elements at once: less bytes than a piece */ };

typedef struct checking {
    const nib_file *file;
    nib_ctx *ctx; /* the CPU, which decodes blocks; NULL where there are none */
    nib_stream *stream;
    float *decoded;
    const volatile int *cancel; /* may be NULL */
    void (*each)(void *user, const nib_finding *finding);
    void *user;
    int64_t findings;
    unsigned char *piece;
} checking;

static void found(checking *c, const char *tensor, const char *what)
{
    const nib_finding finding = {tensor, what};
    c->findings++;
    if (c->each) c->each(c->user, &finding);
}

/* Whether a raw tensor of a quantized one holds scales or mins. */
static int is_scales(const nib_tensor *owner, const nib_raw_tensor *raw)
{
    for (int p = NIB_PLANE_SCALES; owner->quantized == 1 && p < NIB_PLANES; p++)
        if (owner->span[p].bytes && owner->span[p].shard == raw->span.shard &&
            owner->span[p].offset == raw->span.offset)
            return 1;
    return 0;
}

/* Blocks are decoded: a scale that is not finite gives elements that are not. */
static nib_status check_blocks(checking *c, const nib_raw_tensor *raw)
{
    uint64_t size = (uint64_t)raw->blocks->bytes, elements = (uint64_t)raw->blocks->elements;
    uint64_t piece = DECODED / elements * size;
    for (uint64_t at = 0; at < raw->span.bytes; at += piece) {
        if (c->cancel && *c->cancel) return NIB_FAIL(NIB_E_INTERRUPTED, "interrupted");
        uint64_t left = raw->span.bytes - at, bytes = left < piece ? left : piece;
        int64_t count = (int64_t)(bytes / size * elements);
        NIB_TRY(nib_file_read(c->file, raw->span.shard, raw->span.offset + at, c->piece, bytes));
        NIB_TRY(nib_dequantize_blocks(c->stream, (nib_block)raw->blocks->number, 1, count,
                                      nib_wrap(c->piece, bytes), NIB_F32,
                                      nib_wrap(c->decoded, (size_t)count * sizeof *c->decoded)));
        NIB_TRY(nib_sync(c->stream));
        int64_t where = nib_nonfinite_find(c->decoded, NIB_F32, count);
        if (where < 0) continue;
        char what[96];
        snprintf(what, sizeof what, "a scale of block %lld is NaN or infinite",
                 (long long)((int64_t)(at / size) + where / (int64_t)elements));
        found(c, raw->name, what);
        return NIB_OK;
    }
    return NIB_OK;
}

static nib_status check_tensor(checking *c, int64_t index)
{
    const nib_raw_tensor *raw = nib_file_raw_at(c->file, index);
    if (raw->blocks)
        return nib_block_get((nib_block)raw->blocks->number) ? check_blocks(c, raw) : NIB_OK;
    const nib_tensor *owner = nib_file_at(c->file, nib_file_owner(c->file, index));
    int is_float = nib_is_float(raw->type);
    uint64_t size = (uint64_t)nib_dtype_bits(raw->type) / 8;
    for (uint64_t at = 0; at < raw->span.bytes; at += PIECE_BYTES) {
        if (c->cancel && *c->cancel) return NIB_FAIL(NIB_E_INTERRUPTED, "interrupted");
        uint64_t left = raw->span.bytes - at, bytes = left < PIECE_BYTES ? left : PIECE_BYTES;
        NIB_TRY(nib_file_read(c->file, raw->span.shard, raw->span.offset + at, c->piece, bytes));
        int64_t where =
            is_float ? nib_nonfinite_find(c->piece, raw->type, (int64_t)(bytes / size)) : -1;
        if (where < 0) continue;
        char what[96];
        snprintf(what, sizeof what, "%s %lld is NaN or infinite",
                 is_scales(owner, raw) ? "scale" : "element",
                 (long long)((int64_t)(at / size) + where));
        found(c, raw->name, what);
        return NIB_OK; /* the first of a tensor tells enough */
    }
    return NIB_OK;
}

static nib_status open_decoder(checking *c)
{
    const nib_options options = {.size = sizeof options, .threads = 1};
    int64_t blocks = 0;
    for (int64_t i = 0; i < nib_file_raw_count(c->file); i++)
        blocks += nib_file_raw_at(c->file, i)->blocks != NULL;
    if (!blocks) return NIB_OK;
    c->decoded = malloc(DECODED * sizeof *c->decoded);
    if (!c->decoded) return NIB_FAIL(NIB_E_MEMORY, "no memory for %d elements", DECODED);
    NIB_TRY(nib_open("cpu", &options, &c->ctx));
    return nib_stream_open(c->ctx, &c->stream);
}

nib_status nib_check(const nib_file *file, const nib_run_options *options,
                     void (*each)(void *user, const nib_finding *finding), void *user,
                     int64_t *findings_ret)
{
    if (!file || !findings_ret)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", file ? "findings_ret" : "file");
    nib_run_options own = {.size = sizeof own};
    if (options)
        NIB_TRY(
            nib_take_given("options", "nib_run_options", options, sizeof own, &own, sizeof own));
    checking c = {.file = file,
                  .cancel = own.cancel,
                  .each = each,
                  .user = user,
                  .piece = malloc(PIECE_BYTES)};
    if (!c.piece) return NIB_FAIL(NIB_E_MEMORY, "no memory for a piece of %d bytes", PIECE_BYTES);
    nib_status status = open_decoder(&c);
    for (int64_t i = 0; i < nib_file_raw_count(file) && status == NIB_OK; i++)
        status = check_tensor(&c, i);
    for (int64_t i = 0; i < nib_file_count(file) && status == NIB_OK; i++)
        if (nib_file_at(file, i)->quantized == 2)
            found(&c, nib_file_at(file, i)->name, nib_file_at(file, i)->why);
    nib_stream_close(c.stream);
    nib_close(c.ctx);
    free(c.decoded);
    free(c.piece);
    if (status == NIB_OK) status = nib_file_unchanged(file);
    if (status == NIB_OK) *findings_ret = c.findings;
    return status;
}
