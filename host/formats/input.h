/* input.h - opening and reading files that others made. */
#ifndef NIB_FORMATS_INPUT_H
#define NIB_FORMATS_INPUT_H

#include "../../include/nibble.h"

#include <sys/stat.h>

/* An open regular file, and what it was when it was opened. */
typedef struct nib_input {
    int fd; /* -1: not open */
    dev_t device;
    ino_t inode;
    uint64_t bytes;
    struct timespec modified;
} nib_input;

/* Opens a regular file for reading, relative to `directory` (a descriptor or AT_FDCWD); never waits
 * for a FIFO. follow 0: a symbolic link is refused with E_PATH. E_NOT_FOUND, E_NOTREG, E_IO. The
 * texts name the file. */
nib_status nib_input_open(int directory, const char *name, int follow, nib_input *input_ret);
void nib_input_close(nib_input *input);
/* E_TRUNC if the file ends before, E_IO. */
nib_status nib_input_read(const nib_input *input, uint64_t offset, void *dst, size_t bytes);
/* E_CHANGED if identity, size or time is not what it was. */
nib_status nib_input_unchanged(const nib_input *input);

#endif
