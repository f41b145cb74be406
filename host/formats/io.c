/* io.c - see io.h. */
#include "io.h"

#include "../core/internal.h"

#include <dirent.h>
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

int (*nib_io_hook)(const nib_io_event *event);

enum { PIECE = 1 << 30 };

/* Lets a test see, fail or shorten the call: 0 to go on, or -1 with errno set. */
static int ask(nib_io_call call, int fd, uint64_t offset, size_t *bytes)
{
    if (!nib_io_hook) return 0;
    int error = nib_io_hook(&(nib_io_event){call, fd, offset, bytes});
    if (error) errno = error;
    return error ? -1 : 0;
}

nib_status nib_io_status(int error)
{
    static const struct {
        int error;
        nib_status status;
    } rows[] = {{ENOENT, NIB_E_NOT_FOUND}, {EEXIST, NIB_E_EXISTS}, {ENOSPC, NIB_E_SPACE},
                {EDQUOT, NIB_E_SPACE},     {ENOMEM, NIB_E_MEMORY}, {EWOULDBLOCK, NIB_E_BUSY},
                {ELOOP, NIB_E_PATH},       {ENXIO, NIB_E_NOTREG}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].error == error) return rows[i].status;
    return NIB_E_IO;
}

/* strerror is not safe with threads; this form of it is, and needs no buffer. */
static nib_status fail(int error, const char *verb, const char *shown)
{
    const char *words = strerrordesc_np(error);
    return NIB_FAIL(nib_io_status(error), "cannot %s %s: %s", verb, shown,
                    words ? words : "unknown error");
}

/* Runs `expression` (0 or more on success, -1 with errno) again while a signal interrupts it, and
 * leaves the result in `result`. */
#define AGAIN(result, expression)                                                                  \
    do (result) = (expression);                                                                    \
    while ((result) < 0 && errno == EINTR)

static int open_at(int directory, const char *name, int flags)
{
    int fd;
    AGAIN(fd, ask(NIB_CALL_OPEN, directory, 0, NULL)
                  ? -1
                  : openat(directory, name, flags | O_CLOEXEC, 0666));
    return fd;
}

nib_status nib_io_open(int directory, const char *name, int flags, const char *shown, int *fd_ret)
{
    int fd = open_at(directory, name, flags);
    if (fd < 0) return fail(errno, flags & O_CREAT ? "create" : "open", shown);
    *fd_ret = fd;
    return NIB_OK;
}

nib_status nib_io_open_direct(int directory, const char *name, int flags, const char *shown,
                              int *fd_ret)
{
    int fd = open_at(directory, name, flags | O_DIRECT);
    if (fd < 0 && errno != EINVAL && errno != EOPNOTSUPP) return fail(errno, "open", shown);
    *fd_ret = fd;
    return NIB_OK;
}

nib_status nib_io_open_inside(int directory, const char *name, int flags, const char *shown,
                              int *fd_ret)
{
    struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
    long fd;
    AGAIN(fd, ask(NIB_CALL_OPEN, directory, 0, NULL)
                  ? -1
                  : syscall(SYS_openat2, directory, name, &how, sizeof how));
    /* Kernels before 5.6, and sandboxes that do not know the call: no links at all. */
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return nib_io_open(directory, name, flags | O_NOFOLLOW, shown, fd_ret);
    if (fd < 0 && errno == EXDEV)
        return NIB_FAIL(NIB_E_PATH, "%s is a symbolic link that leaves its directory", shown);
    if (fd < 0) return fail(errno, "open", shown);
    *fd_ret = (int)fd;
    return NIB_OK;
}

nib_status nib_io_close(int fd, const char *shown)
{
    if (fd < 0) return NIB_OK;
    /* The descriptor is gone even where close fails; EINTR says nothing about the data. */
    int asked = ask(NIB_CALL_CLOSE, fd, 0, NULL), error = errno;
    int closed = close(fd);
    if (!asked) error = errno;
    return (asked || closed) && error != EINTR ? fail(error, "close", shown) : NIB_OK;
}

nib_status nib_io_stat(int fd, const char *shown, struct stat *stat_ret)
{
    int result;
    AGAIN(result, ask(NIB_CALL_STAT, fd, 0, NULL) ? -1 : fstat(fd, stat_ret));
    return result ? fail(errno, "look at", shown) : NIB_OK;
}

nib_status nib_io_stat_at(int directory, const char *name, int flags, const char *shown,
                          struct stat *stat_ret)
{
    int result;
    AGAIN(result,
          ask(NIB_CALL_STAT, directory, 0, NULL) ? -1 : fstatat(directory, name, stat_ret, flags));
    return result ? fail(errno, "look at", shown) : NIB_OK;
}

nib_status nib_io_read_some(int fd, const char *shown, uint64_t offset, void *dst, size_t bytes,
                            size_t *got_ret)
{
    size_t done = 0;
    while (done < bytes) {
        size_t piece = bytes - done < PIECE ? bytes - done : PIECE;
        ssize_t got;
        AGAIN(got, ask(NIB_CALL_READ, fd, offset + done, &piece)
                       ? -1
                       : pread(fd, (char *)dst + done, piece, (off_t)(offset + done)));
        if (got < 0) return fail(errno, "read", shown);
        if (got == 0) break;
        done += (size_t)got;
    }
    *got_ret = done;
    return NIB_OK;
}

nib_status nib_io_read(int fd, const char *shown, uint64_t offset, void *dst, size_t bytes)
{
    size_t got;
    NIB_TRY(nib_io_read_some(fd, shown, offset, dst, bytes, &got));
    if (got == bytes) return NIB_OK;
    return NIB_FAIL(NIB_E_TRUNC, "%s ends at byte %llu; %zu more were to be read", shown,
                    (unsigned long long)(offset + got), bytes - got);
}

/* One pwrite of at most 1 GiB; the bytes it wrote, or -1. */
static ssize_t write_piece(int fd, uint64_t offset, const void *src, size_t bytes)
{
    size_t piece = bytes < PIECE ? bytes : PIECE;
    ssize_t wrote;
    AGAIN(wrote,
          ask(NIB_CALL_WRITE, fd, offset, &piece) ? -1 : pwrite(fd, src, piece, (off_t)offset));
    if (wrote == 0) errno = EIO; /* never happens to a regular file; must not loop for ever */
    return wrote ? wrote : -1;
}

nib_status nib_io_write(int fd, const char *shown, uint64_t offset, const void *src, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t wrote = write_piece(fd, offset + done, (const char *)src + done, bytes - done);
        if (wrote < 0) return fail(errno, "write", shown);
        done += (size_t)wrote;
    }
    return NIB_OK;
}

nib_status nib_io_write_direct(int direct_fd, int fd, const char *shown, uint64_t offset,
                               const void *src, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        size_t piece = bytes - done < PIECE ? bytes - done : PIECE;
        ssize_t wrote = write_piece(direct_fd, offset + done, (const char *)src + done, piece);
        if (wrote < 0 && errno != EINVAL) return fail(errno, "write", shown);
        size_t rest = wrote < 0 ? 0 : (size_t)wrote;
        if (rest < piece)
            NIB_TRY(nib_io_write(fd, shown, offset + done + rest, (const char *)src + done + rest,
                                 piece - rest));
        done += piece;
    }
    return NIB_OK;
}

nib_status nib_io_truncate(int fd, const char *shown, uint64_t bytes)
{
    int result;
    AGAIN(result, ask(NIB_CALL_TRUNCATE, fd, 0, NULL) ? -1 : ftruncate(fd, (off_t)bytes));
    return result ? fail(errno, "resize", shown) : NIB_OK;
}

nib_status nib_io_reserve(int fd, const char *shown, uint64_t bytes)
{
    if (bytes > INT64_MAX) return NIB_FAIL(NIB_E_OVERFLOW, "%s would be too big", shown);
    if (bytes == 0) return nib_io_truncate(fd, shown, 0);
    int result;
    AGAIN(result, ask(NIB_CALL_RESERVE, fd, 0, NULL) ? -1 : fallocate(fd, 0, 0, (off_t)bytes));
    if (!result) return NIB_OK;
    if (errno == EOPNOTSUPP || errno == ENOSYS) return nib_io_truncate(fd, shown, bytes);
    return fail(errno, "reserve space for", shown);
}

nib_status nib_io_free_bytes(int fd, const char *shown, uint64_t *bytes_ret)
{
    struct statvfs vfs;
    int result;
    AGAIN(result, ask(NIB_CALL_SPACE, fd, 0, NULL) ? -1 : fstatvfs(fd, &vfs));
    if (result) return fail(errno, "ask for the free space of", shown);
    if (__builtin_mul_overflow((uint64_t)vfs.f_bavail, (uint64_t)vfs.f_frsize, bytes_ret))
        *bytes_ret = UINT64_MAX;
    return NIB_OK;
}

nib_status nib_io_sync(int fd, const char *shown, int data_only)
{
    int result;
    AGAIN(result, ask(NIB_CALL_SYNC, fd, 0, NULL) ? -1 : data_only ? fdatasync(fd) : fsync(fd));
    if (!result || errno == EINVAL) return NIB_OK;
    return fail(errno, "sync", shown);
}

void nib_io_start_writing(int fd, uint64_t offset, uint64_t bytes)
{
    (void)!sync_file_range(fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
}

void nib_io_forget(int fd, uint64_t offset, uint64_t bytes)
{
    (void)!posix_fadvise(fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
}

nib_status nib_io_lock(int fd, const char *shown)
{
    int result;
    AGAIN(result, ask(NIB_CALL_LOCK, fd, 0, NULL) ? -1 : flock(fd, LOCK_EX | LOCK_NB));
    if (!result || errno == ENOSYS || errno == EOPNOTSUPP) return NIB_OK;
    if (errno == EWOULDBLOCK)
        return NIB_FAIL(NIB_E_BUSY, "%s is in use by another process; wait until it ends", shown);
    return fail(errno, "lock", shown);
}

nib_status nib_io_make_directory(int directory, const char *name, const char *shown)
{
    int result;
    AGAIN(result, ask(NIB_CALL_MKDIR, directory, 0, NULL) ? -1 : mkdirat(directory, name, 0777));
    return result ? fail(errno, "create directory", shown) : NIB_OK;
}

nib_status nib_io_rename(int old_directory, const char *old_name, int new_directory,
                         const char *new_name, unsigned flags, const char *shown)
{
    int result;
    AGAIN(result, ask(NIB_CALL_RENAME, new_directory, flags, NULL)
                      ? -1
                      : renameat2(old_directory, old_name, new_directory, new_name, flags));
    if (!result) return NIB_OK;
    if (flags && (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
        return NIB_FAIL(NIB_E_UNSUPPORTED, "the file system of %s cannot exchange names", shown);
    return fail(errno, "give the final name to", shown);
}

nib_status nib_io_remove(int directory, const char *name, int flags, const char *shown)
{
    int result;
    AGAIN(result, ask(NIB_CALL_REMOVE, directory, 0, NULL) ? -1 : unlinkat(directory, name, flags));
    return result ? fail(errno, "remove", shown) : NIB_OK;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static nib_status add_name(nib_io_names *names, size_t *capacity, const char *name)
{
    if (names->count == *capacity) {
        size_t larger = *capacity ? *capacity * 2 : 64;
        char **grown = realloc(names->name, larger * sizeof *grown);
        if (!grown) return NIB_FAIL(NIB_E_MEMORY, "no memory for %zu file names", larger);
        names->name = grown;
        *capacity = larger;
    }
    names->name[names->count] = strdup(name);
    if (!names->name[names->count]) return NIB_FAIL(NIB_E_MEMORY, "no memory for a file name");
    names->count++;
    return NIB_OK;
}

/* Adds all names of an open stream; errno from readdir counts. */
static nib_status read_names(DIR *stream, const char *shown, nib_io_names *names)
{
    size_t capacity = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = ask(NIB_CALL_LIST, dirfd(stream), 0, NULL) ? NULL : readdir(stream);
        if (!entry && errno == EINTR) continue;
        if (!entry) return errno ? fail(errno, "list", shown) : NIB_OK;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        NIB_TRY(add_name(names, &capacity, entry->d_name));
    }
}

nib_status nib_io_list(int directory, const char *shown, nib_io_names *names_ret)
{
    int fd = -1;
    NIB_TRY(nib_io_open(directory, ".", O_RDONLY | O_DIRECTORY, shown, &fd));
    DIR *stream = fdopendir(fd);
    if (!stream) {
        nib_status status = fail(errno, "list", shown);
        close(fd);
        return status;
    }
    nib_io_names names = {NULL, 0};
    nib_status status = read_names(stream, shown, &names);
    closedir(stream);
    if (status != NIB_OK) {
        nib_io_names_free(&names);
        return status;
    }
    if (names.count) qsort(names.name, names.count, sizeof *names.name, by_bytes);
    *names_ret = names;
    return NIB_OK;
}

void nib_io_names_free(nib_io_names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->name[i]);
    free(names->name);
    *names = (nib_io_names){NULL, 0};
}
