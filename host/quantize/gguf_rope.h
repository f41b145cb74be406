/* gguf_rope.h - the tensor that a model's config.json stands for: factors of its rotary
 * frequencies, where they are scaled by wavelength (rope_type llama3: Llama 3.1 and later). */
#ifndef NIB_QUANTIZE_GGUF_ROPE_H
#define NIB_QUANTIZE_GGUF_ROPE_H

#include "../../include/nibble.h"

#define NIB_GGUF_ROPE_NAME "rope_freqs.weight"

/* A factor for every pair of a head's elements, [head size / 2] F32. */
typedef struct nib_rope_factors {
    float *values; /* from malloc */
    int64_t count; /* 0: the model has none */
} nib_rope_factors;

/* Reads config.json's text, "" included. E_CONFIG names the line, or the key and its value;
 * E_MEMORY. */
nib_status nib_gguf_rope_factors(const char *config, nib_rope_factors *factors_ret);

#endif
