/* job.c - runs a job of the command line, and what its reports share. */
#include "job.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int fail_interrupted(const cli_settings *settings)
{
    return fail(nib_status_exit_code(NIB_E_INTERRUPTED),
                "interrupted; %s.partial keeps what is done: run the same command again to go on",
                settings->output);
}

/* What is about to happen, for someone who watches. */
static void announce(const cli_job *job)
{
    char input[WORD_BYTES], output[WORD_BYTES], changed[WORD_BYTES];
    nib_job_totals totals;
    int watched = isatty(STDERR_FILENO) && job->settings->as != AS_JSON;
    if (job->settings->quiet || !watched) return;
    nib_job_sum(job->job, &totals);
    fputs("nibble: ", stderr);
    print_safe(stderr, nib_file_path(job->input));
    fputs(" -> ", stderr);
    print_safe(stderr, job->settings->output);
    int64_t kept = job_count_kept(job->job);
    fprintf(stderr, ": changes %s, leaves %lld; %s -> %s\n",
            word_counted(nib_job_count(job->job) - kept, "tensor", changed), (long long)kept,
            word_bytes(totals.input_bytes, input), word_bytes(totals.output_bytes, output));
}

int job_run(const cli_job *job)
{
    announce(job);
    const cli_settings *settings = job->settings;
    cli_progress *progress = progress_start(settings);
    nib_run_options options = run_options(settings, progress);
    nib_status status = nib_job_run(job->job, &options);
    progress_end(progress);
    if (status == NIB_E_INTERRUPTED) return fail_interrupted(settings);
    if (status != NIB_OK) return fail_status(status, settings);
    return job_done(job);
}

/* ---- what the reports share ---- */

int64_t file_elements(const nib_file *file)
{
    int64_t total = 0;
    const nib_tensor *tensor;
    for (int64_t i = 0; (tensor = nib_file_at(file, i)) != NULL; i++)
        total += tensor_elements(tensor);
    return total;
}

double bits_per(uint64_t bytes, int64_t elements)
{
    return elements ? 8.0 * (double)bytes / (double)elements : 0.0;
}

json_t *json_job(const cli_job *job)
{
    nib_job_totals totals;
    nib_job_sum(job->job, &totals);
    json_t *result = json_result(job->command->name);
    const char *output = job->settings->output;
    json_object_set_new(result, "input", json_text(nib_file_path(job->input)));
    json_object_set_new(result, "output", output ? json_text(output) : json_null());
    json_object_set_new(result, "input_bytes", json_bytes(totals.input_bytes));
    json_object_set_new(result, "output_bytes", json_bytes(totals.output_bytes));
    json_object_set_new(result, "parameters", json_integer(job->parameters));
    json_object_set_new(result, "bits_per_weight",
                        json_real(bits_per(totals.output_bytes, job->parameters)));
    json_object_set_new(
        result, "bits_per_quantized_weight",
        json_real(totals.weights ? (double)totals.weight_bits / (double)totals.weights : 0.0));
    int64_t kept = job_count_kept(job->job);
    json_object_set_new(result, "changed_tensors", json_integer(nib_job_count(job->job) - kept));
    json_object_set_new(result, "kept_tensors", json_integer(kept));
    return result;
}

void print_next(const char *command, const char *a, const char *b)
{
    char *first = shell_quote(a), *second = b ? shell_quote(b) : NULL;
    printf("next:   nibble %s %s%s%s\n", command, first ? first : a, b ? " " : "",
           second ? second
           : b    ? b
                  : "");
    free(first);
    free(second);
}

/* ---- room ---- */

void report_space(const cli_job *job, json_t *result)
{
    char place[4096], needed_text[WORD_BYTES], free_text[WORD_BYTES];
    struct statvfs disk;
    nib_job_totals totals;
    if (!job->settings->output) return;
    snprintf(place, sizeof place, "%s", job->settings->output);
    parent_directory(place);
    existing_directory(place);
    if (statvfs(place, &disk)) return;
    nib_job_sum(job->job, &totals);
    uint64_t available = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (result) {
        json_object_set_new(result, "free_bytes", json_bytes(available));
        json_object_set_new(result, "fits", json_boolean(totals.output_bytes <= available));
    } else {
        printf("disk:   needs %s; ", word_bytes(totals.output_bytes, needed_text));
        print_safe(stdout, place);
        printf(" has %s free\n", word_bytes(available, free_text));
    }
    if (totals.output_bytes > available)
        warn(job->settings, "%s has %s free, and the output needs %s; use -o on another disk",
             place, word_bytes(available, free_text), word_bytes(totals.output_bytes, needed_text));
}
