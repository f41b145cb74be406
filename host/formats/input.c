/* input.c - see input.h. */
#include "input.h"

#include "../core/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static nib_status open_failed(const char *name, int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR: return NIB_FAIL(NIB_E_NOT_FOUND, "%s: not found", name);
    case ELOOP:
        return NIB_FAIL(NIB_E_PATH,
                        "%s is a symbolic link, which may lead out of the directory; pass "
                        "--follow-symlinks if you trust it (a Hugging Face cache is made so)",
                        name);
    case ENXIO: return NIB_FAIL(NIB_E_NOTREG, "%s is a socket or a device, not a file", name);
    case EMFILE:
        return NIB_FAIL(NIB_E_IO, "%s: too many open files; raise the limit (ulimit -n)", name);
    default: return NIB_FAIL(NIB_E_IO, "%s: cannot be opened: %s", name, strerror(error));
    }
}

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode) ? "directory" : S_ISFIFO(mode) ? "FIFO" : "device";
}

nib_status nib_input_open(int directory, const char *name, int follow, nib_input *input_ret)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW);
    int fd = openat(directory, name, flags);
    if (fd < 0) return open_failed(name, errno);
    struct stat st;
    nib_status status = NIB_OK;
    if (fstat(fd, &st))
        status = NIB_FAIL(NIB_E_IO, "%s: cannot be examined: %s", name, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        status =
            NIB_FAIL(NIB_E_NOTREG, "%s is a %s, not a regular file", name, kind_of(st.st_mode));
    if (status != NIB_OK) {
        close(fd);
        return status;
    }
    *input_ret = (nib_input){fd, st.st_dev, st.st_ino, (uint64_t)st.st_size, st.st_mtim};
    return NIB_OK;
}

void nib_input_close(nib_input *input)
{
    if (input->fd >= 0) close(input->fd);
    input->fd = -1;
}

nib_status nib_input_read(const nib_input *input, uint64_t offset, void *dst, size_t bytes)
{
    enum { MOST = 1 << 30 }; /* Linux reads at most 2^31 - 4096 bytes a call */
    for (size_t done = 0; done < bytes;) {
        size_t want = bytes - done < MOST ? bytes - done : MOST;
        ssize_t got = pread(input->fd, (char *)dst + done, want, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return NIB_FAIL(NIB_E_IO, "reading %zu bytes at %llu failed: %s", want,
                            (unsigned long long)offset + done, strerror(errno));
        if (got == 0)
            return NIB_FAIL(NIB_E_TRUNC,
                            "the file ends at byte %llu, which was %llu bytes long when it was "
                            "opened; it is being changed",
                            (unsigned long long)offset + done, (unsigned long long)input->bytes);
        done += (size_t)got;
    }
    return NIB_OK;
}

nib_status nib_input_unchanged(const nib_input *input)
{
    struct stat st;
    if (fstat(input->fd, &st)) return NIB_FAIL(NIB_E_IO, "cannot be examined: %s", strerror(errno));
    if (st.st_dev == input->device && st.st_ino == input->inode &&
        (uint64_t)st.st_size == input->bytes && st.st_mtim.tv_sec == input->modified.tv_sec &&
        st.st_mtim.tv_nsec == input->modified.tv_nsec)
        return NIB_OK;
    return NIB_FAIL(NIB_E_CHANGED,
                    "the file was changed while it was read (%llu bytes before, %llu now); "
                    "run again when nothing writes it",
                    (unsigned long long)input->bytes, (unsigned long long)st.st_size);
}
