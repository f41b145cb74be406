/* output_job.h - a job's output: created with an identity, its finished units recorded and taken
 * up again. */
#ifndef NIB_QUANTIZE_OUTPUT_JOB_H
#define NIB_QUANTIZE_OUTPUT_JOB_H

#include "job.h"

/* Creates the output, marks units that an interrupted run finished, and writes constant tensors. */
nib_status nib_job_open_output(nib_job *job, const nib_run_options *options,
                               nib_output **output_ret);
/* Finishes a unit's output tensors, with its result as the record. */
nib_status nib_job_finish_unit(nib_job *job, nib_output *output, const nib_unit *unit);
/* Writes config.json and carries the other files over. */
nib_status nib_job_close_output(nib_job *job, nib_output *output);

#endif
