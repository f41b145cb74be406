/* logical.c - what the raw tensors mean: plain tensors, and quantized ones made of several. */
#include "checkpoint.h"

#include "../core/internal.h"

#include <string.h>

static void make_plain(const nib_raw_tensor *raw, nib_tensor *tensor)
{
    *tensor = (nib_tensor){.name = raw->name, .type = raw->type, .rank = raw->rank};
    memcpy(tensor->shape, raw->shape, sizeof tensor->shape);
    tensor->span[0] = raw->span;
}

nib_status nib_file_make_logical(nib_file *file)
{
    NIB_TAKE(file->owners, &file->arena, file->raw_count, "tensors");
    NIB_TAKE(file->tensors, &file->arena, file->raw_count, "tensors");
    NIB_TRY(nib_names_create(&file->names, &file->arena, file->tensors, sizeof *file->tensors,
                             file->raw_count));
    file->format = "safetensors";
    for (int64_t i = 0; i < file->raw_count; i++) {
        make_plain(&file->raw[i], &file->tensors[file->count]);
        file->owners[i] = file->count;
        nib_names_add(&file->names, file->count++);
    }
    return NIB_OK;
}
