/* gguf_policy.c - see gguf_policy.h. The mixtures as one table: a rule says which mixtures it is
 * in, which role of tensor it is for, when it holds, and the type; the first that holds counts.
 * Checked against every tensor of the files in tests/golden/gguf, which llama-quantize wrote. */
#include "gguf_policy.h"

#include "../core/internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which tensors ---- */

/* Names that hold one of these stay as they are: vectors in the shape of matrices, gates,
 * tables. */
static const char *const never[] = {
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    ".patch_embd",
    "codebook",
};
static const char *const never_whole[] = {"position_embd.weight", "token_types.weight"};

static const char *kept(const nib_gguf_policy *policy, const nib_subject *s)
{
    size_t length = strlen(s->name), tail = strlen("weight");
    if (!policy->mixture->base) return "kept: copy";
    if (s->rank < 2) return "kept: fewer than 2 dimensions";
    if (length < tail || strcmp(s->name + length - tail, "weight"))
        return "kept: name does not end in weight";
    if (policy->leave_output && !strcmp(s->name, "output.weight")) return "kept: output";
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        if (strstr(s->name, never[i])) return "kept: small or sensitive by its name";
    for (size_t i = 0; i < sizeof never_whole / sizeof never_whole[0]; i++)
        if (!strcmp(s->name, never_whole[i])) return "kept: small or sensitive by its name";
    return NULL;
}

/* ---- roles ---- */

typedef enum role {
    ROLE_OUTPUT,
    ROLE_EMBEDDING,
    ROLE_V,
    ROLE_K,
    ROLE_DOWN,
    ROLE_ATTENTION_OUTPUT,
    ROLE_OTHER,
    ROLES
} role;

/* The first part of a name that fits. */
static const struct {
    const char *part;
    role is;
} role_parts[] = {
    {"attn_v.weight", ROLE_V},    {"attn_qkv.weight", ROLE_V},
    {"attn_kv_b.weight", ROLE_V}, {"attn_k.weight", ROLE_K},
    {"ffn_down", ROLE_DOWN},      {"attn_output.weight", ROLE_ATTENTION_OUTPUT},
};

/* Working state of one application. */
typedef struct state {
    const nib_gguf_policy *policy;
    const nib_stored_type *base;
    int tied;      /* the embedding is the output too: there is no output.weight */
    int64_t v_all; /* tensors of role V */
    int64_t seen[ROLES];
} state;

static role role_of(const state *st, const char *name)
{
    int embedding = !strcmp(name, "token_embd.weight");
    if (!strcmp(name, "output.weight") || (embedding && st->tied)) return ROLE_OUTPUT;
    if (embedding || !strcmp(name, "per_layer_token_embd.weight")) return ROLE_EMBEDDING;
    for (size_t i = 0; i < sizeof role_parts / sizeof role_parts[0]; i++)
        if (strstr(name, role_parts[i].part)) return role_parts[i].is;
    return ROLE_OTHER;
}

/* ---- rules ---- */

/* A set of mixtures, by general.file_type. */
#define M(type) (UINT64_C(1) << (type))
enum {
    Q4_0 = 2,
    Q8_0 = 7,
    Q5_0 = 8,
    Q2_K = 10,
    Q3_K_S = 11,
    Q3_K_M = 12,
    Q3_K_L = 13,
    Q4_K_S = 14,
    Q4_K_M = 15,
    Q5_K_M = 17,
    Q2_K_S = 21,
    IQ4_NL = 25,
    IQ4_XS = 30,
};
#define ALL (~UINT64_C(0))

/* i counts the tensors of the role so far, or is the layer's number where there are experts; n of
 * them there are. */
typedef enum when {
    ALWAYS,
    EXPERTS8,          /* a mixture of 8 experts */
    SHARED4,           /* 4 or more heads share a key and value */
    FIRST2,            /* i < 2 */
    FIRST4,            /* i < 4 */
    EIGHTH,            /* i < n / 8 */
    SIXTEENTH,         /* i < n / 16 */
    MORE,              /* the first and last eighth, and every third between */
    EIGHTH_IMPORTANCE, /* i < n / 8, with an importance matrix */
    EIGHTH_NO_IMPORTANCE,
} when;

/* clang-format off */
static const struct {
    uint64_t mixtures;
    role role_is;
    when when_is;
    const char *type;
} rules[] = {
    {M(Q8_0),                     ROLE_OUTPUT, ALWAYS,               "Q8_0"},
    {ALL,                         ROLE_OUTPUT, ALWAYS,               "Q6_K"},

    {ALL,                         ROLE_V,      EXPERTS8,             "Q8_0"},
    {M(Q2_K) | M(Q2_K_S),         ROLE_V,      SHARED4,              "Q4_K"},
    {M(Q2_K),                     ROLE_V,      ALWAYS,               "Q3_K"},
    {M(Q3_K_M),                   ROLE_V,      FIRST2,               "Q5_K"},
    {M(Q3_K_M),                   ROLE_V,      ALWAYS,               "Q4_K"},
    {M(Q3_K_L),                   ROLE_V,      ALWAYS,               "Q5_K"},
    {M(IQ4_NL) | M(IQ4_XS),       ROLE_V,      SHARED4,              "Q5_K"},
    {M(Q4_K_M) | M(Q5_K_M),       ROLE_V,      MORE,                 "Q6_K"},
    {M(Q4_K_S),                   ROLE_V,      FIRST4,               "Q5_K"},

    {ALL,                         ROLE_K,      EXPERTS8,             "Q8_0"},

    {M(Q2_K),                     ROLE_DOWN,   ALWAYS,               "Q3_K"},
    {M(Q2_K_S),                   ROLE_DOWN,   EIGHTH,               "Q4_K"},
    {M(Q3_K_M),                   ROLE_DOWN,   SIXTEENTH,            "Q5_K"},
    {M(Q3_K_M),                   ROLE_DOWN,   ALWAYS,               "Q4_K"},
    {M(Q3_K_L),                   ROLE_DOWN,   ALWAYS,               "Q5_K"},
    {M(Q4_K_M) | M(Q5_K_M),       ROLE_DOWN,   MORE,                 "Q6_K"},
    {M(Q4_K_S),                   ROLE_DOWN,   EIGHTH,               "Q5_K"},
    {M(IQ4_NL) | M(IQ4_XS),       ROLE_DOWN,   EIGHTH_NO_IMPORTANCE, "Q5_K"},
    {M(Q4_0),                     ROLE_DOWN,   EIGHTH_IMPORTANCE,    "Q4_1"},
    {M(Q5_0),                     ROLE_DOWN,   EIGHTH_IMPORTANCE,    "Q5_1"},

    {M(Q2_K) | M(Q3_K_S) | M(Q3_K_M) | M(Q4_K_S) | M(Q4_K_M) | M(IQ4_NL) | M(IQ4_XS),
                                  ROLE_ATTENTION_OUTPUT, EXPERTS8,   "Q5_K"},
    {M(Q3_K_L),                   ROLE_ATTENTION_OUTPUT, EXPERTS8,   "Q3_K"},
    {M(Q2_K),                     ROLE_ATTENTION_OUTPUT, ALWAYS,     "Q3_K"},
    {M(Q3_K_M),                   ROLE_ATTENTION_OUTPUT, ALWAYS,     "Q4_K"},
    {M(Q3_K_L),                   ROLE_ATTENTION_OUTPUT, ALWAYS,     "Q5_K"},
};

/* What a tensor gets whose rows are no whole blocks of its type. */
static const struct {
    const char *type, *instead;
} fallbacks[] = {
    {"Q2_K", "Q4_0"}, {"Q3_K", "Q4_0"}, {"Q4_K", "Q5_0"}, {"Q5_K", "Q5_1"}, {"Q6_K", "Q8_0"},
    {"IQ4_XS", "IQ4_NL"},
};
/* clang-format on */

static int holds(const state *st, when condition, int64_t i, int64_t n)
{
    const nib_gguf_policy *p = st->policy;
    switch (condition) {
    case ALWAYS: return 1;
    case EXPERTS8: return p->experts == 8;
    case SHARED4: return p->kv_heads && p->heads / p->kv_heads >= 4;
    case FIRST2: return i < 2;
    case FIRST4: return i < 4;
    case EIGHTH: return i < n / 8;
    case SIXTEENTH: return i < n / 16;
    case MORE: return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    case EIGHTH_IMPORTANCE: return p->importance && i < n / 8;
    case EIGHTH_NO_IMPORTANCE: return !p->importance && i < n / 8;
    }
    return 0;
}

/* The large models that share one key and value among many heads: there v is small and matters. */
static int is_70b(const nib_gguf_policy *p)
{
    if (p->layers != 80) return 0;
    return (!strcmp(p->architecture, "llama") && p->heads != p->kv_heads) ||
           !strcmp(p->architecture, "qwen2");
}

static const nib_stored_type *mixed(state *st, const char *name)
{
    role r = role_of(st, name);
    int64_t layers = st->policy->layers < INT_MAX ? (int64_t)st->policy->layers : INT_MAX;
    int64_t i = st->seen[r]++, n = r == ROLE_V ? st->v_all : layers;
    const nib_stored_type *type = st->base;
    if (r == ROLE_DOWN && st->policy->experts > 1 && nib_gguf_layer(name) >= 0)
        i = nib_gguf_layer(name);
    if (r == ROLE_OUTPUT && st->policy->output) return st->policy->output;
    if (r == ROLE_EMBEDDING && st->policy->embedding) return st->policy->embedding;
    for (size_t k = 0; k < sizeof rules / sizeof rules[0]; k++) {
        if (rules[k].role_is != r || !(rules[k].mixtures >> st->policy->mixture->file_type & 1) ||
            !holds(st, rules[k].when_is, i, n))
            continue;
        type = nib_stored_type_find(rules[k].type);
        break;
    }
    int small = type == nib_stored_type_find("Q3_K") || type == nib_stored_type_find("Q4_K");
    return r == ROLE_V && small && is_70b(st->policy) ? nib_stored_type_find("Q5_K") : type;
}

/* ---- shapes ---- */

static const nib_stored_type *fitting(const nib_stored_type *type, int64_t row)
{
    if (row % type->elements == 0) return type;
    for (size_t i = 0; i < sizeof fallbacks / sizeof fallbacks[0]; i++)
        if (!strcmp(fallbacks[i].type, type->name)) {
            const nib_stored_type *instead = nib_stored_type_find(fallbacks[i].instead);
            if (row % instead->elements == 0) return instead;
        }
    return nib_stored_type_find("F16");
}

static nib_status check_asked(const nib_subject *s, const nib_stored_type *type)
{
    if (s->row % type->elements == 0) return NIB_OK;
    return NIB_FAIL(
        NIB_E_SHAPE,
        "\"%.200s\" cannot be %s: its rows have %lld elements, and %s stores them by %d", s->name,
        type->name, (long long)s->row, type->name, type->elements);
}

/* ---- one tensor ---- */

static nib_status check_source(const nib_recipe *recipe, const nib_subject *s)
{
    if (s->stored->type != NIB_DTYPE_NONE) {
        if (nib_is_float(s->stored->type)) return NIB_OK;
        return NIB_FAIL(NIB_E_UNSUPPORTED,
                        "\"%.200s\" is %s, which cannot be quantized; name it in options.ignore",
                        s->name, s->stored->name);
    }
    if (!recipe->allow_requantize)
        return NIB_FAIL(NIB_E_QUANTIZED,
                        "\"%.200s\" is %s already; start from the F16 file, or pass it through "
                        "with options.keep_quantized, or accept the double loss with "
                        "options.allow_requantize",
                        s->name, s->stored->name);
    if (nib_block_get((nib_block)s->stored->number)) return NIB_OK;
    return NIB_FAIL(NIB_E_UNSUPPORTED, "\"%.200s\" is %s, which nibble does not decode", s->name,
                    s->stored->name);
}

static nib_status choose(state *st, nib_recipe *recipe, nib_subject *s)
{
    const nib_gguf_policy *p = st->policy;
    s->type = s->stored;
    const nib_recipe_rule *rule = nib_recipe_match(recipe, s->name);
    s->reason = rule && !rule->stored ? rule->reason : kept(p, s);
    if (s->reason) return NIB_OK;
    int plain = st->base && st->base->type != NIB_DTYPE_NONE;
    role r = role_of(st, s->name);
    const nib_stored_type *asked = r == ROLE_OUTPUT      ? p->output
                                   : r == ROLE_EMBEDDING ? p->embedding
                                                         : NULL;
    if (!strcmp(s->name, "token_embd.weight") && p->embedding) asked = p->embedding;
    s->reason = rule ? rule->reason : "mixture";
    const nib_stored_type *type = rule               ? rule->stored
                                  : p->pure || plain ? st->base
                                                     : mixed(st, s->name);
    if (asked && !rule) {
        type = asked;
        s->reason = "asked for";
        NIB_TRY(check_asked(s, type));
    }
    const nib_stored_type *fits = fitting(type, s->row);
    if (fits != type) s->reason = "mixture; its rows are no whole blocks of the first choice";
    if (fits == s->stored) return NIB_OK;
    if (recipe->keep_quantized && s->stored->type == NIB_DTYPE_NONE) {
        s->reason = "kept: already quantized";
        return NIB_OK;
    }
    s->type = fits;
    return check_source(recipe, s);
}

nib_status nib_gguf_policy_apply(const nib_gguf_policy *policy, nib_recipe *recipe,
                                 nib_subject *subjects, int64_t count)
{
    state st = {.policy = policy, .tied = 1};
    if (policy->mixture->base) st.base = nib_stored_type_find(policy->mixture->base);
    for (int64_t i = 0; i < count; i++) st.tied &= strcmp(subjects[i].name, "output.weight") != 0;
    for (int64_t i = 0; i < count; i++) st.v_all += role_of(&st, subjects[i].name) == ROLE_V;
    for (int64_t i = 0; i < count; i++) NIB_TRY(choose(&st, recipe, &subjects[i]));
    return nib_recipe_check_matched(recipe);
}

int nib_gguf_needs_importance(const nib_gguf_policy *policy, const nib_subject *s)
{
    return policy->mixture->file_type == Q2_K_S && s->type == nib_stored_type_find("Q2_K") &&
           strcmp(s->name, "token_embd.weight") != 0 && strcmp(s->name, "output.weight") != 0;
}

/* ---- names ---- */

int64_t nib_gguf_layer(const char *name)
{
    int64_t layer = 0;
    if (strncmp(name, "blk.", 4)) return -1;
    const char *digit = name + 4;
    for (; *digit >= '0' && *digit <= '9' && layer < INT_MAX; digit++)
        layer = layer * 10 + (*digit - '0');
    return digit > name + 4 && *digit == '.' ? layer : -1;
}

int nib_gguf_order(const char *a, const char *b)
{
    int64_t left = nib_gguf_layer(a), right = nib_gguf_layer(b);
    if (left != right) return left < right ? -1 : 1;
    return strcmp(a, b);
}
