/* nibble_file.h - read and write checkpoints: libnibble_file's public interface. Usable without any
 * device.
 *
 * A checkpoint is a .safetensors file, or a directory with one or several and, where there are
 * several, an index. Its raw tensors are what the files store; its logical tensors are what they
 * mean: a quantized weight is one logical tensor made of several raw ones (codes, scales, offsets).
 *
 * Trust. Every byte of a header is checked before it is used; malformed input is a status and a
 * line of words, never a crash. Files are read with pread into the caller's memory, never mapped.
 * Shard names in an index are plain names inside the directory. No memory is taken in proportion to
 * a number in a file before that number is checked.
 *
 * Errors, outputs, threads: as in nibble.h. A nib_file may be read from several threads at once.
 */
#ifndef NIBBLE_FILE_H
#define NIBBLE_FILE_H

#include "nibble.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { NIB_MAX_RANK = 8 };

/* ---- reading
 * ---------------------------------------------------------------------------------------------------
 */

typedef struct nib_file nib_file; /* an open checkpoint */

typedef struct nib_file_options {
    size_t size;             /* sizeof(nib_file_options) */
    size_t max_memory_bytes; /* cap on what the tables of the headers may take; 0 = none. E_MEMORY
                                says what it needs */
    int follow_links;        /* 1: files of the directory may be symbolic links; 0: E_PATH */
} nib_file_options;

/* Where some bytes lie: `bytes` of them, from byte `offset` of shard number `shard`. */
typedef struct nib_span {
    int32_t shard;
    uint64_t offset;
    uint64_t bytes;
} nib_span;

/* A tensor as stored. Strings live as long as the nib_file. */
typedef struct nib_raw_tensor {
    const char *name; /* UTF-8 without NUL, not empty */
    nib_dtype type;
    int32_t rank; /* 0..NIB_MAX_RANK */
    int64_t shape[NIB_MAX_RANK];
    nib_span span;
} nib_raw_tensor;

/* A tensor as meant: plain elements, or planes. */
typedef struct nib_tensor {
    const char *
        name; /* "model.layers.0.mlp.up_proj.weight", also where the file stores ".weight_packed" */
    nib_dtype type; /* of plain elements; for a quantized tensor the type its scales have */
    int32_t rank;
    int64_t shape[NIB_MAX_RANK];
    int32_t quantized; /* 1: `quant` and `span` describe planes; 2: recognised but not readable by
                          nibble (`why`); 0: plain */
    nib_quant quant;
    nib_span span[NIB_PLANES]; /* plain: span[0] alone */
    const char *why; /* quantized == 2: what it is, as "FP8 with scales"; otherwise NULL */
} nib_tensor;

/* Opens a file, an index or a directory: there model.safetensors.index.json leads to the shards,
 * otherwise model.safetensors or the only file so named counts. `options` may be NULL. E_SHORT .. E_FORMAT (exit code 3) name file,
 * tensor and value. */
NIB_API nib_status nib_file_open(const char *path, const nib_file_options *options,
                                 nib_file **file_ret);
NIB_API void nib_file_close(nib_file *file); /* NULL is fine */

/* Raw tensors, in order of shard and offset; NULL past the end. */
NIB_API int64_t nib_file_raw_count(const nib_file *file);
NIB_API const nib_raw_tensor *nib_file_raw_at(const nib_file *file, int64_t index);

/* Logical tensors, in the order of their first raw tensor; NULL past the end, or where there is
 * none of that name. */
NIB_API int64_t nib_file_count(const nib_file *file);
NIB_API const nib_tensor *nib_file_at(const nib_file *file, int64_t index);
NIB_API const nib_tensor *nib_file_find(const nib_file *file, const char *name);

/* The index of the logical tensor that a raw tensor is part of: each is part of exactly one; -1 past
 * the end. */
NIB_API int64_t nib_file_owner(const nib_file *file, int64_t raw);

/* The shards' file names inside the directory (or the file's own name), and their sizes in bytes.
 */
NIB_API int32_t nib_file_shard_count(const nib_file *file);
NIB_API const char *nib_file_shard_name(const nib_file *file, int32_t shard);
NIB_API uint64_t nib_file_shard_bytes(const nib_file *file, int32_t shard);

/* "safetensors" or "compressed-tensors", as the logical tensors are read. */
NIB_API const char *nib_file_format(const nib_file *file);
/* 1: the checkpoint is a directory. The path it was opened by. */
NIB_API int nib_file_is_directory(const nib_file *file);
NIB_API const char *nib_file_path(const nib_file *file);
/* The text of config.json ("" where there is none), and __metadata__ of a shard as JSON text (""
 * where there is none). */
NIB_API const char *nib_file_config(const nib_file *file);
NIB_API const char *nib_file_metadata(const nib_file *file, int32_t shard);
/* How many tensors the shards hold that the index does not name (they are ignored). */
NIB_API int64_t nib_file_ignored(const nib_file *file);
/* Bytes of memory the open checkpoint takes. */
NIB_API size_t nib_file_memory(const nib_file *file);

/* Reads `bytes` bytes of a shard from `offset` into dst; E_TRUNC or E_IO where they are not there.
 */
NIB_API nib_status nib_file_read(const nib_file *file, int32_t shard, uint64_t offset, void *dst,
                                 size_t bytes);
/* E_CHANGED if a shard's size, time or identity is not what it was at nib_file_open. Call after the
 * last read. */
NIB_API nib_status nib_file_unchanged(const nib_file *file);

/* ---- writing
 * ---------------------------------------------------------------------------------------------------
 */

/* A raw tensor to be written; the caller decides the file. Shape and type give its bytes. */
typedef struct nib_new_tensor {
    const char *name;
    nib_dtype type;
    int32_t rank;
    int64_t shape[NIB_MAX_RANK];
    int32_t shard;   /* which output file, 0.. */
    uint64_t offset; /* filled by nib_output_create: where in the shard its bytes go */
} nib_new_tensor;

typedef struct nib_output
    nib_output; /* a checkpoint being written, under a temporary name beside its final one */

typedef struct nib_output_options {
    size_t size;   /* sizeof(nib_output_options) */
    int replace;   /* 1: an existing output is replaced when the new one is complete; 0: E_EXISTS */
    int directory; /* 1: `path` becomes a directory with shards and an index; 0: one file */
    const char *metadata; /* __metadata__ of each shard as JSON object text of strings, or NULL */
    const char *identity; /* what the run is (inputs, scheme, options), to recognise an unfinished
                             one; or NULL: never resume */
} nib_output_options;

/* Plans the files, checks and reserves their whole space, and writes their headers, in
 * "<path>.partial". Nothing exists under the final name until nib_output_commit. Where an
 * unfinished output with the same identity is there, it is taken up: nib_output_done says which
 * tensors are already complete. `input` (may be NULL) is never the output: E_SAME_FILE. Errors:
 * E_EXISTS, E_SPACE, E_BUSY (another process writes it), E_IO. Tensors' names and shapes are
 * borrowed until close. */
NIB_API nib_status nib_output_create(const char *path, const nib_file *input,
                                     nib_new_tensor *tensors, int64_t count,
                                     const nib_output_options *options, nib_output **output_ret);
/* Writes bytes of a tensor, from any thread, in any order. E_SPACE, E_IO. */
NIB_API nib_status nib_output_write(nib_output *output, int64_t tensor, uint64_t offset,
                                    const void *src, size_t bytes);
/* Says that a tensor is complete; its bytes' XXH3-128 (`checksum`, 16 bytes) goes into the journal
 * once they are on disk. */
NIB_API nib_status nib_output_finish(nib_output *output, int64_t tensor, const void *checksum);
/* 1: a resumed output already holds the tensor, and its bytes have the journal's checksum. */
NIB_API int nib_output_done(const nib_output *output, int64_t tensor);
/* Puts a small file (config.json, a report) into the output directory; the name is plain. */
NIB_API nib_status nib_output_text(nib_output *output, const char *name, const char *text,
                                   size_t bytes);
/* Copies every other regular file of the input's directory that the output does not have itself. */
NIB_API nib_status nib_output_carry(nib_output *output, const nib_file *input);
/* Re-reads what was written and compares the journal's checksums; E_IO names the tensor. */
NIB_API nib_status nib_output_verify(nib_output *output);
/* Syncs everything and gives it its final name, in one step where the file system can. */
NIB_API nib_status nib_output_commit(nib_output *output);
/* Closes; without a commit the partial output stays for a resume where it has an identity, and is
 * removed otherwise. */
NIB_API void nib_output_close(nib_output *output);

#ifdef __cplusplus
}
#endif
#endif
