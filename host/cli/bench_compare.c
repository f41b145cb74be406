/* bench_compare.c - the performance gate: this result against an earlier one, kept as json or jsonl. */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A number of a record that is finite and above 0, else 0. */
static double positive(const json_t *record, const char *key)
{
    double value = json_number_value(json_object_get(record, key));
    return value > 0 && value < 1e18 ? value : 0;
}

static int has_text(const json_t *record, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(record, key));
    return value && !strcmp(value, text);
}

static int has_number(const json_t *record, const char *key, int64_t number)
{
    const json_t *value = json_object_get(record, key);
    return json_is_integer(value) && json_integer_value(value) == number;
}

/* A list of records out of one object with "records", or of one object a line; NULL after saying what
 * is wrong. */
static json_t *load(const char *path, int *code_ret)
{
    json_error_t error;
    FILE *from = fopen(path, "re");
    if (!from) {
        *code_ret = fail(5, "%s: %s", path, strerror(errno));
        return NULL;
    }
    json_t *list = json_array(), *one;
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK;
    while ((one = json_loadf(from, flags, &error)) != NULL) {
        const json_t *records = json_object_get(one, "records");
        if (json_is_array(records)) json_array_extend(list, (json_t *)(uintptr_t)records);
        else json_array_append(list, one);
        json_decref(one);
        int letter = fgetc(from);
        while (letter == '\n' || letter == '\r' || letter == ' ') letter = fgetc(from);
        if (letter == EOF) break;
        ungetc(letter, from);
    }
    fclose(from);
    if (one && json_array_size(list)) return list;
    *code_ret = one ? fail(3, "%s: no records of `nibble bench --json`", path)
                    : fail(3, "%s: line %d: %s", path, error.line, error.text);
    json_decref(list);
    return NULL;
}

static int matches(const json_t *old, const bench_result *result, const bench_record *r,
                   const char *model)
{
    (void)result;
    return has_text(old, "device", r->device) && has_text(old, "model", model) &&
           has_text(old, "shape", r->shape.name) && has_number(old, "n", r->shape.n) &&
           has_number(old, "k", r->shape.k) && has_number(old, "m", r->m) &&
           has_text(old, "column", r->column) && has_text(old, "by", r->by);
}

/* Slower by more than the tolerance, and not within the spread of the two. */
static int is_slower(const json_t *old, const bench_record *r, double tolerance)
{
    double median = positive(old, "seconds_median"), high = positive(old, "seconds_p90");
    return r->seconds > median * (1.0 + tolerance / 100.0) && r->low > high;
}

int bench_compare(const cli_command *command, const cli_settings *settings,
                  const bench_result *result)
{
    int code = 0, matched = 0, slower = 0;
    json_t *base = load(settings->compare, &code);
    if (!base) return code;
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *r = &result->records[i];
        const char *model = result->devices[r->device_index].info.model;
        for (size_t j = 0; j < json_array_size(base) && r->ours; j++) {
            const json_t *old = json_array_get(base, j);
            if (!matches(old, result, r, model) || positive(old, "seconds_median") <= 0) continue;
            char now[WORD_BYTES], before[WORD_BYTES];
            matched++;
            if (!is_slower(old, r, settings->tolerance)) break;
            slower++;
            fail(8, "%s %s, %s, M = %lld: %s; it was %s (%+.0f%%)", r->device, r->column,
                 r->shape.name, (long long)r->m, word_duration(r->seconds, now),
                 word_duration(positive(old, "seconds_median"), before),
                 100.0 * (r->seconds / positive(old, "seconds_median") - 1.0));
            break;
        }
    }
    json_decref(base);
    if (!matched)
        return fail_usage(command,
                          "%s holds nothing that was measured now: another machine, shape, "
                          "scheme or --m",
                          settings->compare);
    if (settings->as == AS_TEXT || settings->as == AS_MARKDOWN)
        printf("\n%s: %d compared, %d slower by more than %g%% and the spread\n", settings->compare,
               matched, slower, settings->tolerance);
    return slower ? nib_status_exit_code(NIB_E_PERFORMANCE) : 0;
}
