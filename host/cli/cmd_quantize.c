/* cmd_quantize.c - nibble quantize, and nibble plan, which is the same without the work. */
#include "job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RECIPE_MAX = 16 << 20 };

/* ---- which scheme ---- */

static const nib_scheme *fail_scheme(const char *name)
{
    char hint[96];
    cli_nearest near = nearest_start(name);
    for (size_t i = 0; i < nib_scheme_count(); i++) {
        nearest_offer(&near, nib_scheme_at(i)->name);
        nearest_offer(&near, nib_scheme_at(i)->alias);
    }
    fail(2, "unknown scheme '%s'%s (see `nibble schemes`)", name, nearest_hint(&near, hint));
    return NULL;
}

/* The scheme like `base` with other bits or offsets; NULL after saying that there is none. */
static const nib_scheme *variant(const cli_settings *settings, const nib_scheme *base)
{
    int asymmetric = nib_rule_offset(base->rule) != NIB_OFFSET_NONE;
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

/* NULL after saying what is wrong. */
static const nib_scheme *choose_scheme(const cli_settings *settings)
{
    const nib_scheme *base =
        settings->scheme ? nib_scheme_find(settings->scheme) : nib_scheme_at(0);
    if (!base) return fail_scheme(settings->scheme);
    if (!settings->bits && settings->offset == OFFSET_ANY) return base;
    return variant(settings, base);
}

/* Nothing on the command line says which scheme. */
static int is_open_choice(const cli_settings *settings)
{
    return !settings->scheme && !settings->bits && settings->offset == OFFSET_ANY &&
           !settings->recipe && !settings->overrides.count;
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

static nib_job_options job_options(const cli_settings *settings, const nib_scheme *scheme,
                                   const char *recipe)
{
    int keep = settings->nonfinite == NONFINITE_KEEP;
    return (nib_job_options){
        .size = sizeof(nib_job_options),
        .kind = NIB_JOB_QUANTIZE,
        .scheme = scheme,
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
    };
}

/* ---- every scheme ---- */

/* What the output would weigh as `scheme`: a row and an entry. */
static nib_status add_scheme(const cli_settings *settings, const nib_file *file, int64_t parameters,
                             const nib_scheme *scheme, cli_table *t, json_t *list)
{
    nib_job_options options = job_options(settings, scheme, NULL);
    nib_job *job;
    nib_status status = nib_job_create(file, &options, &job);
    table_cell(t, "%s", scheme->name);
    if (status != NIB_OK) {
        json_array_append_new(list, json_pack("{s:s, s:o}", "scheme", scheme->name, "refused",
                                              json_text(nib_last_error())));
        for (int column = 0; column < 3; column++) table_cell(t, "-");
        table_cell(t, "%s", scheme->loads);
        table_cell(t, "refused");
        return status;
    }
    nib_job_totals totals;
    nib_job_sum(job, &totals);
    nib_job_close(job);
    double bits = bits_per(totals.output_bytes, parameters);
    json_array_append_new(list,
                          json_pack("{s:s, s:o, s:f}", "scheme", scheme->name, "output_bytes",
                                    json_bytes(totals.output_bytes), "bits_per_weight", bits));
    table_bytes(t, totals.output_bytes);
    table_cell(t, "%.2f", bits);
    table_cell(t, "%.2f",
               totals.output_bytes ? (double)totals.input_bytes / (double)totals.output_bytes
                                   : 0.0);
    table_cell(t, "%s", scheme->loads);
    table_cell(t, "%s", scheme == nib_scheme_at(0) ? "the default" : "");
    return NIB_OK;
}

/* Where the default is refused, the exit code says so. */
static int plan_schemes(const cli_command *command, const cli_settings *settings,
                        const nib_file *file)
{
    json_t *result = json_result(command->name), *list = json_array();
    cli_table *t =
        table_new("scheme|>size|>bits/weight|>times smaller|loads in|note", settings->as);
    int64_t parameters = file_elements(file);
    const nib_scheme *scheme;
    int code = 0, refused = 0;
    for (size_t i = 0; (scheme = nib_scheme_at(i)) != NULL; i++) {
        nib_status status = add_scheme(settings, file, parameters, scheme, t, list);
        if (status == NIB_OK || refused++) continue;
        if (i) warn(settings, "%s is refused: %s", scheme->name, nib_last_error());
        else code = fail_status(status, settings);
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
    }
    return code ? code : printed;
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

static int with_file(const cli_command *command, const cli_settings *settings,
                     const nib_scheme *scheme, const char *recipe, const nib_file *file)
{
    int dry = settings->dry_run || command->id == COMMAND_PLAN;
    if (dry && is_open_choice(settings)) {
        int code = plan_schemes(command, settings, file);
        if (code || settings->as == AS_JSON || settings->as == AS_CSV) return code;
        printf("\n%s:\n\n", scheme->name);
    }
    nib_job_options options = job_options(settings, scheme, recipe);
    cli_job job = {command, settings, file, NULL, file_elements(file)};
    nib_status status = nib_job_create(file, &options, &job.job);
    if (status != NIB_OK) return fail_status(status, settings);
    int code = dry ? job_plan(&job) : job_run(&job);
    if (!code && dry && settings->as == AS_TEXT) print_next_quantize(&job);
    nib_job_close(job.job);
    return code;
}

int cmd_quantize(const cli_command *command, const cli_settings *settings)
{
    int code = 0;
    const nib_scheme *scheme = choose_scheme(settings);
    if (!scheme) return 2;
    if (command->id == COMMAND_QUANTIZE && !settings->dry_run && !settings->output)
        return fail_usage(command, "-o OUT is missing: where the new checkpoint goes");
    char *recipe = settings->recipe ? read_recipe(settings->recipe, &code) : NULL;
    if (settings->recipe && !recipe) return code;
    nib_file *file;
    nib_status status = open_input(settings, settings->operands[0], &file);
    if (status == NIB_OK) {
        code = with_file(command, settings, scheme, recipe, file);
        nib_file_close(file);
    } else {
        code = fail_status(status, settings);
    }
    free(recipe);
    return code;
}
