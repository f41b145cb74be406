/* file_output_resume.c - checksums of an output's tensors, and what an unfinished one is worth. */
#include "../core/internal.h"
#include "file_output.h"
#include "io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { READ = 1 << 20 };

void nib_output_fingerprint(const struct nib_output *output, const char *identity,
                            uint64_t fingerprint_ret[2])
{
    const nib_output_plan *plan = &output->plan;
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, identity, strlen(identity) + 1);
    XXH3_128bits_update(&state, &output->directory, sizeof output->directory);
    for (int32_t i = 0; i < plan->shard_count; i++)
        XXH3_128bits_update(&state, plan->shards[i].header.data, plan->shards[i].header.size);
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    fingerprint_ret[0] = hash.low64;
    fingerprint_ret[1] = hash.high64;
}

nib_sum nib_sum_piece(const void *src, size_t bytes, uint64_t offset)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(src, bytes, offset);
    return (nib_sum){hash.low64, hash.high64};
}

void nib_sum_add(nib_sum *sum, nib_sum added)
{
    sum->low += added.low;
    sum->high += added.high;
}

/* One piece of a tensor, read through a small buffer. */
static nib_status sum_read(const nib_shard_file *file, uint64_t place, uint64_t offset,
                           uint64_t bytes, void *buffer, nib_sum *sum)
{
    XXH3_state_t state = {0}; /* the reset reads it */
    XXH3_128bits_reset_withSeed(&state, offset);
    for (uint64_t done = 0; done < bytes;) {
        size_t part = bytes - done < READ ? (size_t)(bytes - done) : READ;
        NIB_TRY(nib_io_read(file->fd, file->shown, place + offset + done, buffer, part));
        XXH3_128bits_update(&state, buffer, part);
        done += part;
    }
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    nib_sum_add(sum, (nib_sum){hash.low64, hash.high64});
    return NIB_OK;
}

nib_status nib_output_sum(const struct nib_output *output, int64_t tensor, uint64_t piece,
                          nib_sum *sum_ret)
{
    const nib_planned_tensor *planned = &output->plan.tensors[tensor];
    const nib_shard_file *file = &output->files[planned->shard];
    *sum_ret = (nib_sum){0, 0};
    if (planned->bytes == 0) return NIB_OK;
    void *buffer = malloc(READ);
    if (!buffer) return NIB_FAIL(NIB_E_MEMORY, "no memory for %d bytes", READ);
    nib_status status = NIB_OK;
    for (uint64_t at = 0; at < planned->bytes && status == NIB_OK;) {
        uint64_t bytes = planned->bytes - at < piece ? planned->bytes - at : piece;
        status = sum_read(file, planned->offset, at, bytes, buffer, sum_ret);
        at += bytes;
    }
    free(buffer);
    return status;
}

/* Marks the tensor of one record, if its bytes are there. */
static nib_status take_up(struct nib_output *output, const nib_journal_record *record)
{
    if (record->kind != NIB_JOURNAL_TENSOR || record->number >= (uint64_t)output->plan.count)
        return NIB_OK;
    int64_t tensor = (int64_t)record->number;
    const nib_planned_tensor *planned = &output->plan.tensors[tensor];
    nib_progress_mark *mark = &output->marks[tensor];
    if (mark->finished || record->offset != planned->offset || record->bytes != planned->bytes ||
        (record->piece == 0 && planned->bytes != 0))
        return NIB_OK;
    nib_sum sum;
    nib_status status = nib_output_sum(output, tensor, record->piece, &sum);
    if (status == NIB_E_MEMORY) return status;
    if (status != NIB_OK || sum.low != record->checksum[0] || sum.high != record->checksum[1])
        return NIB_OK; /* not readable, or not what was written: it is made anew */
    *mark = (nib_progress_mark){.piece = record->piece,
                                .written = planned->bytes,
                                .sum = sum,
                                .finished = 1,
                                .resumed = record};
    return NIB_OK;
}

nib_status nib_output_take_up(struct nib_output *output)
{
    const nib_journal_text *found = &output->place.found;
    for (size_t i = found->count; i-- > 0;) NIB_TRY(take_up(output, &found->records[i]));
    int64_t complete = 0;
    for (int64_t i = 0; i < output->plan.count; i++) complete += output->marks[i].finished;
    snprintf(output->note, sizeof output->note, "took up %.300s: %lld of %lld tensors are complete",
             output->place.partial, (long long)complete, (long long)output->plan.count);
    return NIB_OK;
}
