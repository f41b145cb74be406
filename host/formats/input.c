/* input.c - see input.h. */
#include "input.h"

#include "../core/internal.h"
#include "io.h"

#include <stdio.h>

static nib_status check_regular(int fd, const char *name, struct stat *st)
{
    NIB_TRY(nib_io_stat(fd, name, st));
    if (S_ISREG(st->st_mode)) return NIB_OK;
    return NIB_FAIL(NIB_E_NOTREG, "%s is a %s, not a regular file", name,
                    S_ISDIR(st->st_mode)    ? "directory"
                    : S_ISFIFO(st->st_mode) ? "FIFO"
                                            : "device");
}

nib_status nib_input_open(int directory, const char *name, int follow, nib_input *input_ret)
{
    enum { FLAGS = O_RDONLY | O_NONBLOCK | O_NOCTTY }; /* a FIFO without a writer must not wait */
    int fd;
    nib_status status = follow ? nib_io_open(directory, name, FLAGS, name, &fd)
                               : nib_io_open_inside(directory, name, FLAGS, name, &fd);
    if (status == NIB_E_PATH)
        return NIB_FAIL(NIB_E_PATH,
                        "%s is a symbolic link that leaves the directory; set options.follow_links "
                        "if you trust it (a Hugging Face cache is made so)",
                        name);
    NIB_TRY(status);
    struct stat st;
    status = check_regular(fd, name, &st);
    if (status != NIB_OK) {
        nib_io_close(fd, name);
        return status;
    }
    *input_ret = (nib_input){fd, -1, st.st_dev, st.st_ino, (uint64_t)st.st_size, st.st_mtim};
    return NIB_OK;
}

void nib_input_open_direct(nib_input *input)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", input->fd);
    if (nib_io_open_direct(AT_FDCWD, path, O_RDONLY, path, &input->direct_fd) != NIB_OK)
        input->direct_fd = -1;
}

void nib_input_close(nib_input *input)
{
    if (input->fd >= 0) nib_io_close(input->direct_fd, "");
    nib_io_close(input->fd, "");
    input->fd = -1;
}

nib_status nib_input_unchanged(const nib_input *input, const char *name)
{
    struct stat st;
    NIB_TRY(nib_io_stat(input->fd, name, &st));
    if (st.st_dev == input->device && st.st_ino == input->inode &&
        (uint64_t)st.st_size == input->bytes && st.st_mtim.tv_sec == input->modified.tv_sec &&
        st.st_mtim.tv_nsec == input->modified.tv_nsec)
        return NIB_OK;
    return NIB_FAIL(NIB_E_CHANGED,
                    "%s was changed while it was read (%llu bytes before, %llu now); run again "
                    "when nothing writes it",
                    name, (unsigned long long)input->bytes, (unsigned long long)st.st_size);
}
