/* file_output_create.c - begins an output: plans it, takes up or throws away what an earlier run
 * left, reserves the space, writes the headers. */
#include "../core/internal.h"
#include "file_output.h"
#include "io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOURNAL_BYTES = 256 << 20 };

/* A file's path for messages. */
static nib_status show(const nib_output *output, const char *name, char **shown_ret)
{
    size_t bytes = strlen(output->place.partial) + strlen(name) + 6;
    *shown_ret = malloc(bytes);
    if (!*shown_ret) return NIB_FAIL(NIB_E_MEMORY, "no memory for a path");
    snprintf(*shown_ret, bytes, "%s/out%s%s", output->place.partial, *name ? "/" : "", name);
    return NIB_OK;
}

static nib_status open_directory(nib_output *output)
{
    const nib_workplace *place = &output->place;
    nib_status status = nib_io_make_directory(place->work, "out", place->partial);
    if (status != NIB_OK && status != NIB_E_EXISTS) return status;
    return nib_io_open(place->work, "out", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, place->partial,
                       &output->inside);
}

/* An interrupted run may have left small files that this one does not write. */
static nib_status remove_small_files(nib_output *output)
{
    nib_io_names names;
    NIB_TRY(nib_io_list(output->inside, output->place.partial, &names));
    nib_status status = NIB_OK;
    for (size_t i = 0; i < names.count && status == NIB_OK; i++)
        if (!nib_output_is_shard(output, names.name[i]))
            status = nib_io_remove(output->inside, names.name[i], 0, output->place.partial);
    nib_io_names_free(&names);
    return status;
}

static nib_status open_files(nib_output *output, nib_io io)
{
    if (output->directory) {
        NIB_TRY(open_directory(output));
        NIB_TRY(remove_small_files(output));
    }
    for (int32_t i = 0; i < output->plan.shard_count; i++) {
        nib_shard_file *file = &output->files[i];
        const char *name = output->directory ? output->plan.shards[i].name : "";
        NIB_TRY(show(output, name, &file->shown));
        NIB_TRY(nib_shard_open(output->directory ? output->inside : output->place.work,
                               output->directory ? name : "out", io, file));
    }
    return NIB_OK;
}

/* Space is asked for before work: what files of an earlier run hold already counts as there. */
static nib_status reserve(nib_output *output)
{
    uint64_t available, held = 0;
    for (int32_t i = 0; i < output->plan.shard_count; i++) {
        struct stat st;
        NIB_TRY(nib_io_stat(output->files[i].fd, output->files[i].shown, &st));
        uint64_t blocks = (uint64_t)st.st_blocks * 512, bytes = output->plan.shards[i].bytes;
        held += blocks < bytes ? blocks : bytes;
    }
    NIB_TRY(nib_io_free_bytes(output->place.work, output->place.partial, &available));
    uint64_t needed = output->plan.bytes - held;
    if (needed > available)
        return NIB_FAIL(
            NIB_E_SPACE,
            "%s needs %llu bytes and %llu are free; free some, or write to another disk",
            output->place.path, (unsigned long long)needed, (unsigned long long)available);
    for (int32_t i = 0; i < output->plan.shard_count; i++)
        NIB_TRY(nib_shard_reserve(&output->files[i], output->plan.shards[i].bytes));
    return NIB_OK;
}

static nib_status write_headers(nib_output *output)
{
    for (int32_t i = 0; i < output->plan.shard_count; i++) {
        nib_text *header = &output->plan.shards[i].header;
        const nib_shard_file *file = &output->files[i];
        NIB_TRY(nib_io_write(file->fd, file->shown, 0, header->data, header->size));
        nib_text_free(header);
    }
    nib_text *index = &output->plan.index;
    if (output->directory && index->size)
        NIB_TRY(nib_output_text(output, NIB_OUTPUT_INDEX, index->data, index->size));
    nib_text_free(index);
    return NIB_OK;
}

/* Entries of directories must be on disk before the journal may speak of files. */
nib_status nib_output_sync_entries(const nib_output *output)
{
    const nib_workplace *place = &output->place;
    if (output->directory) NIB_TRY(nib_io_sync(output->inside, place->partial, 0));
    NIB_TRY(nib_io_sync(place->work, place->partial, 0));
    return nib_io_sync(place->parent, place->path, 0);
}

/* Goes on with what an earlier run left, if it was this one; otherwise starts clean. */
static nib_status start(nib_output *output, const char *identity, nib_io io)
{
    nib_workplace *place = &output->place;
    uint64_t fingerprint[2] = {0, 0};
    if (identity) nib_output_fingerprint(output, identity, fingerprint);
    const nib_journal_text *found = &place->found;
    int same = identity && found->valid && found->fingerprint[0] == fingerprint[0] &&
               found->fingerprint[1] == fingerprint[1];
    if (!same) {
        if (!place->fresh)
            snprintf(output->note, sizeof output->note,
                     "threw away %.300s: it is the unfinished output of another run",
                     place->partial);
        place->fresh = 1;
        NIB_TRY(nib_workplace_clear(place));
    }
    NIB_TRY(same ? nib_journal_resume(&place->journal, found)
                 : nib_journal_start(&place->journal, fingerprint));
    NIB_TRY(open_files(output, io));
    NIB_TRY(reserve(output));
    NIB_TRY(write_headers(output));
    NIB_TRY(nib_output_sync_entries(output));
    return same ? nib_output_take_up(output) : NIB_OK;
}

static nib_status check_arguments(const char *path, const nib_output_options *options,
                                  nib_output **output_ret, nib_output_options *own)
{
    if (!path || !*path || !options || !output_ret)
        return NIB_FAIL(NIB_E_ARGUMENT, "nib_output_create: %s",
                        !path      ? "path is NULL"
                        : !*path   ? "path is empty"
                        : !options ? "options is NULL"
                                   : "output_ret is NULL");
    NIB_TRY(
        nib_take_given("options", "nib_output_options", options, sizeof *own, own, sizeof *own));
    if ((own->io != NIB_IO_BUFFERED && own->io != NIB_IO_DIRECT) ||
        (own->container != NIB_SAFETENSORS && own->container != NIB_GGUF))
        return NIB_FAIL(NIB_E_ARGUMENT, "options.io is %d and options.container %d: no such values",
                        (int)own->io, (int)own->container);
    return NIB_OK;
}

static nib_status make_tables(nib_output *output)
{
    output->marks = calloc((size_t)output->plan.count + 1, sizeof *output->marks);
    output->files = calloc((size_t)output->plan.shard_count, sizeof *output->files);
    for (int32_t i = 0; output->files && i < output->plan.shard_count; i++)
        output->files[i].fd = output->files[i].direct_fd = -1;
    if (output->marks && output->files) return NIB_OK;
    return NIB_FAIL(NIB_E_MEMORY, "no memory for %lld tensors", (long long)output->plan.count);
}

/* Frees everything but the workplace. */
void nib_output_free(nib_output *output)
{
    nib_error saved = nib_error_save();
    for (int32_t i = 0; output->files && i < output->plan.shard_count; i++) {
        nib_shard_close(&output->files[i]);
        free(output->files[i].shown);
    }
    nib_io_close(output->inside, "");
    nib_error_restore(&saved);
    nib_bounce_free(&output->bounce);
    nib_output_plan_free(&output->plan);
    pthread_mutex_destroy(&output->bounce.lock);
    pthread_mutex_destroy(&output->lock);
    pthread_mutex_destroy(&output->flushing);
    free(output->files);
    free(output->marks);
    free(output->pending);
    free(output);
}

static nib_status plan_output(nib_output *output, const nib_new_tensor *tensors, int64_t count,
                              const nib_output_options *options)
{
    NIB_TRY(nib_output_plan_make(tensors, count, options, &output->plan));
    if (!output->directory && output->plan.shard_count > 1)
        return NIB_FAIL(NIB_E_ARGUMENT, "%d shards in an output of one file; make it a directory",
                        output->plan.shard_count);
    return make_tables(output);
}

nib_status nib_output_create(const char *path, const nib_file *input, nib_new_tensor *tensors,
                             int64_t count, const nib_output_options *options,
                             nib_output **output_ret)
{
    nib_output_options own;
    NIB_TRY(check_arguments(path, options, output_ret, &own));
    options = &own;
    nib_output *output = calloc(1, sizeof *output);
    if (!output) return NIB_FAIL(NIB_E_MEMORY, "no memory for an output");
    pthread_mutex_init(&output->lock, NULL);
    pthread_mutex_init(&output->flushing, NULL);
    pthread_mutex_init(&output->bounce.lock, NULL);
    output->inside = -1;
    output->directory = options->directory != 0;
    output->resumable = options->identity != NULL;
    output->journal_bytes = options->journal_bytes ? options->journal_bytes : JOURNAL_BYTES;
    output->flushed = nib_seconds();
    nib_status status = plan_output(output, tensors, count, options);
    if (status == NIB_OK)
        status = nib_workplace_open(path, input, options->replace, &output->place);
    if (status == NIB_OK) {
        status = start(output, options->identity, options->io);
        if (status != NIB_OK) nib_workplace_close(&output->place, output->place.fresh);
    }
    if (status != NIB_OK) {
        nib_output_free(output);
        return status;
    }
    for (int64_t i = 0; i < count; i++) tensors[i].offset = output->plan.tensors[i].offset;
    *output_ret = output;
    return NIB_OK;
}
