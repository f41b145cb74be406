/* cmd_explain.c - nibble explain matmul: every kernel that a plan considers, where it runs, how
 * far it may be off, and why the others do not run. */
#include "bench.h"

#include <string.h>

static const char *const class_names[] = {[NIB_ERROR_EXACT] = "exact",
                                          [NIB_ERROR_F32] = "f32",
                                          [NIB_ERROR_F16] = "f16",
                                          [NIB_ERROR_BF16] = "bf16"};

/* A product as the command line describes it. */
typedef struct wanted {
    const cli_settings *settings;
    bench_shapes shapes;
    bench_column column;
    int64_t m[BENCH_MOST_M];
    size_t m_count;
} wanted;

static int read_wanted(const cli_command *command, wanted *w)
{
    const cli_settings *s = w->settings;
    char why[BENCH_WORDS];
    int code = 0;
    if (strcmp(s->operands[0], "matmul") != 0)
        return fail_usage(command, "cannot explain '%s', but matmul", s->operands[0]);
    for (size_t i = 0; i < s->shapes.count && !code; i++)
        code = bench_add_shape(s->shapes.items[i], &w->shapes, why);
    if (!code && !s->shapes.count) code = bench_add_shape("4096x4096", &w->shapes, why);
    if (!code) code = bench_read_column(s->scheme ? s->scheme : "int4", s->group, &w->column, why);
    if (!code) code = bench_read_m(s->m ? s->m : "1-256*4", w->m, &w->m_count, why);
    if (s->acts != ACTS_OF_SCHEME) w->column.act_bits = s->acts == ACTS_8 ? 8 : 16;
    return code ? fail_usage(command, "%s", why) : 0;
}

static nib_status describe(const wanted *w, const bench_shape *shape, nib_matmul_desc *desc)
{
    nib_dtype type = bench_plain_type(w->settings);
    *desc = (nib_matmul_desc){.size = sizeof *desc,
                              .max_m = w->m[w->m_count - 1],
                              .experts = 1,
                              .acts = w->column.act_bits == 8 ? NIB_ACTS_DYNAMIC : NIB_ACTS_FLOAT,
                              .x_type = type,
                              .y_type = type};
    return bench_column_quant(&w->column, shape, type, &desc->weights);
}

static void add_row(const bench_shape *shape, const nib_matmul_choice *c, int as, cli_table *t)
{
    table_cell(t, "%s", shape->name);
    table_cell(t, "%s", c->kernel);
    if (c->refusal) table_cell(t, as == AS_CSV ? "" : "-");
    else if (c->from_m == c->to_m) table_cell(t, "%lld", (long long)c->from_m);
    else table_cell(t, "%lld..%lld", (long long)c->from_m, (long long)c->to_m);
    table_cell(t, "%s", class_names[c->error_class]);
    table_cell(t, "%s", c->refusal ? c->refusal : "");
}

static void add_json(const bench_shape *shape, const nib_matmul_choice *c, json_t *list)
{
    json_array_append_new(list,
                          json_pack("{s:s, s:I, s:I, s:s, s:b, s:o, s:o, s:s, s:o}", "shape",
                                    shape->name, "n", (json_int_t)shape->n, "k",
                                    (json_int_t)shape->k, "kernel", c->kernel, "runs", !c->refusal,
                                    "from_m", c->refusal ? json_null() : json_integer(c->from_m),
                                    "to_m", c->refusal ? json_null() : json_integer(c->to_m),
                                    "error_class", class_names[c->error_class], "refusal",
                                    c->refusal ? json_text(c->refusal) : json_null()));
}

/* What a plan on CUDA never does by itself; it comes after all that it may. */
static int vendor_choice(const wanted *w, const nib_ctx *ctx, nib_matmul_choice *choice)
{
    nib_dtype type = bench_plain_type(w->settings);
    if (strncmp(nib_ctx_device(ctx)->name, "cuda:", 5) || w->column.act_bits == 8) return 0;
    *choice = (nib_matmul_choice){
        .kernel = "dequantize + cuBLASLt",
        .refusal = "not nibble's: no plan falls back to it; opt in: nib_dequantize, then "
                   "cublasLtMatmul; nibble bench matmul --dequantize times it",
        .error_class = type == NIB_F16 ? NIB_ERROR_F16 : NIB_ERROR_BF16};
    if (type == NIB_F32) choice->refusal = "not nibble's, and takes x of bf16 or f16 (--dtype)";
    return 1;
}

/* Returns the first failure to make a plan, after all rows of all shapes. */
static nib_status walk(const wanted *w, nib_ctx *ctx, cli_table *t, json_t *list)
{
    nib_status status = NIB_OK;
    for (size_t i = 0; i < w->shapes.count && status == NIB_OK; i++) {
        const bench_shape *shape = &w->shapes.at[i];
        nib_matmul_desc desc;
        nib_matmul_choice choice;
        nib_matmul *plan;
        status = describe(w, shape, &desc);
        for (size_t c = 0; status == NIB_OK && nib_matmul_choice_at(ctx, &desc, c, &choice); c++) {
            add_row(shape, &choice, w->settings->as, t);
            add_json(shape, &choice, list);
        }
        if (status == NIB_OK && vendor_choice(w, ctx, &choice)) {
            add_row(shape, &choice, w->settings->as, t);
            add_json(shape, &choice, list);
        }
        if (status == NIB_OK) status = nib_matmul_plan_open(ctx, &desc, &plan);
        if (status == NIB_OK) nib_matmul_plan_close(plan);
    }
    return status;
}

static int print(const wanted *w, nib_ctx *ctx, cli_table *t, json_t *list)
{
    const nib_device_info *info = nib_ctx_device(ctx);
    if (w->settings->as == AS_JSON) {
        table_free(t);
        json_t *json = json_result("explain");
        json_object_set_new(json, "device", json_string(info->name));
        json_object_set_new(json, "scheme", json_string(w->column.name));
        json_object_set_new(json, "activation_bits", json_integer(w->column.act_bits));
        json_object_set_new(json, "group", json_integer(w->column.group));
        json_object_set(json, "kernels", list);
        return json_print(json);
    }
    if (w->settings->as == AS_TEXT) {
        printf("%s on %s, ", w->column.name, info->name);
        if (w->column.group) printf("groups of %lld", (long long)w->column.group);
        else printf("one scale a row");
        printf(", %d-bit activations, x and y %s, M up to %lld; best first\n\n", w->column.act_bits,
               nib_dtype_name(bench_plain_type(w->settings)), (long long)w->m[w->m_count - 1]);
    }
    int code = table_print(t);
    if (w->settings->as == AS_TEXT)
        puts("\nmay be off by: exact, 0; f32, (K + 8) 2^-23 of the sum of |x w|; f16 and bf16, "
             "2^-11 "
             "and 2^-8 of it more\n(docs/numerics.md section 9). NIBBLE_KERNEL=NAME forces one for "
             "every operation that has it.");
    return code;
}

int cmd_explain(const cli_command *command, const cli_settings *settings)
{
    static wanted w;
    w.settings = settings;
    int code = read_wanted(command, &w);
    if (code) return code;
    nib_ctx *ctx;
    nib_status status = nib_open(settings->device ? settings->device : "auto", NULL, &ctx);
    if (status != NIB_OK) return fail_status(status, settings);
    cli_table *t =
        table_new("shape|kernel|runs for M|may be off by|why it does not run", settings->as);
    json_t *list = json_array();
    status = walk(&w, ctx, t, list);
    if (status != NIB_OK) code = fail_status(status, settings);
    if (json_array_size(list) || !code) {
        int printed = print(&w, ctx, t, list);
        code = code ? code : printed;
    } else {
        table_free(t);
    }
    json_decref(list);
    nib_close(ctx);
    return code;
}
