/* test_recipe.c - which tensor of real models gets what, and what patterns, recipes and misfits
 * do. Checkpoints are headers over sparse files: nothing is read but names and shapes. */
#include "../include/nibble_quantize.h"
#include "check.h"

#include <fcntl.h>

typedef struct model_tensor {
    const char *name, *type;
    int rows, cols;       /* cols 0: one dimension */
    int depth;            /* not 0: a 3-d tensor [depth, rows, cols] */
    const char *expected; /* "int4", or the start of the reason it is kept for */
} model_tensor;

static const model_tensor llama[] = {
    {"model.embed_tokens.weight", "BF16", 512, 256, 0, "kept: embedding"},
    {"model.layers.0.self_attn.q_proj.weight", "BF16", 256, 256, 0, "int4"},
    {"model.layers.0.self_attn.k_proj.weight", "BF16", 64, 256, 0, "int4"},
    {"model.layers.0.self_attn.v_proj.weight", "BF16", 64, 256, 0, "int4"},
    {"model.layers.0.self_attn.o_proj.weight", "BF16", 256, 256, 0, "int4"},
    {"model.layers.0.mlp.gate_proj.weight", "BF16", 512, 256, 0, "int4"},
    {"model.layers.0.mlp.up_proj.weight", "BF16", 512, 256, 0, "int4"},
    {"model.layers.0.mlp.down_proj.weight", "BF16", 256, 512, 0, "int4"},
    {"model.layers.0.input_layernorm.weight", "BF16", 256, 0, 0, "kept: fewer"},
    {"lm_head.weight", "BF16", 512, 256, 0, "kept: output head"},
    {NULL, NULL, 0, 0, 0, NULL}};

static const model_tensor mixtral[] = {
    {"model.layers.0.block_sparse_moe.gate.weight", "F16", 8, 256, 0, "kept: router"},
    {"model.layers.0.block_sparse_moe.experts.3.w1.weight", "F16", 512, 256, 0, "int4"},
    {"model.layers.0.block_sparse_moe.experts.3.w3.weight", "F16", 512, 256, 0, "int4"},
    {"model.layers.0.block_sparse_moe.experts.3.w2.weight", "F16", 256, 512, 0, "int4"},
    {"model.layers.0.mlp.shared_expert_gate.weight", "F16", 1, 256, 0, "kept: router"},
    {"model.layers.0.mlp.experts.gate_up_proj.weight", "F16", 512, 256, 4,
     "compressed-tensors holds 2-d"},
    {"model.layers.0.mlp.gate.e_score_correction_bias", "F32", 8, 0, 0, "kept: fewer"},
    {NULL, NULL, 0, 0, 0, NULL}};

static const model_tensor bert[] = {
    {"embeddings.word_embeddings.weight", "F32", 512, 384, 0, "kept: embedding"},
    {"embeddings.position_embeddings.weight", "F32", 512, 384, 0, "kept: embedding"},
    {"embeddings.token_type_embeddings.weight", "F32", 2, 384, 0, "kept: embedding"},
    {"encoder.layer.0.attention.self.query.weight", "F32", 384, 384, 0, "int4"},
    {"encoder.layer.0.attention.self.key.weight", "F32", 384, 384, 0, "int4"},
    {"encoder.layer.0.attention.self.value.weight", "F32", 384, 384, 0, "int4"},
    {"encoder.layer.0.attention.output.dense.weight", "F32", 384, 384, 0, "int4"},
    {"encoder.layer.0.output.dense.weight", "F32", 384, 1536, 0, "int4"},
    {"encoder.layer.0.output.LayerNorm.weight", "F32", 384, 0, 0, "kept: fewer"},
    {"pooler.dense.weight", "F32", 384, 384, 0, "int4"},
    {"embeddings.position_ids", "I64", 1, 512, 0, "kept: not F32"},
    {NULL, NULL, 0, 0, 0, NULL}};

static const model_tensor gpt2[] = {{"wte.weight", "F32", 512, 256, 0, "kept: embedding"},
                                    {"wpe.weight", "F32", 128, 256, 0, "kept: embedding"},
                                    {"h.0.attn.c_attn.weight", "F32", 256, 768, 0, "int4"},
                                    {"h.0.mlp.c_fc.bias", "F32", 768, 0, 0, "kept: fewer"},
                                    {NULL, NULL, 0, 0, 0, NULL}};

/* Writes a checkpoint file of zeros with these tensors. */
static void write_model(const char *path, const model_tensor *tensors)
{
    char header[8192] = "{", entry[512];
    uint64_t offset = 0;
    for (int i = 0; tensors[i].name; i++) {
        const model_tensor *t = &tensors[i];
        uint64_t size = !strcmp(t->type, "F32") ? 4 : !strcmp(t->type, "I64") ? 8 : 2;
        uint64_t bytes = size * (uint64_t)t->rows * (uint64_t)(t->cols ? t->cols : 1) *
                         (uint64_t)(t->depth ? t->depth : 1);
        char shape[64];
        if (t->depth) snprintf(shape, sizeof shape, "%d,%d,%d", t->depth, t->rows, t->cols);
        else if (t->cols) snprintf(shape, sizeof shape, "%d,%d", t->rows, t->cols);
        else snprintf(shape, sizeof shape, "%d", t->rows);
        snprintf(entry, sizeof entry,
                 "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
                 i ? "," : "", t->name, t->type, shape, (unsigned long long)offset,
                 (unsigned long long)(offset + bytes));
        strcat(header, entry);
        offset += bytes;
    }
    strcat(header, "}");
    uint64_t length = strlen(header);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (fd < 0 || write(fd, &length, 8) != 8 || write(fd, header, length) != (ssize_t)length ||
        ftruncate(fd, (off_t)(8 + length + offset)) || close(fd))
        abort();
}

static char path[] = "/tmp/nibble-recipe-XXXXXX";

static nib_status plan(const model_tensor *tensors, nib_job_options options, nib_file **file_ret,
                       nib_job **job_ret)
{
    options.size = sizeof options;
    *file_ret = NULL;
    *job_ret = NULL;
    write_model(path, tensors);
    nib_status status = nib_file_open(path, NULL, file_ret);
    return status == NIB_OK ? nib_job_create(*file_ret, &options, job_ret) : status;
}

static const nib_decision *decision(const nib_job *job, const char *name)
{
    for (int64_t i = 0; i < nib_job_count(job); i++)
        if (!strcmp(nib_job_at(job, i)->tensor->name, name)) return nib_job_at(job, i);
    return NULL;
}

static const nib_job_options plain = {.group = -1};

static void defaults(const model_tensor *tensors)
{
    nib_file *file;
    nib_job *job;
    nib_job_options options = plain;
    options.scheme = nib_scheme_find("int4");
    CHECK_OK(plan(tensors, options, &file, &job));
    for (int i = 0; job && tensors[i].name; i++) {
        const nib_decision *d = decision(job, tensors[i].name);
        const char *got = !d ? "absent" : d->scheme ? d->scheme->name : d->reason;
        CHECK(!strncmp(got, tensors[i].expected, strlen(tensors[i].expected)),
              "%s: %s, expected %s", tensors[i].name, got, tensors[i].expected);
    }
    nib_job_close(job);
    nib_file_close(file);
}

/* Plans llama with these options; the status, and what one tensor became. */
static void with(nib_job_options options, nib_status expected, const char *words,
                 const char *tensor, const char *became)
{
    nib_file *file;
    nib_job *job;
    nib_status status = plan(llama, options, &file, &job);
    CHECK(status == expected, "got %s: %s", nib_status_name(status), nib_last_error());
    if (words)
        CHECK(strstr(nib_last_error(), words) != NULL, "\"%s\" is not in: %s", words,
              nib_last_error());
    const nib_decision *d = job && tensor ? decision(job, tensor) : NULL;
    if (tensor && job) {
        char got[128];
        snprintf(got, sizeof got, "%s/%lld", d && d->scheme ? d->scheme->name : "keep",
                 d && d->scheme ? (long long)d->quant.grid.group : 0);
        CHECK(!strcmp(got, became), "%s: %s, expected %s", tensor, got, became);
    }
    nib_job_close(job);
    nib_file_close(file);
}

static void patterns(void)
{
    const char *down = "model.layers.0.mlp.down_proj.weight",
               *q = "model.layers.0.self_attn.q_proj.weight";
    nib_job_options o = plain;
    with(o, NIB_OK, NULL, down, "int4/128");
    o.scheme = nib_scheme_find("W8A16");
    with(o, NIB_OK, NULL, down, "int8/512");
    o.group = 64;
    with(o, NIB_OK, NULL, q, "int8/64");
    o.group = 96;
    with(o, NIB_E_SHAPE, "group size 96 does not divide K=256", NULL, NULL);
    o.fallback = NIB_FALLBACK_CHANNEL;
    with(o, NIB_OK, NULL, q, "int8/256");
    o.fallback = NIB_FALLBACK_SKIP;
    with(o, NIB_OK, NULL, q, "keep/0");

    o = plain;
    const char *ignore[] = {"re:.*down_proj"}, *overrides[] = {".*down_proj=int8"},
               *head[] = {"lm_head=int8"};
    o.ignore = ignore, o.ignore_count = 1;
    with(o, NIB_OK, NULL, down, "keep/0");
    o.overrides = overrides, o.override_count = 1; /* an override wins over ignore */
    with(o, NIB_OK, NULL, down, "int8/512");
    o.overrides = head;
    with(o, NIB_OK, NULL, "lm_head.weight", "int8/256");
    const char *split[] = {".*q_proj=int8"};
    o.overrides = split;
    with(o, NIB_E_ARGUMENT, "need one scheme", NULL, NULL);
    const char *wrong[] = {".*q_proj=int44"};
    o.overrides = wrong;
    with(o, NIB_E_ARGUMENT, "int4", NULL, NULL);
    const char *broken[] = {"(=int4"};
    o.overrides = broken;
    with(o, NIB_E_ARGUMENT, NULL, NULL, NULL);
    const char *norm[] = {".*layernorm=int4"};
    o.overrides = norm;
    with(o, NIB_E_UNSUPPORTED, "input_layernorm", NULL, NULL);
}

static void numbers_of_no_enum(void)
{
    nib_job_options o = plain;
    o.scheme = nib_scheme_find("int8");
    o.fallback = (nib_group_fallback)9;
    with(o, NIB_E_ARGUMENT, "options.fallback is 9", NULL, NULL);
    o.fallback = NIB_FALLBACK_ERROR, o.nonfinite = (nib_nonfinite)99;
    with(o, NIB_E_ARGUMENT, "options.nonfinite is 99", NULL, NULL);
    o.nonfinite = NIB_NONFINITE_ERROR, o.group = -2;
    with(o, NIB_E_ARGUMENT, "options.group is -2", NULL, NULL);
    o.group = -1, o.kind = (nib_job_kind)5;
    with(o, NIB_E_ARGUMENT, "options.kind is 5", NULL, NULL);
}

static void recipes(void)
{
    nib_job_options o = plain;
    o.recipe = "{\"scheme\": \"int8\", \"ignore\": [\".*o_proj\"]}";
    with(o, NIB_OK, NULL, "model.layers.0.self_attn.o_proj.weight", "keep/0");
    with(o, NIB_OK, NULL, "model.layers.0.self_attn.q_proj.weight", "int8/256");
    o.scheme = nib_scheme_find("int4"); /* arguments win */
    with(o, NIB_OK, NULL, "model.layers.0.self_attn.q_proj.weight", "int4/128");
    o.recipe = "{\"shceme\": \"int8\"}";
    with(o, NIB_E_ARGUMENT, "scheme", NULL, NULL);
    o.recipe = "{\"scheme\": \"int8\", \"scheme\": \"int4\"}";
    with(o, NIB_E_DUP, NULL, NULL, NULL);
    o.recipe = "{\"overrides\": [{\"match\": \".*\", \"scheme\": \"int4:9999999999999999999\"}]}";
    with(o, NIB_E_ARGUMENT, "is no number", NULL, NULL);
    o.recipe = "[1]";
    with(o, NIB_E_ARGUMENT, NULL, NULL, NULL);
    o.recipe = "{";
    with(o, NIB_E_JSON, "line", NULL, NULL);
}

int main(void)
{
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    defaults(llama);
    defaults(mixtral);
    defaults(bert);
    defaults(gpt2);
    patterns();
    recipes();
    numbers_of_no_enum();
    unlink(path);
    return check_done();
}
