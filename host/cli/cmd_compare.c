/* cmd_compare.c - nibble compare: how far two checkpoints are apart, worst tensor first, with a
 * gate. */
#include "cli.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WORST = 10 };

typedef struct compared_row {
    char *name, *note; /* note NULL: measured */
    nib_error_total errors;
    double sqnr;
    int64_t order;
} compared_row;

typedef struct comparison {
    const cli_settings *settings;
    compared_row *rows;
    size_t count, capacity;
    size_t identical, unmeasured;
    nib_error_total different; /* of the tensors that differ, in order */
    int lost;                  /* memory ran out */
} comparison;

static int is_identical(const compared_row *row) { return !row->note && row->errors.ee == 0; }

static void on_tensor(void *user, const nib_compared *compared)
{
    comparison *c = user;
    if (c->lost) return;
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 256;
        compared_row *rows = realloc(c->rows, capacity * sizeof *rows);
        c->lost = !rows;
        if (!rows) return;
        c->rows = rows;
        c->capacity = capacity;
    }
    compared_row *row = &c->rows[c->count];
    *row = (compared_row){strdup(compared->name), compared->note ? strdup(compared->note) : NULL,
                          compared->errors, errors_sqnr(&compared->errors), (int64_t)c->count};
    c->lost = !row->name || (compared->note && !row->note);
    c->count++;
    c->unmeasured += row->note != NULL;
    if (is_identical(row)) c->identical++;
    else if (!row->note) errors_add(&c->different, &row->errors);
}

/* What was not measured comes first, then what is not a number; what is identical last. */
static double rank(const compared_row *row)
{
    if (row->note) return -HUGE_VAL;
    if (is_identical(row)) return HUGE_VAL;
    return row->sqnr >= -DBL_MAX ? row->sqnr : -DBL_MAX; /* NaN and -infinity too */
}

static int by_quality(const void *a, const void *b)
{
    const compared_row *left = a, *right = b;
    double l = rank(left), r = rank(right);
    if (l != r) return l < r ? -1 : 1;
    return (left->order > right->order) - (left->order < right->order);
}

/* ---- the gate: the lowest tensor counts, and one that was not measured has not passed ---- */

static int has_gate(const comparison *c) { return !isnan(c->settings->min_sqnr); }

/* rows are sorted */
static int passes(const comparison *c)
{
    return !c->count || rank(&c->rows[0]) >= c->settings->min_sqnr;
}

static int fail_gate(const comparison *c)
{
    const compared_row *worst = &c->rows[0];
    char text[WORD_BYTES], tensors[WORD_BYTES];
    size_t failed = 0;
    while (failed < c->count && !(rank(&c->rows[failed]) >= c->settings->min_sqnr)) failed++;
    return fail(nib_status_exit_code(NIB_E_QUALITY), "below %g dB: %zu of %s; the lowest is %s: %s",
                c->settings->min_sqnr, failed, word_counted((int64_t)c->count, "tensor", tensors),
                worst->name, worst->note ? worst->note : word_decibels(worst->sqnr, text));
}

/* ---- as text ---- */

static int print_rows(const comparison *c)
{
    const cli_settings *settings = c->settings;
    size_t shown = c->count - c->identical;
    if (settings->all) shown = c->count;
    else if (shown > WORST && settings->as != AS_CSV) shown = WORST;
    cli_table *t = table_new("tensor|>SQNR|>MSE|>max error|>cosine|note", settings->as);
    for (size_t i = 0; i < shown; i++) {
        const compared_row *row = &c->rows[i];
        table_cell(t, "%s", row->name);
        if (row->note) {
            for (int column = 0; column < 4; column++) table_none(t);
        } else {
            table_decibels(t, row->sqnr);
            table_cell(t, "%.4g", nib_error_mse(&row->errors));
            table_cell(t, "%.4g", row->errors.max);
            table_cell(t, "%.6f", nib_error_cosine(&row->errors));
        }
        table_cell(t, "%s", row->note ? row->note : "");
    }
    int code = table_print(t);
    size_t hidden = c->count - c->identical - shown;
    if (!settings->all && shown < c->count - c->identical && settings->as == AS_TEXT)
        printf(" ... %zu more (--all)\n", hidden);
    return code;
}

static int print_text(const comparison *c)
{
    char all[WORD_BYTES], lowest[WORD_BYTES];
    int code = print_rows(c);
    if (code || c->settings->as != AS_TEXT) return code;
    size_t different = c->count - c->identical - c->unmeasured;
    printf("\n%s: %zu identical, %zu differ, %zu not measured\n",
           word_counted((int64_t)c->count, "tensor", all), c->identical, different, c->unmeasured);
    if (different)
        printf("SQNR %s over all weights of the tensors that differ; lowest %s\n",
               word_decibels(errors_sqnr(&c->different), all),
               word_decibels(c->rows[c->unmeasured].sqnr, lowest));
    if (has_gate(c) && passes(c))
        printf("PASS: every tensor has at least %g dB\n", c->settings->min_sqnr);
    return 0;
}

/* ---- as JSON ---- */

static int print_json(const comparison *c)
{
    json_t *result = json_result("compare"), *list = json_array();
    for (size_t i = 0; i < c->count; i++) {
        const compared_row *row = &c->rows[i];
        json_t *entry = row->note ? json_pack("{s:o}", "note", json_text(row->note))
                                  : json_errors(&row->errors);
        json_object_set_new(entry, "name", json_text(row->name));
        json_array_append_new(list, entry);
    }
    json_object_set_new(result, "a", json_text(c->settings->operands[0]));
    json_object_set_new(result, "b", json_text(c->settings->operands[1]));
    json_object_set_new(result, "identical", json_integer((json_int_t)c->identical));
    json_object_set_new(result, "not_measured", json_integer((json_int_t)c->unmeasured));
    json_object_set_new(result, "different", json_errors(&c->different));
    if (has_gate(c)) {
        json_object_set_new(result, "min_sqnr_db", json_real(c->settings->min_sqnr));
        json_object_set_new(result, "pass", json_boolean(passes(c)));
    }
    json_object_set_new(result, "tensors", list);
    return json_print(result);
}

static int report(comparison *c)
{
    if (c->lost) return fail(4, "no memory for the report");
    qsort(c->rows, c->count, sizeof *c->rows, by_quality);
    int code = 0;
    if (c->settings->as == AS_JSON) code = print_json(c);
    else if (!c->settings->quiet) code = print_text(c);
    if (code || !has_gate(c) || passes(c)) return code;
    fflush(stdout);
    return fail_gate(c);
}

int cmd_compare(const cli_command *command, const cli_settings *settings)
{
    (void)command;
    nib_file *a = NULL, *b = NULL;
    comparison c = {.settings = settings};
    nib_status status = open_input(settings, settings->operands[0], &a);
    if (status == NIB_OK) status = open_input(settings, settings->operands[1], &b);
    if (status == NIB_OK) {
        cli_progress *progress = progress_start(settings);
        nib_run_options options = run_options(settings, progress);
        status = nib_compare(a, b, &options, on_tensor, &c);
        progress_end(progress);
    }
    int code = status == NIB_OK ? report(&c) : fail_status(status, settings);
    for (size_t i = 0; i < c.count; i++) {
        free(c.rows[i].name);
        free(c.rows[i].note);
    }
    free(c.rows);
    nib_file_close(a);
    nib_file_close(b);
    return code;
}
