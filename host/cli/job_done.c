/* job_done.c - what a job made: sizes, how good it is, what was left alone, what it took. */
#include "job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { WORST = 10 };

/* A quantized tensor and how far it is from the original. */
typedef struct quality_row {
    const nib_decision *decision;
    const nib_result *result;
    double sqnr;
} quality_row;

typedef struct quality_rows {
    quality_row *rows;
    size_t count;
    nib_error_total all; /* of every measured weight, in order */
    nib_report report;
    int64_t resumed;
} quality_rows;

/* Worst first, what is not a number before it; equal ones in the order of the file. */
static int by_quality(const void *a, const void *b)
{
    const quality_row *left = a, *right = b;
    double l = isnan(left->sqnr) ? -HUGE_VAL : left->sqnr;
    double r = isnan(right->sqnr) ? -HUGE_VAL : right->sqnr;
    if (l != r) return l < r ? -1 : 1;
    return (left->decision > right->decision) - (left->decision < right->decision);
}

static int collect(const nib_job *job, quality_rows *quality)
{
    *quality = (quality_rows){0};
    quality->rows = calloc((size_t)nib_job_count(job) + 1, sizeof *quality->rows);
    if (!quality->rows) return 0;
    const nib_decision *decision;
    for (int64_t i = 0; (decision = nib_job_at(job, i)) != NULL; i++) {
        const nib_result *result = nib_job_result(job, i);
        if (!result) continue;
        quality->resumed += result->resumed != 0;
        quality->report.empty += result->report.empty;
        quality->report.nonfinite += result->report.nonfinite;
        quality->report.underflow += result->report.underflow;
        quality->report.saturated += result->report.saturated;
        if (!result->errors.count) continue;
        quality->rows[quality->count++] =
            (quality_row){decision, result, errors_sqnr(&result->errors)};
        errors_add(&quality->all, &result->errors);
    }
    qsort(quality->rows, quality->count, sizeof *quality->rows, by_quality);
    return 1;
}

/* ---- what limited the run ---- */

enum { STAGES = 4 };

typedef struct stage_share {
    const char *name;
    double seconds, percent;
} stage_share;

/* Shares of the time that the lanes worked; returns the stage that took most of it. */
static const char *share_stages(const nib_run_stats *stats, stage_share shares[STAGES])
{
    const stage_share all[STAGES] = {{"reading", stats->read_seconds, 0},
                                     {"kernels", stats->kernel_seconds, 0},
                                     {"writing", stats->write_seconds, 0},
                                     {"syncing", stats->sync_seconds, 0}};
    double total = 0;
    int most = 0;
    for (int i = 0; i < STAGES; i++) total += all[i].seconds;
    for (int i = 0; i < STAGES; i++) {
        shares[i] = all[i];
        shares[i].percent = total > 0 ? 100 * all[i].seconds / total : 0;
        if (all[i].seconds > all[most].seconds) most = i;
    }
    return all[most].name;
}

static uint64_t resident_peak(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)usage.ru_maxrss * 1024;
}

/* ---- as text ---- */

static int print_worst(const quality_rows *quality, const cli_settings *settings)
{
    size_t shown = settings->all || quality->count < WORST ? quality->count : WORST;
    cli_table *t = table_new("tensor|as|>SQNR|>max error|>cosine", settings->as);
    for (size_t i = 0; i < shown; i++) {
        const quality_row *row = &quality->rows[i];
        char storage[64];
        decision_storage(row->decision, storage, sizeof storage);
        table_cell(t, "%s", row->decision->tensor->name);
        table_cell(t, "%s", storage);
        table_decibels(t, row->sqnr);
        table_cell(t, "%.3g", row->result->errors.max);
        table_cell(t, "%.6f", nib_error_cosine(&row->result->errors));
    }
    int code = table_print(t);
    if (shown < quality->count && settings->as == AS_TEXT)
        printf(" ... %zu more, all better (--all)\n", quality->count - shown);
    return code;
}

static void print_sizes(const cli_job *job)
{
    char input[WORD_BYTES], output[WORD_BYTES], changed[WORD_BYTES];
    nib_job_totals totals;
    nib_job_sum(job->job, &totals);
    printf("done:   %s -> %s (%.2fx), %.2f bits/weight", word_bytes(totals.input_bytes, input),
           word_bytes(totals.output_bytes, output),
           totals.output_bytes ? (double)totals.input_bytes / (double)totals.output_bytes : 0.0,
           bits_per(totals.output_bytes, job->parameters));
    if (totals.weights)
        printf(", %.3f of the quantized ones", (double)totals.weight_bits / (double)totals.weights);
    int64_t kept = job_count_kept(job->job);
    printf("; %s changed, %lld left\n",
           word_counted(nib_job_count(job->job) - kept, "tensor", changed), (long long)kept);
}

static void print_quality(const quality_rows *quality)
{
    char all[WORD_BYTES], worst[WORD_BYTES];
    if (!quality->count) return;
    printf("error:  SQNR %s over all quantized weights; lowest %s: ",
           word_decibels(errors_sqnr(&quality->all), all),
           word_decibels(quality->rows[0].sqnr, worst));
    print_safe(stdout, quality->rows[0].decision->tensor->name);
    putchar('\n');
}

/* Groups that needed care, so that nothing is substituted silently. */
static void print_report(const nib_report *report)
{
    const struct {
        uint32_t count;
        const char *what;
    } counts[] = {{report->nonfinite, "with NaN or infinite weights, replaced as asked"},
                  {report->empty, "of zeros or of one value"},
                  {report->underflow, "whose scale is too small for its type: they became 0"},
                  {report->saturated, "whose scale was cut to the largest of its type"}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i].count) printf("groups: %u %s\n", counts[i].count, counts[i].what);
}

static void print_cost(const cli_job *job, const quality_rows *quality)
{
    const nib_run_stats *stats = nib_job_stats(job->job);
    stage_share shares[STAGES];
    const char *most = share_stages(stats, shares);
    char read[WORD_BYTES], rate[WORD_BYTES], peak[WORD_BYTES], written[WORD_BYTES],
        resumed[WORD_BYTES];
    double bytes_a_second = stats->seconds > 0 ? (double)stats->read_bytes / stats->seconds : 0;
    printf("time:   %.2f s on %s, %s read at %s/s; of the work", stats->seconds, stats->device,
           word_bytes(stats->read_bytes, read), word_bytes((uint64_t)bytes_a_second, rate));
    for (int i = 0; i < STAGES; i++)
        printf("%s %s %.0f %%", i ? "," : "", shares[i].name, shares[i].percent);
    printf(": %s limits\n", most);
    if (quality->resumed)
        printf("resume: %s taken over from an interrupted run\n",
               word_counted(quality->resumed, "tensor", resumed));
    printf("memory: peak %s\n", word_bytes(resident_peak(), peak));
    if (job->settings->no_verify) puts("verify: not done (--no-verify)");
    else
        printf("verify: %s read back in %.2f s, every checksum agrees\n",
               word_bytes(stats->written_bytes, written), stats->verify_seconds);
}

static int print_text(const cli_job *job, const quality_rows *quality)
{
    const cli_settings *settings = job->settings;
    int code = 0;
    if (quality->count || settings->as == AS_CSV) code = print_worst(quality, settings);
    if (code || settings->as == AS_CSV) return code;
    if (quality->count) code = job_print_kept(job);
    if (code || settings->as != AS_TEXT) return code;
    putchar('\n');
    print_sizes(job);
    print_quality(quality);
    print_report(&quality->report);
    print_cost(job, quality);
    if (settings->template_path) print_next("check", settings->output, NULL); /* other names */
    else print_next("compare", nib_file_path(job->input), settings->output);
    return 0;
}

/* ---- as JSON ---- */

static json_t *json_results(const nib_job *job)
{
    json_t *list = json_array();
    const nib_decision *decision;
    for (int64_t i = 0; (decision = nib_job_at(job, i)) != NULL; i++) {
        const nib_result *result = nib_job_result(job, i);
        char storage[64];
        if (!result || (!decision->scheme && !result->errors.count)) continue;
        decision_storage(decision, storage, sizeof storage);
        json_t *row = json_errors(&result->errors);
        json_object_set_new(row, "name", json_text(decision->tensor->name));
        json_object_set_new(row, "scheme", json_text(decision_scheme(decision)));
        json_object_set_new(row, "storage", json_text(storage));
        json_object_set_new(row, "resumed", json_boolean(result->resumed));
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *json_cost(const cli_job *job)
{
    const nib_run_stats *stats = nib_job_stats(job->job);
    stage_share shares[STAGES];
    const char *most = share_stages(stats, shares);
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:i, s:o, s:o, s:s}", "device",
                     stats->device, "seconds", stats->seconds, "verify_seconds",
                     stats->verify_seconds, "read_seconds", stats->read_seconds, "kernel_seconds",
                     stats->kernel_seconds, "write_seconds", stats->write_seconds, "sync_seconds",
                     stats->sync_seconds, "read_bytes", json_bytes(stats->read_bytes),
                     "written_bytes", json_bytes(stats->written_bytes), "lanes", stats->lanes,
                     "planned_memory_bytes", json_bytes(stats->peak_memory_bytes),
                     "peak_memory_bytes", json_bytes(resident_peak()), "limited_by", most);
}

static int done_json(const cli_job *job, const quality_rows *quality)
{
    json_t *result = json_job(job);
    const nib_report *report = &quality->report;
    json_object_set_new(result, "verified", json_boolean(!job->settings->no_verify));
    json_object_set_new(result, "resumed_tensors", json_integer(quality->resumed));
    json_object_set_new(result, "errors", json_errors(&quality->all));
    json_object_set_new(result, "groups",
                        json_pack("{s:I, s:I, s:I, s:I}", "nonfinite",
                                  (json_int_t)report->nonfinite, "empty", (json_int_t)report->empty,
                                  "underflow", (json_int_t)report->underflow, "saturated",
                                  (json_int_t)report->saturated));
    json_object_set_new(result, "run", json_cost(job));
    json_object_set_new(result, "kept", json_kept(job));
    json_object_set_new(result, "tensors", json_results(job->job));
    return json_print(result);
}

int job_done(const cli_job *job)
{
    if (job->settings->quiet && job->settings->as == AS_TEXT) return 0;
    quality_rows quality;
    if (!collect(job->job, &quality)) return fail(4, "no memory for the report");
    int code = job->settings->as == AS_JSON ? done_json(job, &quality) : print_text(job, &quality);
    free(quality.rows);
    return code;
}
