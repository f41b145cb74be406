/* cmd_bench.c - nibble bench: what the command line asks to be measured. */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_COLUMNS = 16, MOST_DEVICES = 16, DEVICE_BYTES = 24 };

/* What a spec borrows. */
typedef struct bench_wish {
    bench_shapes shapes;
    bench_column columns[MOST_COLUMNS];
    int64_t m[BENCH_MOST_M];
    char device_names[MOST_DEVICES][DEVICE_BYTES];
    const char *devices[MOST_DEVICES];
} bench_wish;

static const char *const operations[] = {"matmul", "quantize", "dequantize"};

nib_dtype bench_plain_type(const cli_settings *settings)
{
    static const nib_dtype types[] = {
        [PLAIN_BF16] = NIB_BF16, [PLAIN_F16] = NIB_F16, [PLAIN_F32] = NIB_F32};
    return types[settings->plain_type];
}

/* The next word of a list separated by commas; 0 at its end. */
static int next_item(const char **rest, char *word, size_t bytes)
{
    if (!*rest) return 0;
    size_t length = strcspn(*rest, ",");
    snprintf(word, bytes, "%.*s", (int)length, *rest);
    *rest = (*rest)[length] ? *rest + length + 1 : NULL;
    return 1;
}

static int read_operation(const cli_command *command, const char *name, bench_spec *spec)
{
    char hint[96];
    cli_nearest near = nearest_start(name);
    for (int i = 0; i < 3; i++) {
        spec->operation = (bench_operation)i;
        if (!strcmp(operations[i], name)) return 0;
        nearest_offer(&near, operations[i]);
    }
    return fail_usage(command, "cannot measure '%s', but matmul, quantize or dequantize%s", name,
                      nearest_hint(&near, hint));
}

/* A mistake on the command line, or in a file that it names. */
static int fail_words(const cli_command *command, int code, const char *words)
{
    return code == 2 ? fail_usage(command, "%s", words) : fail(code, "%s", words);
}

static int read_shapes(const cli_command *command, const cli_settings *s, bench_shapes *shapes)
{
    char why[BENCH_WORDS];
    int64_t tp = s->parallel ? s->parallel : 1;
    int code = 0;
    if (s->parallel && !s->layers.count && !s->model)
        return fail_usage(command, "--tp goes with --layers or --model");
    for (size_t i = 0; i < s->shapes.count && !code; i++)
        code = bench_add_shape(s->shapes.items[i], shapes, why);
    for (size_t i = 0; i < s->layers.count && !code; i++)
        code = bench_add_model(s->layers.items[i], tp, shapes, why);
    if (s->model && !code) code = bench_add_directory(s->model, tp, shapes, why);
    if (!code && !shapes->count) code = bench_add_shape("4096x4096", shapes, why);
    return code ? fail_words(command, code, why) : 0;
}

static int read_columns(const cli_command *command, const cli_settings *s, bench_wish *wish,
                        bench_spec *spec)
{
    char word[BENCH_NAME], why[BENCH_WORDS];
    const char *otherwise = spec->operation == BENCH_MATMUL ? "int4,int8,w4a8,w8a8" : "int4,int8";
    const char *rest = s->scheme ? s->scheme : otherwise;
    while (next_item(&rest, word, sizeof word)) {
        if (spec->column_count == MOST_COLUMNS)
            return fail_usage(command, "--scheme names more than %d", MOST_COLUMNS);
        bench_column *c = &wish->columns[spec->column_count];
        int code = bench_read_column(word, s->group, c, why);
        if (code) return fail_words(command, code, why);
        for (size_t i = 0; i < spec->column_count; i++)
            if (!strcmp(wish->columns[i].name, c->name))
                return fail_usage(command, "--scheme names %s twice", c->name);
        spec->column_count++;
    }
    spec->columns = wish->columns;
    return 0;
}

/* The CPU, and the first device of every other kind that is here and opens; one that is here and
 * does not is said. */
static void default_devices(const cli_settings *s, bench_wish *wish, bench_spec *spec)
{
    static const char *const firsts[] = {"cpu", "opencl:0", "cuda:0"};
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        nib_ctx *ctx = NULL;
        nib_status status = i ? nib_open(firsts[i], NULL, &ctx) : NIB_OK;
        if (status != NIB_OK && status != NIB_E_NO_DEVICE)
            warn(s, "%s is left out: %s", firsts[i], nib_last_error());
        if (status != NIB_OK) continue;
        nib_close(ctx);
        wish->devices[spec->device_count++] = firsts[i];
    }
}

static int read_devices(const cli_command *command, const cli_settings *s, bench_wish *wish,
                        bench_spec *spec)
{
    if (!s->devices.count) default_devices(s, wish, spec);
    for (size_t i = 0; i < s->devices.count; i++)
        for (const char *rest = s->devices.items[i]; rest;) {
            if (spec->device_count == MOST_DEVICES)
                return fail_usage(command, "more than %d devices", MOST_DEVICES);
            char *name = wish->device_names[spec->device_count];
            next_item(&rest, name, DEVICE_BYTES);
            wish->devices[spec->device_count++] = name;
            for (size_t d = 0; d + 1 < spec->device_count; d++)
                if (!strcmp(wish->devices[d], name))
                    return fail_usage(command, "--device names %s twice", name);
        }
    spec->devices = wish->devices;
    return 0;
}

static int read_numbers(const cli_command *command, const cli_settings *s, bench_wish *wish,
                        bench_spec *spec)
{
    char why[BENCH_WORDS];
    if (s->m && spec->operation != BENCH_MATMUL)
        return fail_usage(command, "--m is of matmul alone");
    if (s->plot && spec->operation != BENCH_MATMUL)
        return fail_usage(command, "--plot is of matmul alone");
    if (s->dequantize && (spec->operation != BENCH_MATMUL || s->no_vendor))
        return fail_usage(command, "--dequantize is of matmul, with vendors");
    if (s->seconds < 0 || s->seconds > 3600)
        return fail_usage(command, "--seconds is %g; it must be 0 to 3600", s->seconds);
    if (s->tolerance < 0 || s->tolerance > 1000)
        return fail_usage(command, "--tolerance is %g; it must be 0 to 1000 percent", s->tolerance);
    int code = bench_read_m(s->m ? s->m : "1-256*4", wish->m, &spec->m_count, why);
    if (code) return fail_words(command, code, why);
    spec->m = wish->m;
    spec->threads = (int32_t)s->threads;
    spec->type = bench_plain_type(s);
    spec->hot = s->hot;
    spec->vendors = !s->no_vendor;
    spec->dequantize = s->dequantize;
    spec->rounds = s->rounds ? s->rounds : 15;
    spec->seconds = s->seconds;
    spec->working_set_bytes = s->working_set;
    return 0;
}

/* One line on a terminal, written over. */
static void show(const char *words)
{
    fprintf(stderr, "\r\033[K%s", words);
    fflush(stderr);
}

/* Whether there is nothing at `path` that a picture must not replace. */
static int may_hold_plot(const char *path)
{
    char start[5] = "";
    FILE *from = fopen(path, "re");
    if (!from) return errno == ENOENT;
    size_t bytes = fread(start, 1, sizeof start, from);
    int readable = !ferror(from);
    fclose(from);
    return readable && (bytes == 0 || !memcmp(start, "<svg ", sizeof start));
}

/* Opens the picture's file before anything is measured; what is in it stays until then. */
static int open_plot(const cli_settings *settings, FILE **to_ret)
{
    const char *path = settings->plot;
    *to_ret = NULL;
    if (!path) return 0;
    if (!may_hold_plot(path))
        return fail(5, "%s is there and no SVG file; choose another name for --plot", path);
    *to_ret = fopen(path, "ae");
    return *to_ret ? 0 : fail(5, "%s: %s", path, strerror(errno));
}

static int write_plot(const cli_settings *settings, const bench_result *result, FILE *to)
{
    char title[160];
    snprintf(title, sizeof title, "nibble %s bench matmul", nib_version());
    int bad = ftruncate(fileno(to), 0);
    if (!bad) bench_plot(result, title, to);
    bad |= fflush(to) || ferror(to);
    return bad ? fail(5, "%s: %s", settings->plot, strerror(errno)) : 0;
}

/* What was measured before a failure is printed, too. */
static int measure(const cli_command *command, const cli_settings *settings, const bench_spec *spec,
                   const json_t *base, FILE *plot)
{
    bench_result result;
    int code = bench_run(spec, &result);
    int printed = !code || result.count ? bench_print(settings, spec, &result) : 0;
    if (code) fail(code, "%s", result.error);
    else code = printed;
    if (!code && plot) code = write_plot(settings, &result, plot);
    if (!code && base) code = bench_compare(command, settings, base, spec, &result);
    bench_free(&result);
    return code;
}

int cmd_bench(const cli_command *command, const cli_settings *settings)
{
    static bench_wish wish;
    bench_spec spec = {.shapes = &wish.shapes, .cancel = &interrupted};
    int code = read_operation(command, settings->operands[0], &spec);
    if (!code) code = read_shapes(command, settings, &wish.shapes);
    if (!code) code = read_columns(command, settings, &wish, &spec);
    if (!code) code = read_devices(command, settings, &wish, &spec);
    if (!code) code = read_numbers(command, settings, &wish, &spec);
    if (code) return code;
    if (!settings->quiet && isatty(STDERR_FILENO)) spec.progress = show;
    FILE *plot = NULL;
    json_t *base = settings->compare ? bench_load(settings->compare, &code) : NULL;
    if (!code) code = open_plot(settings, &plot);
    if (!code) code = measure(command, settings, &spec, base, plot);
    if (plot && fclose(plot) && !code) code = fail(5, "%s: %s", settings->plot, strerror(errno));
    json_decref(base);
    return code;
}
