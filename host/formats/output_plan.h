/* output_plan.h - which bytes an output's files consist of: their names, headers, index, and the
 * place of every tensor; all known before the first weight is read. (GGUF's header:
 * gguf_write.h.)
 *
 *     safetensors:  8 bytes N | N bytes of JSON, padded with spaces | data
 *
 * Its data are laid out as the reference writer does it, by descending element size and then by
 * name, without holes, so that every element is aligned. They begin at a multiple of 4096, for
 * direct writes. The texts are canonical: one plan, one sequence of bytes. */
#ifndef NIB_FORMATS_OUTPUT_PLAN_H
#define NIB_FORMATS_OUTPUT_PLAN_H

#include "../../include/nibble_file.h"
#include "text.h"

#define NIB_OUTPUT_SUFFIX ".safetensors"
#define NIB_OUTPUT_INDEX "model.safetensors.index.json"

enum { NIB_OUTPUT_BLOCK = 4096, NIB_OUTPUT_SHARDS = 65536 };

typedef struct nib_planned_tensor {
    const char *name; /* borrowed */
    int32_t shard;
    uint64_t offset, bytes; /* in the shard's file */
} nib_planned_tensor;

typedef struct nib_planned_shard {
    char name[48];
    nib_text header; /* all before the data */
    uint64_t bytes;  /* of the whole file */
} nib_planned_shard;

typedef struct nib_output_plan {
    nib_planned_tensor *tensors; /* as numbered by the caller */
    int64_t count;
    nib_planned_shard *shards;
    int32_t shard_count;
    nib_text index; /* empty where there is one shard */
    uint64_t bytes; /* of all files */
} nib_output_plan;

/* What sorting and headers need of a tensor. */
typedef struct nib_output_entry {
    const nib_new_tensor *tensor;
    nib_planned_tensor *planned;
} nib_output_entry;

/* Of the options container, metadata and keys count. In safetensors "format":"pt" is added where
 * the metadata say no format, as transformers refuses files without. E_ARGUMENT, E_NAME, E_DUP,
 * E_DTYPE, E_RANK, E_SHAPE, E_ROW, E_OVERFLOW, E_HEADER_BIG, E_META, E_MEMORY. */
nib_status nib_output_plan_make(const nib_new_tensor *tensors, int64_t count,
                                const nib_output_options *options, nib_output_plan *plan_ret);
/* A zeroed plan is fine. */
void nib_output_plan_free(nib_output_plan *plan);

#endif
