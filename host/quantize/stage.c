/* stage.c - see stage.h. */
#include "stage.h"

#include "../core/internal.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096 };

nib_status nib_stage_open(nib_stage *stage, nib_ctx *ctx, const size_t bytes[NIB_STAGE_BUFFERS])
{
    *stage = (nib_stage){.ctx = ctx};
    for (int i = 0; i < NIB_STAGE_BUFFERS; i++) {
        if (!bytes[i]) continue;
        size_t room = (bytes[i] + PAGE - 1) / PAGE * PAGE + NIB_STAGE_SLACK;
        stage->data[i] = stage->host[i] = aligned_alloc(PAGE, room);
        if (!stage->host[i])
            return NIB_FAIL(NIB_E_MEMORY, "no memory for a lane's buffer of %zu bytes", bytes[i]);
        if (ctx && nib_host_memory(ctx)) stage->device[i] = nib_wrap(stage->host[i], bytes[i]);
        else if (ctx) NIB_TRY(nib_alloc(ctx, bytes[i], &stage->device[i]));
    }
    return ctx ? nib_stream_open(ctx, &stage->stream) : NIB_OK;
}

void nib_stage_close(nib_stage *stage)
{
    nib_stream_close(stage->stream);
    for (int i = 0; i < NIB_STAGE_BUFFERS; i++) {
        if (stage->ctx && !nib_host_memory(stage->ctx)) nib_free(stage->ctx, &stage->device[i]);
        free(stage->host[i]);
    }
    *stage = (nib_stage){0};
}

nib_status nib_stage_up(nib_stage *stage, nib_stage_buffer buffer, size_t bytes)
{
    if (nib_host_memory(stage->ctx)) return NIB_OK;
    return nib_upload(stage->stream, stage->device[buffer], stage->data[buffer], bytes);
}

nib_status nib_stage_down(nib_stage *stage, nib_stage_buffer buffer, size_t bytes)
{
    if (nib_host_memory(stage->ctx)) return NIB_OK;
    return nib_download(stage->stream, stage->data[buffer], stage->device[buffer], bytes);
}

nib_status nib_stage_lend(nib_stage *stage, nib_stage_buffer buffer, const void *bytes,
                          size_t count)
{
    if (!nib_host_memory(stage->ctx))
        return nib_upload(stage->stream, stage->device[buffer], bytes, count);
    void *lent;
    memcpy(&lent, &bytes, sizeof lent); /* kernels only read it */
    stage->device[buffer] = nib_wrap(lent, count);
    return NIB_OK;
}

nib_status nib_stage_read(nib_stage *stage, const nib_file *file, int32_t shard, uint64_t offset,
                          nib_stage_buffer buffer, size_t bytes)
{
    enum { ELEMENT = 8 }; /* the widest alignment that a kernel asks for */
    double start = nib_seconds();
    void *data = stage->host[buffer];
    nib_status status = nib_file_read_direct(file, shard, offset, data, bytes, &data);
    if (status == NIB_OK && (uintptr_t)data % ELEMENT)
        data = memmove(stage->host[buffer], data, bytes);
    stage->data[buffer] = data;
    if (stage->ctx && nib_host_memory(stage->ctx)) stage->device[buffer] = nib_wrap(data, bytes);
    stage->read_seconds += nib_seconds() - start;
    stage->read_bytes += bytes;
    return status;
}

nib_quant nib_tile_quant(const nib_quant *quant, int64_t rows)
{
    nib_quant tile = *quant;
    tile.grid.rows = tile.grid.period = rows;
    return tile;
}

int nib_tile_repacks(const nib_quant *quant)
{
    return nib_rule_offset(quant->rule) == NIB_OFFSET_ZERO &&
           nib_layout_tile_rows(quant->layout) > 1;
}

int64_t nib_tile_multiple(const nib_quant *quant)
{
    return nib_tile_repacks(quant) ? nib_layout_tile_rows(quant->layout) : 1;
}

nib_quant nib_tile_kernel_quant(const nib_quant *quant, int64_t rows)
{
    nib_quant tile = nib_tile_quant(quant, rows);
    if (nib_tile_repacks(quant)) tile.layout = NIB_LAYOUT_CANONICAL;
    return tile;
}

static void raise_to(size_t *bytes, size_t need)
{
    if (*bytes < need) *bytes = need;
}

nib_status nib_tile_need(const nib_quant *quant, int64_t rows, size_t bytes[NIB_STAGE_BUFFERS])
{
    nib_quant kernel = nib_tile_kernel_quant(quant, rows), stored = nib_tile_quant(quant, rows);
    for (int p = 0; p < NIB_PLANES; p++) {
        size_t need;
        NIB_TRY(nib_plane_bytes(&kernel, (nib_plane)p, &need));
        raise_to(&bytes[NIB_STAGE_CODES + p], need);
    }
    size_t packed = 0;
    if (nib_tile_repacks(quant)) NIB_TRY(nib_plane_bytes(&stored, NIB_PLANE_OFFSETS, &packed));
    raise_to(&bytes[NIB_STAGE_PACKED], packed);
    return NIB_OK;
}

nib_status nib_stage_load_planes(nib_stage *stage, const nib_file *file, const nib_tensor *tensor,
                                 int64_t first, int64_t rows)
{
    nib_quant stored = nib_tile_quant(&tensor->quant, rows),
              before = nib_tile_quant(&tensor->quant, first);
    nib_quant kernel = nib_tile_kernel_quant(&tensor->quant, rows);
    int repacks = nib_tile_repacks(&tensor->quant);
    for (int p = 0; p < NIB_PLANES; p++) {
        size_t offset, bytes;
        NIB_TRY(nib_plane_bytes(&before, (nib_plane)p, &offset));
        NIB_TRY(nib_plane_bytes(&stored, (nib_plane)p, &bytes));
        if (!bytes) continue;
        const nib_span *span = &tensor->span[p];
        nib_stage_buffer into = p == NIB_PLANE_OFFSETS && repacks
                                    ? NIB_STAGE_PACKED
                                    : (nib_stage_buffer)(NIB_STAGE_CODES + p);
        NIB_TRY(nib_stage_read(stage, file, span->shard, span->offset + offset, into, bytes));
        NIB_TRY(nib_stage_up(stage, into, bytes));
    }
    if (!repacks) return NIB_OK;
    return nib_repack(stage->stream, &stored, NIB_PLANE_OFFSETS, stage->device[NIB_STAGE_PACKED],
                      kernel.layout, stage->device[NIB_STAGE_OFFSETS]);
}
