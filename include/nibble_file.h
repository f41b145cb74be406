/* nibble_file.h - read and write checkpoints: libnibble_file's public interface. Usable without any
 * device.
 *
 * A checkpoint is a .safetensors file, or a directory with one or several and, where there are
 * several, an index; or a .gguf file, or the first of several that it was split into. Its raw
 * tensors are what the files store; its logical tensors are what they mean: in safetensors a
 * quantized weight is one logical tensor made of several raw ones (codes, scales, offsets), in GGUF
 * it is one raw tensor of blocks.
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

/* How reads and writes reach the disk: through the page cache, or past it where the file system
 * and the alignment allow. The bytes are the same. */
typedef enum nib_io { NIB_IO_BUFFERED = 0, NIB_IO_DIRECT = 1 } nib_io;

/* ---- reading ---- */

typedef struct nib_file nib_file; /* an open checkpoint */

typedef struct nib_file_options {
    size_t size;             /* sizeof(nib_file_options) */
    size_t max_memory_bytes; /* cap on what the tables of the headers may take; 0 = none. E_MEMORY
                                says what it needs */
    nib_io io;               /* NIB_IO_DIRECT: nib_file_read_direct reads past the page cache */
    int follow_links;        /* 0: a file of the directory that is a symbolic link out of it is
                                E_PATH; 1: it is followed */
} nib_file_options;

/* Where some bytes lie: `bytes` of them, from byte `offset` of shard number `shard`. */
typedef struct nib_span {
    int32_t shard;
    uint64_t offset;
    uint64_t bytes;
} nib_span;

/* How a GGUF file stores elements: one by one, or in blocks along a row. Static storage. */
typedef struct nib_stored_type {
    const char *name; /* "Q4_K", "BF16" */
    int32_t number;   /* in files: ggml's */
    int32_t elements; /* of a block; 1: plain */
    int32_t bytes;    /* of a block */
    nib_dtype type;   /* where plain; otherwise NIB_DTYPE_NONE */
} nib_stored_type;

/* The type of that number, or name in any case; NULL where there is none. */
NIB_API const nib_stored_type *nib_stored_type_at(int32_t number);
NIB_API const nib_stored_type *nib_stored_type_find(const char *name);

/* A tensor as stored. Strings live as long as the nib_file. */
typedef struct nib_raw_tensor {
    const char *name;              /* UTF-8 without NUL, not empty */
    nib_dtype type;                /* NIB_DTYPE_NONE where `blocks` is set */
    const nib_stored_type *blocks; /* NULL: plain elements of `type` */
    int32_t rank;                  /* 0..NIB_MAX_RANK */
    int64_t shape[NIB_MAX_RANK];
    nib_span span;
} nib_raw_tensor;

/* A tensor as meant: plain elements, or planes. */
typedef struct nib_tensor {
    const char *name; /* "model.layers.0.mlp.up_proj.weight", also where the file stores
                         ".weight_packed" */
    nib_dtype type;   /* of plain elements; for a quantized tensor the type its scales have */
    int32_t rank;
    int64_t shape[NIB_MAX_RANK];
    int32_t quantized; /* 0: plain; 1: `quant` and `span` describe planes; 2: recognised but not
                          readable by nibble (`why`); 3: rows of `blocks` at span[0] */
    nib_quant quant;
    const nib_stored_type *blocks; /* quantized == 3, or 2 in GGUF; otherwise NULL */
    nib_span span[NIB_PLANES];     /* plain and blocks: span[0] alone */
    const char *why;               /* quantized == 2: what it is, as "FP8 with scales"; or NULL */
} nib_tensor;

/* Opens a file, an index or a directory: there model.safetensors.index.json leads to the shards,
 * otherwise model.safetensors or the only file so named counts. `options` may be NULL. E_SHORT ..
 * E_FORMAT (exit code 3) name file, tensor and value. */
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

/* The index of the logical tensor that a raw tensor is part of: each is part of exactly one; -1
 * past the end. */
NIB_API int64_t nib_file_owner(const nib_file *file, int64_t raw);

/* The shards' file names inside the directory (or the file's own name), NULL past the end, and
 * their sizes in bytes. */
NIB_API int32_t nib_file_shard_count(const nib_file *file);
NIB_API const char *nib_file_shard_name(const nib_file *file, int32_t shard);
NIB_API uint64_t nib_file_shard_bytes(const nib_file *file, int32_t shard);

/* "safetensors", "compressed-tensors" or "gguf", as the logical tensors are read. */
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

/* What a GGUF file says beside its tensors. The numbers are those of the files. */
typedef enum nib_key_type {
    NIB_KEY_U8 = 0,
    NIB_KEY_I8 = 1,
    NIB_KEY_U16 = 2,
    NIB_KEY_I16 = 3,
    NIB_KEY_U32 = 4,
    NIB_KEY_I32 = 5,
    NIB_KEY_F32 = 6,
    NIB_KEY_BOOL = 7,
    NIB_KEY_STRING = 8,
    NIB_KEY_ARRAY = 9,
    NIB_KEY_U64 = 10,
    NIB_KEY_I64 = 11,
    NIB_KEY_F64 = 12,
} nib_key_type;

typedef struct nib_key {
    const char *name; /* without NUL, not empty; not always UTF-8 */
    nib_key_type type;
    nib_key_type element; /* of an array */
    uint64_t count;       /* elements of an array, bytes of a string; otherwise 1 */
    uint64_t bits;        /* the value of a number or boolean as it stands, zeros above */
    nib_span value;       /* where the elements, the string's bytes or the number stand */
} nib_key;

/* "u32" for NIB_KEY_U32; "?" for an unknown number. Static storage. */
NIB_API const char *nib_key_type_name(nib_key_type type);
/* The keys of a shard in file order, NULL past the end; by name, NULL where there is none. None
 * where the checkpoint is not GGUF. */
NIB_API const nib_key *nib_file_key_at(const nib_file *file, int32_t shard, int64_t index);
NIB_API const nib_key *nib_file_key_find(const nib_file *file, int32_t shard, const char *name);

/* Reads `bytes` bytes of a shard from `offset` into dst; E_TRUNC or E_IO where they are not
 * there. */
NIB_API nib_status nib_file_read(const nib_file *file, int32_t shard, uint64_t offset, void *dst,
                                 size_t bytes);
/* The same into `buffer`, aligned to 4096 and with room for bytes + 8192, past the page cache where
 * the checkpoint was opened so and the file system can. *data_ret is where in the buffer the bytes
 * begin: at its start, or at offset modulo 4096. */
NIB_API nib_status nib_file_read_direct(const nib_file *file, int32_t shard, uint64_t offset,
                                        void *buffer, size_t bytes, void **data_ret);
/* E_CHANGED if a shard's size, time or identity is not what it was at nib_file_open. Call after the
 * last read. */
NIB_API nib_status nib_file_unchanged(const nib_file *file);

/* ---- writing ---- */

/* A raw tensor to be written; the caller decides the file. Shape and type give its bytes. */
typedef struct nib_new_tensor {
    const char *name; /* UTF-8, not empty, unlike all others' and not "__metadata__" */
    nib_dtype type;
    int32_t rank;
    int64_t shape[NIB_MAX_RANK];
    int32_t shard;   /* which output file, 0..; every number up to the highest is used */
    uint64_t offset; /* filled by nib_output_create: where in the shard its bytes go. A tensor's
                        element is aligned; the data of a shard begins at a multiple of 4096 */
    const nib_stored_type *blocks; /* GGUF: the type of its blocks; NULL: plain elements */
} nib_new_tensor;

/* What the files of an output are. GGUF keeps the order of the tensors; a directory's files are
 * called model-00001-of-00002.gguf. */
typedef enum nib_container { NIB_SAFETENSORS = 0, NIB_GGUF = 1 } nib_container;

/* The keys of a GGUF file as they stand in it. */
typedef struct nib_key_text {
    const void *bytes;
    size_t size;
    int64_t count;
} nib_key_text;

/* A checkpoint being written, in a working directory beside its final name. */
typedef struct nib_output nib_output;

enum { NIB_OUTPUT_RECORD_BYTES = 128 };

typedef struct nib_output_options {
    size_t size;   /* sizeof(nib_output_options) */
    int replace;   /* 1: an existing output is replaced when the new one is complete; 0: E_EXISTS.
                      A directory is replaced only where it is empty, or holds a .safetensors or
                      .gguf file and no directories */
    int directory; /* 1: `path` becomes a directory with shards and an index; 0: one file */
    nib_io io;     /* NIB_IO_DIRECT pays where the address of the source and the offset in the shard
                      agree modulo 4096; otherwise the bytes go through a small aligned buffer */
    nib_container container;
    const char *metadata; /* safetensors: __metadata__ of each shard as JSON object text of strings,
                               or NULL */
    const nib_key_text *keys; /* GGUF: of each shard; NULL: none */
    uint64_t journal_bytes; /* how much finished work a crash may cost, at most and beside the last
                               second's: data are synced when so much is finished; 0: 256 MiB */
    const char *identity;   /* what the run is (inputs, their sizes and times, scheme, options), to
                               recognise an unfinished one; or NULL: never resume */
} nib_output_options;

/* Plans the files, checks and reserves their whole space, and writes their headers, in
 * "<path>.partial". Nothing exists under the final name until nib_output_commit. Where an
 * unfinished output with the same identity and tensors is there, it is taken up: nib_output_done
 * says which tensors are already complete; any other unfinished output is thrown away
 * (nib_output_note). `input` (may be NULL) is never touched: E_SAME_FILE where a file of it is the
 * output or in it, and where the output lies inside its directory. Errors: E_EXISTS, E_SPACE,
 * E_BUSY (another process writes it), E_DUP, E_HEADER_BIG, E_IO. Tensors' names are borrowed until
 * close; the rest is copied. */
NIB_API nib_status nib_output_create(const char *path, const nib_file *input,
                                     nib_new_tensor *tensors, int64_t count,
                                     const nib_output_options *options, nib_output **output_ret);
/* What became of an unfinished earlier output, one line: "took up ...: 12 of 291 tensors are
 * complete", "threw away ...: it is another run's"; "" where there was none. */
NIB_API const char *nib_output_note(const nib_output *output);

/* Writes a piece of a tensor, from any thread, in any order. A tensor is written in pieces of one
 * size, each once, at the multiples of that size; only the last may be shorter. Its checksum is
 * taken on the way. E_SPACE, E_IO; E_ARGUMENT where the pieces do not fit. */
NIB_API nib_status nib_output_write(nib_output *output, int64_t tensor, uint64_t offset,
                                    const void *src, size_t bytes);
/* Says that a tensor is complete, after its last write has returned; E_ARGUMENT where it is not.
 * Its checksum, and `record` (up to NIB_OUTPUT_RECORD_BYTES bytes that the caller gets back from a
 * resumed output), go into the journal once the data are on disk. From any thread. */
NIB_API nib_status nib_output_finish(nib_output *output, int64_t tensor, const void *record,
                                     size_t record_bytes);
/* 1: a resumed output already holds the tensor: its bytes, read again, have the journal's
 * checksum. */
NIB_API int nib_output_done(const nib_output *output, int64_t tensor);
/* The record of such a tensor, as it was given; NULL where it is not done. Lives until close. */
NIB_API const void *nib_output_record(const nib_output *output, int64_t tensor, size_t *bytes_ret);

/* Takes back that the tensor is done, where it must be written again with others that are not; its
 * record is gone. Before any other thread writes. */
NIB_API nib_status nib_output_redo(nib_output *output, int64_t tensor);

/* Puts a small file (config.json, a report) into the output directory; the name is plain. A file of
 * that name that nib_output_text wrote before is replaced. */
NIB_API nib_status nib_output_text(nib_output *output, const char *name, const char *text,
                                   size_t bytes);
/* Copies every other regular file at the top of the input's directory that the output does not have
 * itself: not *.safetensors, not an index of them. Symbolic links are followed where the input was
 * opened so, and within the directory. Nothing is done for an output or input that is one file. */
NIB_API nib_status nib_output_carry(nib_output *output, const nib_file *input);
/* Re-reads a finished tensor, from the disk where its cached pages can be dropped, and compares its
 * checksum: E_IO. From any thread. */
NIB_API nib_status nib_output_verify_tensor(nib_output *output, int64_t tensor);
/* The same for all tensors, one after the other. */
NIB_API nib_status nib_output_verify(nib_output *output);
/* Syncs everything and gives it its final name, in one step where the file system can; where it
 * cannot, an earlier output is aside for a moment and put back by the next nib_output_create if
 * the process dies right there. E_ARGUMENT where a tensor is not finished. After it, whatever it
 * returned, only nib_output_note and nib_output_close may be called. */
NIB_API nib_status nib_output_commit(nib_output *output);
/* Closes; NULL is fine. Without a commit the partial output stays for a resume where it has an
 * identity and a finished tensor, and is removed otherwise. nib_last_error stays. */
NIB_API void nib_output_close(nib_output *output);

#ifdef __cplusplus
}
#endif
#endif
