/* gguf_rope.c - see gguf_rope.h. Keys and defaults as llama.cpp's converter reads them; computed in
 * double, where the converter's single precision may differ in the last bit. */
#include "gguf_rope.h"

#include "../core/internal.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

enum { HEAD_MOST = 65536 };

/* What the factors follow from. */
typedef struct rope {
    double base, factor, low, high, context;
    double head; /* elements */
} rope;

/* The number at `key` of `object`, else of `config`, else `otherwise`. */
static nib_status read_number(json_t *object, json_t *config, const char *key, double otherwise,
                              double *number_ret)
{
    json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) value = json_object_get(config, key);
    *number_ret = value && !json_is_null(value) ? json_number_value(value) : otherwise;
    if (*number_ret > 0 && isfinite(*number_ret)) return NIB_OK;
    return NIB_FAIL(NIB_E_CONFIG, "config.json: %s must be a positive number for rope_type llama3",
                    key);
}

static nib_status read_rope(json_t *config, json_t *scaling, rope *r)
{
    double hidden, heads;
    NIB_TRY(read_number(scaling, config, "rope_theta", 10000, &r->base));
    NIB_TRY(read_number(scaling, NULL, "factor", 8, &r->factor));
    NIB_TRY(read_number(scaling, NULL, "low_freq_factor", 1, &r->low));
    NIB_TRY(read_number(scaling, NULL, "high_freq_factor", 4, &r->high));
    NIB_TRY(read_number(scaling, config, "original_max_position_embeddings", 8192, &r->context));
    json_t *head = json_object_get(config, "head_dim");
    if (head && !json_is_null(head)) {
        NIB_TRY(read_number(config, NULL, "head_dim", 0, &r->head));
    } else {
        NIB_TRY(read_number(config, NULL, "hidden_size", 0, &hidden));
        NIB_TRY(read_number(config, NULL, "num_attention_heads", 0, &heads));
        r->head = floor(hidden / heads);
    }
    if (r->head < 2 || r->head > HEAD_MOST || fmod(r->head, 2) != 0)
        return NIB_FAIL(NIB_E_CONFIG,
                        "config.json: a head has %g elements; rope_type llama3 needs an even "
                        "number from 2 to %d",
                        r->head, HEAD_MOST);
    if (r->low >= r->high)
        return NIB_FAIL(NIB_E_CONFIG,
                        "config.json: low_freq_factor is %g; it must be below high_freq_factor %g",
                        r->low, r->high);
    return NIB_OK;
}

/* Long waves are slowed by the whole factor, short ones not at all, between them smoothly. */
static double factor_at(const rope *r, int64_t pair)
{
    double wavelength = 2 * 3.14159265358979323846 * pow(r->base, 2 * (double)pair / r->head);
    double turns = r->context / wavelength;
    if (turns > r->high) return 1;
    if (turns < r->low) return r->factor;
    double smooth = (turns - r->low) / (r->high - r->low);
    return 1 / ((1 - smooth) / r->factor + smooth);
}

static nib_status make(json_t *config, json_t *scaling, nib_rope_factors *factors)
{
    rope r;
    NIB_TRY(read_rope(config, scaling, &r));
    factors->count = (int64_t)r.head / 2;
    factors->values = malloc((size_t)factors->count * sizeof *factors->values);
    if (!factors->values)
        return NIB_FAIL(NIB_E_MEMORY, "no memory for %lld factors", (long long)factors->count);
    for (int64_t i = 0; i < factors->count; i++) factors->values[i] = (float)factor_at(&r, i);
    return NIB_OK;
}

nib_status nib_gguf_rope_factors(const char *config, nib_rope_factors *factors_ret)
{
    json_error_t error;
    json_t *root = *config ? json_loads(config, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (*config && !root && error.line < 0)
        return NIB_FAIL(NIB_E_MEMORY, "no memory for config.json");
    if (*config && !root)
        return NIB_FAIL(NIB_E_CONFIG, "config.json, line %d column %d: %s", error.line,
                        error.column, error.text);
    json_t *scaling = json_object_get(root, "rope_parameters");
    if (!json_is_object(scaling)) scaling = json_object_get(root, "rope_scaling");
    json_t *full = json_object_get(scaling, "full_attention");
    if (full) scaling = full;
    json_t *type = json_object_get(scaling, "rope_type");
    if (!type) type = json_object_get(scaling, "type");
    *factors_ret = (nib_rope_factors){NULL, 0};
    nib_status status = NIB_OK;
    if (json_is_string(type) && !strcasecmp(json_string_value(type), "llama3"))
        status = make(root, scaling, factors_ret);
    json_decref(root);
    return status;
}
