/* make_file.h - small safetensors files made by a test. */
#ifndef NIB_MAKE_FILE_H
#define NIB_MAKE_FILE_H

#include "../include/nibble.h"
#include "temporary.h"

enum { MADE_MOST = 16, MADE_BYTES = 1 << 16 };

/* A tensor to be written; bytes NULL: zeros. */
typedef struct made_tensor {
    const char *name;
    nib_dtype type;
    int rank;
    int64_t shape[3];
    const void *bytes;
} made_tensor;

static inline size_t made_bytes(const made_tensor *tensor)
{
    size_t bits = (size_t)nib_dtype_bits(tensor->type);
    for (int d = 0; d < tensor->rank; d++) bits *= (size_t)tensor->shape[d];
    return bits / 8;
}

/* The file's bytes in `file` (MADE_BYTES); returns how many. `metadata` is JSON text or NULL. */
static inline size_t make_file(unsigned char *file, const char *metadata,
                               const made_tensor *tensors, int count)
{
    char *text = (char *)file + 8;
    size_t data = 0;
    int at = metadata ? sprintf(text, "{\"__metadata__\":%s", metadata) : sprintf(text, "{");
    for (int i = 0; i < count; i++) {
        const made_tensor *t = &tensors[i];
        at += sprintf(text + at, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i || metadata ? "," : "",
                      t->name, nib_dtype_name(t->type));
        for (int d = 0; d < t->rank; d++)
            at += sprintf(text + at, "%s%lld", d ? "," : "", (long long)t->shape[d]);
        at += sprintf(text + at, "],\"data_offsets\":[%zu,%zu]}", data, data + made_bytes(t));
        data += made_bytes(t);
    }
    at += sprintf(text + at, "}");
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)at >> (8 * i));
    unsigned char *to = file + 8 + at;
    for (int i = 0; i < count; i++) {
        size_t bytes = made_bytes(&tensors[i]);
        if (tensors[i].bytes) memcpy(to, tensors[i].bytes, bytes);
        else memset(to, 0, bytes);
        to += bytes;
    }
    return (size_t)(to - file);
}

/* Writes it as DIR/model.safetensors, with DIR/config.json where `config` is not NULL. */
static inline void make_checkpoint(const char *dir, const char *config, const char *metadata,
                                   const made_tensor *tensors, int count)
{
    static unsigned char file[MADE_BYTES];
    char path[300];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    temporary_write(path, file, make_file(file, metadata, tensors, count));
    snprintf(path, sizeof path, "%s/config.json", dir);
    if (config) temporary_write(path, config, strlen(config));
    else unlink(path);
}

#endif
