/* job.h - what quantize, plan and dequantize share: running a job and reporting on it. */
#ifndef NIB_CLI_JOB_H
#define NIB_CLI_JOB_H

#include "cli.h"

/* A job of the command line. */
typedef struct cli_job {
    const cli_command *command;
    const cli_settings *settings;
    const nib_file *input;
    nib_job *job;
    int64_t parameters; /* of all logical tensors */
} cli_job;

/* Each prints and returns the exit code. */
int job_run(const cli_job *job);  /* into settings->output; then job_done */
int job_plan(const cli_job *job); /* what the job would do */
int job_done(const cli_job *job); /* what the job did */

/* What no decision quantizes or dequantizes: how many, and by reason as a table or JSON. */
int64_t job_count_kept(const nib_job *job);
int job_print_kept(const cli_job *job);
json_t *json_kept(const cli_job *job);

/* A result that begins with command, input, output and sizes. */
json_t *json_job(const cli_job *job);
/* Elements of all logical tensors; 8 * bytes / elements, 0 of none. */
int64_t file_elements(const nib_file *file);
double bits_per(uint64_t bytes, int64_t elements);
/* "next:  nibble COMMAND A [B]", with the paths as a shell takes them. */
void print_next(const char *command, const char *a, const char *b);
/* Whether the disk that will hold settings->output has room; says so as text, or adds to JSON. */
void report_space(const cli_job *job, json_t *result);

#endif
