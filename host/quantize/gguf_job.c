/* gguf_job.c - a job that writes GGUF: subjects for the policy out of the input's tensors, decisions
 * out of its choices, and the units that do them. */
#include "job.h"

#include "../core/internal.h"
#include "../formats/gguf.h"
#include "../formats/gguf_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- layers that are left out ---- */

/* Which layers go; sorted, each once. */
typedef struct pruning {
    int64_t *layers;
    int64_t count;
} pruning;

static int by_value(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* "3,7,16" */
static nib_status read_pruning(const char *text, pruning *p)
{
    size_t most = 1;
    for (const char *at = text; *at; at++) most += *at == ',';
    p->layers = calloc(most, sizeof *p->layers);
    if (!p->layers) return NIB_FAIL(NIB_E_MEMORY, "no memory for a list of layers");
    for (const char *at = text;; at++) {
        char *end;
        long long layer = strtoll(at, &end, 10);
        if (end == at || layer < 0 || (*end && *end != ','))
            return NIB_FAIL(NIB_E_ARGUMENT,
                            "layers to prune are \"%.80s\"; they must be numbers, as 3,7,16", text);
        p->layers[p->count++] = layer;
        if (!*end) break;
        at = end;
    }
    qsort(p->layers, (size_t)p->count, sizeof *p->layers, by_value);
    for (int64_t i = 1; i < p->count; i++)
        if (p->layers[i] == p->layers[i - 1])
            return NIB_FAIL(NIB_E_ARGUMENT, "layer %lld is to be pruned twice",
                            (long long)p->layers[i]);
    return NIB_OK;
}

/* The new number of a layer, or -1 where it goes. */
static int64_t new_layer(const pruning *p, int64_t layer)
{
    int64_t before = 0;
    for (int64_t i = 0; i < p->count; i++) {
        if (p->layers[i] == layer) return -1;
        before += p->layers[i] < layer;
    }
    return layer - before;
}

/* ---- subjects ---- */

static int32_t rank_without_ones(const nib_tensor *t)
{
    int32_t outer = 0;
    while (outer + 1 < t->rank && t->shape[outer] == 1) outer++;
    return t->rank - outer;
}

static nib_status make_subject(const nib_tensor *t, int64_t index, nib_subject *s)
{
    const nib_stored_type *stored = nib_stored_type_of(t->type, t->blocks);
    if (t->quantized && !t->blocks)
        return NIB_FAIL(NIB_E_QUANTIZED,
                        "\"%.200s\" is already quantized (%s); `nibble dequantize` first", t->name,
                        t->why ? t->why : "compressed-tensors");
    if (!stored)
        return NIB_FAIL(NIB_E_DTYPE, "\"%.200s\" is %s, which GGUF files cannot hold", t->name,
                        nib_dtype_name(t->type));
    *s = (nib_subject){.name = t->name,
                       .rank = rank_without_ones(t),
                       .row = t->rank ? t->shape[t->rank - 1] : 1,
                       .stored = stored,
                       .tensor = index};
    return NIB_OK;
}

/* The subject's name with another number of its layer, at `room`; the room that it took. */
static size_t rename_layer(nib_subject *s, int64_t layer, char *room)
{
    const char *rest = strchr(s->name + 4, '.');
    int length = snprintf(room, strlen(s->name) + 1, "blk.%lld%s", (long long)layer, rest);
    s->name = room;
    return (size_t)length + 1; /* never longer than it was: numbers only fall */
}

static int by_order(const void *a, const void *b)
{
    return nib_gguf_order(((const nib_subject *)a)->name, ((const nib_subject *)b)->name);
}

static nib_status add_subjects(nib_job *job, const pruning *p)
{
    nib_gguf_job *g = job->gguf;
    size_t names = 0;
    for (int64_t i = 0; i < job->count; i++) {
        const nib_tensor *t = nib_file_at(job->input, i);
        nib_decision *d = &job->decisions[i];
        *d = (nib_decision){.tensor = t, .reason = "pruned: its layer"};
        int64_t layer = nib_gguf_layer(t->name);
        int64_t renamed = layer < 0 ? layer : new_layer(p, layer);
        if (layer >= 0 && renamed < 0) continue;
        NIB_TRY(make_subject(t, i, &g->subjects[g->count]));
        if (layer != renamed)
            names += rename_layer(&g->subjects[g->count], renamed, g->names + names);
        g->count++;
    }
    /* files that stay split keep their order, so that each tensor stays in its file */
    if (!g->keep_split) qsort(g->subjects, (size_t)g->count, sizeof *g->subjects, by_order);
    return NIB_OK;
}

static nib_status make_subjects(nib_job *job, const char *prune)
{
    nib_gguf_job *g = job->gguf;
    size_t names = 1;
    pruning p = {0};
    for (int64_t i = 0; i < job->count; i++) names += strlen(nib_file_at(job->input, i)->name) + 1;
    g->subjects = calloc((size_t)job->count + 1, sizeof *g->subjects);
    g->names = prune ? malloc(names) : NULL;
    nib_status status = g->subjects && (g->names || !prune)
                            ? NIB_OK
                            : NIB_FAIL(NIB_E_MEMORY, "no memory for the tables of %lld tensors",
                                       (long long)job->count);
    if (status == NIB_OK && prune) status = read_pruning(prune, &p);
    for (int64_t i = 0; i < p.count && status == NIB_OK; i++)
        if ((uint64_t)p.layers[i] >= g->policy.layers)
            status = NIB_FAIL(NIB_E_ARGUMENT, "layer %lld cannot be pruned: the model has %llu",
                              (long long)p.layers[i], (unsigned long long)g->policy.layers);
    if (status == NIB_OK) status = add_subjects(job, &p);
    free(p.layers);
    return status;
}

/* ---- importance ---- */

/* What the matrix says of a tensor; NULL where nothing. */
static const nib_imatrix_entry *importance_of(const nib_gguf_job *g, const nib_tensor *t)
{
    return g->policy.importance ? nib_imatrix_find(&g->importance, t->name) : NULL;
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
    const nib_imatrix_entry *entry = importance_of(g, t);
    if (s->type == s->stored) return NIB_OK;
    if (!entry && nib_gguf_needs_importance(&g->policy, s))
        return g->policy.importance
                   ? NIB_FAIL(NIB_E_IMPORTANCE,
                              "the importance matrix says nothing of \"%.200s\", and %s needs it",
                              s->name, g->policy.mixture->name)
                   : NIB_FAIL(NIB_E_ARGUMENT,
                              "\"%.200s\" as %s needs an importance matrix: --importance FILE, or "
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
    NIB_TRY(nib_gguf_job_model(job->input, p));
    if (options->architecture)
        snprintf(p->architecture, sizeof p->architecture, "%s", options->architecture);
    if (options->importance)
        NIB_TRY(nib_imatrix_read(options->importance, 0, &job->gguf->importance));
    p->importance = options->importance != NULL;
    return NIB_OK;
}

nib_status nib_gguf_job_create(nib_job *job, const nib_job_options *options)
{
    nib_gguf_job *g = calloc(1, sizeof *g);
    job->gguf = g;
    if (!g) return NIB_FAIL(NIB_E_MEMORY, "no memory for a job");
    g->keep_split = options->keep_split;
    g->files = options->keep_split ? nib_file_shard_count(job->input) : 1;
    NIB_TRY(read_policy(job, options));
    NIB_TRY(make_subjects(job, options->prune_layers));
    NIB_TRY(nib_gguf_policy_apply(&g->policy, &job->recipe, g->subjects, g->count));
    for (int64_t i = 0; i < g->count; i++) {
        const nib_subject *s = &g->subjects[i];
        nib_decision *d = &job->decisions[s->tensor];
        NIB_TRY(check_importance(g, s, d->tensor));
        d->stored = s->type;
        d->reason = s->reason;
    }
    return nib_gguf_job_keys(job, options);
}

/* ---- laying out ---- */

static nib_status add_output(nib_job *job, const nib_subject *s)
{
    nib_decision *d = &job->decisions[s->tensor];
    const nib_tensor *t = d->tensor;
    int32_t shard = job->gguf->files > 1 ? t->span[0].shard : 0;
    const nib_stored_type *blocks = d->stored->type == NIB_DTYPE_NONE ? d->stored : NULL;
    char *name = strdup(s->name);
    if (!name) return NIB_FAIL(NIB_E_MEMORY, "no memory for a name");
    nib_job_add_tensor(job, name, d->stored->type, blocks, t->rank, t->shape, shard);
    int64_t row = s->row / d->stored->elements * d->stored->bytes, rows = 1;
    for (int32_t i = 0; i + 1 < t->rank; i++) rows *= t->shape[i]; /* checked at opening */
    d->output_bytes = (uint64_t)(row * rows);
    d->input_bytes = t->span[0].bytes;
    return NIB_OK;
}

/* Q8_0 rounds each weight by itself. */
static int takes_importance(const nib_stored_type *type)
{
    return type->type == NIB_DTYPE_NONE && type->number != NIB_BLOCK_Q8_0;
}

static void add_unit(nib_job *job, int64_t output)
{
    const nib_gguf_job *g = job->gguf;
    const nib_subject *s = &g->subjects[output];
    const nib_decision *d = &job->decisions[s->tensor];
    const nib_tensor *t = d->tensor;
    nib_unit *u;
    if (d->stored == s->stored) {
        u = nib_job_add_unit(job, NIB_WORK_COPY, s->tensor);
        u->source = t->span[0];
        u->rows = (int64_t)t->span[0].bytes;
        u->row_bytes = 1;
    } else {
        const nib_imatrix_entry *entry = importance_of(g, t);
        u = nib_job_add_recode(job, s->tensor, s->stored, d->stored);
        if (entry && takes_importance(d->stored) && entry->count == s->row * experts_of(t)) {
            u->importance = entry->values;
            u->importance_rows = u->rows / experts_of(t);
        }
    }
    u->out[0] = output;
}

nib_status nib_gguf_job_lay_out(nib_job *job)
{
    const nib_gguf_job *g = job->gguf;
    int64_t *output = malloc(((size_t)job->count + 1) * sizeof *output);
    if (!output) return NIB_FAIL(NIB_E_MEMORY, "no memory for the tables of the tensors");
    nib_status status = NIB_OK;
    for (int64_t i = 0; i < job->count; i++) output[i] = -1;
    for (int64_t i = 0; i < g->count && status == NIB_OK; i++) {
        output[g->subjects[i].tensor] = i;
        status = add_output(job, &g->subjects[i]);
    }
    for (int64_t i = 0; i < job->count && status == NIB_OK; i++) /* in the order of the input */
        if (output[i] >= 0) add_unit(job, output[i]);
    free(output);
    return status;
}

size_t nib_gguf_job_memory(const nib_gguf_job *g)
{
    if (!g) return 0;
    size_t bytes =
        (size_t)g->count * (sizeof *g->subjects + NIB_GGUF_NAME) + g->importance.arena.used;
    for (int32_t i = 0; i < g->files; i++) bytes += 4 * g->keys[i].size; /* as texts grow: twice */
    return bytes;
}

void nib_gguf_job_free(nib_gguf_job *g)
{
    if (!g) return;
    for (int32_t i = 0; g->keys && i < g->files; i++) nib_text_free(&g->keys[i]);
    nib_imatrix_free(&g->importance);
    free(g->key_counts);
    free(g->keys);
    free(g->names);
    free(g->subjects);
    free(g);
}
