/* fuzz_gguf.c - any bytes as a GGUF file: keys, tensors, logical tensors. What is accepted must be
 * consistent (tests/check_file.h), and every key's value must lie inside the file. */
#include "../check_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CAP = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *key_fault(const nib_file *file)
{
    const nib_key *key;
    for (int64_t i = 0; (key = nib_file_key_at(file, 0, i)) != NULL; i++) {
        if (nib_file_key_find(file, 0, key->name) != key) return "key is not found";
        if (key->value.offset > nib_file_shard_bytes(file, 0) ||
            key->value.bytes > nib_file_shard_bytes(file, 0) - key->value.offset)
            return "value outside the file";
    }
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[64];
    nib_file *file;
    const nib_file_options options = {.size = sizeof options, .max_memory_bytes = CAP};
    if (fd < 0) fd = memfd_create("fuzz", 0);
    if (size < 4 || memcmp(data, "GGUF", 4)) return 0;
    if (fd < 0 || ftruncate(fd, (off_t)size) || pwrite(fd, data, size, 0) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (nib_file_open(path, &options, &file) != NIB_OK) return 0;
    const char *fault = file_fault(file);
    if (!fault) fault = key_fault(file);
    if (fault) {
        fprintf(stderr, "accepted, but: %s\n", fault);
        abort();
    }
    nib_file_close(file);
    return 0;
}
