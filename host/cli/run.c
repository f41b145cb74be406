/* run.c - what the commands that run over tensors share: options of a run, its errors summed. */
#include "cli.h"

#include <math.h>

nib_run_options run_options(const cli_settings *settings, cli_progress *progress)
{
    return (nib_run_options){
        .size = sizeof(nib_run_options),
        .output = settings->output,
        .device = settings->device,
        .threads = (int32_t)settings->threads,
        .max_memory_bytes = settings->max_memory,
        .max_vram_bytes = settings->max_vram,
        .replace = settings->force,
        .verify = !settings->no_verify,
        .io = settings->direct ? NIB_IO_DIRECT : NIB_IO_BUFFERED,
        .progress = progress ? progress_show : NULL,
        .user = progress,
        .cancel = &interrupted,
    };
}

void errors_add(nib_error_total *sum, const nib_error_total *errors)
{
    sum->xx += errors->xx;
    sum->yy += errors->yy;
    sum->xy += errors->xy;
    sum->ee += errors->ee;
    if (!(errors->max <= sum->max)) sum->max = errors->max; /* NaN sticks */
    sum->count += errors->count;
}

double errors_sqnr(const nib_error_total *errors)
{
    return errors->ee == 0 ? HUGE_VAL : nib_error_sqnr(errors);
}
