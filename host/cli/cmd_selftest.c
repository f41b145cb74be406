/* cmd_selftest.c - nibble selftest: the operations on planes of a device against `ref`, byte for
 * byte, and `ref` against numbers that were worked out on paper. */
#include "selftest.h"

#include <stdlib.h>
#include <string.h>

/* ---- printing ---- */

static json_t *json_outcome(const test_outcome *outcome)
{
    json_t *list = json_array();
    for (size_t op = 0; op < SELFTEST_OPERATIONS; op++)
        json_array_append_new(list,
                              json_pack("{s:s, s:i, s:i}", "operation", selftest_operation(op),
                                        "checked", outcome->operations[op].checked, "wrong",
                                        outcome->operations[op].wrong));
    return json_pack("{s:s, s:i, s:i, s:o, s:o}", "device", outcome->device, "checked",
                     outcome->all.checked, "wrong", outcome->all.wrong, "operations", list,
                     "first_wrong", json_text(outcome->first));
}

static void add_rows(cli_table *t, const test_outcome *outcome)
{
    for (size_t op = 0; op < SELFTEST_OPERATIONS; op++) {
        table_cell(t, "%s", outcome->device);
        table_cell(t, "%s", selftest_operation(op));
        table_cell(t, "%d", outcome->operations[op].checked);
        table_cell(t, "%d", outcome->operations[op].wrong);
    }
}

static int list_kernels(const char *device, const cli_settings *settings, json_t *json)
{
    nib_ctx *ctx;
    nib_status status = nib_open(device, NULL, &ctx);
    if (status != NIB_OK) return fail_status(status, settings);
    const char *name;
    for (size_t i = 0; (name = nib_kernel_name(ctx, i)) != NULL; i++) {
        if (settings->as == AS_JSON) json_array_append_new(json, json_string(name));
        else if (settings->as != AS_MARKDOWN) puts(name);
        else printf("- %s\n", name);
    }
    nib_close(ctx);
    return 0;
}

typedef struct test_session {
    const cli_settings *settings;
    test_side ref;
    cli_table *table;
    json_t *json;
    int checked, wrong;
} test_session;

static int visit(test_session *session, const char *device)
{
    if (session->settings->list) return list_kernels(device, session->settings, session->json);
    test_outcome outcome;
    nib_status status =
        selftest_device(device, (int32_t)session->settings->threads, &session->ref, &outcome);
    if (status != NIB_OK) return fail_status(status, session->settings);
    if (outcome.first[0]) fail(6, "%s: %s", outcome.device, outcome.first);
    add_rows(session->table, &outcome);
    json_array_append_new(session->json, json_outcome(&outcome));
    session->checked += outcome.all.checked;
    session->wrong += outcome.all.wrong;
    return 0;
}

static int visit_all(test_session *session)
{
    const char *device = session->settings->device;
    if (device && strcmp(device, "all") != 0) return visit(session, device);
    nib_device_info *infos;
    size_t count;
    nib_status status = list_devices(&infos, &count);
    if (status != NIB_OK) return fail_status(status, session->settings);
    int code = 0;
    for (size_t i = 0; i < count && !code; i++) code = visit(session, infos[i].name);
    free(infos);
    return code;
}

static int report(test_session *session)
{
    int code = session->wrong ? 6 : 0;
    const cli_settings *settings = session->settings;
    if (settings->as == AS_JSON) {
        json_t *result = json_result("selftest");
        json_object_set(result, settings->list ? "kernels" : "devices", session->json);
        int printed = json_print(result);
        return printed ? printed : code;
    }
    if (settings->list || settings->quiet) return code;
    int printed = table_print(session->table);
    session->table = NULL;
    if (settings->as == AS_TEXT)
        printf("\n%d checked, %d wrong\n", session->checked, session->wrong);
    return printed ? printed : code;
}

int cmd_selftest(const cli_command *command, const cli_settings *settings)
{
    (void)command;
    test_session session = {.settings = settings,
                            .table = table_new("device|operation|>checked|>wrong", settings->as),
                            .json = json_array()};
    int code = 0;
    nib_status status = side_open("ref", 1, &session.ref);
    if (status != NIB_OK) code = fail_status(status, settings);
    else if (selftest_paper(&session.ref))
        code = fail(1, "ref gives a wrong answer: a broken build");
    if (!code && settings->list && settings->as == AS_CSV) puts("kernel");
    if (!code) code = visit_all(&session);
    if (!code) code = report(&session);
    table_free(session.table);
    json_decref(session.json);
    side_close(&session.ref);
    return code;
}
