/* recipe.h - which tensor gets what: the defaults, the user's patterns and the recipe's JSON, made
 * into one list of rules. */
#ifndef NIB_QUANTIZE_RECIPE_H
#define NIB_QUANTIZE_RECIPE_H

#include "../../include/nibble_quantize.h"

#include <regex.h>

/* One pattern and what it says. */
typedef struct nib_recipe_rule {
    regex_t regex;
    char *reason;                  /* "override PATTERN", "ignored: PATTERN" */
    const nib_scheme *scheme;      /* NULL, like `stored`: the tensor is left as it is */
    const nib_stored_type *stored; /* in a recipe of GGUF's types */
    int64_t group;                 /* -1: the scheme's own */
    int must_match;                /* 1: a pattern that no tensor matches is an error */
    int matched;
} nib_recipe_rule;

/* Options and recipe together. Rules stand in the order in which they are tried. */
typedef struct nib_recipe {
    const nib_scheme *scheme;
    const nib_mixture *mixture; /* NULL: schemes; otherwise rules name GGUF's types */
    int64_t group;
    nib_recipe_rule *rules;
    size_t count;
    nib_group_fallback fallback;
    nib_nonfinite nonfinite;
    int keep_nonfinite, keep_quantized, allow_requantize;
} nib_recipe;

/* Reads the options of a quantize job. On failure nothing is left to free. E_ARGUMENT, E_JSON,
 * E_DUP, E_MEMORY. */
nib_status nib_recipe_create(const nib_job_options *options, nib_recipe *recipe_ret);
void nib_recipe_free(nib_recipe *recipe);

/* The first rule that matches the name, marked as matched; NULL where none does. */
nib_recipe_rule *nib_recipe_match(nib_recipe *recipe, const char *name);
/* E_ARGUMENT where a pattern that must match a tensor has matched none. */
nib_status nib_recipe_check_matched(const nib_recipe *recipe);

/* Fills tensor, scheme, quant and reason of one decision per logical tensor. The reasons live as
 * long as the recipe. E_QUANTIZED, E_SHAPE, E_ARGUMENT, E_UNSUPPORTED. */
nib_status nib_recipe_decide(nib_recipe *recipe, const nib_file *input, nib_decision *decisions);

/* Calls `each` for the decisions (by index) that the consumer fuses with decision `index` into one
 * matrix, as q, k and v: those must all get one scheme. */
void nib_recipe_siblings(const nib_file *input, const nib_decision *decisions, int64_t index,
                         void (*each)(void *user, int64_t sibling), void *user);

#endif
