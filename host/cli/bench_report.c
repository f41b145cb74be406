/* bench_report.c - results of `nibble bench` as tables, csv and JSON. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

const char *word_duration(double seconds, char text[WORD_BYTES])
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    double value = seconds * 1e9;
    int unit = 0;
    while (value >= 999.5 && unit < 3) value /= 1000, unit++;
    snprintf(text, WORD_BYTES, "%.*f %s",
             value < 9.995   ? 2
             : value < 99.95 ? 1
                             : 0,
             value, units[unit]);
    return text;
}

/* "33.8 GB/s" */
static const char *word_rate(double rate, const char *unit, char text[WORD_BYTES])
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P"};
    int scale = 0;
    while (rate >= 999.5 && scale < 5) rate /= 1000, scale++;
    snprintf(text, WORD_BYTES, "%.*f %s%.8s",
             rate < 9.995   ? 2
             : rate < 99.95 ? 1
                            : 0,
             rate, units[scale], unit);
    return text;
}

static double ratio_to_baseline(const bench_result *result, const bench_record *r)
{
    const bench_record *b = bench_baseline(result, r);
    return b ? b->seconds / r->seconds : 0.0;
}

/* Whether this record is the first of its shape (and of its device, or of any). */
static int is_first(const bench_result *result, size_t index, int of_device)
{
    const bench_record *r = &result->records[index];
    for (size_t i = 0; i < index; i++)
        if (!strcmp(result->records[i].shape.name, r->shape.name) &&
            (!of_device || result->records[i].device_index == r->device_index))
            return 0;
    return 1;
}

/* How its samples were timed: "graph" or "runs". */
static const char *word_timing(const bench_record *r) { return r->graph ? "graph" : "runs"; }

/* ---- JSON ---- */

json_t *json_record(const bench_spec *spec, const bench_result *result, const bench_record *r)
{
    static const char *const operations[] = {"matmul", "quantize", "dequantize"};
    const nib_device_info *info = &result->devices[r->device_index].info;
    json_t *json = json_result("bench");
    json_t *what = json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:s, s:s, s:i, s:s, s:I, s:I, s:I, s:s, s:I, s:s, s:s, s:s}",
        "operation", operations[spec->operation], "device", r->device, "model",
        json_text(info->model), "driver", json_text(info->driver), "features",
        json_text(info->features), "nibble", nib_version(), "revision", bench_revision(), "threads",
        (int)spec->threads, "shape", r->shape.name, "n", (json_int_t)r->shape.n, "k",
        (json_int_t)r->shape.k, "m", (json_int_t)r->m, "column", r->column, "group",
        (json_int_t)r->group, "by", r->by, "kernel", r->kernel, "type", nib_dtype_name(spec->type));
    double ratio = ratio_to_baseline(result, r);
    json_t *how =
        json_pack("{s:b, s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o}", "cold",
                  !spec->hot, "rounds", (json_int_t)r->rounds, "repeats", (json_int_t)r->repeats,
                  "timed", word_timing(r), "seconds_median", json_number(r->seconds), "seconds_p10",
                  json_number(r->low), "seconds_p90", json_number(r->high), "bytes",
                  json_number(r->bytes), "operations", json_number(r->operations),
                  "bytes_per_second", json_number(r->bytes / r->seconds), "percent_of_roof",
                  json_number(bench_percent(r)), "bound",
                  r->bound <= 0     ? "none"
                  : r->memory_bound ? "memory"
                                    : "compute",
                  "times_as_fast_as_plain", ratio > 0 ? json_number(ratio) : json_null(),
                  "error_share", json_number(r->worst));
    if (json && what && how) json_object_update(json, what), json_object_update(json, how);
    json_decref(what), json_decref(how);
    return json;
}

static json_t *json_device(const bench_device *d)
{
    json_t *json = json_devices(&d->info, 1), *device = json_incref(json_array_get(json, 0));
    json_decref(json);
    json_object_update_new(
        device, json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:s}", "read_bytes_per_second",
                          json_number(d->read), "copy_bytes_per_second", json_number(d->copy),
                          "f32_operations_per_second", json_number(d->peak[BENCH_F32]),
                          "f16_operations_per_second", json_number(d->peak[BENCH_F16]),
                          "int8_operations_per_second", json_number(d->peak[BENCH_INT8]), "before",
                          d->before, "during", d->during, "after", d->after));
    return device;
}

static int print_json(const bench_spec *spec, const bench_result *result)
{
    json_t *json = json_result("bench"), *devices = json_array(), *records = json_array(),
           *skipped = json_array(), *sentences = json_array();
    for (size_t i = 0; i < result->device_count; i++)
        json_array_append_new(devices, json_device(&result->devices[i]));
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *r = &result->records[i];
        json_array_append_new(records, json_record(spec, result, r));
        if (!r->m || !is_first(result, i, 1)) continue;
        char *text = bench_sentence(result, r);
        json_array_append_new(sentences, json_pack("{s:s, s:s, s:s}", "device", r->device, "shape",
                                                   r->shape.name, "text", text ? text : ""));
        free(text);
    }
    for (size_t i = 0; i < result->skip_count; i++)
        json_array_append_new(skipped, json_pack("{s:s, s:o}", "what", result->skips[i].what, "why",
                                                 json_text(result->skips[i].why)));
    json_object_set_new(json, "working_set_bytes", json_bytes(result->working_set_bytes));
    json_object_set_new(json, "devices", devices);
    json_object_set_new(json, "records", records);
    json_object_set_new(json, "skipped", skipped);
    json_object_set_new(json, "sentences", sentences);
    return json_print(json);
}

static int print_lines(const bench_spec *spec, const bench_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        json_t *json = json_record(spec, result, &result->records[i]);
        int failed = !json || json_dumpf(json, stdout, JSON_COMPACT);
        json_decref(json);
        if (failed && !ferror(stdout)) return fail(4, "no memory for the result as JSON");
        putchar('\n');
    }
    return 0;
}

/* ---- every figure ---- */

static int print_csv(const bench_spec *spec, const bench_result *result)
{
    cli_table *t =
        table_new("device|model|driver|nibble|revision|shape|>n|>k|>m|column|>group|by|kernel|type|"
                  "cold|timed|>seconds_median|>seconds_p10|>seconds_p90|>rounds|>repeats|>bytes|"
                  ">operations|>percent_of_roof|bound|>times_as_fast_as_plain",
                  AS_CSV);
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *r = &result->records[i];
        const nib_device_info *info = &result->devices[r->device_index].info;
        const char *texts[] = {r->device,     info->model,      info->driver,
                               nib_version(), bench_revision(), r->shape.name};
        for (size_t c = 0; c < sizeof texts / sizeof *texts; c++) table_cell(t, "%s", texts[c]);
        table_cell(t, "%lld", (long long)r->shape.n);
        table_cell(t, "%lld", (long long)r->shape.k);
        table_cell(t, "%lld", (long long)r->m);
        table_cell(t, "%s", r->column), table_cell(t, "%lld", (long long)r->group);
        table_cell(t, "%s", r->by), table_cell(t, "%s", r->kernel);
        table_cell(t, "%s", nib_dtype_name(spec->type)), table_cell(t, "%d", !spec->hot);
        table_cell(t, "%s", word_timing(r));
        table_cell(t, "%.9g", r->seconds), table_cell(t, "%.9g", r->low);
        table_cell(t, "%.9g", r->high), table_cell(t, "%lld", (long long)r->rounds);
        table_cell(t, "%lld", (long long)r->repeats), table_cell(t, "%.0f", r->bytes);
        table_cell(t, "%.0f", r->operations), table_cell(t, "%.1f", bench_percent(r));
        table_cell(t, "%s", r->bound <= 0 ? "none" : r->memory_bound ? "memory" : "compute");
        double ratio = ratio_to_baseline(result, r);
        if (ratio > 0) table_cell(t, "%.3f", ratio);
        else table_cell(t, "%s", "");
    }
    return table_print(t);
}

static int print_details(const bench_result *result, int as)
{
    char text[WORD_BYTES], more[WORD_BYTES];
    cli_table *t =
        table_new("device|shape|>M|column|by|kernel|>median|>p10..p90|>GB/s|>Gop/s|>of the "
                  "roof|roof|>against plain|>error, of what is allowed",
                  as);
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *r = &result->records[i];
        double ratio = ratio_to_baseline(result, r);
        table_cell(t, "%s", r->device), table_cell(t, "%s", r->shape.name);
        if (r->m) table_cell(t, "%lld", (long long)r->m);
        else table_cell(t, "-");
        table_cell(t, "%s", r->column), table_cell(t, "%s", r->by), table_cell(t, "%s", r->kernel);
        table_cell(t, "%s", word_duration(r->seconds, text));
        table_cell(t, "%s..%s", word_duration(r->low, text), word_duration(r->high, more));
        table_cell(t, "%.1f", r->bytes / r->seconds * 1e-9);
        table_cell(t, "%.1f", r->operations / r->seconds * 1e-9);
        if (r->bound > 0) table_cell(t, "%.0f%%", bench_percent(r));
        else table_cell(t, "-");
        table_cell(t, "%s", r->bound <= 0 ? "none" : r->memory_bound ? "memory" : "compute");
        if (ratio > 0) table_cell(t, "%.2fx", ratio);
        else table_cell(t, "-");
        table_cell(t, "%.2f", r->worst);
    }
    return table_print(t);
}

/* ---- the table that people read ---- */

/* Where the text's parts need an empty line between them, markdown does too. */
static void print_devices(const bench_spec *spec, const bench_result *result)
{
    char text[WORD_BYTES], set[WORD_BYTES];
    for (size_t i = 0; i < result->device_count; i++) {
        const bench_device *d = &result->devices[i];
        printf("%s: ", d->info.name);
        print_safe(stdout, d->info.model);
        if (*d->info.features) printf(" (%s)", d->info.features);
        if (*d->info.driver) fputs(", ", stdout), print_safe(stdout, d->info.driver);
        printf("; %d units", d->info.units);
        if (d->read > 0) printf("; reads %s", word_rate(d->read, "B/s", text));
        if (d->copy > 0) printf(", copies %s", word_rate(d->copy, "B/s", text));
        static const char *const names[] = {"f32", "16-bit", "int8"};
        for (int p = 0; p < BENCH_PEAKS; p++)
            if (d->peak[p] > 0) printf(", %s %s", names[p], word_rate(d->peak[p], "op/s", text));
        if (*d->before) printf("; before: %s", d->before);
        if (*d->during) printf("; during: %s", d->during);
        if (*d->after) printf("; after: %s", d->after);
        puts("\n");
    }
    printf("nibble %s%s%s; x and y %s; ", nib_version(), *bench_revision() ? " " : "",
           bench_revision(), nib_dtype_name(spec->type));
    if (spec->hot) puts("hot: the same weights in every run");
    else printf("cold: copies of %s in turn\n", word_bytes(result->working_set_bytes, set));
}

/* One cell for each column of the shape, in the order of its first M; of many, the first. */
static int print_shape(const bench_result *result, const bench_shape *shape, int as)
{
    enum { MOST = 22 };
    const bench_record *all = result->records;
    size_t columns[MOST], count = 0, first = result->count;
    for (size_t i = 0; i < result->count; i++) {
        if (strcmp(all[i].shape.name, shape->name)) continue;
        if (first == result->count) first = i;
        if (all[i].m != all[first].m) continue;
        if (count < MOST) columns[count] = i;
        count++;
    }
    char headings[2048] = ">M", heading[128], text[WORD_BYTES];
    for (size_t c = 0; c < count && c < MOST; c++) {
        size_t used = strlen(headings);
        bench_heading(result, &all[columns[c]], heading, sizeof heading);
        snprintf(headings + used, sizeof headings - used, "|>%s", heading);
    }
    cli_table *t = table_new(headings, as);
    for (size_t i = first; i < result->count; i++) {
        const bench_record *r = &all[i];
        if (strcmp(r->shape.name, shape->name)) continue;
        if ((i - first) % count == 0) {
            if (r->m) table_cell(t, "%lld", (long long)r->m);
            else table_cell(t, "-");
        }
        if ((i - first) % count >= MOST) continue;
        if (r->bound > 0)
            table_cell(t, "%s %3.0f%%", word_duration(r->seconds, text), bench_percent(r));
        else table_cell(t, "%s", word_duration(r->seconds, text));
    }
    return table_print(t);
}

static const bench_record *codes_of(const bench_result *result, const bench_record *r)
{
    char codes[BENCH_NAME + 8];
    snprintf(codes, sizeof codes, "%s codes", r->column);
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *o = &result->records[i];
        if (o->device_index == r->device_index && o->m == r->m && !strcmp(o->column, codes) &&
            !strcmp(o->shape.name, r->shape.name))
            return o;
    }
    return NULL;
}

static int same_line(const bench_record *a, const bench_record *b)
{
    return a->device_index == b->device_index && !strcmp(a->column, b->column) &&
           !strcmp(a->by, b->by) && !strcmp(a->shape.name, b->shape.name);
}

/* What quantizing x costs: a column less its codes, M by M; a dash where their spreads meet. */
static void print_quantizing(const bench_result *result, const bench_shape *shape)
{
    char text[WORD_BYTES];
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *first = &result->records[i];
        size_t earlier = 0;
        while (earlier < i && !same_line(&result->records[earlier], first)) earlier++;
        if (earlier < i || strcmp(first->shape.name, shape->name) || !codes_of(result, first))
            continue;
        printf("quantizing x (%s %s less its codes):", first->device, first->column);
        for (size_t j = i; j < result->count; j++) {
            const bench_record *r = &result->records[j], *c = codes_of(result, r);
            if (!same_line(r, first) || !c) continue;
            printf("%s M = %lld %s", i == j ? "" : ",", (long long)r->m,
                   c->high < r->low ? word_duration(r->seconds - c->seconds, text) : "-");
        }
        putchar('\n');
    }
}

static double widest_spread(const bench_result *result, const bench_record **of_ret)
{
    double widest = -1.0;
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *r = &result->records[i];
        double spread = (r->high - r->low) / r->seconds;
        if (spread > widest) widest = spread, *of_ret = r;
    }
    return widest;
}

/* One line for each way in which samples were timed. */
static void print_timing(const bench_spec *spec, const bench_result *result)
{
    for (int graph = 0; graph < 2; graph++) {
        int64_t least = 0, most = 0;
        for (size_t i = 0; i < result->count; i++) {
            const bench_record *r = &result->records[i];
            if (r->graph != graph) continue;
            if (!least || r->repeats < least) least = r->repeats;
            if (r->repeats > most) most = r->repeats;
        }
        if (most)
            printf("Timed: %lld to %lld runs%s %s.\n", (long long)least, (long long)most,
                   spec->hot ? "" : " in a row, each on the next copy of its weights,",
                   graph ? "as one CUDA graph, launched between two events"
                         : "launched one by one, with one wait, by the host's clock");
    }
}

static void print_rest(const bench_spec *spec, const bench_result *result)
{
    const bench_record *widest = NULL;
    double spread = widest_spread(result, &widest);
    puts(spec->operation == BENCH_MATMUL
             ? "\nEach cell: the median time of a product, and what share of its roof that is (the "
               "larger of bytes at\nthe read rate and operations at the peak). codes: x was "
               "quantized before; s32: bare int32 sums."
             : "\nEach cell: the median time, and its share of the copy rate.");
    print_timing(spec, result);
    if (widest) {
        printf("Spread: from the 10th to the 90th percentile is %.0f%% of the median at most (%s "
               "%s, %s",
               100 * spread, widest->device, widest->column, widest->shape.name);
        if (widest->m) printf(", M = %lld", (long long)widest->m);
        puts(").");
    }
    for (size_t i = 0; i < result->skip_count; i++)
        printf("Not measured: %s: %s\n", result->skips[i].what, result->skips[i].why);
}

static int print_tables(const cli_settings *settings, const bench_spec *spec,
                        const bench_result *result)
{
    int as = settings->as, several = result->device_count > 1;
    print_devices(spec, result);
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *r = &result->records[i];
        if (!is_first(result, i, 0)) continue;
        printf("\n%s%s: weights of %lld rows and %lld columns\n\n", as == AS_MARKDOWN ? "### " : "",
               r->shape.name, (long long)r->shape.n, (long long)r->shape.k);
        int code = print_shape(result, &r->shape, as);
        if (code) return code;
        putchar('\n');
        print_quantizing(result, &r->shape);
        for (size_t j = i; j < result->count && r->m; j++) {
            const bench_record *of = &result->records[j];
            if (strcmp(of->shape.name, r->shape.name) || !is_first(result, j, 1)) continue;
            char *text = bench_sentence(result, of);
            if (!text) return fail(4, "no memory");
            printf("%s%s%s.\n", several ? of->device : "", several ? ": " : "", text);
            free(text);
        }
    }
    print_rest(spec, result);
    if (!settings->all) return 0;
    putchar('\n');
    return print_details(result, as);
}

int bench_print(const cli_settings *settings, const bench_spec *spec, const bench_result *result)
{
    if (settings->as == AS_JSON) return print_json(spec, result);
    if (settings->as == AS_LINES) return print_lines(spec, result);
    if (settings->as == AS_CSV) return print_csv(spec, result);
    return print_tables(settings, spec, result);
}
