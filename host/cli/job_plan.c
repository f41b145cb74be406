/* job_plan.c - what a job would make: tensors of one kind that become the same, for one reason, in
 * one row. */
#include "job.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_GROUPS = 96 };

typedef struct decision_group {
    size_t kind;
    char becomes[64];
    const char *reason;
    int64_t tensors, elements;
    uint64_t input_bytes, output_bytes;
} decision_group;

typedef struct decision_groups {
    decision_group rows[MAX_GROUPS];
    size_t count;
} decision_groups;

static void decision_becomes(const nib_decision *decision, char *text, size_t size)
{
    if (decision->stored) {
        snprintf(text, size, "%s", decision->stored->name);
    } else if (decision->scheme) {
        char storage[64];
        quant_storage(&decision->quant, storage, sizeof storage);
        const char *rest = strchr(storage, ' ');
        snprintf(text, size, "%s%s", decision->scheme->name, rest ? rest : "");
    } else if (decision->type != NIB_DTYPE_NONE) {
        snprintf(text, size, "%s", nib_dtype_name(decision->type));
    } else {
        tensor_storage(decision->tensor, text, size);
    }
}

static int is_kept(const nib_decision *decision)
{
    const nib_tensor *tensor = decision->tensor;
    if (decision->stored)
        return tensor->blocks ? decision->stored == tensor->blocks
                              : decision->stored->type == tensor->type;
    return !decision->scheme && decision->type == NIB_DTYPE_NONE;
}

int64_t job_count_kept(const nib_job *job)
{
    int64_t kept = 0;
    const nib_decision *decision;
    for (int64_t i = 0; (decision = nib_job_at(job, i)) != NULL; i++) kept += is_kept(decision);
    return kept;
}

/* What no row is left for goes into the last one. */
static void add_decision(decision_groups *groups, const nib_decision *decision, size_t kind,
                         const char *becomes)
{
    size_t i = 0;
    for (; i < groups->count; i++) {
        const decision_group *row = &groups->rows[i];
        if (row->kind == kind && !strcmp(row->reason, decision->reason) &&
            !strcmp(row->becomes, becomes))
            break;
    }
    if (i == MAX_GROUPS) i--;
    decision_group *row = &groups->rows[i];
    if (i == groups->count) {
        *row = (decision_group){.kind = kind, .reason = decision->reason};
        snprintf(row->becomes, sizeof row->becomes, "%s", becomes);
        groups->count++;
    }
    row->tensors++;
    row->elements += tensor_elements(decision->tensor);
    row->input_bytes += decision->input_bytes;
    row->output_bytes += decision->output_bytes;
}

static int by_input(const void *a, const void *b)
{
    const decision_group *left = a, *right = b;
    return (left->input_bytes < right->input_bytes) - (left->input_bytes > right->input_bytes);
}

static void sort_groups(decision_groups *groups)
{
    qsort(groups->rows, groups->count, sizeof groups->rows[0], by_input);
}

static void group_by_kind(const nib_job *job, decision_groups *groups)
{
    const nib_decision *decision;
    groups->count = 0;
    for (int64_t i = 0; (decision = nib_job_at(job, i)) != NULL; i++) {
        char becomes[64];
        decision_becomes(decision, becomes, sizeof becomes);
        add_decision(groups, decision, tensor_kind(decision->tensor->name), becomes);
    }
    sort_groups(groups);
}

static void group_kept(const nib_job *job, decision_groups *groups)
{
    const nib_decision *decision;
    groups->count = 0;
    for (int64_t i = 0; (decision = nib_job_at(job, i)) != NULL; i++)
        if (is_kept(decision)) add_decision(groups, decision, 0, "");
    sort_groups(groups);
}

/* ---- as tables ---- */

static int print_groups(const decision_groups *groups, int as)
{
    cli_table *t = table_new("kind|>tensors|>parameters|>bytes|>become|as|why", as);
    for (size_t i = 0; i < groups->count; i++) {
        const decision_group *row = &groups->rows[i];
        table_cell(t, "%s", tensor_kind_at(row->kind));
        table_cell(t, "%lld", (long long)row->tensors);
        table_count(t, row->elements);
        table_bytes(t, row->input_bytes);
        table_bytes(t, row->output_bytes);
        table_cell(t, "%s", row->becomes);
        table_cell(t, "%s", row->reason);
    }
    return table_print(t);
}

int job_print_kept(const cli_job *job)
{
    static decision_groups groups;
    group_kept(job->job, &groups);
    if (!groups.count) return 0;
    cli_table *t = table_new("left as they are|>tensors|>parameters|>bytes", job->settings->as);
    for (size_t i = 0; i < groups.count; i++) {
        table_cell(t, "%s", groups.rows[i].reason);
        table_cell(t, "%lld", (long long)groups.rows[i].tensors);
        table_count(t, groups.rows[i].elements);
        table_bytes(t, groups.rows[i].output_bytes);
    }
    putchar('\n');
    return table_print(t);
}

static int print_tensors(const nib_job *job, int as)
{
    cli_table *t = table_new("tensor|shape|>bytes|>become|as|why", as);
    const nib_decision *decision;
    for (int64_t i = 0; (decision = nib_job_at(job, i)) != NULL; i++) {
        char shape[160], becomes[64];
        tensor_shape(decision->tensor, shape, sizeof shape);
        decision_becomes(decision, becomes, sizeof becomes);
        table_cell(t, "%s", decision->tensor->name);
        table_cell(t, "%s", shape);
        table_bytes(t, decision->input_bytes);
        table_bytes(t, decision->output_bytes);
        table_cell(t, "%s", becomes);
        table_cell(t, "%s", decision->reason);
    }
    return table_print(t);
}

/* ---- as JSON ---- */

json_t *json_kept(const cli_job *job)
{
    static decision_groups groups;
    group_kept(job->job, &groups);
    json_t *list = json_array();
    for (size_t i = 0; i < groups.count; i++)
        json_array_append_new(list, json_pack("{s:o, s:I, s:I, s:o}", "reason",
                                              json_text(groups.rows[i].reason), "tensors",
                                              (json_int_t)groups.rows[i].tensors, "parameters",
                                              (json_int_t)groups.rows[i].elements, "bytes",
                                              json_bytes(groups.rows[i].output_bytes)));
    return list;
}

static json_t *json_decisions(const nib_job *job)
{
    json_t *list = json_array();
    const nib_decision *decision;
    for (int64_t i = 0; (decision = nib_job_at(job, i)) != NULL; i++) {
        char becomes[64];
        decision_becomes(decision, becomes, sizeof becomes);
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:o, s:o, s:o}", "name", json_text(decision->tensor->name),
                            "becomes", json_text(becomes), "reason", json_text(decision->reason),
                            "input_bytes", json_bytes(decision->input_bytes), "output_bytes",
                            json_bytes(decision->output_bytes)));
    }
    return list;
}

static int plan_json(const cli_job *job)
{
    json_t *result = json_job(job);
    json_object_set_new(result, "dry_run", json_true());
    report_space(job, result);
    json_object_set_new(result, "tensors", json_decisions(job->job));
    return json_print(result);
}

int job_plan(const cli_job *job)
{
    static decision_groups groups;
    const cli_settings *settings = job->settings;
    if (settings->as == AS_JSON) return plan_json(job);
    int code = 0;
    if (settings->all) {
        code = print_tensors(job->job, settings->as);
    } else {
        group_by_kind(job->job, &groups);
        code = print_groups(&groups, settings->as);
    }
    if (code || settings->as == AS_CSV) return code;
    char input[WORD_BYTES], output[WORD_BYTES], changed[WORD_BYTES];
    nib_job_totals totals;
    nib_job_sum(job->job, &totals);
    int64_t kept = job_count_kept(job->job);
    printf("\nmakes:  %s -> %s (%.2fx smaller), %.2f bits/weight; changes %s, leaves %lld\n",
           word_bytes(totals.input_bytes, input), word_bytes(totals.output_bytes, output),
           totals.output_bytes ? (double)totals.input_bytes / (double)totals.output_bytes : 0.0,
           bits_per(totals.output_bytes, job->parameters),
           word_counted(nib_job_count(job->job) - kept, "tensor", changed), (long long)kept);
    report_space(job, NULL);
    return 0;
}
