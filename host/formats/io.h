/* io.h - the only place that asks the operating system for files.
 *
 * Every call loops over EINTR and short transfers, moves at most 1 GiB at a time (Linux stops
 * short of 2 GiB), and turns an errno into a status and a line of words. `shown` is the path as
 * the user knows it; it appears in error texts only. Descriptors are close-on-exec.
 *
 * Tests see each call before it happens, through nib_io_hook. */
#ifndef NIB_FORMATS_IO_H
#define NIB_FORMATS_IO_H

#include "../../include/nibble.h"

#include <fcntl.h>
#include <sys/stat.h>

typedef enum nib_io_call {
    NIB_CALL_OPEN,
    NIB_CALL_CLOSE,
    NIB_CALL_STAT,
    NIB_CALL_READ,
    NIB_CALL_WRITE,
    NIB_CALL_RESERVE,
    NIB_CALL_TRUNCATE,
    NIB_CALL_SPACE,
    NIB_CALL_SYNC,
    NIB_CALL_LOCK,
    NIB_CALL_MKDIR,
    NIB_CALL_RENAME,
    NIB_CALL_REMOVE,
    NIB_CALL_LIST,
    NIB_CALL_COUNT
} nib_io_call;

/* What a system call is about to do. READ and WRITE may be shortened through *bytes, to 1 or more.
 */
typedef struct nib_io_event {
    nib_io_call call;
    int fd;          /* the file, or the directory of the name */
    uint64_t offset; /* READ, WRITE; of RENAME the flags */
    size_t *bytes;   /* READ, WRITE; otherwise NULL */
} nib_io_event;

/* Set by tests only, while no call is in progress: returns 0, or the errno that the call shall fail
 * with instead of happening. */
extern int (*nib_io_hook)(const nib_io_event *event);

/* The status for an errno. ENOENT: E_NOT_FOUND, EEXIST: E_EXISTS, ENOSPC and EDQUOT: E_SPACE,
 * ENOMEM: E_MEMORY, ELOOP: E_PATH, ENXIO (a socket, or a device that is not there): E_NOTREG, all
 * others: E_IO. */
nib_status nib_io_status(int error);

/* `name` relative to `directory` (a descriptor or AT_FDCWD); new files get mode 0666 less umask. */
nib_status nib_io_open(int directory, const char *name, int flags, const char *shown, int *fd_ret);
/* The same, and symbolic links may not lead out of the directory: E_PATH. */
nib_status nib_io_open_inside(int directory, const char *name, int flags, const char *shown,
                              int *fd_ret);
/* nib_io_open with O_DIRECT; *fd_ret is -1 where the file system does not know it. */
nib_status nib_io_open_direct(int directory, const char *name, int flags, const char *shown,
                              int *fd_ret);
/* After writing the status matters; after reading it may be ignored. fd -1 is fine. */
nib_status nib_io_close(int fd, const char *shown);

nib_status nib_io_stat(int fd, const char *shown, struct stat *stat_ret);
/* `flags` as fstatat: 0 or AT_SYMLINK_NOFOLLOW. */
nib_status nib_io_stat_at(int directory, const char *name, int flags, const char *shown,
                          struct stat *stat_ret);

/* Exactly `bytes` bytes; E_TRUNC where the file ends before. */
nib_status nib_io_read(int fd, const char *shown, uint64_t offset, void *dst, size_t bytes);
/* Up to `bytes` bytes; fewer only at the end of the file. */
nib_status nib_io_read_some(int fd, const char *shown, uint64_t offset, void *dst, size_t bytes,
                            size_t *got_ret);
nib_status nib_io_write(int fd, const char *shown, uint64_t offset, const void *src, size_t bytes);
/* For a descriptor opened with O_DIRECT and offset, src and bytes aligned for it. What the direct
 * road refuses or cuts short is written through `fd`, the same file's ordinary descriptor. */
nib_status nib_io_write_direct(int direct_fd, int fd, const char *shown, uint64_t offset,
                               const void *src, size_t bytes);

/* Makes the file at least `bytes` long and reserves the blocks where the file system can; E_SPACE.
 */
nib_status nib_io_reserve(int fd, const char *shown, uint64_t bytes);
nib_status nib_io_truncate(int fd, const char *shown, uint64_t bytes);
/* Bytes that this user may still take on the file system of fd. */
nib_status nib_io_free_bytes(int fd, const char *shown, uint64_t *bytes_ret);

/* After a failed sync the file's content is unknown: never try again. `data_only` leaves out times.
 * A file system that cannot sync a directory (EINVAL) has nothing to sync. */
nib_status nib_io_sync(int fd, const char *shown, int data_only);
/* Hints: start writing a dirty range to the disk; forget clean cached pages of a range. */
void nib_io_start_writing(int fd, uint64_t offset, uint64_t bytes);
void nib_io_forget(int fd, uint64_t offset, uint64_t bytes);

/* An exclusive lock that ends with the descriptor; E_BUSY where another process has it. A file
 * system without locks gives none, and no failure. */
nib_status nib_io_lock(int fd, const char *shown);

nib_status nib_io_make_directory(int directory, const char *name, const char *shown);
/* `flags` as renameat2: 0, RENAME_NOREPLACE, RENAME_EXCHANGE. E_UNSUPPORTED where the file system
 * does not know the flag. */
nib_status nib_io_rename(int old_directory, const char *old_name, int new_directory,
                         const char *new_name, unsigned flags, const char *shown);
/* `flags` as unlinkat: 0 or AT_REMOVEDIR. */
nib_status nib_io_remove(int directory, const char *name, int flags, const char *shown);

/* The names in a directory without "." and "..", sorted by bytes. The caller frees. */
typedef struct nib_io_names {
    char **name;
    size_t count;
} nib_io_names;
nib_status nib_io_list(int directory, const char *shown, nib_io_names *names_ret);
void nib_io_names_free(nib_io_names *names);

#endif
