/* gguf_policy.h - which type each tensor of a GGUF file gets: what llama-quantize of llama.cpp
 * v0.5.0 would choose. */
#ifndef NIB_QUANTIZE_GGUF_POLICY_H
#define NIB_QUANTIZE_GGUF_POLICY_H

#include "recipe.h"

/* A tensor of the output, in the order of the file. */
typedef struct nib_subject {
    const char *name;              /* in the output */
    int32_t rank;                  /* without outermost dimensions of 1 */
    int64_t row;                   /* elements of a row */
    const nib_stored_type *stored; /* in the input */
    const nib_stored_type *type;   /* filled: in the output */
    const char *reason;            /* filled: why; lives as long as the recipe */
    int64_t tensor;                /* the caller's: its place in the input */
    int64_t out;                   /* the caller's: its place in the output */
    int64_t head_rows;             /* the caller's: rows of a head that are permuted; 0: none */
} nib_subject;

enum { NIB_GGUF_ARCHITECTURE_ROOM = 64 };

/* What the choice depends on beside the tensors. */
typedef struct nib_gguf_policy {
    const nib_mixture *mixture;
    int pure;         /* no mixture: all that can be gets the mixture's base type */
    int importance;   /* there is an importance matrix */
    int leave_output; /* output.weight stays as it is */
    const nib_stored_type *output, *embedding;     /* for those tensors; NULL: by the mixture */
    char architecture[NIB_GGUF_ARCHITECTURE_ROOM]; /* "llama" */
    uint64_t layers, heads, kv_heads, experts;     /* of the model; 0: not said */
} nib_gguf_policy;

/* Chooses; the recipe's rules name types. E_SHAPE, E_ARGUMENT, E_QUANTIZED name the tensor. */
nib_status nib_gguf_policy_apply(const nib_gguf_policy *policy, nib_recipe *recipe,
                                 nib_subject *subjects, int64_t count);

/* 1: without an importance matrix for it the tensor would be useless in this type. */
int nib_gguf_needs_importance(const nib_gguf_policy *policy, const nib_subject *subject);

/* The file's order: by block number, names without one first, then by name. */
int nib_gguf_order(const char *a, const char *b);
/* The number in "blk.N.", or -1. */
int64_t nib_gguf_layer(const char *name);

#endif
