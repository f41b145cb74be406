/* gguf_subjects.c - what the policy decides on: the input's tensors under the names and in the
 * order of the output, without the layers that are to go. */
#include "gguf_names.h"
#include "job.h"

#include "../core/internal.h"
#include "../formats/gguf.h"

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

/* ---- names ---- */

/* Rows of one head of q or k, which are permuted; 0 where rows stay. */
static nib_status find_head_rows(const nib_gguf_policy *p, const nib_tensor *t, nib_subject *s)
{
    int which = nib_gguf_is_permuted(p->architecture, s->name);
    uint64_t heads = which == 2 ? p->kv_heads : p->heads;
    int64_t rows = t->rank ? t->shape[0] : 1;
    if (!which) return NIB_OK;
    if (heads == 0 || (uint64_t)rows % (2 * heads))
        return NIB_FAIL(NIB_E_SHAPE,
                        "\"%.200s\" has %lld rows, and the template %llu heads of them", t->name,
                        (long long)rows, (unsigned long long)heads);
    s->head_rows = rows / (int64_t)heads;
    return NIB_OK;
}

/* Gives the subject its name in the output, in `room`: *keep_ret 0 where it is left out. */
static nib_status name_subject(const nib_gguf_job *g, const pruning *p, const nib_tensor *t,
                               nib_subject *s, char room[NIB_GGUF_NAME_ROOM], int *keep_ret)
{
    if (g->translated) {
        NIB_TRY(nib_gguf_rename(g->policy.architecture, t->name, room));
        s->name = room;
        NIB_TRY(find_head_rows(&g->policy, t, s));
    }
    int64_t layer = nib_gguf_layer(s->name), renamed = layer < 0 ? layer : new_layer(p, layer);
    *keep_ret = *s->name && (layer < 0 || renamed >= 0);
    if (strlen(s->name) >= NIB_GGUF_NAME_ROOM)
        return NIB_FAIL(NIB_E_NAME,
                        "\"%.200s\" has %zu bytes; a name in a GGUF file has at most %d", s->name,
                        strlen(s->name), NIB_GGUF_NAME);
    if (layer == renamed) return NIB_OK;
    char renumbered[2 * NIB_GGUF_NAME_ROOM];
    snprintf(renumbered, sizeof renumbered, "blk.%lld%s", (long long)renamed,
             strchr(s->name + 4, '.'));
    memcpy(room, renumbered, strlen(renumbered) + 1); /* no longer: numbers only fall */
    s->name = room;
    return NIB_OK;
}

static int by_order(const void *a, const void *b)
{
    return nib_gguf_order(((const nib_subject *)a)->name, ((const nib_subject *)b)->name);
}

static nib_status add_subjects(nib_job *job, const pruning *p)
{
    nib_gguf_job *g = job->gguf;
    for (int64_t i = 0; i < job->count; i++) {
        const nib_tensor *t = nib_file_at(job->input, i);
        nib_subject *s = &g->subjects[g->count];
        char none[NIB_GGUF_NAME_ROOM],
            *room = g->names ? g->names + g->count * NIB_GGUF_NAME_ROOM : none;
        int keep;
        job->decisions[i] = (nib_decision){.tensor = t, .reason = "left out"};
        NIB_TRY(make_subject(t, i, s));
        NIB_TRY(name_subject(g, p, t, s, room, &keep));
        g->count += keep;
    }
    /* files that stay split keep their order, so that each tensor stays in its file */
    if (!g->keep_split) qsort(g->subjects, (size_t)g->count, sizeof *g->subjects, by_order);
    return NIB_OK;
}

nib_status nib_gguf_job_subjects(nib_job *job, const char *prune)
{
    nib_gguf_job *g = job->gguf;
    pruning p = {0};
    size_t count = (size_t)job->count + 1;
    g->subjects = calloc(count, sizeof *g->subjects);
    g->names = prune || g->translated ? calloc(count, NIB_GGUF_NAME_ROOM) : NULL;
    nib_status status =
        g->subjects && (g->names || !(prune || g->translated))
            ? NIB_OK
            : NIB_FAIL(NIB_E_MEMORY, "no memory for the tables of %zu tensors", count);
    if (status == NIB_OK && prune) status = read_pruning(prune, &p);
    for (int64_t i = 0; i < p.count && status == NIB_OK; i++)
        if ((uint64_t)p.layers[i] >= g->policy.layers)
            status = NIB_FAIL(NIB_E_ARGUMENT, "layer %lld cannot be pruned: the model has %llu",
                              (long long)p.layers[i], (unsigned long long)g->policy.layers);
    if (status == NIB_OK) status = add_subjects(job, &p);
    free(p.layers);
    return status;
}
