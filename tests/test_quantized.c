/* test_quantized.c - logical tensors: compressed-tensors planes read back to the numbers that were
 * packed by hand, other quantized tensors recognised, planes that do not fit refused; and the
 * description that is written into config.json. */
#include "check.h"

#include "../host/formats/format.h"
#include "make_file.h"

#include <jansson.h>

static char *dir;

static nib_file *open_made(nib_status expected)
{
    nib_file *file = NULL;
    CHECK_STATUS(nib_file_open(dir, NULL, &file), expected);
    return file;
}

/* ---- weights packed by hand ---- */

typedef struct weight {
    int bits, asymmetric;
    int64_t rows, cols, group;
    int codes[40 * 128], zeros[40 * 128];
    float scales[40 * 128];
    uint32_t packed[40 * 32], packed_zeros[40 * 32];
    int64_t shape[2];
} weight;

static void put_bits(uint32_t *words, int64_t stride, int64_t index, int bits, int value)
{
    for (int b = 0; b < bits; b++) {
        int64_t bit = index * bits + b;
        if (value >> b & 1) words[bit / 32 * stride] |= 1u << (bit % 32);
    }
}

static void fill_weight(weight *w, int bits, int asymmetric, int64_t rows, int64_t cols,
                        int64_t group)
{
    uint64_t seed = (uint64_t)(bits + 10 * rows);
    int64_t groups = (cols + group - 1) / group, words = (cols * bits + 31) / 32;
    memset(w, 0, sizeof *w);
    w->bits = bits;
    w->asymmetric = asymmetric;
    w->rows = w->shape[0] = rows;
    w->cols = w->shape[1] = cols;
    w->group = group;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t k = 0; k < cols; k++) {
            int code = w->codes[r * cols + k] = (int)(check_random(&seed) >> (64 - bits));
            put_bits(w->packed + r * words, 1, k, bits, code);
        }
        for (int64_t g = 0; g < groups; g++) {
            w->scales[r * groups + g] = (float)(check_random(&seed) >> 56) / 64;
            int zero = w->zeros[r * groups + g] = (int)(check_random(&seed) >> (64 - bits));
            put_bits(w->packed_zeros + g, groups, r, bits, zero);
        }
    }
}

static float weight_value(const weight *w, int64_t r, int64_t k)
{
    int64_t at = r * ((w->cols + w->group - 1) / w->group) + k / w->group;
    int zero = w->asymmetric ? w->zeros[at] : 1 << (w->bits - 1);
    return (float)(w->codes[r * w->cols + k] - zero) * w->scales[at];
}

static int put_weight(const weight *w, made_tensor *tensors)
{
    int64_t groups = (w->cols + w->group - 1) / w->group;
    int count = 0;
    tensors[count++] = (made_tensor){"m.weight_shape", NIB_I64, 1, {2}, w->shape};
    tensors[count++] = (made_tensor){
        "m.weight_packed", NIB_I32, 2, {w->rows, (w->cols * w->bits + 31) / 32}, w->packed};
    if (w->asymmetric)
        tensors[count++] = (made_tensor){"m.weight_zero_point",
                                         NIB_I32,
                                         2,
                                         {(w->rows * w->bits + 31) / 32, groups},
                                         w->packed_zeros};
    tensors[count++] = (made_tensor){"m.weight_scale", NIB_F32, 2, {w->rows, groups}, w->scales};
    return count;
}

/* Decodes a readable tensor as a user must: zeros that are packed are repacked first. */
static void decode(const nib_file *file, const nib_tensor *tensor, float *y)
{
    nib_ctx *ctx;
    nib_stream *stream;
    nib_mem planes[NIB_PLANES] = {{0}};
    nib_quant quant = tensor->quant, canonical = quant;
    canonical.layout = NIB_LAYOUT_CANONICAL;
    CHECK_OK(nib_open("ref", NULL, &ctx));
    CHECK_OK(nib_stream_open(ctx, &stream));
    for (int p = 0; p < NIB_PLANES; p++) {
        size_t bytes = (size_t)tensor->span[p].bytes, wanted = bytes;
        void *data = malloc(bytes + 1);
        CHECK_OK(nib_file_read(file, tensor->span[p].shard, tensor->span[p].offset, data, bytes));
        planes[p] = nib_wrap(data, bytes);
        if (bytes == 0 || p == NIB_PLANE_SCALES) continue;
        CHECK_OK(nib_plane_bytes(&canonical, (nib_plane)p, &wanted));
        nib_mem repacked = nib_wrap(malloc(wanted), wanted);
        CHECK_OK(
            nib_repack(stream, &quant, (nib_plane)p, planes[p], NIB_LAYOUT_CANONICAL, repacked));
        free(data);
        planes[p] = repacked;
    }
    size_t bytes = (size_t)(quant.grid.rows * quant.grid.cols) * sizeof *y;
    CHECK_OK(nib_dequantize(stream, &canonical, planes, NIB_F32, nib_wrap(y, bytes)));
    for (int p = 0; p < NIB_PLANES; p++) free(planes[p].handle);
    nib_stream_close(stream);
    nib_close(ctx);
}

static void check_weight(const nib_file *file, const weight *w)
{
    static float y[40 * 128];
    const nib_tensor *tensor = nib_file_find(file, "m.weight");
    if (!CHECK(tensor && tensor->quantized == 1 && nib_file_count(file) == 1)) return;
    CHECK(tensor->quant.bits == w->bits && tensor->rank == 2 && tensor->type == NIB_F32);
    CHECK(tensor->quant.grid.group == w->group, "%lld", (long long)tensor->quant.grid.group);
    CHECK(!strcmp(nib_file_format(file), "compressed-tensors"));
    decode(file, tensor, y);
    int64_t wrong = 0;
    for (int64_t r = 0; r < w->rows; r++)
        for (int64_t k = 0; k < w->cols; k++) wrong += y[r * w->cols + k] != weight_value(w, r, k);
    CHECK(wrong == 0, "%lld values, %d bits", (long long)wrong, w->bits);
}

static void test_packed(void)
{
    static const int bits[] = {2, 3, 4, 5, 6, 8};
    static weight w;
    made_tensor tensors[MADE_MOST];
    for (int b = 0; b < 6; b++)
        for (int asymmetric = 0; asymmetric < 2; asymmetric++)
            for (int64_t group = 32; group <= 96; group += 64) {
                fill_weight(&w, bits[b], asymmetric, 37, 96, group);
                make_checkpoint(dir, NULL, NULL, tensors, put_weight(&w, tensors));
                nib_file *file = open_made(NIB_OK);
                if (file) check_weight(file, &w);
                nib_file_close(file);
            }
}

#define CONFIG(bits, symmetric, group)                                                             \
    "{\"quantization_config\":{\"config_groups\":{\"a\":{\"targets\":[],\"weights\":{"             \
    "\"num_bits\":" #bits ",\"type\":\"int\",\"symmetric\":" #symmetric ",\"group_size\":" #group  \
    "}}},\"quant_method\":\"compressed-tensors\"}}"

/* What shapes alone leave open. */
static void test_config_decides(void)
{
    static weight w;
    made_tensor tensors[MADE_MOST];
    fill_weight(&w, 3, 0, 4, 10, 10); /* 30 bits a row: one word, as 2 and 3 bits have */
    int count = put_weight(&w, tensors);
    make_checkpoint(dir, CONFIG(3, true, null), NULL, tensors, count);
    nib_file *file = open_made(NIB_OK);
    if (file) check_weight(file, &w);
    nib_file_close(file);
    make_checkpoint(dir, NULL, NULL, tensors, count);
    file = open_made(NIB_OK);
    CHECK(file && nib_file_at(file, 0)->quantized == 2 && nib_file_at(file, 0)->why);
    nib_file_close(file);
    make_checkpoint(dir, CONFIG(4, true, -1), NULL, tensors, count);
    open_made(NIB_E_CONFIG);
    make_checkpoint(dir, CONFIG(3, false, -1), NULL, tensors, count);
    open_made(NIB_E_MISSING);

    fill_weight(&w, 4, 0, 4, 100, 32); /* groups that do not divide the row: 4 scales */
    count = put_weight(&w, tensors);
    make_checkpoint(dir, CONFIG(4, true, 32), NULL, tensors, count);
    file = open_made(NIB_OK);
    if (file) check_weight(file, &w);
    nib_file_close(file);

    char path[300];
    fill_weight(&w, 2, 0, 4, 10, 10);
    make_checkpoint(dir, NULL,
                    "{\"quantization_config\":\"{\\\"quant_method\\\":\\\"compressed-tensors\\\","
                    "\\\"config_groups\\\":{\\\"a\\\":{\\\"weights\\\":{\\\"num_bits\\\":2}}}}\"}",
                    tensors, put_weight(&w, tensors));
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (CHECK_OK(nib_file_open(path, NULL, &file))) {
        check_weight(file, &w);
        nib_file_close(file);
    }
}

static void test_int8(void)
{
    static const signed char codes[2][4] = {{-128, -1, 0, 127}, {1, 2, 3, 4}}, zeros[2] = {5, -6};
    static const float scales[2] = {0.5f, 2};
    const made_tensor tensors[] = {{"m.weight", NIB_I8, 2, {2, 4}, codes},
                                   {"m.weight_scale", NIB_F32, 2, {2, 1}, scales},
                                   {"m.weight_zero_point", NIB_I8, 2, {2, 1}, zeros}};
    for (int count = 2; count <= 3; count++) {
        float y[8];
        make_checkpoint(dir, NULL, NULL, tensors, count);
        nib_file *file = open_made(NIB_OK);
        const nib_tensor *tensor = file ? nib_file_find(file, "m.weight") : NULL;
        if (!CHECK(tensor && tensor->quantized == 1)) continue;
        CHECK(tensor->quant.layout == NIB_LAYOUT_CT_INT8 && nib_file_count(file) == 1);
        decode(file, tensor, y);
        for (int i = 0; i < 8; i++)
            CHECK(y[i] ==
                  (float)(codes[i / 4][i % 4] - (count == 3 ? zeros[i / 4] : 0)) * scales[i / 4]);
        nib_file_close(file);
    }
}

/* ---- what nibble does not read ---- */

static void test_recognised(void)
{
    static const struct {
        made_tensor tensors[6];
        const char *name, *why;
    } rows[] = {
        {{{"m.weight", NIB_F8_E4M3, 2, {4, 4}, NULL},
          {"m.weight_scale_inv", NIB_F32, 2, {1, 1}, NULL}},
         "m.weight",
         "FP8"},
        {{{"e.up", NIB_F8_E4M3, 3, {2, 4, 4}, NULL}, {"e.up_scale", NIB_F32, 3, {2, 1, 1}, NULL}},
         "e.up",
         "FP8"},
        {{{"m.qweight", NIB_I32, 2, {4, 32}, NULL},
          {"m.qzeros", NIB_I32, 2, {1, 4}, NULL},
          {"m.scales", NIB_F16, 2, {1, 32}, NULL},
          {"m.g_idx", NIB_I32, 1, {32}, NULL}},
         "m.weight",
         "GPTQ"},
        {{{"m.weight", NIB_U8, 2, {8, 1}, NULL},
          {"m.weight.absmax", NIB_F32, 1, {1}, NULL},
          {"m.weight.quant_map", NIB_F32, 1, {16}, NULL},
          {"m.weight.quant_state.bitsandbytes__nf4", NIB_U8, 1, {8}, NULL}},
         "m.weight",
         "bitsandbytes 4-bit"},
        {{{"m.weight", NIB_I8, 2, {4, 4}, NULL},
          {"m.SCB", NIB_F32, 1, {4}, NULL},
          {"m.weight_format", NIB_U8, 0, {0}, NULL}},
         "m.weight",
         "bitsandbytes 8-bit"},
        {{{"m.gate_blocks", NIB_U8, 3, {2, 4, 16}, NULL},
          {"m.gate_scales", NIB_U8, 2, {2, 4}, NULL}},
         "m.gate",
         "MXFP4"},
        {{{"m.weight_packed", NIB_U8, 2, {4, 8}, NULL},
          {"m.weight_scale", NIB_F8_E4M3, 2, {4, 1}, NULL},
          {"m.weight_global_scale", NIB_F32, 1, {1}, NULL}},
         "m.weight",
         "4-bit floats"},
        {{{"m.weight_packed", NIB_I32, 2, {4, 8}, NULL},
          {"m.scale_packed", NIB_F16, 2, {4, 1}, NULL},
          {"m.meta", NIB_I16, 1, {4}, NULL}},
         "m.weight",
         "marlin-24"},
        {{{"m.weight_packed", NIB_I32, 2, {4, 4}, NULL},
          {"m.weight_scale", NIB_F16, 2, {4, 1}, NULL},
          {"m.weight_shape", NIB_I64, 1, {2}, NULL},
          {"m.weight_g_idx", NIB_I32, 1, {32}, NULL}},
         "m.weight",
         "activation order"},
        {{{"m.weight", NIB_U32, 2, {4, 8}, NULL},
          {"m.scales", NIB_F16, 2, {4, 1}, NULL},
          {"m.biases", NIB_F16, 2, {4, 1}, NULL}},
         "m.weight",
         "MLX"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int count = 0;
        while (count < 6 && rows[i].tensors[count].name) count++;
        made_tensor all[8] = {{"m.bias", NIB_F32, 1, {4}, NULL}};
        memcpy(all + 1, rows[i].tensors, (size_t)count * sizeof *all);
        make_checkpoint(dir, NULL, NULL, all, count + 1);
        nib_file *file = open_made(NIB_OK);
        if (!file) continue;
        const nib_tensor *tensor = nib_file_find(file, rows[i].name);
        CHECK(tensor && tensor->quantized == 2 && strstr(tensor->why, rows[i].why), "%s",
              rows[i].why);
        CHECK(nib_file_count(file) == 2, "%s: %lld", rows[i].why, (long long)nib_file_count(file));
        for (int64_t raw = 0; raw <= count; raw++) {
            int plain = !strcmp(nib_file_raw_at(file, raw)->name, "m.bias");
            CHECK((nib_file_at(file, nib_file_owner(file, raw)) == tensor) == !plain, "%s",
                  rows[i].why);
        }
        nib_file_close(file);
    }
}

/* Lone parts are what they look like. */
static void test_plain_parts(void)
{
    const made_tensor tensors[] = {{"m.weight_scale", NIB_F32, 2, {4, 1}, NULL},
                                   {"n.weight", NIB_I8, 2, {4, 4}, NULL},
                                   {"weight", NIB_F32, 1, {1}, NULL}};
    make_checkpoint(dir, NULL, NULL, tensors, 3);
    nib_file *file = open_made(NIB_OK);
    for (int i = 0; file && i < 3; i++) CHECK(nib_file_at(file, i)->quantized == 0);
    CHECK(file && nib_file_count(file) == 3 && !strcmp(nib_file_format(file), "safetensors"));
    nib_file_close(file);
}

/* ---- planes that do not fit ---- */

static void test_inconsistent(void)
{
    static weight w;
    made_tensor good[MADE_MOST], tensors[MADE_MOST];
    fill_weight(&w, 4, 1, 37, 96, 32);
    int count = put_weight(&w, good); /* shape, packed, zeros, scales */
    static const struct {
        int tensor, dimension;
        int64_t size;
        nib_status status;
    } rows[] = {{0, 0, 3, NIB_E_SIZE},  {1, 0, 36, NIB_E_SIZE}, {1, 1, 13, NIB_E_SIZE},
                {2, 0, 37, NIB_E_SIZE}, {2, 1, 4, NIB_E_SIZE},  {3, 0, 36, NIB_E_SIZE},
                {3, 1, 5, NIB_E_SIZE},  {3, 1, 0, NIB_E_SIZE}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memcpy(tensors, good, sizeof tensors);
        tensors[rows[i].tensor].shape[rows[i].dimension] = rows[i].size;
        tensors[rows[i].tensor].bytes = NULL;
        make_checkpoint(dir, NULL, NULL, tensors, count);
        open_made(rows[i].status);
        CHECK(strstr(nib_last_error(), "m.weight") && strstr(nib_last_error(), dir), "%s",
              nib_last_error());
    }
    static const int64_t shapes[][2] = {
        {37, 0}, {37, -96}, {37, INT64_MAX}, {37, 97 * 32}, {96, 37}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        memcpy(tensors, good, sizeof tensors);
        tensors[0].bytes = shapes[i];
        make_checkpoint(dir, NULL, NULL, tensors, count);
        open_made(NIB_E_SIZE);
    }
    make_checkpoint(dir, NULL, NULL, good + 1, count - 1);
    open_made(NIB_E_MISSING);
    memcpy(tensors, good, sizeof tensors);
    tensors[count] = (made_tensor){"m.weight", NIB_F32, 2, {2, 2}, NULL};
    make_checkpoint(dir, NULL, NULL, tensors, count + 1);
    open_made(NIB_E_DUP);
}

#define WEIGHTS(text)                                                                              \
    "{\"quantization_config\":{\"config_groups\":{\"a\":{\"weights\":{" text                       \
    "}}},\"quant_method\":\"compressed-tensors\"}}"

static void test_bad_configs(void)
{
    static weight w;
    made_tensor tensors[MADE_MOST];
    fill_weight(&w, 4, 0, 37, 96, 32);
    int count = put_weight(&w, tensors);
    static const char *const bad[] = {
        "[]",
        "{\"quantization_config\":{}",
        "{\"quantization_config\":{},\"quantization_config\":{}}",
        "{\"quantization_config\":{\"quant_method\":\"a\",\"quant_method\":\"b\"}}",
        "{\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"config_groups\":[]}}",
        WEIGHTS("\"num_bits\":4.5"),
        WEIGHTS("\"symmetric\":1"),
        WEIGHTS("\"num_bits\":4,\"num_bits\":4")};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        make_checkpoint(dir, bad[i], NULL, tensors, count);
        open_made(NIB_E_CONFIG);
    }
    static const char *const fine[] = {
        "{}", "{\"quantization_config\":null}",
        "{\"quantization_config\":{\"quant_method\":\"other\",\"config_groups\":[]}}"};
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        make_checkpoint(dir, fine[i], NULL, tensors, count);
        nib_file_close(open_made(NIB_OK));
    }
}

/* ---- writing ---- */

static nib_tensor plain(const char *name, int64_t rows, int64_t cols)
{
    return (nib_tensor){.name = name, .type = NIB_BF16, .rank = 2, .shape = {rows, cols}};
}

static nib_decision decide(const nib_tensor *tensor, const char *scheme, int64_t group)
{
    nib_decision d = {.tensor = tensor, .scheme = scheme ? nib_scheme_find(scheme) : NULL};
    if (!d.scheme) return d;
    d.quant = (nib_quant){{0}, d.scheme->bits, NIB_BF16, d.scheme->rule, d.scheme->layout};
    CHECK_OK(nib_grid_rows(tensor->shape[0], tensor->shape[1], group, &d.quant.grid));
    return d;
}

static void check_config(const char *config, const nib_decision *decisions, int64_t count,
                         const char *expected)
{
    char *text = NULL;
    CHECK_OK(nib_format_compressed_tensors.config(config, decisions, count, &text));
    CHECK(text && !strcmp(text, expected), "got %s", text ? text : "nothing");
    free(text);
}

#define BEGIN "{\n  \"torch_dtype\": \"bfloat16\", \"eps\": 1e-05"
#define CT                                                                                         \
    ",\n  \"quantization_config\": {\n    \"quant_method\": \"compressed-tensors\",\n    "         \
    "\"format\": "

static void test_write_config(void)
{
    const nib_tensor a = plain("x.a.weight", 64, 256), b = plain("x.b.weight", 64, 128),
                     head = plain("lm_head.weight", 64, 256), norm = plain("x.norm.weight", 64, 1);
    nib_tensor vector = norm;
    vector.rank = 1;
    nib_decision d[] = {decide(&a, "int4", 128), decide(&b, "int4", 128), decide(&head, NULL, 0),
                        decide(&vector, NULL, 0)};
    check_config(BEGIN "\n}\n", d, 4,
                 BEGIN CT
                 "\"pack-quantized\",\n    \"quantization_status\": \"compressed\",\n"
                 "    \"config_groups\": {\n      \"group_0\": {\n        \"targets\": [\n"
                 "          \"Linear\"\n        ],\n        \"weights\": {\n"
                 "          \"num_bits\": 4,\n          \"type\": \"int\",\n"
                 "          \"symmetric\": true,\n          \"strategy\": \"group\",\n"
                 "          \"dynamic\": false,\n          \"group_size\": 128\n"
                 "        }\n      }\n    },\n    \"ignore\": [\n      \"lm_head\"\n    ]\n"
                 "  }\n}\n");
    d[1] = decide(&b, "w8a8", 0);
    check_config(
        "", d, 2,
        "{\n  \"quantization_config\": {\n    \"quant_method\": \"compressed-tensors\",\n"
        "    \"format\": \"mixed-precision\",\n    \"quantization_status\": \"compressed\",\n"
        "    \"config_groups\": {\n      \"group_0\": {\n        \"targets\": [\n"
        "          \"Linear\"\n        ],\n        \"weights\": {\n          \"num_bits\": 4,\n"
        "          \"type\": \"int\",\n          \"symmetric\": true,\n"
        "          \"strategy\": \"group\",\n          \"dynamic\": false,\n"
        "          \"group_size\": 128\n        },\n        \"format\": \"pack-quantized\"\n"
        "      },\n      \"group_1\": {\n        \"targets\": [\n          \"x.b\"\n        ],\n"
        "        \"weights\": {\n          \"num_bits\": 8,\n          \"type\": \"int\",\n"
        "          \"symmetric\": true,\n          \"strategy\": \"channel\",\n"
        "          \"dynamic\": false\n        },\n        \"input_activations\": {\n"
        "          \"num_bits\": 8,\n          \"type\": \"int\",\n"
        "          \"symmetric\": true,\n          \"strategy\": \"token\",\n"
        "          \"dynamic\": true\n        },\n        \"format\": \"int-quantized\"\n"
        "      }\n    },\n    \"ignore\": [\n      \"lm_head\"\n    ]\n  }\n}\n");
    nib_decision kept[] = {decide(&a, NULL, 0)};
    check_config("", kept, 1, "");
    check_config("{ \"a\":1 }", kept, 1, "{ \"a\":1 }");
    check_config("{ \"a\":1 , \"quantization_config\":{\"x\":[1]} }", kept, 1, "{ \"a\":1 }");
    check_config("{\"quantization_config\":7, \"a\":1}", kept, 1, "{ \"a\":1}");
    check_config("{\"quantization_config\":7}", kept, 1, "{}");
    char *text;
    CHECK_STATUS(nib_format_compressed_tensors.config("{", kept, 1, &text), NIB_E_JSON);
    nib_tensor other = a;
    other.quantized = 2;
    nib_decision mixed[] = {decide(&b, "int4", 128), decide(&other, NULL, 0)};
    CHECK_STATUS(nib_format_compressed_tensors.config("{}", mixed, 2, &text), NIB_E_UNSUPPORTED);
    check_config("{\"quantization_config\":7}", mixed + 1, 1, "{\"quantization_config\":7}");
}

static void test_refusals(void)
{
    const nib_format *format = &nib_format_compressed_tensors;
    nib_tensor good = plain("x.weight", 64, 256), t;
    const nib_decision d = decide(&good, "int4", 128);
    nib_format_plane planes[NIB_FORMAT_PLANES];
    int count;
    CHECK(!format->refusal(&good, d.scheme, &d.quant));
    CHECK(format->refusal((t = good, t.rank = 3, &t), d.scheme, &d.quant));
    CHECK(format->refusal((t = good, t.name = "experts.up", &t), d.scheme, &d.quant));
    CHECK(format->refusal((t = good, t.type = NIB_I32, &t), d.scheme, &d.quant));
    CHECK(format->refusal((t = good, t.quantized = 2, &t), d.scheme, &d.quant));
    nib_quant quant = d.quant;
    CHECK(format->refusal(&good, d.scheme, (quant.grid.group = 96, &quant)));
    quant = d.quant;
    CHECK(format->refusal(&good, d.scheme, (quant.layout = NIB_LAYOUT_CANONICAL, &quant)));
    quant = d.quant;
    CHECK(format->refusal(&good, d.scheme, (quant.rule = NIB_RULE_ASYM_MIN, &quant)));
    CHECK_STATUS(format->planes(&good, &quant, planes, &count), NIB_E_UNSUPPORTED);
}

/* Every scheme: planes as the format names them, described, written, read: the same quant. */
static void test_round_trip(void)
{
    for (size_t i = 0; i < nib_scheme_count(); i++) {
        const nib_tensor tensor = plain("x.weight", 40, 256);
        const nib_scheme *scheme = nib_scheme_at(i);
        const nib_decision d = decide(&tensor, scheme->name, scheme->group);
        nib_format_plane planes[NIB_FORMAT_PLANES];
        made_tensor tensors[NIB_FORMAT_PLANES];
        int count;
        char *config = NULL;
        if (!CHECK_OK(nib_format_compressed_tensors.planes(&tensor, &d.quant, planes, &count)) ||
            !CHECK_OK(nib_format_compressed_tensors.config("{}", &d, 1, &config)))
            continue;
        for (int p = 0; p < count; p++) {
            tensors[p] = (made_tensor){planes[p].name,
                                       planes[p].type,
                                       planes[p].rank,
                                       {planes[p].shape[0], planes[p].shape[1]},
                                       planes[p].source < 0 ? planes[p].bytes : NULL};
            size_t bytes = (size_t)planes[p].byte_count;
            if (planes[p].source >= 0)
                CHECK_OK(nib_plane_bytes(&d.quant, (nib_plane)planes[p].source, &bytes));
            CHECK(bytes == made_bytes(&tensors[p]), "%s", planes[p].name);
        }
        make_checkpoint(dir, config, NULL, tensors, count);
        nib_file *file = open_made(NIB_OK);
        const nib_tensor *read = file ? nib_file_find(file, "x.weight") : NULL;
        if (CHECK(read && read->quantized == 1 && nib_file_count(file) == 1, "%s", scheme->name))
            CHECK(!memcmp(&read->quant, &d.quant, sizeof d.quant), "%s", scheme->name);
        nib_file_close(file);
        for (int p = 0; p < count; p++) free(planes[p].name);
        free(config);
    }
}

int main(void)
{
    dir = temporary_directory();
    test_packed();
    test_config_decides();
    test_int8();
    test_recognised();
    test_plain_parts();
    test_inconsistent();
    test_bad_configs();
    test_write_config();
    test_refusals();
    test_round_trip();
    temporary_remove(dir);
    return check_done();
}
