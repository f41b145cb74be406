/* file_output_small.c - the files of an output that hold no tensors. */
#include "../core/internal.h"
#include "checkpoint.h"
#include "file_output.h"
#include "gguf.h"
#include "io.h"
#include "path.h"

#include <stdlib.h>
#include <string.h>

int nib_output_is_shard(const nib_output *output, const char *name)
{
    for (int32_t i = 0; i < output->plan.shard_count; i++)
        if (!strcmp(output->plan.shards[i].name, name)) return 1;
    return 0;
}

static nib_status write_small(nib_output *output, const char *name, int fd, const void *bytes,
                              size_t count)
{
    nib_status status = nib_io_write(fd, name, 0, bytes, count);
    if (status == NIB_OK) status = nib_io_sync(fd, name, 0);
    nib_status closed = nib_io_close(fd, name);
    if (status == NIB_OK) status = closed;
    return status == NIB_OK ? NIB_OK : nib_fail_prefix(status, "%s: ", output->place.partial);
}

static nib_status check_directory(const nib_output *output)
{
    if (output->directory) return NIB_OK;
    return NIB_FAIL(NIB_E_UNSUPPORTED, "%s is one file; small files need a directory",
                    output->place.path);
}

nib_status nib_output_text(nib_output *output, const char *name, const char *text, size_t bytes)
{
    int fd;
    NIB_TRY(check_directory(output));
    NIB_TRY(nib_check_plain_name("the file's name", name, strlen(name)));
    if (nib_output_is_shard(output, name))
        return NIB_FAIL(NIB_E_DUP, "%s is a file of tensors", name);
    NIB_TRY(
        nib_io_open(output->inside, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, name, &fd));
    return write_small(output, name, fd, text, bytes);
}

/* Not tensors, not what says where they are. */
static int is_carried(const nib_file *input, const char *name)
{
    static const char *const endings[] = {NIB_OUTPUT_SUFFIX, NIB_OUTPUT_SUFFIX ".index.json",
                                          NIB_GGUF_SUFFIX};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (nib_ends_with(name, endings[i])) return 0;
    for (int32_t i = 0; i < input->shard_count; i++)
        if (!strcmp(input->shards[i].name, name)) return 0;
    return 1;
}

static nib_status copy_bytes(const nib_input *from, int fd, const char *name)
{
    enum { COPY = 1 << 20 };
    char *buffer = malloc(COPY);
    if (!buffer) return NIB_FAIL(NIB_E_MEMORY, "no memory for %d bytes", COPY);
    nib_status status = NIB_OK;
    for (uint64_t at = 0; at < from->bytes && status == NIB_OK; at += COPY) {
        size_t part = from->bytes - at < COPY ? (size_t)(from->bytes - at) : COPY;
        status = nib_io_read(from->fd, name, at, buffer, part);
        if (status == NIB_OK) status = nib_io_write(fd, name, at, buffer, part);
    }
    free(buffer);
    return status;
}

static nib_status carry_one(nib_output *output, const nib_file *input, const char *name)
{
    nib_input from;
    NIB_TRY(nib_input_open(input->directory, name, input->follow_links, &from));
    int fd = -1;
    nib_status status =
        nib_io_open(output->inside, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, name, &fd);
    if (status == NIB_OK) {
        status = copy_bytes(&from, fd, name);
        nib_status written = write_small(output, name, fd, "", 0);
        if (status == NIB_OK) status = written;
        if (status != NIB_OK) nib_io_remove(output->inside, name, 0, name);
    } else if (status == NIB_E_EXISTS) {
        status = NIB_OK; /* the output has its own */
    }
    nib_input_close(&from);
    return status;
}

nib_status nib_output_carry(nib_output *output, const nib_file *input)
{
    if (!output->directory || !input->is_directory) return NIB_OK;
    nib_io_names names;
    NIB_TRY(nib_io_list(input->directory, input->path, &names));
    nib_status status = NIB_OK;
    for (size_t i = 0; i < names.count && status == NIB_OK; i++) {
        struct stat st;
        const char *name = names.name[i];
        if (!is_carried(input, name)) continue;
        status = nib_io_stat_at(input->directory, name,
                                input->follow_links ? 0 : AT_SYMLINK_NOFOLLOW, name, &st);
        if (status == NIB_OK && (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)))
            status = carry_one(output, input, name);
    }
    nib_io_names_free(&names);
    return status == NIB_OK ? NIB_OK : nib_fail_prefix(status, "%s: ", input->path);
}
