/* recipe_text.c - patterns, "PATTERN=SCHEME" and the recipe's JSON (docs/recipe.md). */
#include "recipe.h"

#include "../core/internal.h"
#include "../formats/gguf.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the nearest name, for errors ---- */

enum { NAME_LENGTH = 31 };

/* Edits (insert, remove, replace a character) that turn a into b. */
static int distance(const char *a, const char *b)
{
    int row[NAME_LENGTH + 1];
    int columns = (int)strnlen(b, NAME_LENGTH);
    for (int j = 0; j <= columns; j++) row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= columns; j++) {
            int replace = diagonal + (a[i - 1] != b[j - 1]);
            int best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = replace < best ? replace : best;
        }
    }
    return row[columns];
}

/* Which of `count` names is nearest to `word`. */
static const char *nearest(const char *word, const char *const *names, size_t count)
{
    const char *best = names[0];
    int least = distance(word, best);
    for (size_t i = 1; i < count; i++) {
        int edits = distance(word, names[i]);
        if (edits >= least) continue;
        best = names[i];
        least = edits;
    }
    return best;
}

static nib_status find_scheme(const char *name, const char *where, const nib_scheme **scheme_ret)
{
    const nib_scheme *scheme = nib_scheme_find(name);
    if (!scheme) {
        const char *best = NULL;
        int least = (int)strlen(name) / 3 + 1; /* a third of the letters may be wrong */
        for (size_t i = 0; i <= nib_scheme_count(); i++) {
            const char *other = i ? nib_scheme_at(i - 1)->name : "keep";
            int edits = distance(name, other);
            if (edits >= least) continue;
            best = other;
            least = edits;
        }
        return best ? NIB_FAIL(NIB_E_ARGUMENT, "%s: no scheme \"%s\"; did you mean \"%s\"?", where,
                               name, best)
                    : NIB_FAIL(NIB_E_ARGUMENT, "%s: no scheme \"%s\"; `nibble schemes` lists them",
                               where, name);
    }
    *scheme_ret = scheme;
    return NIB_OK;
}

/* ---- rules ---- */

/* Appends a rule; `reason_word` comes before the pattern in the reason. */
static nib_status add_rule(nib_recipe *recipe, const char *pattern, size_t length,
                           const char *reason_word, nib_recipe_rule rule)
{
    if (length >= 3 && !memcmp(pattern, "re:", 3)) {
        pattern += 3;
        length -= 3;
    }
    if (length == 0) return NIB_FAIL(NIB_E_ARGUMENT, "an empty pattern; .* matches every name");
    nib_recipe_rule *rules = realloc(recipe->rules, (recipe->count + 1) * sizeof *rules);
    if (!rules) return NIB_FAIL(NIB_E_MEMORY, "no memory for pattern %zu", recipe->count);
    recipe->rules = rules;
    char *whole = malloc(length + 32);
    rule.reason = malloc(length + 32);
    if (!whole || !rule.reason) {
        free(whole);
        free(rule.reason);
        return NIB_FAIL(NIB_E_MEMORY, "no memory for pattern %zu", recipe->count);
    }
    snprintf(whole, length + 32, "^(%.*s)(\\.weight)?$", (int)length, pattern);
    snprintf(rule.reason, length + 32, "%s %.*s", reason_word, (int)length, pattern);
    int error = regcomp(&rule.regex, whole, REG_EXTENDED | REG_NOSUB);
    free(whole);
    if (error) {
        char text[128];
        regerror(error, &rule.regex, text, sizeof text);
        free(rule.reason);
        return NIB_FAIL(NIB_E_ARGUMENT,
                        "pattern \"%.*s\" is no POSIX extended regular expression: %s", (int)length,
                        pattern, text);
    }
    recipe->rules[recipe->count++] = rule;
    return NIB_OK;
}

static nib_status add_ignore(nib_recipe *recipe, const char *pattern)
{
    return add_rule(recipe, pattern, strlen(pattern), "ignored:", (nib_recipe_rule){.group = -1});
}

/* A type that GGUF files are written with. */
static nib_status find_stored(const char *name, const char *where,
                              const nib_stored_type **stored_ret)
{
    const nib_stored_type *stored = nib_stored_type_find(name);
    if (stored && nib_stored_type_writable(stored)) {
        *stored_ret = stored;
        return NIB_OK;
    }
    return NIB_FAIL(NIB_E_ARGUMENT,
                    "%s: \"%s\" is no type that nibble writes; as q4_K, q8_0, f16, or keep", where,
                    name);
}

/* "int4", "int4:64" or "keep"; "q4_K" or "keep" for GGUF. */
static nib_status parse_target(const nib_recipe *recipe, const char *target, const char *where,
                               nib_recipe_rule *rule)
{
    rule->scheme = NULL;
    rule->group = -1;
    if (!strcmp(target, "keep")) return NIB_OK;
    if (recipe->mixture) return find_stored(target, where, &rule->stored);
    char name[NAME_LENGTH + 1];
    const char *colon = strchr(target, ':');
    size_t length = colon ? (size_t)(colon - target) : strlen(target);
    if (length > NAME_LENGTH) length = NAME_LENGTH;
    memcpy(name, target, length);
    name[length] = 0;
    if (colon) {
        char *end;
        errno = 0;
        long long group = strtoll(colon + 1, &end, 10);
        if (end == colon + 1 || *end || group < 0 || errno)
            return NIB_FAIL(NIB_E_ARGUMENT,
                            "%s: the group \"%s\" is no number; 0 is one per row, otherwise "
                            "elements along K",
                            where, colon + 1);
        rule->group = group;
    }
    return find_scheme(name, where, &rule->scheme);
}

static nib_status add_override(nib_recipe *recipe, const char *text)
{
    const char *equals = strrchr(text, '=');
    if (!equals)
        return NIB_FAIL(NIB_E_ARGUMENT,
                        "override \"%s\" is not PATTERN=SCHEME, as .*down_proj=int8", text);
    nib_recipe_rule rule = {.must_match = 1};
    char where[96];
    snprintf(where, sizeof where, "override %.80s", text);
    NIB_TRY(parse_target(recipe, equals + 1, where, &rule));
    return add_rule(recipe, text, (size_t)(equals - text), "override", rule);
}

/* ---- the recipe's JSON ---- */

/* Every member of the object must be one of `names`. */
static nib_status check_keys(json_t *object, const char *where, const char *const *names,
                             size_t count)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (i < count && strcmp(key, names[i])) i++;
        if (i == count)
            return NIB_FAIL(NIB_E_ARGUMENT, "%s: unknown key \"%s\"; did you mean \"%s\"?", where,
                            key, nearest(key, names, count));
    }
    return NIB_OK;
}

/* A member that must be a string where it is there; NULL where not. */
static nib_status get_string(json_t *object, const char *key, const char **text_ret)
{
    json_t *value = json_object_get(object, key);
    *text_ret = value ? json_string_value(value) : NULL;
    if (value && !*text_ret)
        return NIB_FAIL(NIB_E_ARGUMENT, "recipe: \"%s\" must be a string", key);
    return NIB_OK;
}

/* Likewise a group; -1 where not there. */
static nib_status get_group(json_t *object, int64_t *group_ret)
{
    json_t *value = json_object_get(object, "group");
    *group_ret = -1;
    if (!value) return NIB_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return NIB_FAIL(NIB_E_ARGUMENT, "recipe: \"group\" must be 0 (one per row) or elements "
                                        "along K");
    *group_ret = json_integer_value(value);
    return NIB_OK;
}

static nib_status read_overrides(nib_recipe *recipe, json_t *root)
{
    static const char *const keys[] = {"match", "scheme", "group"};
    json_t *list = json_object_get(root, "overrides"), *item;
    if (list && !json_is_array(list))
        return NIB_FAIL(NIB_E_ARGUMENT, "recipe: \"overrides\" must be an array");
    size_t i;
    json_array_foreach(list, i, item)
    {
        if (!json_is_object(item))
            return NIB_FAIL(NIB_E_ARGUMENT, "recipe: overrides[%zu] must be an object", i);
        char where[48];
        snprintf(where, sizeof where, "recipe: overrides[%zu]", i);
        NIB_TRY(check_keys(item, where, keys, 3));
        const char *match, *scheme;
        int64_t group;
        NIB_TRY(get_string(item, "match", &match));
        NIB_TRY(get_string(item, "scheme", &scheme));
        NIB_TRY(get_group(item, &group));
        if (!match || !scheme)
            return NIB_FAIL(NIB_E_ARGUMENT, "%s has no \"%s\"", where, match ? "scheme" : "match");
        nib_recipe_rule rule = {0};
        NIB_TRY(parse_target(recipe, scheme, where, &rule));
        if (group >= 0) rule.group = group;
        NIB_TRY(add_rule(recipe, match, strlen(match), "override", rule));
    }
    return NIB_OK;
}

static nib_status read_ignore(nib_recipe *recipe, json_t *root)
{
    json_t *list = json_object_get(root, "ignore"), *item;
    if (list && !json_is_array(list))
        return NIB_FAIL(NIB_E_ARGUMENT, "recipe: \"ignore\" must be an array");
    size_t i;
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item))
            return NIB_FAIL(NIB_E_ARGUMENT, "recipe: ignore[%zu] must be a string", i);
        NIB_TRY(add_ignore(recipe, json_string_value(item)));
    }
    return NIB_OK;
}

/* A member whose text is one of `words`: its place there, or -1 where it is not there. */
static nib_status get_word(json_t *root, const char *key, const char *const *words, size_t count,
                           int *word_ret)
{
    const char *text;
    NIB_TRY(get_string(root, key, &text));
    *word_ret = -1;
    if (!text) return NIB_OK;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(text, words[i])) *word_ret = (int)i;
    if (*word_ret < 0)
        return NIB_FAIL(NIB_E_ARGUMENT, "recipe: %s \"%s\" is unknown; did you mean \"%s\"?", key,
                        text, nearest(text, words, count));
    return NIB_OK;
}

/* What the options leave open. */
static nib_status read_settings(nib_recipe *recipe, json_t *root)
{
    static const char *const fallbacks[] = {"error", "channel", "skip"};
    static const char *const policies[] = {"error", "zero", "saturate", "keep"};
    const char *scheme;
    int64_t group;
    int word;
    NIB_TRY(get_string(root, "scheme", &scheme));
    if (scheme && !recipe->scheme && !recipe->mixture)
        NIB_TRY(find_scheme(scheme, "recipe", &recipe->scheme));
    NIB_TRY(get_group(root, &group));
    if (recipe->mixture && (scheme || group >= 0 || json_object_get(root, "group_fallback")))
        return NIB_FAIL(
            NIB_E_ARGUMENT,
            "recipe: into GGUF the mixture comes from options.mixture, and blocks are fixed: no "
            "\"scheme\", \"group\" or \"group_fallback\"");
    if (recipe->group < 0) recipe->group = group;
    NIB_TRY(get_word(root, "group_fallback", fallbacks, 3, &word));
    if (word > 0 && recipe->fallback == NIB_FALLBACK_ERROR)
        recipe->fallback = (nib_group_fallback)word;
    NIB_TRY(get_word(root, "nonfinite", policies, 4, &word));
    if (word > 0 && recipe->nonfinite == NIB_NONFINITE_ERROR && !recipe->keep_nonfinite) {
        recipe->keep_nonfinite = word == 3;
        if (word < 3) recipe->nonfinite = (nib_nonfinite)word;
    }
    return NIB_OK;
}

static nib_status read_tree(nib_recipe *recipe, json_t *root, const nib_job_options *options)
{
    static const char *const keys[] = {"scheme", "group",          "overrides",
                                       "ignore", "group_fallback", "nonfinite"};
    if (!json_is_object(root))
        return NIB_FAIL(NIB_E_ARGUMENT, "recipe: the text must be a JSON object");
    NIB_TRY(check_keys(root, "recipe", keys, sizeof keys / sizeof keys[0]));
    NIB_TRY(read_settings(recipe, root));
    NIB_TRY(read_overrides(recipe, root));
    for (size_t i = 0; i < options->ignore_count; i++)
        NIB_TRY(add_ignore(recipe, options->ignore[i]));
    return read_ignore(recipe, root);
}

static nib_status read_json(nib_recipe *recipe, const nib_job_options *options)
{
    json_error_t error;
    const char *text = options->recipe ? options->recipe : "{}";
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!root && error.line < 0) return NIB_FAIL(NIB_E_MEMORY, "no memory for the recipe");
    if (!root)
        return NIB_FAIL(json_error_code(&error) == json_error_duplicate_key ? NIB_E_DUP
                                                                            : NIB_E_JSON,
                        "recipe, line %d column %d: %s", error.line, error.column, error.text);
    nib_status status = read_tree(recipe, root, options);
    json_decref(root);
    return status;
}

nib_status nib_recipe_create(const nib_job_options *options, nib_recipe *recipe_ret)
{
    nib_recipe recipe = {.scheme = options->scheme,
                         .mixture = options->mixture,
                         .allow_requantize = options->allow_requantize,
                         .group = options->group,
                         .fallback = options->fallback,
                         .nonfinite = options->nonfinite,
                         .keep_nonfinite = options->keep_nonfinite,
                         .keep_quantized = options->keep_quantized};
    nib_status status = NIB_OK;
    for (size_t i = 0; i < options->override_count && status == NIB_OK; i++)
        status = add_override(&recipe, options->overrides[i]);
    if (status == NIB_OK) status = read_json(&recipe, options);
    if (status != NIB_OK) {
        nib_recipe_free(&recipe);
        return status;
    }
    if (!recipe.scheme) recipe.scheme = nib_scheme_find("int4");
    *recipe_ret = recipe;
    return NIB_OK;
}

void nib_recipe_free(nib_recipe *recipe)
{
    for (size_t i = 0; i < recipe->count; i++) {
        regfree(&recipe->rules[i].regex);
        free(recipe->rules[i].reason);
    }
    free(recipe->rules);
    *recipe = (nib_recipe){.group = -1};
}
