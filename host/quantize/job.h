/* job.h - a planned job: what each logical tensor becomes, the raw tensors that makes, and where
 * their bytes come from. */
#ifndef NIB_QUANTIZE_JOB_H
#define NIB_QUANTIZE_JOB_H

#include "gguf_policy.h"
#include "gguf_rope.h"
#include "recipe.h"

#include "../formats/imatrix.h"
#include "../formats/text.h"

/* What happens to the bytes of one logical tensor. */
typedef enum nib_work {
    NIB_WORK_COPY,
    NIB_WORK_QUANTIZE,
    NIB_WORK_DEQUANTIZE,
    NIB_WORK_RECODE /* from one stored type to another (recode.h) */
} nib_work;

/* A unit of work: one raw tensor that is copied, or one logical tensor that is changed. */
typedef struct nib_unit {
    nib_work work;
    int64_t decision;        /* its logical tensor */
    nib_span source;         /* copy: the bytes */
    int64_t out[NIB_PLANES]; /* output tensors by plane, -1: none; all but quantize use the first */
    int64_t constant;        /* an output tensor of constant bytes that comes with it, or -1 */
    unsigned char bytes[16]; /* of it */
    int32_t byte_count;
    int64_t rows, row_bytes;  /* of the source; copy: 1 byte rows */
    int64_t tile_rows, tiles; /* filled by the pipeline */
    int64_t first;            /* sequence number of its first tile */
    int done;                 /* taken over from an interrupted run */
    /* recode: */
    const nib_stored_type *from, *to;
    int64_t cols;
    const float *importance; /* of the columns, one row of them for each `importance_rows` rows of
                                the tensor; NULL: none */
    int64_t importance_rows;
    int64_t head_rows; /* rows of a head, which are permuted (gguf_names.h); 0: rows stay */
} nib_unit;

/* What a job that writes GGUF has beside its tables. */
typedef struct nib_gguf_job {
    nib_gguf_policy policy;
    nib_imatrix importance;
    nib_subject *subjects; /* in the order of the output's tensors */
    int64_t count;
    char *names;     /* of tensors that are called otherwise than in the input */
    nib_file *model; /* a GGUF file that gives the keys; NULL: the input does */
    int translated;  /* the input is safetensors: names and rows become llama.cpp's */
    nib_rope_factors rope;
    int64_t rope_out; /* their output tensor, or -1 */
    nib_text *keys;   /* of each file */
    int64_t *key_counts;
    int32_t files;
    int keep_split;
} nib_gguf_job;

struct nib_job {
    const nib_file *input;
    nib_job_kind kind;
    nib_recipe recipe;
    nib_dtype dequantize_type;
    int64_t count;
    nib_decision *decisions;
    nib_result *results;
    nib_unit *units;
    int64_t unit_count;
    nib_new_tensor *tensors; /* of the output */
    int64_t tensor_count;
    char **names;        /* the tensors' names, owned */
    int makes_directory; /* the output is one; set by nib_job_open_output */
    nib_gguf_job *gguf;  /* NULL: it writes safetensors */
    nib_job_totals totals;
    nib_run_stats stats;
};

/* Makes units and output tensors from the decisions; called again when a scan has changed one. */
nib_status nib_job_lay_out(nib_job *job);

/* gguf_job.c: decides, lays out and frees a job that writes GGUF. Keys are read from the input. */
nib_status nib_gguf_job_create(nib_job *job, const nib_job_options *options);
nib_status nib_gguf_job_lay_out(nib_job *job);
void nib_gguf_job_free(nib_gguf_job *gguf);
/* Bytes of its tables, and of the headers that the output makes of its keys; NULL: 0. */
size_t nib_gguf_job_memory(const nib_gguf_job *gguf);
/* gguf_job_keys.c: the keys of each output file. */
nib_status nib_gguf_job_keys(nib_job *job, const nib_job_options *options);
/* Opens the template, and fills the policy's numbers of the model from its keys or the input's. */
nib_status nib_gguf_job_model(nib_job *job, const nib_job_options *options);
/* gguf_subjects.c: the policy's subjects. `prune` as in the options. */
nib_status nib_gguf_job_subjects(nib_job *job, const char *prune);

/* Makes an output tensor, taking the name; a unit with nothing in it. */
int64_t nib_job_add_tensor(nib_job *job, char *name, nib_dtype type, const nib_stored_type *blocks,
                           int32_t rank, const int64_t *shape, int32_t shard);
nib_unit *nib_job_add_unit(nib_job *job, nib_work work, int64_t decision);
/* A unit that turns a tensor stored as `from` into `to`. */
nib_unit *nib_job_add_recode(nib_job *job, int64_t decision, const nib_stored_type *from,
                             const nib_stored_type *to);
/* 1: the decision changes the tensor's bytes. */
int nib_decision_changes(const nib_decision *decision);

/* Bytes of the job's tables. */
size_t nib_job_memory(const nib_job *job);

#endif
