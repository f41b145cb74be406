/* cmd_check.c - nibble check: reads a whole checkpoint and lists what is wrong with it. */
#include "cli.h"

#include <stdlib.h>

typedef struct check_list {
    const cli_settings *settings;
    cli_table *table;
    json_t *json;
} check_list;

static void on_finding(void *user, const nib_finding *finding)
{
    check_list *list = user;
    if (list->settings->as == AS_JSON) {
        json_array_append_new(list->json,
                              json_pack("{s:o, s:o}", "tensor", json_text(finding->tensor), "what",
                                        json_text(finding->what)));
        return;
    }
    table_cell(list->table, "%s", finding->tensor);
    table_cell(list->table, "%s", finding->what);
}

static int report(check_list *list, const nib_file *file, int64_t findings)
{
    const cli_settings *settings = list->settings;
    char tensors[WORD_BYTES], files[WORD_BYTES], found[WORD_BYTES];
    int code = 0;
    if (settings->as == AS_JSON) {
        json_t *result = json_result("check");
        json_object_set_new(result, "path", json_text(nib_file_path(file)));
        json_object_set_new(result, "tensors", json_integer(nib_file_count(file)));
        json_object_set_new(result, "findings", list->json);
        list->json = NULL;
        code = json_print(result);
    } else if ((findings || settings->as != AS_TEXT) && !settings->quiet) {
        code = table_print(list->table);
        list->table = NULL;
    } else if (!settings->quiet) {
        printf("%s in %s read: nothing is wrong\n",
               word_counted(nib_file_count(file), "tensor", tensors),
               word_counted(nib_file_shard_count(file), "file", files));
    }
    if (code || !findings) return code;
    fflush(stdout);
    return fail(3, "%s: %s", nib_file_path(file), word_counted(findings, "finding", found));
}

int cmd_check(const cli_command *command, const cli_settings *settings)
{
    (void)command;
    nib_file *file;
    nib_status status = open_input(settings, settings->operands[0], &file);
    if (status != NIB_OK) return fail_status(status, settings);
    check_list list = {settings, table_new("tensor|what is wrong", settings->as), json_array()};
    int64_t findings = 0;
    cli_progress *progress = progress_start(settings);
    nib_run_options options = run_options(settings, progress);
    status = nib_check(file, &options, on_finding, &list, &findings);
    progress_end(progress);
    int code = status == NIB_OK ? report(&list, file, findings) : fail_status(status, settings);
    table_free(list.table);
    json_decref(list.json);
    nib_file_close(file);
    return code;
}
