/* memory_plan.h - how many lanes and how large tiles fit under the caps. */
#ifndef NIB_QUANTIZE_MEMORY_PLAN_H
#define NIB_QUANTIZE_MEMORY_PLAN_H

#include "job.h"
#include "stage.h"

typedef struct nib_memory_plan {
    int lanes;
    size_t bytes[NIB_STAGE_BUFFERS]; /* of each lane */
    size_t total_bytes;              /* of the process, all told */
    size_t device_bytes; /* of all lanes' buffers, on the device where it has memory of its own */
} nib_memory_plan;

/* Sets tile_rows of every unit and plans the buffers. E_MEMORY says what is needed. */
nib_status nib_memory_plan_make(nib_job *job, const nib_run_options *options, const nib_ctx *ctx,
                                nib_memory_plan *plan_ret);

/* What other runs over lanes plan with: the cap, what a process takes before any lane, and one
 * lane's host buffers. */
size_t nib_memory_cap(const nib_run_options *options);
size_t nib_memory_base(void);
size_t nib_memory_lane(const size_t bytes[NIB_STAGE_BUFFERS]);
/* E_MEMORY: the cap, options.`field`, does not hold the tables and one lane. */
nib_status nib_memory_refuse(const char *field, size_t cap, size_t tables, size_t lane);

#endif
