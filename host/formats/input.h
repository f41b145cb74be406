/* input.h - files that others made, as they were when they were opened. */
#ifndef NIB_FORMATS_INPUT_H
#define NIB_FORMATS_INPUT_H

#include "../../include/nibble.h"

#include <sys/stat.h>

/* An open regular file, and what it was when it was opened. */
typedef struct nib_input {
    int fd;        /* -1: not open */
    int direct_fd; /* the same file with O_DIRECT; -1: not asked for, or the file system cannot */
    dev_t device;
    ino_t inode;
    uint64_t bytes;
    struct timespec modified;
} nib_input;

/* Opens a regular file for reading, relative to `directory` (a descriptor or AT_FDCWD); never waits
 * for a FIFO. follow 0: a symbolic link that leaves the directory is E_PATH. E_NOT_FOUND, E_NOTREG,
 * E_IO. Its bytes are read with nib_io_read (io.h). */
nib_status nib_input_open(int directory, const char *name, int follow, nib_input *input_ret);
/* Opens the second descriptor, for reads past the page cache; nothing where it cannot be. */
void nib_input_open_direct(nib_input *input);
void nib_input_close(nib_input *input);
/* E_CHANGED if identity, size or time is not what it was. */
nib_status nib_input_unchanged(const nib_input *input, const char *name);

#endif
