/* output_job.c - see output_job.h. */
#include "output_job.h"

#include "../core/internal.h"
#include "../formats/checkpoint.h"
#include "../formats/config_text.h"
#include "../formats/format.h"
#include "../formats/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a finished unit's record holds: enough for a resumed run's report. */
typedef struct unit_record {
    nib_error_total errors;
    nib_report report;
} unit_record;
_Static_assert(sizeof(unit_record) <= NIB_OUTPUT_RECORD_BYTES, "a record fits the journal");

/* ---- identity ---- */

static uint64_t mix(uint64_t hash, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}

static uint64_t mix_number(uint64_t hash, int64_t number)
{
    return mix(hash, &number, sizeof number);
}

/* The input's files with sizes and times, and all that decides the output's bytes. */
static void make_identity(const nib_job *job, char *text, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int32_t s = 0; s < job->input->shard_count; s++) {
        const nib_shard *shard = &job->input->shards[s];
        hash = mix(hash, shard->name, strlen(shard->name) + 1);
        hash = mix_number(hash, (int64_t)shard->input.bytes);
        hash = mix_number(hash, (int64_t)shard->input.modified.tv_sec);
        hash = mix_number(hash, (int64_t)shard->input.modified.tv_nsec);
        hash = mix_number(hash, (int64_t)shard->input.inode);
    }
    for (int64_t i = 0; i < job->count; i++) {
        const nib_decision *d = &job->decisions[i];
        hash = mix(hash, d->tensor->name, strlen(d->tensor->name) + 1);
        hash = mix_number(hash, d->scheme ? d->scheme->wire : 0);
        hash = mix_number(hash, d->scheme ? d->quant.grid.group : 0);
        hash = mix_number(hash, (int64_t)d->type);
        hash = mix_number(hash, d->stored ? d->stored->number : -1);
    }
    for (int64_t i = 0; job->gguf && i < job->gguf->importance.count; i++) {
        const nib_imatrix_entry *entry = &job->gguf->importance.entries[i];
        hash = mix(hash, entry->name, strlen(entry->name) + 1);
        hash = mix(hash, entry->values, (size_t)entry->count * sizeof *entry->values);
    }
    if (job->gguf)
        hash = mix(hash, job->gguf->rope.values,
                   (size_t)job->gguf->rope.count * sizeof *job->gguf->rope.values);
    hash = mix_number(hash, (int64_t)job->recipe.nonfinite);
    snprintf(text, size, "nibble %s job %016llx", nib_version(), (unsigned long long)hash);
}

/* ---- opening ---- */

static nib_status new_config(const nib_job *job, char **text_ret)
{
    return nib_format_compressed_tensors.config(nib_file_config(job->input), job->decisions,
                                                job->count, text_ret);
}

/* What config.json says of the quantization, as a string of JSON without white space between
 * tokens; `value` stays empty where it says nothing. */
static nib_status quote_quantization(const char *config, nib_text *value)
{
    const char *found;
    size_t bytes, count = 0;
    if (!*config) return NIB_OK;
    NIB_TRY(nib_config_find(config, strlen(config), NIB_CONFIG_KEY, &found, &bytes));
    char *compact = malloc(bytes + 1);
    if (!compact) return NIB_FAIL(NIB_E_MEMORY, "no memory for metadata");
    for (size_t i = 0, inside = 0; i < bytes; i++) {
        if (found[i] == '"') inside = !inside;
        if (inside || !strchr(" \n", found[i])) compact[count++] = found[i];
        if (found[i] == '\\') compact[count++] = found[++i]; /* which may be a quote */
    }
    compact[count] = 0;
    nib_text_quote(value, compact);
    nib_text_add(value, "", 1);
    free(compact);
    return value->status;
}

/* __metadata__: the input's own and, in a lone file, the quantization. */
static nib_status make_metadata(const nib_job *job, int directory, char **text_ret)
{
    char *config = NULL;
    nib_text value = {0};
    nib_status status = directory ? NIB_OK : new_config(job, &config);
    if (status == NIB_OK && config) status = quote_quantization(config, &value);
    if (status == NIB_OK)
        status =
            nib_config_set(nib_file_metadata(job->input, 0), NIB_CONFIG_KEY, value.data, text_ret);
    nib_text_free(&value);
    free(config);
    return status;
}

static int unit_is_done(const nib_output *output, const nib_unit *u)
{
    for (int p = 0; p < NIB_PLANES; p++)
        if (u->out[p] >= 0 && !nib_output_done(output, u->out[p])) return 0;
    return 1;
}

/* A crash between the planes of a unit: all are made again. */
static nib_status redo(nib_output *output, const nib_unit *u)
{
    for (int p = 0; p < NIB_PLANES; p++)
        if (u->out[p] >= 0) NIB_TRY(nib_output_redo(output, u->out[p]));
    return NIB_OK;
}

/* A tensor whose bytes follow from the plan; -1: there is none. */
static nib_status write_constant(nib_output *output, int64_t out, const void *bytes, size_t count)
{
    if (out < 0 || nib_output_done(output, out)) return NIB_OK;
    NIB_TRY(nib_output_write(output, out, 0, bytes, count));
    return nib_output_finish(output, out, NULL, 0);
}

static nib_status take_up(nib_job *job, nib_output *output)
{
    for (int64_t i = 0; i < job->unit_count; i++) {
        nib_unit *u = &job->units[i];
        size_t bytes;
        u->done = unit_is_done(output, u);
        const unit_record *record = u->done ? nib_output_record(output, u->out[0], &bytes) : NULL;
        if (!u->done) NIB_TRY(redo(output, u));
        if (u->done) job->results[u->decision].resumed = 1;
        int measured = u->work == NIB_WORK_QUANTIZE || u->work == NIB_WORK_RECODE;
        if (record && measured && bytes == sizeof *record) {
            unit_record copy;
            memcpy(&copy, record, sizeof copy);
            job->results[u->decision].errors = copy.errors;
            job->results[u->decision].report = copy.report;
        }
        NIB_TRY(write_constant(output, u->constant, u->bytes, (size_t)u->byte_count));
    }
    const nib_gguf_job *g = job->gguf;
    return g ? write_constant(output, g->rope_out, g->rope.values,
                              (size_t)g->rope.count * sizeof *g->rope.values)
             : NIB_OK;
}

/* A name that ends as a file does must be that file's. */
static nib_status check_ending(const nib_job *job, const char *output)
{
    int gguf = job->gguf != NULL, directory = job->makes_directory;
    const char *made[2][2] = {{"a safetensors file", "a directory of safetensors"},
                              {"a GGUF file", "a directory of GGUF files"}};
    int wrong = (nib_ends_with(output, ".gguf") && (!gguf || directory)) ||
                (nib_ends_with(output, ".safetensors") && (gguf || directory));
    if (!wrong) return NIB_OK;
    return NIB_FAIL(NIB_E_ARGUMENT,
                    "the output is %s, and \"%.200s\" has the ending of another kind",
                    made[gguf][directory], output);
}

static nib_status create(nib_job *job, const nib_run_options *options,
                         nib_output_options *output_options, nib_output **output_ret)
{
    char identity[128];
    NIB_TRY(check_ending(job, options->output));
    make_identity(job, identity, sizeof identity);
    output_options->size = sizeof *output_options;
    output_options->replace = options->replace;
    output_options->directory = job->makes_directory;
    output_options->io = NIB_IO_BUFFERED;
    output_options->identity = identity;
    nib_output *output = NULL;
    NIB_TRY(nib_output_create(options->output, job->input, job->tensors, job->tensor_count,
                              output_options, &output));
    nib_status status = take_up(job, output);
    if (status != NIB_OK) nib_output_close(output);
    else *output_ret = output;
    return status;
}

static nib_status create_safetensors(nib_job *job, const nib_run_options *options,
                                     nib_output **output_ret)
{
    char *metadata = NULL;
    job->makes_directory =
        nib_file_is_directory(job->input) || !nib_ends_with(options->output, ".safetensors");
    NIB_TRY(make_metadata(job, job->makes_directory, &metadata));
    nib_output_options output_options = {.metadata = *metadata ? metadata : NULL};
    nib_status status = create(job, options, &output_options, output_ret);
    free(metadata);
    return status;
}

static nib_status create_gguf(nib_job *job, const nib_run_options *options, nib_output **output_ret)
{
    const nib_gguf_job *g = job->gguf;
    job->makes_directory = g->files > 1;
    nib_key_text *keys = calloc((size_t)g->files, sizeof *keys);
    if (!keys) return NIB_FAIL(NIB_E_MEMORY, "no memory for the keys");
    for (int32_t i = 0; i < g->files; i++)
        keys[i] = (nib_key_text){g->keys[i].data, g->keys[i].size, g->key_counts[i]};
    nib_output_options output_options = {.container = NIB_GGUF, .keys = keys};
    nib_status status = create(job, options, &output_options, output_ret);
    free(keys);
    return status;
}

nib_status nib_job_open_output(nib_job *job, const nib_run_options *options,
                               nib_output **output_ret)
{
    return job->gguf ? create_gguf(job, options, output_ret)
                     : create_safetensors(job, options, output_ret);
}

/* ---- finishing ---- */

nib_status nib_job_finish_unit(nib_job *job, nib_output *output, const nib_unit *u)
{
    const nib_result *result = &job->results[u->decision];
    unit_record record;
    memset(&record, 0, sizeof record); /* padding too: the journal's bytes are the same each time */
    record.errors = result->errors;
    record.report = result->report;
    for (int p = NIB_PLANES - 1; p >= 0; p--) /* the one with the record last */
        if (u->out[p] >= 0)
            NIB_TRY(
                nib_output_finish(output, u->out[p], p ? NULL : &record, p ? 0 : sizeof record));
    return NIB_OK;
}

nib_status nib_job_close_output(nib_job *job, nib_output *output)
{
    if (!job->makes_directory || job->gguf) return NIB_OK; /* the files say it all */
    char *config;
    NIB_TRY(new_config(job, &config));
    nib_status status =
        *config ? nib_output_text(output, "config.json", config, strlen(config)) : NIB_OK;
    free(config);
    return status == NIB_OK ? nib_output_carry(output, job->input) : status;
}
