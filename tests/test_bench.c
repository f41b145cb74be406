/* test_bench.c - what `nibble bench` reads and draws: shapes, lists of M, columns, pictures of
 * results that are known. What it measures is tested as people type it (test_cli_bench.sh).
 *
 * test_bench [SVG]: also leaves the picture there. */
#include "../host/bench/bench.h"
#include "check.h"
#include "temporary.h"

#include <math.h>

/* ---- shapes ---- */

static void test_shapes(void)
{
    static const char *const bad[] = {"",        "x",    "4096", "4096x", "x4096",
                                      "0x1",     "1x0",  "-1x1", "1x1x1", "1x16777217",
                                      "4096 x1", "1x1 ", "0x1f", "1e3x1", "99999999999999999999x1",
                                      "+1x1",    "1x+1"};
    bench_shapes shapes = {.count = 0};
    char why[BENCH_WORDS];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(bench_add_shape(bad[i], &shapes, why) == 2 && strstr(why, "NxK"), "%s", bad[i]);
    CHECK(shapes.count == 0);
    CHECK(!bench_add_shape("4096x11008", &shapes, why) &&
          !bench_add_shape("1X16777216", &shapes, why));
    CHECK(shapes.at[0].n == 4096 && shapes.at[0].k == 11008 && shapes.at[1].k == 16777216);
    while (!bench_add_shape("1x1", &shapes, why)) continue;
    CHECK(shapes.count == BENCH_MOST_SHAPES && strstr(why, "more than"));
}

static void test_models(void)
{
    bench_shapes shapes = {.count = 0};
    char why[BENCH_WORDS];
    CHECK(!bench_add_model("Llama-70B", 4, &shapes, why), "%s", why);
    static const int64_t expected[4][2] = {{2560, 8192}, {8192, 2048}, {14336, 8192}, {8192, 7168}};
    for (size_t i = 0; i < 4; i++)
        CHECK(shapes.at[i].n == expected[i][0] && shapes.at[i].k == expected[i][1], "%s",
              shapes.at[i].name);
    CHECK(bench_add_model("llama-70b", 3, &shapes, why) == 2 && strstr(why, "--tp"));
    CHECK(bench_add_model("llama-7000b", 1, &shapes, why) == 2 && strstr(why, "qwen3-8b"));
}

static int read_config(const char *dir, const char *text, int64_t tp, bench_shapes *shapes,
                       char *why)
{
    char path[400];
    snprintf(path, sizeof path, "%s/config.json", dir);
    temporary_write(path, text, strlen(text));
    shapes->count = 0;
    return bench_add_directory(dir, tp, shapes, why);
}

static void test_config(void)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"hidden_size\":1",
        "{\"hidden_size\":1,\"hidden_size\":2}",
        "{\"hidden_size\":64,\"num_attention_heads\":0,\"intermediate_size\":1}",
        "{\"hidden_size\":-64,\"num_attention_heads\":1,\"intermediate_size\":1}",
        "{\"hidden_size\":64.5,\"num_attention_heads\":1,\"intermediate_size\":1}",
        "{\"hidden_size\":64,\"num_attention_heads\":1,\"intermediate_size\":99999999999}",
        "{\"hidden_size\":64,\"num_attention_heads\":128,\"intermediate_size\":1}",
        "{\"hidden_size\":64,\"num_attention_heads\":16777216,\"head_dim\":16777216,"
        "\"intermediate_size\":1}",
        "{\"hidden_size\":64,\"num_attention_heads\":2,\"num_key_value_heads\":4,"
        "\"intermediate_size\":1}",
        "{\"hidden_size\":\"64\",\"num_attention_heads\":2,\"intermediate_size\":1}"};
    char *dir = temporary_directory(), why[BENCH_WORDS];
    bench_shapes shapes = {.count = 0};
    CHECK(bench_add_directory(dir, 1, &shapes, why) == 5 && strstr(why, "config.json"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(read_config(dir, bad[i], 1, &shapes, why) == 3 && !shapes.count, "%s", bad[i]);
    CHECK(!read_config(dir,
                       "{\"text_config\":{\"hidden_size\":64,\"num_attention_heads\":4,"
                       "\"num_key_value_heads\":2,\"intermediate_size\":96,\"head_dim\":32}}",
                       2, &shapes, why),
          "%s", why);
    static const int64_t expected[4][2] = {{128, 64}, {64, 64}, {96, 64}, {64, 48}};
    for (size_t i = 0; i < 4; i++)
        CHECK(shapes.count == 4 && shapes.at[i].n == expected[i][0] &&
                  shapes.at[i].k == expected[i][1],
              "%s", shapes.at[i].name);
    temporary_remove(dir);
}

/* ---- lists ---- */

static void test_m(void)
{
    static const struct {
        const char *list;
        size_t count;
        int64_t m[8];
    } good[] = {{"1", 1, {1}},
                {"16,1,4,4", 3, {1, 4, 16}},
                {"1-4096*4", 7, {1, 4, 16, 64, 256, 1024, 4096}},
                {"1-5", 5, {1, 2, 3, 4, 5}},
                {"8-30+8,7", 4, {7, 8, 16, 24}},
                {"5-5*2", 1, {5}},
                {"1048576", 1, {1048576}}};
    static const char *const bad[] = {
        "",      ",",       "1,",    ",1",      "0",    "a",           "4-1",
        "1-8*1", "1-8*0",   "1-8+0", "1-8*",    "1-",   "-1",          "1 2",
        "1.5",   "1048577", "1-1-1", "1-8*2*2", "1-65", "1-1048577*2", "99999999999999999999"};
    int64_t m[BENCH_MOST_M];
    size_t count;
    char why[BENCH_WORDS];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK(!bench_read_m(good[i].list, m, &count, why) && count == good[i].count, "%s: %zu",
              good[i].list, count);
        CHECK(!memcmp(m, good[i].m, good[i].count * sizeof *m), "%s", good[i].list);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(bench_read_m(bad[i], m, &count, why) == 2 && strstr(why, "--m"), "%s", bad[i]);
}

static void test_columns(void)
{
    bench_column c;
    char why[BENCH_WORDS];
    CHECK(!bench_read_column("W4A16", -1, &c, why) && !strcmp(c.name, "int4") && c.group == 128 &&
          c.act_bits == 16);
    CHECK(!bench_read_column("w4a8", 32, &c, why) && c.scheme->bits == 4 && c.act_bits == 8 &&
          c.group == 32 && !strcmp(c.name, "w4a8"));
    CHECK(!bench_read_column("w8a8", -1, &c, why) && c.act_bits == 8 && c.group == 0);
    CHECK(!bench_read_column("Q4_k", -1, &c, why) && !strcmp(c.name, "q4_K") && !c.scheme &&
          c.block == NIB_BLOCK_Q4_K && c.group == 32 && c.act_bits == 16);
    CHECK(bench_read_column("q4_0", 64, &c, why) == 2 && strstr(why, "q4_0"));
    CHECK(bench_read_column("int9", -1, &c, why) == 2 && strstr(why, "int9"));
}

/* ---- pictures ---- */

enum { DRAWN_M = 7, DRAWN_COLUMNS = 8 };

/* A line of microseconds over M, on a machine of 40 GB/s, 0.5 Top/s and 2.2 Top/s of int8. */
static const struct {
    const char *column, *by;
    double fixed, each, weight;
    bench_peak peak;
} drawn[DRAWN_COLUMNS] = {{"int4", "nibble", 1700, 950, 0.53, BENCH_F16},
                          {"int8", "nibble", 3100, 940, 1.0, BENCH_F16},
                          {"w4a8", "nibble", 1700, 190, 0.53, BENCH_INT8},
                          {"w4a8 codes", "nibble", 1690, 185, 0.53, BENCH_INT8},
                          {"w8a8", "nibble", 3100, 150, 1.0, BENCH_INT8},
                          {"f32", "OpenBLAS 0.3.21", 13000, 720, 4.0, BENCH_F32},
                          {"bf16", "oneDNN 3.5.0", 6500, 600, 2.0, BENCH_F16},
                          {"int8 s32", "oneDNN 3.5.0", 3300, 140, 1.0, BENCH_INT8}};

static void make_result(bench_result *result, bench_device *device, bench_record *records)
{
    *device = (bench_device){.read = 40e9, .copy = 42e9, .peak = {4.6e11, 5e11, 2.2e12}};
    snprintf(device->info.name, sizeof device->info.name, "cpu");
    snprintf(device->info.model, sizeof device->info.model, "A \"CPU\" of <2> & more\001\033[31m");
    *result = (bench_result){.records = records, .devices = device, .device_count = 1};
    result->working_set_bytes = 1 << 28;
    int64_t m = 1;
    for (int i = 0; i < DRAWN_M; i++, m *= 4)
        for (int c = 0; c < DRAWN_COLUMNS; c++) {
            bench_record r = {.m = m, .shape = {"llama-8b.<gate&up>", 28672, 4096}};
            snprintf(r.device, sizeof r.device, "cpu");
            snprintf(r.column, sizeof r.column, "%s", drawn[c].column);
            snprintf(r.by, sizeof r.by, "%s", drawn[c].by);
            r.peak = drawn[c].peak, r.ours = c < 5, r.baseline = c == 5 || c == 6;
            r.seconds = (drawn[c].fixed + drawn[c].each * (double)m) * 1e-6;
            r.operations = 2.0 * 28672 * 4096 * (double)m;
            r.bytes = 28672.0 * 4096 * drawn[c].weight + 2.0 * (double)m * (28672 + 4096);
            double move = r.bytes / device->read, compute = r.operations / device->peak[r.peak];
            r.bound = fmax(move, compute);
            records[result->count++] = r;
        }
}

/* The picture's text; malloc'd. */
static char *draw(const bench_result *result)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    bench_plot(result, "title & <more>", to);
    fclose(to);
    long depth = 0, wrong = 0, texts = 0, closed = 0;
    for (const char *at = text; *at; at++) {
        unsigned char letter = (unsigned char)*at;
        depth += *at == '<', depth -= *at == '>';
        wrong += depth < 0 || depth > 1 || letter >= 0x7f || (letter < 0x20 && letter != '\n');
        texts += !strncmp(at, "<text", 5), closed += !strncmp(at, "</text>", 7);
    }
    CHECK(wrong == 0, "%ld bytes", wrong);
    CHECK(texts == closed && texts > 0 && strstr(text, "</svg>"));
    CHECK(!strstr(text, "nan") && !strstr(text, "inf\"") && !strstr(text, "\"inf"));
    return text;
}

static void test_picture(const char *path)
{
    static bench_record records[DRAWN_M * DRAWN_COLUMNS];
    bench_device device;
    bench_result result;
    make_result(&result, &device, records);
    char *text = draw(&result);
    CHECK(strstr(text, "title &amp; &lt;more&gt;") && strstr(text, "llama-8b.&lt;gate&amp;up&gt;"));
    CHECK(strstr(text, "(A \"CPU\" of &lt;2&gt; &amp; more??[31m)"));
    /* 1700 + 950 m = 6500 + 600 m at 13.7; between 4 and 16 on a line in logarithms */
    CHECK(strstr(text, "int4 beats the plain product up to M = 13<") ||
          strstr(text, "int4 beats the plain product up to M = 14<"));
    CHECK(strstr(text, "int8 beats the plain product up to M = 10<"));
    CHECK(!strstr(text, "w8a8 beats the plain")); /* always, so nowhere */
    FILE *to = path ? fopen(path, "w") : NULL;
    if (to) fputs(text, to), fclose(to);
    free(text);
    result.count = DRAWN_COLUMNS; /* one M */
    free(draw(&result));
    memset(device.peak, 0, sizeof device.peak); /* no roofs */
    device.read = 0;
    for (size_t i = 0; i < result.count; i++) records[i].bound = 0;
    free(draw(&result));
    result.count = 1;
    free(draw(&result));
    result.count = 0;
    free(draw(&result));
}

static void test_baseline(void)
{
    static bench_record records[DRAWN_M * DRAWN_COLUMNS];
    bench_device device;
    bench_result result;
    make_result(&result, &device, records);
    const bench_record *b = bench_baseline(&result, &records[0]);
    CHECK(b && !strcmp(b->column, "bf16") && b->m == 1);
    records[6].device_index = 1;
    b = bench_baseline(&result, &records[0]);
    CHECK(b && !strcmp(b->column, "f32"));
    records[5].baseline = 0;
    CHECK(!bench_baseline(&result, &records[0]));
    CHECK(fabs(bench_percent(&records[0]) - 100 * records[0].bound / records[0].seconds) < 1e-9);
}

int main(int argc, char **argv)
{
    test_shapes();
    test_models();
    test_config();
    test_m();
    test_columns();
    test_picture(argc > 1 ? argv[1] : NULL);
    test_baseline();
    return check_done();
}
