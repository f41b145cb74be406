/* job.h - a planned job: what each logical tensor becomes, the raw tensors that makes, and where their bytes come from. */
#ifndef NIB_QUANTIZE_JOB_H
#define NIB_QUANTIZE_JOB_H

#include "recipe.h"

/* What happens to the bytes of one logical tensor. */
typedef enum nib_work { NIB_WORK_COPY, NIB_WORK_QUANTIZE, NIB_WORK_DEQUANTIZE } nib_work;

/* A unit of work: one raw tensor that is copied, or one logical tensor that is quantized or dequantized. */
typedef struct nib_unit {
    nib_work work;
    int64_t decision; /* its logical tensor */
    nib_span source;  /* copy: the bytes */
    int64_t
        out[NIB_PLANES]; /* output tensors by plane; copy and dequantize use the first; -1: none */
    int64_t constant;    /* an output tensor of constant bytes that comes with it, or -1 */
    unsigned char bytes[16]; /* of it */
    int32_t byte_count;
    int64_t rows, row_bytes;  /* of the source; copy: 1 byte rows */
    int64_t tile_rows, tiles; /* filled by the pipeline */
    int64_t first;            /* sequence number of its first tile */
    int done;                 /* taken over from an interrupted run */
} nib_unit;

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
    nib_job_totals totals;
    nib_run_stats stats;
};

/* Makes units and output tensors from the decisions; called again when a scan has changed one. */
nib_status nib_job_lay_out(nib_job *job);

/* Bytes of the job's tables. */
size_t nib_job_memory(const nib_job *job);

#endif
