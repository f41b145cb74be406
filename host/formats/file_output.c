/* file_output.c - writes a checkpoint so that a crash, a full disk or a second process costs at
 * most the last second's work, and never an earlier output. Where the files lie until then:
 * workplace.h; what they hold: output_plan.h; what survives a crash: journal.h. */
#include "file_output.h"

#include "../core/internal.h"
#include "io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_SECONDS 1.0

const char *nib_output_note(const nib_output *output) { return output->note; }

/* ---- tensors ---- */

static nib_status check_tensor(const nib_output *output, int64_t tensor)
{
    if (!output) return NIB_FAIL(NIB_E_ARGUMENT, "output is NULL");
    if (tensor >= 0 && tensor < output->plan.count) return NIB_OK;
    return NIB_FAIL(NIB_E_ARGUMENT, "tensor %lld; the output has %lld", (long long)tensor,
                    (long long)output->plan.count);
}

static nib_status misfit(const nib_planned_tensor *planned, uint64_t offset, uint64_t bytes)
{
    return NIB_FAIL(NIB_E_ARGUMENT,
                    "tensor \"%.200s\" (%llu bytes): %llu bytes at %llu are no piece of it",
                    planned->name, (unsigned long long)planned->bytes, (unsigned long long)bytes,
                    (unsigned long long)offset);
}

/* Pieces have one size, see nib_output_write. The caller holds `lock`. */
static nib_status check_piece(const nib_output *output, int64_t tensor, uint64_t offset,
                              uint64_t bytes)
{
    const nib_planned_tensor *planned = &output->plan.tensors[tensor];
    const nib_progress_mark *mark = &output->marks[tensor];
    if (mark->finished || bytes > planned->bytes - mark->written)
        return misfit(planned, offset, bytes);
    if (offset && offset + bytes == planned->bytes) return NIB_OK;
    if (offset % bytes || (mark->piece && mark->piece != bytes))
        return misfit(planned, offset, bytes);
    return NIB_OK;
}

static void count_piece(nib_output *output, int64_t tensor, uint64_t offset, uint64_t bytes,
                        nib_sum sum)
{
    nib_progress_mark *mark = &output->marks[tensor];
    if (offset && offset + bytes == output->plan.tensors[tensor].bytes) mark->tail = offset;
    else mark->piece = bytes;
    mark->written += bytes;
    nib_sum_add(&mark->sum, sum);
    output->dirty = 1;
}

nib_status nib_output_write(nib_output *output, int64_t tensor, uint64_t offset, const void *src,
                            size_t bytes)
{
    NIB_TRY(check_tensor(output, tensor));
    if (!src && bytes) return NIB_FAIL(NIB_E_ARGUMENT, "src is NULL");
    const nib_planned_tensor *planned = &output->plan.tensors[tensor];
    if (offset > planned->bytes || bytes > planned->bytes - offset)
        return misfit(planned, offset, bytes);
    if (bytes == 0) return NIB_OK;
    pthread_mutex_lock(&output->lock);
    nib_status status = check_piece(output, tensor, offset, bytes);
    pthread_mutex_unlock(&output->lock);
    NIB_TRY(status);
    nib_sum sum = nib_sum_piece(src, bytes, offset);
    NIB_TRY(nib_shard_write(&output->files[planned->shard], planned->offset + offset, src, bytes,
                            &output->bounce));
    /* Counted once it is written, and checked again: another thread may have been at it too. */
    pthread_mutex_lock(&output->lock);
    status = check_piece(output, tensor, offset, bytes);
    if (status == NIB_OK) count_piece(output, tensor, offset, bytes, sum);
    pthread_mutex_unlock(&output->lock);
    return status;
}

/* ---- the journal ---- */

static nib_status failed_before(const nib_output *output)
{
    return NIB_FAIL(output->failed, "%s", output->failure);
}

/* Takes the list of what is to be journalled; the caller holds `flushing`. */
static size_t take_pending(nib_output *output, nib_journal_record **records_ret)
{
    pthread_mutex_lock(&output->lock);
    size_t count = output->pending_count;
    *records_ret = output->pending;
    output->pending = NULL;
    output->pending_count = output->pending_capacity = 0;
    output->pending_bytes = 0;
    output->flushed = nib_seconds();
    pthread_mutex_unlock(&output->lock);
    return count;
}

/* A failure to sync is final: which dirty pages the system has dropped by then is not known. */
static nib_status stick(nib_output *output, nib_status status)
{
    if (status == NIB_OK) return NIB_OK;
    pthread_mutex_lock(&output->lock);
    output->failed = status;
    snprintf(output->failure, sizeof output->failure, "%s", nib_last_error());
    pthread_mutex_unlock(&output->lock);
    return status;
}

/* The caller holds `flushing`. */
static nib_status sync_files(nib_output *output, int data_only)
{
    pthread_mutex_lock(&output->lock);
    output->dirty = 0;
    pthread_mutex_unlock(&output->lock);
    for (int32_t i = 0; i < output->plan.shard_count; i++)
        NIB_TRY(nib_io_sync(output->files[i].fd, output->files[i].shown, data_only));
    return NIB_OK;
}

/* Syncs the data of finished tensors, then says so in the journal. The caller holds `flushing`. */
static nib_status flush_held(nib_output *output)
{
    nib_journal_record *records;
    if (output->failed != NIB_OK) return failed_before(output);
    size_t count = take_pending(output, &records);
    nib_status status = count ? sync_files(output, 1) : NIB_OK;
    if (status == NIB_OK && count)
        status = nib_journal_append(&output->place.journal, records, count);
    free(records);
    return stick(output, status);
}

static nib_status flush(nib_output *output)
{
    pthread_mutex_lock(&output->flushing);
    nib_status status = flush_held(output);
    pthread_mutex_unlock(&output->flushing);
    return status;
}

static nib_status add_pending(nib_output *output, const nib_journal_record *record)
{
    if (output->pending_count == output->pending_capacity) {
        size_t larger = output->pending_capacity ? output->pending_capacity * 2 : 16;
        nib_journal_record *grown = realloc(output->pending, larger * sizeof *grown);
        if (!grown) return NIB_FAIL(NIB_E_MEMORY, "no memory for the journal");
        output->pending = grown;
        output->pending_capacity = larger;
    }
    output->pending[output->pending_count++] = *record;
    output->pending_bytes += record->bytes;
    return NIB_OK;
}

/* The caller holds `lock`. */
static nib_status finish_held(nib_output *output, int64_t tensor, const void *note, size_t bytes)
{
    const nib_planned_tensor *planned = &output->plan.tensors[tensor];
    nib_progress_mark *mark = &output->marks[tensor];
    if (output->failed != NIB_OK) return failed_before(output);
    uint64_t total = planned->bytes;
    uint64_t tail = mark->piece ? (total - 1) / mark->piece * mark->piece : 0;
    if (mark->finished || mark->written != total || mark->tail != tail)
        return NIB_FAIL(NIB_E_ARGUMENT,
                        "tensor \"%.200s\" is not written in pieces of one size, or finished "
                        "twice: %llu of %llu bytes",
                        planned->name, (unsigned long long)mark->written,
                        (unsigned long long)total);
    nib_journal_record record = {.kind = NIB_JOURNAL_TENSOR,
                                 .note_bytes = (uint32_t)bytes,
                                 .number = (uint64_t)tensor,
                                 .offset = planned->offset,
                                 .bytes = total,
                                 .piece = mark->piece,
                                 .checksum = {mark->sum.low, mark->sum.high}};
    if (bytes) memcpy(record.note, note, bytes);
    if (output->resumable) NIB_TRY(add_pending(output, &record));
    mark->finished = 1;
    return NIB_OK;
}

nib_status nib_output_finish(nib_output *output, int64_t tensor, const void *record,
                             size_t record_bytes)
{
    NIB_TRY(check_tensor(output, tensor));
    if (!record && record_bytes) return NIB_FAIL(NIB_E_ARGUMENT, "record is NULL");
    if (record_bytes > NIB_OUTPUT_RECORD_BYTES)
        return NIB_FAIL(NIB_E_ARGUMENT, "a record of %zu bytes; at most %d are kept", record_bytes,
                        NIB_OUTPUT_RECORD_BYTES);
    pthread_mutex_lock(&output->lock);
    nib_status status = finish_held(output, tensor, record, record_bytes);
    int due = output->pending_count && (output->pending_bytes >= output->journal_bytes ||
                                        nib_seconds() - output->flushed >= FLUSH_SECONDS);
    pthread_mutex_unlock(&output->lock);
    /* One thread syncs; the others go on. */
    if (status != NIB_OK || !due || pthread_mutex_trylock(&output->flushing)) return status;
    status = flush_held(output);
    pthread_mutex_unlock(&output->flushing);
    return status;
}

nib_status nib_output_redo(nib_output *output, int64_t tensor)
{
    NIB_TRY(check_tensor(output, tensor));
    pthread_mutex_lock(&output->lock);
    if (output->marks[tensor].resumed) output->marks[tensor] = (nib_progress_mark){0};
    pthread_mutex_unlock(&output->lock);
    return NIB_OK;
}

int nib_output_done(const nib_output *output, int64_t tensor)
{
    return nib_output_record(output, tensor, NULL) != NULL;
}

const void *nib_output_record(const nib_output *output, int64_t tensor, size_t *bytes_ret)
{
    if (tensor < 0 || tensor >= output->plan.count) return NULL;
    const nib_journal_record *record = output->marks[tensor].resumed;
    if (!record) return NULL;
    if (bytes_ret) *bytes_ret = record->note_bytes;
    return record->note;
}

/* ---- the end ---- */

/* Only clean pages can be dropped from the cache. */
static nib_status make_clean(nib_output *output)
{
    pthread_mutex_lock(&output->flushing);
    pthread_mutex_lock(&output->lock);
    int dirty = output->dirty;
    nib_status status = output->failed == NIB_OK ? NIB_OK : failed_before(output);
    pthread_mutex_unlock(&output->lock);
    if (status == NIB_OK && dirty) status = stick(output, sync_files(output, 1));
    pthread_mutex_unlock(&output->flushing);
    return status;
}

nib_status nib_output_verify_tensor(nib_output *output, int64_t tensor)
{
    nib_sum sum;
    NIB_TRY(check_tensor(output, tensor));
    const nib_planned_tensor *planned = &output->plan.tensors[tensor];
    const nib_progress_mark *mark = &output->marks[tensor];
    if (!mark->finished)
        return NIB_FAIL(NIB_E_ARGUMENT, "tensor \"%.200s\" is not finished", planned->name);
    NIB_TRY(make_clean(output));
    nib_io_forget(output->files[planned->shard].fd, planned->offset, planned->bytes);
    NIB_TRY(nib_output_sum(output, tensor, mark->piece, &sum));
    if (sum.low == mark->sum.low && sum.high == mark->sum.high) return NIB_OK;
    return NIB_FAIL(
        NIB_E_IO,
        "%s: tensor \"%.200s\" does not read back as it was written; check the disk and "
        "the memory, and run again",
        output->files[planned->shard].shown, planned->name);
}

nib_status nib_output_verify(nib_output *output)
{
    for (int64_t i = 0; i < output->plan.count; i++) NIB_TRY(nib_output_verify_tensor(output, i));
    return NIB_OK;
}

static nib_status close_files(nib_output *output)
{
    nib_status status = NIB_OK;
    for (int32_t i = 0; i < output->plan.shard_count; i++) {
        nib_status closed = nib_shard_close(&output->files[i]);
        if (status == NIB_OK) status = closed;
    }
    return status;
}

nib_status nib_output_commit(nib_output *output)
{
    for (int64_t i = 0; i < output->plan.count; i++)
        if (!output->marks[i].finished)
            return NIB_FAIL(NIB_E_ARGUMENT, "tensor \"%.200s\" is not finished",
                            output->plan.tensors[i].name);
    NIB_TRY(flush(output));
    NIB_TRY(sync_files(output, 0));
    NIB_TRY(close_files(output));
    NIB_TRY(nib_output_sync_entries(output));
    NIB_TRY(nib_workplace_commit(&output->place));
    output->committed = 1;
    if (nib_workplace_remove(&output->place) != NIB_OK)
        snprintf(output->note, sizeof output->note,
                 "%.200s is complete, but its working directory was not removed: %.200s",
                 output->place.path, nib_last_error());
    return NIB_OK;
}

void nib_output_close(nib_output *output)
{
    if (!output) return;
    nib_error saved = nib_error_save();
    if (!output->committed && output->failed == NIB_OK) flush(output);
    nib_error_restore(&saved);
    int keep =
        output->committed || (output->resumable && output->place.journal.end > NIB_JOURNAL_HEAD);
    nib_workplace_close(&output->place, !keep);
    nib_output_free(output);
}
