/* shard_file.c - see shard_file.h. */
#include "shard_file.h"

#include "../core/internal.h"
#include "io.h"
#include "output_plan.h"

#include <stdlib.h>
#include <string.h>

enum {
    BOUNCE = 1 << 20,
    SHORTEST_DIRECT = 1 << 16, /* below it, one more system call costs more than it saves */
    MEMORY_ALIGN = 512,        /* what O_DIRECT asks of addresses; all file systems take it */
};

nib_status nib_shard_open(int directory, const char *name, nib_io io, nib_shard_file *file)
{
    int flags = O_NOFOLLOW;
    file->fd = file->direct_fd = -1;
    NIB_TRY(nib_io_open(directory, name, O_RDWR | O_CREAT | flags, file->shown, &file->fd));
    if (io != NIB_IO_DIRECT) return NIB_OK;
    nib_status status =
        nib_io_open_direct(directory, name, O_WRONLY | flags, file->shown, &file->direct_fd);
    if (status != NIB_OK) {
        nib_io_close(file->fd, file->shown);
        file->fd = -1;
    }
    return status;
}

nib_status nib_shard_reserve(nib_shard_file *file, uint64_t bytes)
{
    file->bytes = bytes;
    NIB_TRY(nib_io_truncate(file->fd, file->shown, bytes));
    return nib_io_reserve(file->fd, file->shown, bytes);
}

/* ---- direct writes ---- */

static void *take_buffer(nib_bounce *bounce)
{
    pthread_mutex_lock(&bounce->lock);
    void *buffer = bounce->first;
    if (buffer) memcpy(&bounce->first, buffer, sizeof bounce->first);
    pthread_mutex_unlock(&bounce->lock);
    return buffer ? buffer : aligned_alloc(NIB_OUTPUT_BLOCK, BOUNCE);
}

static void give_buffer(nib_bounce *bounce, void *buffer)
{
    pthread_mutex_lock(&bounce->lock);
    memcpy(buffer, &bounce->first, sizeof bounce->first);
    bounce->first = buffer;
    pthread_mutex_unlock(&bounce->lock);
}

void nib_bounce_free(nib_bounce *bounce)
{
    while (bounce->first) {
        void *buffer = bounce->first;
        memcpy(&bounce->first, buffer, sizeof bounce->first);
        free(buffer);
    }
}

/* Whole blocks, from a source at any address. */
static nib_status write_blocks(const nib_shard_file *file, uint64_t offset, const char *src,
                               size_t bytes, nib_bounce *bounce)
{
    if ((uintptr_t)src % MEMORY_ALIGN == 0)
        return nib_io_write_direct(file->direct_fd, file->fd, file->shown, offset, src, bytes);
    char *buffer = take_buffer(bounce);
    if (!buffer) return nib_io_write(file->fd, file->shown, offset, src, bytes);
    nib_status status = NIB_OK;
    for (size_t done = 0; done < bytes && status == NIB_OK;) {
        size_t piece = bytes - done < BOUNCE ? bytes - done : BOUNCE;
        memcpy(buffer, src + done, piece);
        status = nib_io_write_direct(file->direct_fd, file->fd, file->shown, offset + done, buffer,
                                     piece);
        done += piece;
    }
    give_buffer(bounce, buffer);
    return status;
}

nib_status nib_shard_write(const nib_shard_file *file, uint64_t offset, const void *src,
                           size_t bytes, nib_bounce *bounce)
{
    if (file->direct_fd < 0 || bytes < SHORTEST_DIRECT) {
        NIB_TRY(nib_io_write(file->fd, file->shown, offset, src, bytes));
        nib_io_start_writing(file->fd, offset, bytes);
        return NIB_OK;
    }
    /* Blocks that this piece shares with its neighbours go through the page cache, which joins
     * them. */
    size_t head = (size_t)(-offset % NIB_OUTPUT_BLOCK);
    size_t tail = (size_t)((offset + bytes) % NIB_OUTPUT_BLOCK), middle = bytes - head - tail;
    const char *from = src;
    NIB_TRY(nib_io_write(file->fd, file->shown, offset, from, head));
    NIB_TRY(write_blocks(file, offset + head, from + head, middle, bounce));
    return nib_io_write(file->fd, file->shown, offset + head + middle, from + head + middle, tail);
}

nib_status nib_shard_close(nib_shard_file *file)
{
    nib_status direct = nib_io_close(file->direct_fd, file->shown);
    nib_status ordinary = nib_io_close(file->fd, file->shown);
    file->fd = file->direct_fd = -1;
    return direct != NIB_OK ? direct : ordinary;
}
