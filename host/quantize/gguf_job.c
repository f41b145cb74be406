/* gguf_job.c - a job that writes GGUF: decisions out of the policy's choices, and the units that do
 * them. */
#include "job.h"

#include "../core/internal.h"
#include "../formats/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- importance ---- */

/* What the matrix says of a tensor; NULL where nothing. */
static const nib_imatrix_entry *importance_of(const nib_gguf_job *g, const nib_subject *s,
                                              const nib_tensor *t)
{
    /* it was measured before layers were pruned, and after names were translated */
    const char *name = g->translated ? s->name : t->name;
    return g->policy.importance ? nib_imatrix_find(&g->importance, name) : NULL;
}

static int64_t experts_of(const nib_tensor *t)
{
    int64_t experts = 1;
    for (int32_t i = 0; i + 2 < t->rank; i++) experts *= t->shape[i];
    return experts;
}

/* Importance must fit the tensors that change, and be there where a type is useless without. */
static nib_status check_importance(const nib_gguf_job *g, const nib_subject *s, const nib_tensor *t)
{
    const nib_imatrix_entry *entry = importance_of(g, s, t);
    if (s->type == s->stored) return NIB_OK;
    if (!entry && nib_gguf_needs_importance(&g->policy, s))
        return g->policy.importance
                   ? NIB_FAIL(NIB_E_IMPORTANCE,
                              "the importance matrix says nothing of \"%.200s\", and %s needs it",
                              s->name, g->policy.mixture->name)
                   : NIB_FAIL(
                         NIB_E_ARGUMENT,
                         "\"%.200s\" as %s needs an importance matrix: set options.importance, or "
                         "take q2_k",
                         s->name, s->type->name);
    if (!entry || !strcmp(s->name, "token_embd.weight")) return NIB_OK;
    if (entry->count == s->row * experts_of(t)) return NIB_OK;
    return NIB_FAIL(
        NIB_E_IMPORTANCE,
        "the importance of \"%.200s\" has %lld values, and the tensor %lld columns; the "
        "matrix is another model's",
        t->name, (long long)entry->count, (long long)(s->row * experts_of(t)));
}

/* ---- creating ---- */

static nib_status read_type(const char *name, const char *what, const nib_stored_type **type_ret)
{
    if (!name) return NIB_OK;
    *type_ret = nib_stored_type_find(name);
    if (*type_ret && nib_stored_type_writable(*type_ret)) return NIB_OK;
    return NIB_FAIL(NIB_E_ARGUMENT,
                    "%s \"%.40s\" is no type that nibble writes; as q6_K, q8_0, f16", what, name);
}

static nib_status read_policy(nib_job *job, const nib_job_options *options)
{
    nib_gguf_policy *p = &job->gguf->policy;
    p->mixture = options->mixture;
    p->pure = options->pure;
    p->leave_output = options->leave_output;
    NIB_TRY(read_type(options->output_type, "output type", &p->output));
    NIB_TRY(read_type(options->embedding_type, "embedding type", &p->embedding));
    NIB_TRY(nib_gguf_job_model(job, options));
    if (options->importance)
        NIB_TRY(nib_imatrix_read(options->importance, 0, &job->gguf->importance));
    p->importance = options->importance != NULL;
    return NIB_OK;
}

/* llama.cpp wants what is no matrix of a language model in F32. */
static void make_vectors_f32(const nib_gguf_job *g, nib_subject *s)
{
    if (!g->translated || s->rank >= 2 || s->stored->type == NIB_DTYPE_NONE) return;
    s->type = nib_stored_type_find("F32");
    s->reason = "a vector: F32";
}

nib_status nib_gguf_job_create(nib_job *job, const nib_job_options *options)
{
    nib_gguf_job *g = calloc(1, sizeof *g);
    job->gguf = g;
    if (!g) return NIB_FAIL(NIB_E_MEMORY, "no memory for a job");
    g->keep_split = options->keep_split;
    g->files = options->keep_split ? nib_file_shard_count(job->input) : 1;
    NIB_TRY(read_policy(job, options));
    NIB_TRY(nib_gguf_job_subjects(job, options->prune_layers));
    NIB_TRY(nib_gguf_policy_apply(&g->policy, &job->recipe, g->subjects, g->count));
    for (int64_t i = 0; i < g->count; i++) {
        nib_subject *s = &g->subjects[i];
        nib_decision *d = &job->decisions[s->tensor];
        make_vectors_f32(g, s);
        NIB_TRY(check_importance(g, s, d->tensor));
        d->stored = s->type;
        d->reason = s->reason;
    }
    return nib_gguf_job_keys(job, options);
}

/* ---- laying out ---- */

static nib_status add_output(nib_job *job, nib_subject *s)
{
    nib_decision *d = &job->decisions[s->tensor];
    const nib_tensor *t = d->tensor;
    int32_t shard = job->gguf->files > 1 ? t->span[0].shard : 0;
    const nib_stored_type *blocks = d->stored->type == NIB_DTYPE_NONE ? d->stored : NULL;
    char *name = strdup(s->name);
    if (!name) return NIB_FAIL(NIB_E_MEMORY, "no memory for a name");
    s->out = nib_job_add_tensor(job, name, d->stored->type, blocks, t->rank, t->shape, shard);
    int64_t row = s->row / d->stored->elements * d->stored->bytes, rows = 1;
    for (int32_t i = 0; i + 1 < t->rank; i++) rows *= t->shape[i]; /* checked at opening */
    d->output_bytes = (uint64_t)(row * rows);
    d->input_bytes = t->span[0].bytes;
    return NIB_OK;
}

/* The tensor that config.json stands for, in its place before `next` (NULL: the end). */
static nib_status add_rope(nib_job *job, const nib_subject *next)
{
    nib_gguf_job *g = job->gguf;
    if (!g->rope.count || g->rope_out >= 0) return NIB_OK;
    if (next && nib_gguf_order(NIB_GGUF_ROPE_NAME, next->name) > 0) return NIB_OK;
    char *name = strdup(NIB_GGUF_ROPE_NAME);
    if (!name) return NIB_FAIL(NIB_E_MEMORY, "no memory for a name");
    g->rope_out = nib_job_add_tensor(job, name, NIB_F32, NULL, 1, &g->rope.count, 0);
    return NIB_OK;
}

/* Q8_0 rounds each weight by itself. */
static int takes_importance(const nib_stored_type *type)
{
    return type->type == NIB_DTYPE_NONE && type->number != NIB_BLOCK_Q8_0;
}

/* A vector's elements are permuted as if they were rows. */
static void permute(nib_unit *u, const nib_subject *s, const nib_tensor *t)
{
    u->head_rows = s->head_rows;
    if (!s->head_rows || t->rank != 1) return;
    u->rows = t->shape[0];
    u->cols = 1;
    u->row_bytes = s->stored->bytes;
}

static void add_unit(nib_job *job, const nib_subject *s)
{
    const nib_gguf_job *g = job->gguf;
    const nib_decision *d = &job->decisions[s->tensor];
    const nib_tensor *t = d->tensor;
    nib_unit *u;
    if (d->stored == s->stored && !s->head_rows) {
        u = nib_job_add_unit(job, NIB_WORK_COPY, s->tensor);
        u->source = t->span[0];
        u->rows = (int64_t)t->span[0].bytes;
        u->row_bytes = 1;
    } else {
        const nib_imatrix_entry *entry = importance_of(g, s, t);
        u = nib_job_add_recode(job, s->tensor, s->stored, d->stored);
        permute(u, s, t);
        if (entry && takes_importance(d->stored) && entry->count == s->row * experts_of(t)) {
            u->importance = entry->values;
            u->importance_rows = u->rows / experts_of(t);
        }
    }
    u->out[0] = s->out;
}

nib_status nib_gguf_job_lay_out(nib_job *job)
{
    nib_gguf_job *g = job->gguf;
    const nib_subject **subject_of = calloc((size_t)job->count + 1, sizeof *subject_of);
    if (!subject_of) return NIB_FAIL(NIB_E_MEMORY, "no memory for the tables of the tensors");
    nib_status status = NIB_OK;
    g->rope_out = -1;
    for (int64_t i = 0; i < g->count && status == NIB_OK; i++) {
        subject_of[g->subjects[i].tensor] = &g->subjects[i];
        status = add_rope(job, &g->subjects[i]);
        if (status == NIB_OK) status = add_output(job, &g->subjects[i]);
    }
    if (status == NIB_OK) status = add_rope(job, NULL);
    for (int64_t i = 0; i < job->count && status == NIB_OK; i++) /* in the order of the input */
        if (subject_of[i]) add_unit(job, subject_of[i]);
    free(subject_of);
    return status;
}

size_t nib_gguf_job_memory(const nib_gguf_job *g)
{
    if (!g) return 0;
    size_t bytes = (size_t)g->count * (sizeof *g->subjects + NIB_GGUF_NAME) +
                   g->importance.arena.used + (size_t)g->rope.count * sizeof *g->rope.values;
    for (int32_t i = 0; i < g->files; i++) bytes += 4 * g->keys[i].size; /* as texts grow: twice */
    return bytes;
}

void nib_gguf_job_free(nib_gguf_job *g)
{
    if (!g) return;
    for (int32_t i = 0; g->keys && i < g->files; i++) nib_text_free(&g->keys[i]);
    nib_imatrix_free(&g->importance);
    free(g->rope.values);
    free(g->key_counts);
    free(g->keys);
    free(g->names);
    free(g->subjects);
    nib_file_close(g->model);
    free(g);
}
