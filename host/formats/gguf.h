/* gguf.h - the header of a GGUF file: keys and tensors.
 *
 *     "GGUF" | u32 version | i64 tensors | i64 keys
 *     keys:     string name | i32 type | value       string: u64 bytes | bytes
 *               array: i32 element type | u64 count | elements
 *     tensors:  string name | u32 rank | i64 dimension, the contiguous first, `rank` times |
 *               i32 type | u64 offset
 *     zeros up to a multiple of general.alignment | data
 *
 * All little-endian. An offset counts from the start of the data and must be the sum of all before
 * it, each rounded up to the alignment. */
#ifndef NIB_FORMATS_GGUF_H
#define NIB_FORMATS_GGUF_H

#include "checkpoint.h"

enum {
    NIB_GGUF_HEAD = 24,         /* bytes before the keys */
    NIB_GGUF_RANK = 4,          /* dimensions at most */
    NIB_GGUF_NAME = 63,         /* bytes of a tensor's name at most */
    NIB_GGUF_KEY = 65535,       /* bytes of a key's name at most */
    NIB_GGUF_ALIGNMENT = 32,    /* where no key says another */
    NIB_GGUF_SPLIT_SUFFIX = 20, /* bytes of "-00001-of-00002.gguf" */
};

#define NIB_GGUF_SUFFIX ".gguf"

/* 1: nibble writes tensors of that type: F32, F16, BF16, and the blocks that it has kernels for. */
int nib_stored_type_writable(const nib_stored_type *type);

/* The type that GGUF files store such a tensor in; NULL where they cannot. */
const nib_stored_type *nib_stored_type_of(nib_dtype type, const nib_stored_type *blocks);

/* Bytes of a value of that type: 1 to 8; 0 for strings, arrays and unknown types. */
uint64_t nib_key_type_bytes(nib_key_type type);

/* Reads and checks the whole header of an open shard and fills its tables of keys; the tensors are
 * a piece of the arena, in order of offset, with `number` as their shard. E_SHORT, E_MAGIC,
 * E_VERSION, E_COUNT, E_TRUNC, E_KEY, E_KVTYPE, E_STRING, E_ARRAY, E_BOOL, E_ALIGNMENT, E_NAME,
 * E_UTF8, E_RANK, E_OVERFLOW, E_DTYPE, E_ROW, E_OFFSET, E_DUP, E_MEMORY. */
nib_status nib_gguf_read(nib_arena *arena, nib_shard *shard, int32_t number,
                         nib_raw_tensor **tensors_ret, int64_t *count_ret);

/* The key of that name, or NULL. */
const nib_key *nib_gguf_key(const nib_shard *shard, const char *name);
/* The value of an unsigned or not negative integer key; 0 where there is none such. */
int nib_gguf_shard_number(const nib_shard *shard, const char *name, uint64_t *value_ret);
/* The same of the first file. */
int nib_gguf_number(const nib_file *file, const char *name, uint64_t *value_ret);

/* Opens the file `path`, relative to `directory` (as nib_input_open), as a checkpoint, with those
 * that it was split into; fills everything but the arena, path and directory. */
nib_status nib_gguf_load(nib_file *file, int directory, const char *path, int follow);
/* 1: the bytes or the name say that the file is GGUF. */
int nib_gguf_is(const char *path);
/* 1.. where the name is that of a split, "PREFIX-00001-of-00003.gguf"; otherwise 0. */
int nib_gguf_split_number(const char *name);

#endif
