/* fuzz_imatrix.c - any bytes as an importance matrix, of either format. What is accepted holds
 * finite values and finds its own names. */
#include "../../host/formats/imatrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CAP = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[64];
    nib_imatrix matrix;
    if (fd < 0) fd = memfd_create("fuzz", 0);
    if (fd < 0 || ftruncate(fd, (off_t)size) || pwrite(fd, data, size, 0) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (nib_imatrix_read(path, CAP, &matrix) != NIB_OK) return 0;
    for (int64_t i = 0; i < matrix.count; i++) {
        const nib_imatrix_entry *entry = &matrix.entries[i];
        if (nib_imatrix_find(&matrix, entry->name) != entry) abort();
        for (int64_t k = 0; k < entry->count; k++)
            if (!isfinite(entry->values[k])) abort();
    }
    nib_imatrix_free(&matrix);
    return 0;
}
