/* shard_file.h - one file of an output: how its bytes reach the disk. */
#ifndef NIB_FORMATS_SHARD_FILE_H
#define NIB_FORMATS_SHARD_FILE_H

#include "../../include/nibble_file.h"

#include <pthread.h>

/* Aligned memory for direct writes from unaligned sources; kept between writes, for any threads. */
typedef struct nib_bounce {
    pthread_mutex_t lock;
    void *first; /* a list of free buffers, linked through their first bytes */
} nib_bounce;

typedef struct nib_shard_file {
    int fd, direct_fd; /* -1: not open */
    char *shown;       /* its path, malloc'd */
    uint64_t bytes;
} nib_shard_file;

/* Opens or makes the file `name` for reading and writing. On failure nothing is left open. */
nib_status nib_shard_open(int directory, const char *name, nib_io io, nib_shard_file *file);
/* Makes it exactly `bytes` long and reserves its space. */
nib_status nib_shard_reserve(nib_shard_file *file, uint64_t bytes);
/* From any thread. `bounce` may be NULL where the file was not opened for direct writes. */
nib_status nib_shard_write(const nib_shard_file *file, uint64_t offset, const void *src,
                           size_t bytes, nib_bounce *bounce);
nib_status nib_shard_close(nib_shard_file *file);

void nib_bounce_free(nib_bounce *bounce);

#endif
