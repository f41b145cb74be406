/* nibble_quantize.h - whole checkpoints: decide what each tensor becomes, quantize, dequantize,
 * compare, check.
 *
 * A job is planned from headers alone and then run: tensors stream from the input through the
 * device to the output in tiles of rows, in a fixed memory, and the output appears under its final
 * name when it is complete and synced. The bytes of the output do not depend on device, threads,
 * memory cap or interruptions.
 *
 * Errors, outputs, threads: as in nibble.h. A job is used from one thread; it makes its own.
 */
#ifndef NIBBLE_QUANTIZE_H
#define NIBBLE_QUANTIZE_H

#include "nibble_file.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What to do with a tensor whose K the group does not divide. */
typedef enum nib_group_fallback {
    NIB_FALLBACK_ERROR = 0,   /* E_SHAPE before anything is written; says which sizes would fit */
    NIB_FALLBACK_CHANNEL = 1, /* one scale per row */
    NIB_FALLBACK_SKIP = 2,    /* leave the tensor as it is */
} nib_group_fallback;

typedef enum nib_job_kind { NIB_JOB_QUANTIZE = 0, NIB_JOB_DEQUANTIZE = 1 } nib_job_kind;

/* A mixture of GGUF's types, as llama-quantize names them. Rows of a table; static storage. */
typedef struct nib_mixture {
    const char *name;  /* "q4_k_m" */
    int32_t file_type; /* general.file_type; -1: the input's own */
    const char *base;  /* the type of most tensors (nib_stored_type_find); NULL: each its own */
    const char *text;  /* one line on it */
} nib_mixture;

/* The mixtures, in table order; NULL past the end. */
NIB_API size_t nib_mixture_count(void);
NIB_API const nib_mixture *nib_mixture_at(size_t index);
/* By name or alias, in any case, with '-' and '_' alike; NULL where there is none. */
NIB_API const nib_mixture *nib_mixture_find(const char *name);

/* What the tensors of a checkpoint become. Strings and arrays are borrowed for the call. Patterns
 * are POSIX extended regular expressions that must match the whole logical name; a leading "re:" is
 * ignored; the name with or without a trailing ".weight" may match. */
typedef struct nib_job_options {
    size_t size; /* sizeof(nib_job_options) */
    nib_job_kind kind;
    const nib_scheme *scheme;  /* quantize: for tensors that nothing below names */
    int64_t group;             /* -1: the scheme's own; 0: one per row; else elements along K */
    const char *const *ignore; /* patterns of tensors to leave as they are */
    size_t ignore_count;
    const char *const *overrides; /* "PATTERN=SCHEME", SCHEME a scheme's name or "keep"; the first
                                     match wins, before ignore */
    size_t override_count;
    const char *recipe; /* JSON text of the same (docs/recipe.md), or NULL; what is above wins */
    nib_group_fallback fallback;
    nib_nonfinite nonfinite;
    int keep_nonfinite; /* 1: a tensor with NaN or infinities, found by a scan, stays as it is */
    int keep_quantized; /* 1: tensors that are already quantized pass through; 0: E_QUANTIZED */
    nib_dtype dequantize_type; /* dequantize: F32, F16, BF16, or NIB_DTYPE_NONE for the scales' */

    /* quantize, into GGUF: */
    const nib_mixture *mixture; /* NULL: safetensors by `scheme`, and none of the below counts. With
                                    a mixture the patterns' SCHEME is a type, as "q5_K" */
    int pure;                   /* 1: the mixture's base type for every tensor that can have it */
    const char *importance;     /* path of an importance matrix, GGUF or .dat; or NULL */
    const char *output_type;    /* type of output.weight; NULL: by the mixture */
    const char *embedding_type; /* type of token_embd.weight; NULL: by the mixture */
    int leave_output;           /* 1: output.weight stays as it is */
    int allow_requantize;       /* 1: blocks may become other blocks; 0: E_QUANTIZED */
    int keep_split;             /* 1: as many files as the input has */
    const char *prune_layers;   /* "3,7": layers to leave out; others get new numbers; or NULL */
    const char *const *keys;    /* "KEY=TYPE:VALUE", TYPE int (0..2^32-1), float, bool or str */
    size_t key_count;
    const char *architecture; /* general.architecture; NULL: the input's, or guessed by its names */
    /* For safetensors of llama, mistral, qwen2 or qwen3: a GGUF file that gives the keys; names and
     * rows become llama.cpp's. NULL: the tensors keep their names. */
    const char *template_path;
} nib_job_options;

/* What one logical tensor becomes. Strings live as long as the job. */
typedef struct nib_decision {
    const nib_tensor *tensor;
    const nib_scheme *scheme;      /* NULL: not quantized */
    nib_quant quant;               /* where scheme: as stored in the output */
    nib_dtype type;                /* dequantize: the new type; NIB_DTYPE_NONE: bytes are copied */
    const nib_stored_type *stored; /* into GGUF: its type there (the same: bytes are copied); NULL:
                                      it is left out. Otherwise NULL */
    const char *reason;            /* "default", "override model\\..*", "kept: norm" */
    uint64_t input_bytes, output_bytes;
} nib_decision;

typedef struct nib_job nib_job;

/* Decides and sizes; reads no tensor data. `input` is borrowed until nib_job_close. */
NIB_API nib_status nib_job_create(const nib_file *input, const nib_job_options *options,
                                  nib_job **job_ret);
NIB_API void nib_job_close(nib_job *job); /* NULL is fine */

/* The decisions, in the order of the input's logical tensors; NULL past the end. */
NIB_API int64_t nib_job_count(const nib_job *job);
NIB_API const nib_decision *nib_job_at(const nib_job *job, int64_t index);

typedef struct nib_job_totals {
    uint64_t input_bytes, output_bytes; /* of tensor data and headers */
    int64_t weights;                    /* elements of quantized tensors */
    uint64_t weight_bits;               /* what their planes take in the output */
    int64_t quantized, kept;            /* tensors */
} nib_job_totals;
NIB_API void nib_job_sum(const nib_job *job, nib_job_totals *totals_ret);

typedef struct nib_progress {
    uint64_t bytes_done, bytes_total; /* of input */
    double seconds;                   /* since the run began */
    const nib_decision *tensor;       /* the tensor just finished, or NULL */
    const nib_error_total *errors;    /* of it, where it was quantized, or NULL */
} nib_progress;

typedef struct nib_run_options {
    size_t size;        /* sizeof(nib_run_options) */
    const char *output; /* a directory where the input is one; otherwise a directory too, unless it
                           ends in .safetensors. GGUF: a file; a directory where there are several */
    const char *device; /* as nib_open; NULL = "auto" */
    int32_t threads;    /* 0: one per core */
    size_t max_memory_bytes; /* hard cap on the process's memory: E_MEMORY says what is needed; 0 =
                                2 GiB */
    size_t max_vram_bytes;   /* hard cap on device memory; 0 = 2 GiB */
    int replace;             /* replace an existing output */
    int verify;              /* re-read what was written */
    nib_io io;               /* how the input was opened: a direct read leaves its core idle, so
                                there are more lanes. Output goes through the page cache, where
                                small pieces meet */
    /* Called now and then, and once per finished tensor, from one thread at a time. May be NULL. */
    void (*progress)(void *user, const nib_progress *progress);
    void *user;
    const volatile int *cancel; /* stops soon after it becomes non-zero, with E_INTERRUPTED; the run
                                   can be resumed. May be NULL */
} nib_run_options;

/* Runs the job. E_NONFINITE names tensor, index and value; nothing is left under the output's name
 * on failure. */
NIB_API nib_status nib_job_run(nib_job *job, const nib_run_options *options);

/* What a run measured. */
typedef struct nib_result {
    nib_error_total errors; /* of a quantized tensor; count 0 otherwise */
    nib_report report;
    int resumed; /* 1: taken over from an interrupted run; its errors come from the journal */
} nib_result;
NIB_API const nib_result *nib_job_result(const nib_job *job, int64_t index);

typedef struct nib_run_stats {
    double seconds, verify_seconds; /* wall time without, and of, verification */
    double read_seconds, kernel_seconds, write_seconds, sync_seconds; /* summed over the lanes */
    uint64_t read_bytes, written_bytes;
    size_t peak_memory_bytes; /* what the memory plan used, headers included */
    int32_t lanes;
    char device[24];
} nib_run_stats;
NIB_API const nib_run_stats *nib_job_stats(const nib_job *job);

/* ---- compare and check ---- */

typedef struct nib_compared {
    const char *name;
    nib_error_total errors;
    const char *note; /* NULL, or why the tensor was not measured: "only in A", "shapes differ" */
} nib_compared;

/* Compares the logical tensors of two checkpoints by name, decoding both as needed, and calls
 * `each` in A's order, then for names only in B. Tensors that are not floating-point count with
 * zero error where their bytes are equal. */
NIB_API nib_status nib_compare(const nib_file *a, const nib_file *b, const nib_run_options *options,
                               void (*each)(void *user, const nib_compared *compared), void *user);

typedef struct nib_finding {
    const char *tensor; /* a raw tensor's name */
    const char *what;   /* "NaN at element 17", "scale 0x7e00 of group 4 is not finite" */
} nib_finding;

/* Reads every tensor: NaN or infinite elements and scales, tensors that changed, planes that do not
 * fit together. */
NIB_API nib_status nib_check(const nib_file *file, const nib_run_options *options,
                             void (*each)(void *user, const nib_finding *finding), void *user,
                             int64_t *findings_ret);

#ifdef __cplusplus
}
#endif
#endif
