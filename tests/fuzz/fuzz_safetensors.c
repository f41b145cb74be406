/* fuzz_safetensors.c - any bytes as a safetensors file: header, tables, logical tensors. What is
 * accepted must be consistent (tests/check_file.h). */
#include "../../host/formats/checkpoint.h"
#include "../../host/formats/safetensors.h"
#include "../check_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CAP = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The data part is read through a descriptor (weight_shape), so it has to be a file. */
static int as_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    if (fd < 0) fd = memfd_create("fuzz", 0);
    if (fd < 0 || ftruncate(fd, (off_t)size) || pwrite(fd, data, size, 0) != (ssize_t)size) abort();
    return fd;
}

static nib_status parse(const uint8_t *data, size_t size, nib_file *file)
{
    size_t length;
    nib_header_counts counts;
    nib_header header;
    if (nib_header_length(data, size, &length) != NIB_OK) return NIB_E_SHORT;
    const char *text = (const char *)data + NIB_HEADER_PREFIX;
    if (nib_header_count(text, length, &counts) != NIB_OK) return NIB_E_JSON;
    if (nib_header_parse(text, length, &counts, size, &file->arena, &header) != NIB_OK)
        return NIB_E_JSON;
    file->shards->metadata = header.metadata;
    file->raw = header.tensors;
    file->raw_count = counts.tensors;
    return nib_file_make_logical(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nib_shard shard = {.name = "fuzz", .metadata = "", .input = {.bytes = size}};
    nib_file file = {.arena.cap = CAP, .directory = -1, .shards = &shard, .shard_count = 1};
    file.config = "";
    shard.input.fd = as_file(data, size);
    if (parse(data, size, &file) == NIB_OK) {
        const char *fault = file_fault(&file);
        if (fault) {
            fprintf(stderr, "accepted, but: %s\n", fault);
            abort();
        }
    }
    nib_arena_free(&file.arena);
    return 0;
}
