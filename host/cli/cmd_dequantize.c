/* cmd_dequantize.c - nibble dequantize: quantized tensors become plain numbers again. */
#include "job.h"

static int with_file(const cli_command *command, const cli_settings *settings, const nib_file *file)
{
    static const nib_dtype types[] = {[DTYPE_SCALE] = NIB_DTYPE_NONE,
                                      [DTYPE_F16] = NIB_F16,
                                      [DTYPE_BF16] = NIB_BF16,
                                      [DTYPE_F32] = NIB_F32};
    nib_job_options options = {
        .size = sizeof options,
        .kind = NIB_JOB_DEQUANTIZE,
        .group = GROUP_OF_SCHEME,
        .dequantize_type = types[settings->dtype],
    };
    cli_job job = {command, settings, file, NULL, file_elements(file)};
    nib_status status = nib_job_create(file, &options, &job.job);
    if (status != NIB_OK) return fail_status(status, settings);
    int code = settings->dry_run ? job_plan(&job) : job_run(&job);
    nib_job_close(job.job);
    return code;
}

int cmd_dequantize(const cli_command *command, const cli_settings *settings)
{
    if (!settings->dry_run && !settings->output)
        return fail_usage(command, "-o OUT is missing: where the plain checkpoint goes");
    nib_file *file;
    nib_status status = open_input(settings, settings->operands[0], &file);
    if (status != NIB_OK) return fail_status(status, settings);
    int code = with_file(command, settings, file);
    nib_file_close(file);
    return code;
}
