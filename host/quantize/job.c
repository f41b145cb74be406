/* job.c - decisions become units of work and output tensors, and sizes. Reads no tensor data. */
#include "job.h"

#include "../core/internal.h"
#include "../formats/format.h"
#include "../formats/gguf.h"

#include <stdlib.h>
#include <string.h>

static uint64_t tensor_bytes(nib_dtype type, int32_t rank, const int64_t *shape)
{
    uint64_t count = 1;
    for (int32_t i = 0; i < rank; i++)
        count *= (uint64_t)shape[i]; /* checked when the file was opened */
    return (count * (uint64_t)nib_dtype_bits(type) + 7) / 8;
}

int64_t nib_job_add_tensor(nib_job *job, char *name, nib_dtype type, const nib_stored_type *blocks,
                           int32_t rank, const int64_t *shape, int32_t shard)
{
    nib_new_tensor *t = &job->tensors[job->tensor_count];
    *t = (nib_new_tensor){
        .name = name, .type = type, .blocks = blocks, .rank = rank, .shard = shard};
    memcpy(t->shape, shape, (size_t)rank * sizeof *shape);
    job->names[job->tensor_count] = name;
    return job->tensor_count++;
}

static int64_t add_tensor(nib_job *job, char *name, nib_dtype type, int32_t rank,
                          const int64_t *shape, int32_t shard)
{
    return nib_job_add_tensor(job, name, type, NULL, rank, shape, shard);
}

nib_unit *nib_job_add_unit(nib_job *job, nib_work work, int64_t decision)
{
    nib_unit *u = &job->units[job->unit_count++];
    *u = (nib_unit){.work = work, .decision = decision, .out = {-1, -1, -1}, .constant = -1};
    return u;
}

static int64_t matrix_rows(const nib_tensor *t)
{
    int64_t rows = 1;
    for (int32_t i = 0; i + 1 < t->rank; i++) rows *= t->shape[i];
    return rows;
}

nib_unit *nib_job_add_recode(nib_job *job, int64_t decision, const nib_stored_type *from,
                             const nib_stored_type *to)
{
    const nib_tensor *t = job->decisions[decision].tensor;
    nib_unit *u = nib_job_add_unit(job, NIB_WORK_RECODE, decision);
    u->source = t->span[0];
    u->rows = matrix_rows(t);
    u->cols = t->rank ? t->shape[t->rank - 1] : 1;
    u->row_bytes = u->rows ? (int64_t)u->source.bytes / u->rows : 0;
    u->from = from;
    u->to = to;
    return u;
}

int nib_decision_changes(const nib_decision *d)
{
    if (d->stored) return d->stored != nib_stored_type_of(d->tensor->type, d->tensor->blocks);
    return d->scheme || d->type != NIB_DTYPE_NONE;
}

static nib_status copy_raw(nib_job *job, const nib_raw_tensor *raw, int64_t decision)
{
    char *name = strdup(raw->name);
    if (!name) return NIB_FAIL(NIB_E_MEMORY, "no memory for a name");
    nib_unit *u = nib_job_add_unit(job, NIB_WORK_COPY, decision);
    u->out[0] = add_tensor(job, name, raw->type, raw->rank, raw->shape, raw->span.shard);
    u->source = raw->span;
    u->rows = (int64_t)raw->span.bytes;
    u->row_bytes = 1;
    job->decisions[decision].output_bytes += raw->span.bytes;
    return NIB_OK;
}

static nib_status quantize_unit(nib_job *job, int64_t decision)
{
    nib_decision *d = &job->decisions[decision];
    nib_format_plane planes[NIB_FORMAT_PLANES];
    int count;
    NIB_TRY(nib_format_compressed_tensors.planes(d->tensor, &d->quant, planes, &count));
    nib_unit *u = nib_job_add_unit(job, NIB_WORK_QUANTIZE, decision);
    u->source = d->tensor->span[0];
    u->rows = matrix_rows(d->tensor);
    u->row_bytes = u->rows ? (int64_t)u->source.bytes / u->rows : 0;
    for (int i = 0; i < count; i++) {
        int64_t out = add_tensor(job, planes[i].name, planes[i].type, planes[i].rank,
                                 planes[i].shape, u->source.shard);
        d->output_bytes += tensor_bytes(planes[i].type, planes[i].rank, planes[i].shape);
        if (planes[i].source >= 0) {
            u->out[planes[i].source] = out;
            continue;
        }
        u->constant = out;
        u->byte_count = planes[i].byte_count;
        memcpy(u->bytes, planes[i].bytes, sizeof u->bytes);
    }
    return NIB_OK;
}

static nib_status dequantize_unit(nib_job *job, int64_t decision)
{
    nib_decision *d = &job->decisions[decision];
    const nib_tensor *t = d->tensor;
    char *name = strdup(t->name);
    if (!name) return NIB_FAIL(NIB_E_MEMORY, "no memory for a name");
    nib_unit *u;
    if (t->blocks) {
        u = nib_job_add_recode(job, decision, t->blocks, nib_stored_type_of(d->type, NULL));
    } else {
        u = nib_job_add_unit(job, NIB_WORK_DEQUANTIZE, decision);
        u->source = t->span[NIB_PLANE_CODES];
        u->rows = matrix_rows(t);
        u->row_bytes = u->rows ? (int64_t)u->source.bytes / u->rows : 0;
    }
    u->out[0] = add_tensor(job, name, d->type, t->rank, t->shape, u->source.shard);
    d->output_bytes = tensor_bytes(d->type, t->rank, t->shape);
    return NIB_OK;
}

static void drop_layout(nib_job *job)
{
    for (int64_t i = 0; i < job->tensor_count; i++) free(job->names[i]);
    job->tensor_count = job->unit_count = 0;
    for (int64_t i = 0; i < job->count; i++)
        job->decisions[i].output_bytes = job->decisions[i].input_bytes = 0;
    job->totals = (nib_job_totals){0};
}

static void sum(nib_job *job)
{
    nib_job_totals *t = &job->totals;
    for (int32_t s = 0; s < nib_file_shard_count(job->input); s++)
        t->input_bytes += nib_file_shard_bytes(job->input, s);
    if (job->gguf)
        t->output_bytes += (uint64_t)job->gguf->rope.count * sizeof *job->gguf->rope.values;
    for (int64_t i = 0; i < job->count; i++) {
        const nib_decision *d = &job->decisions[i];
        int64_t rows = matrix_rows(d->tensor),
                cols = d->tensor->rank ? d->tensor->shape[d->tensor->rank - 1] : 1;
        t->output_bytes += d->output_bytes;
        int blocks = d->stored && d->stored->type == NIB_DTYPE_NONE && nib_decision_changes(d);
        if (!d->scheme && !blocks) {
            t->kept++;
            continue;
        }
        t->quantized++;
        t->weights += rows * cols;
        t->weight_bits += d->output_bytes * 8;
    }
}

nib_status nib_job_lay_out(nib_job *job)
{
    drop_layout(job);
    if (job->gguf) {
        NIB_TRY(nib_gguf_job_lay_out(job));
        sum(job);
        return NIB_OK;
    }
    int64_t raws = nib_file_raw_count(job->input);
    for (int64_t r = 0; r < raws; r++) { /* in file order, so that reading is sequential */
        int64_t owner = nib_file_owner(job->input, r);
        const nib_raw_tensor *raw = nib_file_raw_at(job->input, r);
        nib_decision *d = &job->decisions[owner];
        d->input_bytes += raw->span.bytes;
        int whole = d->scheme || d->type != NIB_DTYPE_NONE; /* one unit for all its raw tensors */
        if (!whole) {
            NIB_TRY(copy_raw(job, raw, owner));
            continue;
        }
        if (d->output_bytes) continue;
        NIB_TRY(d->scheme ? quantize_unit(job, owner) : dequantize_unit(job, owner));
    }
    sum(job);
    return NIB_OK;
}

static nib_status decide_dequantize(nib_job *job, nib_dtype type)
{
    for (int64_t i = 0; i < job->count; i++) {
        const nib_tensor *t = nib_file_at(job->input, i);
        nib_decision *d = &job->decisions[i];
        *d = (nib_decision){.tensor = t, .reason = "kept: not quantized"};
        if (!t->quantized) continue;
        if (t->quantized == 2)
            return NIB_FAIL(NIB_E_UNSUPPORTED, "\"%.200s\" is %s, which nibble does not decode",
                            t->name, t->why ? t->why : "quantized in an unknown way");
        d->type = type ? type : t->type;
        d->reason = "dequantized";
    }
    return NIB_OK;
}

static nib_status create(nib_job *job, const nib_job_options *options)
{
    job->count = nib_file_count(job->input);
    int64_t raws = nib_file_raw_count(job->input), tensors;
    if (!nib_mul(raws, NIB_FORMAT_PLANES, &tensors))
        return NIB_FAIL(NIB_E_OVERFLOW, "too many tensors");
    job->decisions = calloc((size_t)job->count + 1, sizeof *job->decisions);
    job->results = calloc((size_t)job->count + 1, sizeof *job->results);
    job->units = calloc((size_t)raws + 1, sizeof *job->units);
    job->tensors = calloc((size_t)tensors + 1, sizeof *job->tensors);
    job->names = calloc((size_t)tensors + 1, sizeof *job->names);
    if (!job->decisions || !job->results || !job->units || !job->tensors || !job->names)
        return NIB_FAIL(NIB_E_MEMORY, "no memory for the tables of %lld tensors", (long long)raws);
    if (job->kind == NIB_JOB_DEQUANTIZE) NIB_TRY(decide_dequantize(job, options->dequantize_type));
    else if (!options->mixture && !strcmp(nib_file_format(job->input), "gguf"))
        return NIB_FAIL(NIB_E_UNSUPPORTED,
                        "a GGUF file becomes a GGUF file, as q4_k_m; `nibble dequantize` makes "
                        "safetensors of it");
    else {
        NIB_TRY(nib_recipe_create(options, &job->recipe));
        NIB_TRY(options->mixture ? nib_gguf_job_create(job, options)
                                 : nib_recipe_decide(&job->recipe, job->input, job->decisions));
    }
    return nib_job_lay_out(job);
}

static nib_status check_options(const nib_job_options *o)
{
    nib_dtype type = o->dequantize_type;
    if (o->kind != NIB_JOB_QUANTIZE && o->kind != NIB_JOB_DEQUANTIZE)
        return NIB_FAIL(NIB_E_ARGUMENT, "options.kind is %d, no nib_job_kind", (int)o->kind);
    if (o->group < -1)
        return NIB_FAIL(NIB_E_ARGUMENT, "options.group is %lld; it must be -1 or more",
                        (long long)o->group);
    if ((unsigned)o->fallback > NIB_FALLBACK_SKIP)
        return NIB_FAIL(NIB_E_ARGUMENT, "options.fallback is %d, no nib_group_fallback",
                        (int)o->fallback);
    if ((unsigned)o->nonfinite > NIB_NONFINITE_SATURATE)
        return NIB_FAIL(NIB_E_ARGUMENT, "options.nonfinite is %d, no nib_nonfinite",
                        (int)o->nonfinite);
    if (type != NIB_DTYPE_NONE && !nib_is_float(type))
        return NIB_FAIL(NIB_E_ARGUMENT,
                        "options.dequantize_type is %s; it must be F32, F16 or BF16",
                        nib_dtype_name(type));
    return NIB_OK;
}

nib_status nib_job_create(const nib_file *input, const nib_job_options *options, nib_job **job_ret)
{
    nib_job_options own;
    if (!input || !options || !job_ret)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL",
                        !input     ? "input"
                        : !options ? "options"
                                   : "job_ret");
    NIB_TRY(nib_take_given("options", "nib_job_options", options, sizeof own, &own, sizeof own));
    NIB_TRY(check_options(&own));
    nib_job *job = calloc(1, sizeof *job);
    if (!job) return NIB_FAIL(NIB_E_MEMORY, "no memory for a job (%zu bytes)", sizeof *job);
    job->input = input;
    job->kind = own.kind;
    nib_status status = create(job, &own);
    if (status != NIB_OK) nib_job_close(job);
    else *job_ret = job;
    return status;
}

void nib_job_close(nib_job *job)
{
    if (!job) return;
    if (job->names && job->decisions) drop_layout(job);
    nib_recipe_free(&job->recipe);
    nib_gguf_job_free(job->gguf);
    free(job->names);
    free(job->tensors);
    free(job->units);
    free(job->results);
    free(job->decisions);
    free(job);
}

size_t nib_job_memory(const nib_job *job)
{
    size_t raws = (size_t)nib_file_raw_count(job->input), names = 0;
    for (int64_t i = 0; i < job->tensor_count; i++) names += strlen(job->names[i]) + 17;
    return (size_t)job->count * (sizeof *job->decisions + sizeof *job->results) +
           raws * sizeof *job->units +
           (size_t)job->tensor_count * (sizeof *job->tensors + sizeof *job->names) + names +
           nib_gguf_job_memory(job->gguf);
}

int64_t nib_job_count(const nib_job *job) { return job->count; }

const nib_decision *nib_job_at(const nib_job *job, int64_t index)
{
    return index >= 0 && index < job->count ? &job->decisions[index] : NULL;
}

void nib_job_sum(const nib_job *job, nib_job_totals *totals_ret) { *totals_ret = job->totals; }

const nib_result *nib_job_result(const nib_job *job, int64_t index)
{
    return index >= 0 && index < job->count ? &job->results[index] : NULL;
}

const nib_run_stats *nib_job_stats(const nib_job *job) { return &job->stats; }
