/* cmd_quantize.c - nibble quantize, and nibble plan, which is the same without the work. */
#include "job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RECIPE_MAX = 16 << 20 };

/* ---- which scheme ---- */

/* What to make: a scheme of compressed-tensors, or a mixture of GGUF's types; the other is NULL. */
typedef struct choice {
    const nib_scheme *scheme;
    const nib_mixture *mixture;
} choice;

static const char *choice_name(const choice *chosen)
{
    return chosen->mixture ? chosen->mixture->name : chosen->scheme->name;
}

static int fail_scheme(const char *name)
{
    char hint[96];
    cli_nearest near = nearest_start(name);
    for (size_t i = 0; i < nib_scheme_count(); i++) {
        nearest_offer(&near, nib_scheme_at(i)->name);
        nearest_offer(&near, nib_scheme_at(i)->alias);
    }
    for (size_t i = 0; i < nib_mixture_count(); i++) nearest_offer(&near, nib_mixture_at(i)->name);
    return fail(2, "unknown scheme '%s'%s (see `nibble schemes`)", name, nearest_hint(&near, hint));
}

/* The scheme like `base` with other bits or offsets; NULL after saying that there is none, or that
 * the scheme's name says otherwise. */
static const nib_scheme *variant(const cli_settings *settings, const nib_scheme *base)
{
    int has_zeros = nib_rule_offset(base->rule) != NIB_OFFSET_NONE;
    if (settings->scheme && settings->bits && settings->bits != base->bits) {
        fail(2, "--scheme %s and --bits %lld contradict each other: it has %d", settings->scheme,
             (long long)settings->bits, base->bits);
        return NULL;
    }
    if (settings->scheme && has_zeros && settings->offset == OFFSET_SYMMETRIC) {
        fail(2, "--scheme %s and --sym contradict each other: it has zero points",
             settings->scheme);
        return NULL;
    }
    int asymmetric = has_zeros;
    if (settings->offset != OFFSET_ANY) asymmetric = settings->offset == OFFSET_ASYMMETRIC;
    int64_t bits = settings->bits ? settings->bits : base->bits;
    const nib_scheme *scheme;
    for (size_t i = 0; (scheme = nib_scheme_at(i)) != NULL; i++)
        if (scheme->bits == bits && scheme->act_bits == base->act_bits &&
            (nib_rule_offset(scheme->rule) != NIB_OFFSET_NONE) == asymmetric)
            return scheme;
    fail(2, "no scheme has %lld bits, %s zero points and %s activations (see `nibble schemes`)",
         (long long)bits, asymmetric ? "with" : "without", base->act_bits == 8 ? "int8" : "plain");
    return NULL;
}

/* 1: the output is GGUF, whatever the scheme. */
static int asks_for_gguf(const cli_settings *settings, const nib_file *file)
{
    if (settings->format != FORMAT_AUTO) return settings->format == FORMAT_GGUF;
    return !strcmp(nib_file_format(file), "gguf") ||
           (settings->output && ends_in(settings->output, ".gguf"));
}

/* Returns 0, or the exit code after saying what is wrong. */
static int find_choice(const cli_settings *settings, const nib_file *file, choice *chosen)
{
    int gguf = asks_for_gguf(settings, file);
    *chosen = (choice){NULL, nib_mixture_find(settings->scheme ? settings->scheme : "q4_k_m")};
    if (gguf && chosen->mixture) return 0;
    const nib_scheme *base =
        settings->scheme ? nib_scheme_find(settings->scheme) : nib_scheme_at(0);
    if (!base && !chosen->mixture) return fail_scheme(settings->scheme);
    if (gguf)
        return fail(2,
                    "%s is no scheme of GGUF files; take q4_k_m, q8_0, ... (see `nibble schemes`)",
                    base->name);
    if (!base && settings->format == FORMAT_COMPRESSED_TENSORS)
        return fail(2,
                    "%s is a scheme of GGUF files; compressed-tensors takes int4, int8, ... "
                    "(see `nibble schemes`)",
                    chosen->mixture->name);
    if (!base) return 0;
    chosen->mixture = NULL;
    chosen->scheme =
        settings->bits || settings->offset != OFFSET_ANY ? variant(settings, base) : base;
    return chosen->scheme ? 0 : 2;
}

/* Options that the choice would not heed are mistakes. */
static int choose(const cli_settings *settings, const nib_file *file, choice *chosen)
{
    int code = find_choice(settings, file, chosen);
    int planar = settings->bits || settings->offset != OFFSET_ANY ||
                 settings->group != GROUP_OF_SCHEME || settings->fallback;
    int gguf = settings->pure || settings->importance || settings->output_type ||
               settings->embedding_type || settings->leave_output || settings->allow_requantize ||
               settings->keep_split || settings->prune_layers || settings->keys.count ||
               settings->architecture || settings->template_path;
    if (!code && chosen->mixture && planar)
        return fail(2,
                    "--bits, --group-size, --group-fallback, --asym and --sym are not for GGUF's "
                    "%s, whose blocks are fixed",
                    chosen->mixture->name);
    if (!code && settings->keep_quantized && settings->allow_requantize)
        return fail(2, "--keep-quantized and --allow-requantize contradict each other");
    if (!code && chosen->scheme && gguf)
        return fail(2,
                    "the options of GGUF are not for %s; take --format gguf or a scheme as q4_k_m",
                    chosen->scheme->name);
    return code;
}

static int names_scheme(const cli_settings *settings)
{
    return settings->scheme || settings->bits || settings->offset != OFFSET_ANY;
}

/* Nothing on the command line says which scheme. */
static int is_open_choice(const cli_settings *settings)
{
    return !names_scheme(settings) && !settings->recipe && !settings->overrides.count;
}

/* ---- options ---- */

/* malloc'd text; NULL after saying what is wrong. */
static char *read_recipe(const char *path, int *code_ret)
{
    FILE *file = fopen(path, "re");
    char *text = file ? malloc(RECIPE_MAX + 1) : NULL;
    if (!text) {
        *code_ret = file ? fail(4, "no memory for the recipe %s", path)
                         : fail(5, "recipe %s: %s", path, strerror(errno));
        if (file) fclose(file);
        return NULL;
    }
    size_t bytes = fread(text, 1, RECIPE_MAX + 1, file);
    int failed = ferror(file);
    fclose(file);
    if (!failed && bytes <= RECIPE_MAX && !memchr(text, 0, bytes)) {
        text[bytes] = 0;
        return text;
    }
    *code_ret = failed ? fail(5, "recipe %s cannot be read", path)
                       : fail(3, "recipe %s is no JSON text of up to %d bytes", path, RECIPE_MAX);
    free(text);
    return NULL;
}

static nib_job_options job_options(const cli_settings *settings, const choice *chosen,
                                   const char *recipe)
{
    int keep = settings->nonfinite == NONFINITE_KEEP;
    return (nib_job_options){
        .size = sizeof(nib_job_options),
        .kind = NIB_JOB_QUANTIZE,
        .scheme = recipe && !names_scheme(settings) ? NULL : chosen->scheme, /* the recipe's own */
        .group = settings->group,
        .ignore = settings->ignore.items,
        .ignore_count = settings->ignore.count,
        .overrides = settings->overrides.items,
        .override_count = settings->overrides.count,
        .recipe = recipe,
        .fallback = (nib_group_fallback)settings->fallback,
        .nonfinite = keep ? NIB_NONFINITE_ERROR : (nib_nonfinite)settings->nonfinite,
        .keep_nonfinite = keep,
        .keep_quantized = settings->keep_quantized,
        .mixture = chosen->mixture,
        .pure = settings->pure,
        .importance = settings->importance,
        .output_type = settings->output_type,
        .embedding_type = settings->embedding_type,
        .leave_output = settings->leave_output,
        .allow_requantize = settings->allow_requantize,
        .keep_split = settings->keep_split,
        .prune_layers = settings->prune_layers,
        .keys = settings->keys.items,
        .key_count = settings->keys.count,
        .architecture = settings->architecture,
        .template_path = settings->template_path,
    };
}

/* A misspelt pattern would leave a tensor to be quantized, so it is said. A tensor's reason
 * names the first pattern that matches it. */
static void warn_of_idle(const cli_settings *settings, const nib_job *job)
{
    static const char word[] = "ignored: ";
    for (size_t i = 0; i < settings->ignore.count; i++) {
        const char *pattern = settings->ignore.items[i];
        const nib_decision *decision;
        int idle = 1;
        if (!strncmp(pattern, "re:", 3)) pattern += 3;
        for (int64_t d = 0; idle && (decision = nib_job_at(job, d)) != NULL; d++)
            idle = strncmp(decision->reason, word, sizeof word - 1) ||
                   strcmp(decision->reason + sizeof word - 1, pattern);
        if (idle)
            warn(settings,
                 "--ignore '%s' matches no tensor, or none that no pattern before it matches; see "
                 "`nibble inspect --tensors`",
                 pattern);
    }
}

/* ---- every scheme ---- */

/* What a refused scheme lacks, by what its error asks for. */
static const struct {
    const char *words, *note;
} lacks[] = {
    {"set --importance", "needs --importance"},
    {"set --architecture", "needs --gguf-template or --architecture"},
};

enum { LACKS = sizeof lacks / sizeof lacks[0] };

/* Its row; -1: nothing, the scheme does not fit the model. */
static int lacking(const char *error)
{
    for (int i = 0; i < LACKS; i++)
        if (strstr(error, lacks[i].words)) return i;
    return -1;
}

/* A refused scheme: an entry, and a row, but in text for what it lacks. */
static void add_refused(const cli_settings *settings, const char *name, const char *loads,
                        cli_table *t, json_t *list)
{
    int lack = lacking(error_words());
    json_array_append_new(
        list, json_pack("{s:s, s:o}", "scheme", name, "refused", json_text(error_words())));
    if (lack >= 0 && settings->as == AS_TEXT) return;
    table_cell(t, "%s", name);
    for (int column = 0; column < 3; column++) table_none(t);
    table_cell(t, "%s", loads);
    table_cell(t, "%s", lack >= 0 ? lacks[lack].note : "refused");
}

/* What the output would weigh as `scheme`: a row and an entry. */
static nib_status add_scheme(const cli_settings *settings, const nib_file *file, int64_t parameters,
                             const choice *scheme, int is_default, cli_table *t, json_t *list)
{
    nib_job_options options = job_options(settings, scheme, NULL);
    nib_job *job;
    nib_status status = nib_job_create(file, &options, &job);
    const char *name = choice_name(scheme),
               *loads = scheme->mixture ? "llama.cpp" : scheme->scheme->loads;
    if (status != NIB_OK) {
        add_refused(settings, name, loads, t, list);
        return status;
    }
    table_cell(t, "%s", name);
    nib_job_totals totals;
    if (is_default) warn_of_idle(settings, job);
    nib_job_sum(job, &totals);
    nib_job_close(job);
    double bits = bits_per(totals.output_bytes, parameters);
    json_array_append_new(list,
                          json_pack("{s:s, s:o, s:f}", "scheme", name, "output_bytes",
                                    json_bytes(totals.output_bytes), "bits_per_weight", bits));
    table_bytes(t, totals.output_bytes);
    table_cell(t, "%.2f", bits);
    table_cell(t, "%.2f",
               totals.output_bytes ? (double)totals.input_bytes / (double)totals.output_bytes
                                   : 0.0);
    table_cell(t, "%s", loads);
    table_cell(t, "%s", is_default ? "the default" : scheme->mixture ? scheme->mixture->text : "");
    return NIB_OK;
}

/* All schemes, or GGUF's alone, one after the other; 0 past the end. */
static int scheme_at(int gguf, size_t index, choice *scheme_ret)
{
    size_t skipped = gguf ? nib_scheme_count() : 0;
    *scheme_ret = (choice){nib_scheme_at(index + skipped), NULL};
    if (!scheme_ret->scheme)
        scheme_ret->mixture = nib_mixture_at(index + skipped - nib_scheme_count());
    return scheme_ret->scheme || scheme_ret->mixture;
}

/* The sizes are the answer: a refusal is a warning, unless nothing fits. *fits_ret: the default
 * does. */
static int plan_schemes(const cli_command *command, const cli_settings *settings,
                        const nib_file *file, const choice *usual, int *fits_ret)
{
    json_t *result = json_result(command->name), *list = json_array();
    cli_table *t =
        table_new("scheme|>size|>bits/weight|>times smaller|loads in|note", settings->as);
    int64_t parameters = file_elements(file);
    choice scheme;
    char refusal[600] = "", names[LACKS][400] = {""};
    int fitting = 0, code = 0;
    *fits_ret = 1;
    for (size_t i = 0; scheme_at(usual->mixture != NULL, i, &scheme); i++) {
        int is_default = scheme.scheme == usual->scheme && scheme.mixture == usual->mixture;
        nib_status status = add_scheme(settings, file, parameters, &scheme, is_default, t, list);
        fitting += status == NIB_OK;
        if (status == NIB_OK) continue;
        if (is_default) *fits_ret = 0;
        int lack = lacking(error_words());
        if (lack >= 0) {
            size_t used = strlen(names[lack]);
            snprintf(names[lack] + used, sizeof names[lack] - used, " %s", choice_name(&scheme));
        }
        if (*refusal || (!is_default && lack >= 0)) continue;
        code = nib_status_exit_code(status);
        snprintf(refusal, sizeof refusal, "%s is refused: %s", choice_name(&scheme), error_words());
    }
    json_object_set_new(result, "dry_run", json_true());
    json_object_set_new(result, "input", json_text(nib_file_path(file)));
    json_object_set_new(result, "schemes", list);
    int printed = 0;
    if (settings->as == AS_JSON) {
        table_free(t);
        printed = json_print(result);
    } else {
        json_decref(result);
        printed = table_print(t);
        for (int i = 0; i < LACKS && settings->as == AS_TEXT; i++)
            if (*names[i]) printf("\n%s:%s\n", lacks[i].note, names[i]);
    }
    if (!fitting) return fail(code, "%s", refusal);
    if (*refusal) warn(settings, "%s", refusal);
    return printed;
}

/* ---- the command ---- */

/* The command line that does what was planned. */
static void print_next_quantize(const cli_job *job)
{
    const cli_settings *settings = job->settings;
    if (job->command->id == COMMAND_QUANTIZE) {
        puts("next:   the same without --dry-run");
        return;
    }
    fputs("next:   nibble quantize", stdout);
    for (int i = 0; i < settings->argument_count; i++) {
        char *quoted = shell_quote(settings->arguments[i]);
        printf(" %s", quoted ? quoted : settings->arguments[i]);
        free(quoted);
    }
    puts(settings->output ? "" : " -o OUT");
}

static int with_file(const cli_command *command, const cli_settings *settings, const char *recipe,
                     const nib_file *file)
{
    int dry = settings->dry_run || command->id == COMMAND_PLAN;
    choice chosen;
    int code = choose(settings, file, &chosen), all = dry && is_open_choice(settings);
    if (code) return code;
    if (all) {
        int fits;
        code = plan_schemes(command, settings, file, &chosen, &fits);
        if (code || !fits || settings->as == AS_JSON || settings->as == AS_CSV) return code;
        printf("\n%s:\n\n", choice_name(&chosen));
    }
    nib_job_options options = job_options(settings, &chosen, recipe);
    cli_job job = {command, settings, file, NULL, file_elements(file)};
    nib_status status = nib_job_create(file, &options, &job.job);
    if (status != NIB_OK) return fail_status(status, settings);
    if (!all) warn_of_idle(settings, job.job);
    code = dry ? job_plan(&job) : job_run(&job);
    if (!code && dry && settings->as == AS_TEXT) print_next_quantize(&job);
    nib_job_close(job.job);
    return code;
}

int cmd_quantize(const cli_command *command, const cli_settings *settings)
{
    int code = 0;
    if (settings->scheme && !nib_scheme_find(settings->scheme) &&
        !nib_mixture_find(settings->scheme))
        return fail_scheme(settings->scheme);
    if (command->id == COMMAND_QUANTIZE && !settings->dry_run && !settings->output)
        return fail_usage(command, "-o OUT is missing: where the new checkpoint goes");
    char *recipe = settings->recipe ? read_recipe(settings->recipe, &code) : NULL;
    if (settings->recipe && !recipe) return code;
    nib_file *file;
    nib_status status = open_input(settings, settings->operands[0], &file);
    if (status == NIB_OK) {
        code = with_file(command, settings, recipe, file);
        nib_file_close(file);
    } else {
        code = fail_status(status, settings);
    }
    free(recipe);
    return code;
}
