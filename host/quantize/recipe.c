/* recipe.c - which tensor gets what: the user's patterns first, then the defaults. */
#include "recipe.h"

#include "../core/internal.h"
#include "../formats/format.h"
#include "../formats/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is left alone unless a pattern names it, by parts of the name between dots. A part
 * matches whole, or, where the entry ends in '*', by its beginning. Names: llama, qwen, mixtral,
 * deepseek, gemma, phi, bert, gpt2, t5, falcon, bloom. */
static const struct {
    const char *part, *reason;
    int last; /* 1: as the last part alone: bert's "output.dense" is a layer like others */
} kept_parts[] = {
    {"embed_tokens", "kept: embedding", 0},
    {"embed_positions", "kept: embedding", 0},
    {"embed_in", "kept: embedding", 0},
    {"embeddings", "kept: embedding", 0},
    {"embedding", "kept: embedding", 0},
    {"word_embeddings*", "kept: embedding", 0},
    {"position_embedding*", "kept: embedding", 0},
    {"token_type_embeddings", "kept: embedding", 0},
    {"tok_embeddings", "kept: embedding", 0},
    {"token_embd", "kept: embedding", 0},
    {"patch_embed*", "kept: embedding", 0},
    {"wte", "kept: embedding", 0},
    {"wpe", "kept: embedding", 0},
    {"shared", "kept: embedding", 1},
    {"relative_attention_bias", "kept: embedding", 0},
    {"lm_head", "kept: output head", 0},
    {"embed_out", "kept: output head", 0},
    {"output", "kept: output head", 1},
    {"router", "kept: router", 0},
    {"gate", "kept: router", 1},
    {"shared_expert_gate", "kept: router", 0},
    {"classifier", "kept: output head", 0},
    {"score", "kept: output head", 0},
};

/* Layers that consumers fuse into one matrix, which must then have one scheme. */
static const char *const fused[][4] = {
    {"q_proj", "k_proj", "v_proj", NULL},
    {"gate_proj", "up_proj", NULL},
    {"w1", "w3", NULL},
    {"query", "key", "value", NULL},
    {"q_a_proj", "kv_a_proj_with_mqa", NULL},
};

static const char *kept_by_name(const char *name)
{
    for (const char *part = name; part; part = strchr(part, '.')) {
        part += *part == '.';
        size_t length = strcspn(part, ".");
        for (size_t i = 0; i < sizeof kept_parts / sizeof kept_parts[0]; i++) {
            const char *entry = kept_parts[i].part;
            size_t size = strlen(entry);
            int prefix = entry[size - 1] == '*';
            int last = !part[length] || !strcmp(part + length, ".weight");
            if (prefix ? !strncmp(part, entry, size - 1)
                       : length == size && !strncmp(part, entry, size) &&
                             (last || !kept_parts[i].last))
                return kept_parts[i].reason;
        }
    }
    return NULL;
}

/* Why a plain tensor is left alone without being asked for, or NULL. */
static const char *kept_by_default(const nib_tensor *t)
{
    if (!nib_is_float(t->type)) return "kept: not F32, F16 or BF16";
    if (t->rank < 2) return "kept: fewer than 2 dimensions";
    if (!nib_ends_with(t->name, ".weight")) return "kept: name does not end in .weight";
    return kept_by_name(t->name);
}

/* Up to four group sizes that divide K, near the one asked for; no group of any use is larger
 * than LARGEST. */
static void list_divisors(int64_t cols, int64_t group, char *text, size_t size)
{
    enum { LARGEST = 1 << 16 };
    text[0] = 0;
    int found = 0;
    int64_t start = group < cols ? group : cols;
    for (int64_t g = start < LARGEST ? start : LARGEST; g >= 8 && found < 4; g--)
        if (cols % g == 0) {
            size_t used = strlen(text);
            snprintf(text + used, size - used, "%s%lld", used ? ", " : "", (long long)g);
            found++;
        }
}

/* Fits the scheme to a tensor; a scheme that does not fit leaves it alone where `asked` is 0,
 * and fails otherwise. */
static nib_status fit(const nib_recipe *recipe, const nib_tensor *t, const nib_scheme *scheme,
                      int64_t group, int asked, nib_decision *d)
{
    const nib_format *format = &nib_format_compressed_tensors;
    int64_t rows = 1, cols = t->rank ? t->shape[t->rank - 1] : 1;
    for (int i = 0; i + 1 < t->rank; i++)
        if (!nib_mul(rows, t->shape[i], &rows))
            return NIB_FAIL(NIB_E_OVERFLOW, "\"%.200s\": its size overflows", t->name);
    if (group < 0) group = scheme->group;
    nib_quant quant = {.bits = scheme->bits,
                       .scale_type = t->type,
                       .rule = scheme->rule,
                       .layout = scheme->layout};
    NIB_TRY(nib_grid_rows(rows, cols, group, &quant.grid));
    int divides = cols == 0 || group == 0 || (cols >= group && cols % group == 0);
    if (!divides && recipe->fallback == NIB_FALLBACK_CHANNEL)
        NIB_TRY(nib_grid_rows(rows, cols, 0, &quant.grid));
    if (!divides && recipe->fallback == NIB_FALLBACK_SKIP) {
        d->reason = "kept: group does not divide K";
        return NIB_OK;
    }
    const char *refusal = format->refusal(t, scheme, &quant);
    if (!divides && recipe->fallback == NIB_FALLBACK_ERROR && (!refusal || asked || t->rank == 2)) {
        char list[96];
        list_divisors(cols, group, list, sizeof list);
        return NIB_FAIL(
            NIB_E_SHAPE,
            "group size %lld does not divide K=%lld of \"%.200s\"; set options.group to %s, or "
            "options.fallback to channel or skip",
            (long long)group, (long long)cols, t->name, *list ? list : "0, one per row");
    }
    if (refusal && asked)
        return NIB_FAIL(NIB_E_UNSUPPORTED, "\"%.200s\" cannot be %s: %s", t->name, scheme->name,
                        refusal);
    if (refusal) {
        d->reason = refusal;
        return NIB_OK;
    }
    d->scheme = scheme;
    d->quant = quant;
    return NIB_OK;
}

static nib_status decide(nib_recipe *recipe, const nib_tensor *t, nib_decision *d)
{
    if (t->quantized) {
        if (!recipe->keep_quantized)
            return NIB_FAIL(NIB_E_QUANTIZED,
                            "\"%.200s\" is already quantized (%s); set options.keep_quantized to "
                            "pass it through, or "
                            "`nibble dequantize` first",
                            t->name, t->why ? t->why : "compressed-tensors");
        d->reason = "kept: already quantized";
        return NIB_OK;
    }
    const nib_recipe_rule *rule = nib_recipe_match(recipe, t->name);
    if (rule) {
        d->reason = rule->reason;
        if (!rule->scheme) return NIB_OK;
        return fit(recipe, t, rule->scheme, rule->group >= 0 ? rule->group : recipe->group, 1, d);
    }
    const char *kept = kept_by_default(t);
    d->reason = kept ? kept : "default";
    return kept ? NIB_OK : fit(recipe, t, recipe->scheme, recipe->group, 0, d);
}

void nib_recipe_siblings(const nib_file *input, const nib_decision *decisions, int64_t index,
                         void (*each)(void *user, int64_t sibling), void *user)
{
    const char *name = decisions[index].tensor->name;
    for (size_t set = 0; set < sizeof fused / sizeof fused[0]; set++)
        for (int a = 0; a < 4 && fused[set][a]; a++) {
            const char *at = strstr(name, fused[set][a]);
            size_t length = strlen(fused[set][a]);
            if (!at || (at > name && at[-1] != '.') || at[length] != '.') continue;
            for (int b = 0; b < 4 && fused[set][b]; b++) {
                char other[1024];
                snprintf(other, sizeof other, "%.*s%s%s", (int)(at - name), name, fused[set][b],
                         at + length);
                const nib_tensor *t = b == a ? NULL : nib_file_find(input, other);
                if (t) each(user, t - nib_file_at(input, 0));
            }
        }
}

typedef struct sibling_check {
    const nib_decision *decisions;
    int64_t index, conflict;
} sibling_check;

static void check_sibling(void *user, int64_t sibling)
{
    sibling_check *check = user;
    const nib_decision *a = &check->decisions[check->index], *b = &check->decisions[sibling];
    if (a->scheme != b->scheme || (a->scheme && a->quant.grid.group != b->quant.grid.group))
        check->conflict = sibling;
}

nib_recipe_rule *nib_recipe_match(nib_recipe *recipe, const char *name)
{
    for (size_t i = 0; i < recipe->count; i++) {
        nib_recipe_rule *rule = &recipe->rules[i];
        if (regexec(&rule->regex, name, 0, NULL, 0)) continue; /* anchored, ".weight" optional */
        rule->matched = 1;
        return rule;
    }
    return NULL;
}

nib_status nib_recipe_check_matched(const nib_recipe *recipe)
{
    for (size_t i = 0; i < recipe->count; i++)
        if (recipe->rules[i].must_match && !recipe->rules[i].matched)
            return NIB_FAIL(NIB_E_ARGUMENT,
                            "%s: no tensor has such a name; see `nibble inspect --tensors`",
                            recipe->rules[i].reason);
    return NIB_OK;
}

nib_status nib_recipe_decide(nib_recipe *recipe, const nib_file *input, nib_decision *decisions)
{
    int64_t count = nib_file_count(input);
    for (int64_t i = 0; i < count; i++) {
        decisions[i] = (nib_decision){.tensor = nib_file_at(input, i)};
        NIB_TRY(decide(recipe, decisions[i].tensor, &decisions[i]));
    }
    NIB_TRY(nib_recipe_check_matched(recipe));
    for (int64_t i = 0; i < count; i++) {
        sibling_check check = {decisions, i, -1};
        nib_recipe_siblings(input, decisions, i, check_sibling, &check);
        if (check.conflict >= 0)
            return NIB_FAIL(
                NIB_E_ARGUMENT,
                "\"%.200s\" (%s) and \"%.200s\" (%s) are fused by serving engines and need one "
                "scheme",
                decisions[i].tensor->name, decisions[i].scheme ? decisions[i].scheme->name : "kept",
                decisions[check.conflict].tensor->name,
                decisions[check.conflict].scheme ? decisions[check.conflict].scheme->name : "kept");
    }
    return NIB_OK;
}
