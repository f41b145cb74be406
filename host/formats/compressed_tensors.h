/* compressed_tensors.h - reading compressed-tensors: what config.json says and what planes mean.
 * (Writing: format.h.) */
#ifndef NIB_FORMATS_COMPRESSED_TENSORS_H
#define NIB_FORMATS_COMPRESSED_TENSORS_H

#include "checkpoint.h"

enum { NIB_CT_GROUPS = 64 };

/* One of config.json's groups of integer weights, as far as reading needs it. */
typedef struct nib_ct_group {
    int32_t bits;
    int32_t symmetric;
    int64_t group; /* 0: one scale per row, or one in all */
} nib_ct_group;

typedef struct nib_ct_config {
    int32_t count; /* 0: not described, or as something else */
    nib_ct_group groups[NIB_CT_GROUPS];
} nib_ct_config;

/* Reads quantization_config out of config.json, or of a lone file's __metadata__. Neither: zeros.
 * E_CONFIG, E_MEMORY. */
nib_status nib_ct_config_read(nib_file *file, nib_ct_config *config_ret);

/* The raw tensors of one weight; NULL where there is none. */
typedef struct nib_ct_planes {
    const nib_raw_tensor *codes, *scale, *zero, *shape, *order;
} nib_ct_planes;

/* Each fills everything of *tensor but the name: readable planes, or `quantized` 2 with `why`.
 * E_SIZE, E_SHAPE, E_MISSING and E_CONFIG say which planes do not fit together. */
nib_status nib_ct_read_packed(const nib_file *file, const nib_ct_config *config,
                              const nib_ct_planes *planes, nib_tensor *tensor);
nib_status nib_ct_read_int8(const nib_file *file, const nib_ct_config *config,
                            const nib_ct_planes *planes, nib_tensor *tensor);

#endif
