/* check_file.h - what must hold for every checkpoint that was accepted, however strange its bytes.
 */
#ifndef NIB_CHECK_FILE_H
#define NIB_CHECK_FILE_H

#include "../include/nibble_file.h"

#include <string.h>

/* Bits of a tensor of blocks whose elements do not overflow; 1 where its rows are no whole blocks.
 */
static inline uint64_t file_block_bits(const nib_raw_tensor *raw)
{
    uint64_t elements = 1, row = raw->rank ? (uint64_t)raw->shape[raw->rank - 1] : 1;
    for (int d = 0; d < raw->rank; d++) elements *= (uint64_t)raw->shape[d];
    if (raw->type != NIB_DTYPE_NONE || row % (uint64_t)raw->blocks->elements) return 1;
    return elements / (uint64_t)raw->blocks->elements * (uint64_t)raw->blocks->bytes * 8;
}

static inline uint64_t file_bits(const nib_raw_tensor *raw)
{
    uint64_t bits = (uint64_t)nib_dtype_bits(raw->type);
    for (int d = 0; d < raw->rank; d++) bits *= (uint64_t)raw->shape[d];
    return bits;
}

/* NULL where all holds; otherwise the first thing that does not. */
static inline const char *file_raw_fault(const nib_file *file, int64_t index, uint64_t *end)
{
    static char buffer[4096];
    const nib_raw_tensor *raw = nib_file_raw_at(file, index);
    const nib_span *span = &raw->span;
    int64_t elements = 1;
    if (!raw->name[0] || raw->rank < 0 || raw->rank > NIB_MAX_RANK) return "name or rank";
    for (int d = 0; d < raw->rank;
         d++) /* in any order of extents, with a 0 among them or without */
        if (raw->shape[d] < 0 ||
            __builtin_mul_overflow(elements, raw->shape[d] ? raw->shape[d] : 1, &elements))
            return "shape";
    uint64_t bits = raw->blocks ? file_block_bits(raw) : file_bits(raw);
    if (bits % 8 || bits / 8 != span->bytes) return "span does not fit shape and type";
    if (span->offset < *end || span->offset > nib_file_shard_bytes(file, span->shard) ||
        span->bytes > nib_file_shard_bytes(file, span->shard) - span->offset)
        return "span outside the file, or not in order";
    *end = span->offset + span->bytes;
    const nib_tensor *owner = nib_file_at(file, nib_file_owner(file, index));
    if (!owner || nib_file_find(file, owner->name) != owner) return "owner";
    size_t bytes = span->bytes < sizeof buffer ? (size_t)span->bytes : sizeof buffer;
    return nib_file_read(file, span->shard, span->offset, buffer, bytes) ? "cannot be read" : NULL;
}

static inline const char *file_tensor_fault(const nib_file *file, int64_t index)
{
    const nib_tensor *tensor = nib_file_at(file, index);
    if (tensor->quantized < 0 || tensor->quantized > 3) return "quantized";
    if ((tensor->quantized == 2) != (tensor->why != NULL)) return "why";
    if (tensor->quantized == 3 && !tensor->blocks) return "blocks";
    if (tensor->quantized != 1) return NULL;
    for (int p = 0; p < NIB_PLANES; p++) {
        size_t bytes;
        if (nib_plane_bytes(&tensor->quant, (nib_plane)p, &bytes)) return "quant";
        if (bytes != tensor->span[p].bytes) return "plane";
    }
    if (tensor->quant.grid.rows != tensor->shape[0] || tensor->quant.grid.cols != tensor->shape[1])
        return "grid";
    return NULL;
}

static inline const char *file_fault(const nib_file *file)
{
    const char *fault = NULL;
    uint64_t end = 0;
    int32_t shard = 0;
    for (int64_t i = 0; i < nib_file_raw_count(file) && !fault; i++) {
        const nib_raw_tensor *raw = nib_file_raw_at(file, i);
        if (raw->span.shard < shard) return "shards out of order";
        if (raw->span.shard > shard) end = 0;
        shard = raw->span.shard;
        fault = file_raw_fault(file, i, &end);
    }
    for (int64_t i = 0; i < nib_file_count(file) && !fault; i++) fault = file_tensor_fault(file, i);
    if (nib_file_raw_at(file, nib_file_raw_count(file)) || nib_file_raw_at(file, -1) ||
        nib_file_at(file, nib_file_count(file)))
        return "past the end";
    return fault;
}

#endif
