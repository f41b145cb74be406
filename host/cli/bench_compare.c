/* bench_compare.c - the performance gate: this result against an earlier one, kept as json or
 * jsonl. */
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

json_t *bench_load(const char *path, int *code_ret)
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

/* Whether two records measured the same thing in the same way. */
static int matches(const json_t *old, const json_t *now)
{
    static const char *const keys[] = {"operation", "device", "model", "threads", "shape",
                                       "n",         "k",      "m",     "column",  "group",
                                       "by",        "type",   "cold"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *a = json_object_get(old, keys[i]), *b = json_object_get(now, keys[i]);
        if (!a || !b || !json_equal(a, b)) return 0;
    }
    return 1;
}

/* Slower by more than the tolerance, and not within the spread of the two. */
static int is_slower(const json_t *old, const bench_record *r, double tolerance)
{
    double median = positive(old, "seconds_median"), high = positive(old, "seconds_p90");
    return r->seconds > median * (1.0 + tolerance / 100.0) && r->low > high;
}

/* The record of `base` that measured what `r` did; NULL where there is none. */
static const json_t *find(const json_t *base, const bench_spec *spec, const bench_result *result,
                          const bench_record *r)
{
    const json_t *found = NULL;
    json_t *now = json_record(spec, result, r);
    for (size_t i = 0; i < json_array_size(base) && !found; i++) {
        const json_t *old = json_array_get(base, i);
        if (matches(old, now) && positive(old, "seconds_median") > 0) found = old;
    }
    json_decref(now);
    return found;
}

int bench_compare(const cli_command *command, const cli_settings *settings, const json_t *base,
                  const bench_spec *spec, const bench_result *result)
{
    int matched = 0, slower = 0;
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *r = &result->records[i];
        const json_t *old = r->ours ? find(base, spec, result, r) : NULL;
        char now[WORD_BYTES], before[WORD_BYTES];
        if (!old) continue;
        matched++;
        if (!is_slower(old, r, settings->tolerance)) continue;
        slower++;
        fail(8, "%s %s, %s, M = %lld: %s; it was %s (%+.0f%%)", r->device, r->column, r->shape.name,
             (long long)r->m, word_duration(r->seconds, now),
             word_duration(positive(old, "seconds_median"), before),
             100.0 * (r->seconds / positive(old, "seconds_median") - 1.0));
    }
    if (!matched)
        return fail_usage(command,
                          "%s holds nothing that was measured now: another machine, operation, "
                          "shape, scheme, group, --m, --dtype, --threads or --hot",
                          settings->compare);
    if (settings->as == AS_TEXT || settings->as == AS_MARKDOWN)
        printf("\n%s: %d compared, %d slower by more than %g%% and the spread\n", settings->compare,
               matched, slower, settings->tolerance);
    return slower ? nib_status_exit_code(NIB_E_PERFORMANCE) : 0;
}
