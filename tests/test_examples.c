/* test_examples.c - the worked examples: tests/golden/seeds/seeds.json holds the textbook's
 * numbers, nibble's rules must give the same codes and values digit for digit, and
 * docs/worked-examples.md must show the lines that come out. */
#include "on_ref.h"

#include <jansson.h>

#define GOLDEN NIBBLE_SOURCE_DIR "/tests/golden/seeds/seeds.json"
#define PAGE NIBBLE_SOURCE_DIR "/docs/worked-examples.md"

enum { MOST = 16 };

static char page[16384];

static void read_page(void)
{
    FILE *file = fopen(PAGE, "r");
    CHECK(file != NULL, PAGE);
    if (!file) return;
    size_t length = fread(page, 1, sizeof page - 1, file);
    CHECK(length > 0 && length < sizeof page - 1, "%zu bytes", length);
    fclose(file);
}

/* Whether the page holds the line, from newline to newline. */
static int on_page(const char *line)
{
    char framed[256];
    snprintf(framed, sizeof framed, "\n%s\n", line);
    return strstr(page, framed) != NULL;
}

static double number_at(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

/* The decimal digits that seven significant ones allow: what an f32 can promise. */
static int same_digits(double got, double expected)
{
    char a[32], b[32];
    snprintf(a, sizeof a, "%.7g", got);
    snprintf(b, sizeof b, "%.7g", expected);
    return !strcmp(a, b);
}

static void example(const json_t *weights, const json_t *e)
{
    int symmetric = !strcmp(json_string_value(json_object_get(e, "mode")), "symmetric");
    int bits = (int)json_integer_value(json_object_get(e, "bits"));
    size_t count = json_array_size(weights);
    const json_t *codes = json_object_get(e, "q"), *back = json_object_get(e, "dequantized");
    CHECK(count > 0 && count <= MOST && json_array_size(codes) == count, "%zu weights", count);

    float w[MOST], y[MOST];
    for (size_t i = 0; i < count; i++) w[i] = (float)number_at(weights, i);
    nib_quant q = by_rows(1, (int64_t)count, 0, bits,
                          symmetric ? NIB_RULE_SYM_RESTRICTED : NIB_RULE_ASYM_ZERO, NIB_F32);
    packed p = quantized(&q, NIB_F32, w, NIB_NONFINITE_ERROR);
    decode(&q, &p, NIB_F32, y);

    double scale = json_number_value(json_object_get(e, "scale"));
    CHECK(same_digits(1.0 / (double)scale_at(&q, &p, 0), scale), "scale %g", scale);
    int64_t zero_point = json_integer_value(json_object_get(e, "zero_point"));
    if (!symmetric)
        CHECK(p.plane[NIB_PLANE_OFFSETS].data[0] == -zero_point, "zero %lld",
              (long long)zero_point);
    for (size_t i = 0; i < count; i++) {
        int64_t textbook = json_integer_value(json_array_get(codes, i));
        int64_t u = code_at(&q, &p, 0, (int64_t)i);
        CHECK(u == textbook + (symmetric ? 1 << (bits - 1) : 0), "code %zu is %lld", i,
              (long long)u);
        CHECK(same_digits((double)y[i], number_at(back, i)), "value %zu is %.9g", i, (double)y[i]);
        char line[128];
        snprintf(line, sizeof line, "| %g | %lld | %lld | %.7g |", number_at(weights, i),
                 (long long)textbook, (long long)u, (double)y[i]);
        CHECK(on_page(line), "docs/worked-examples.md lacks: %s", line);
    }
    static const unsigned char symmetric_bytes[4] = {0x88, 0xea, 0x4c, 0x01};
    if (symmetric) CHECK(!memcmp(p.plane[0].data, symmetric_bytes, 4), "the page's bytes");
    release(&p);
}

static void bit_pattern(const json_t *row)
{
    static const struct {
        const char *key;
        nib_dtype type;
        int digits;
    } formats[] = {{"f32", NIB_F32, 8}, {"f16", NIB_F16, 4}, {"bf16", NIB_BF16, 4}};
    char line[128], text[3][16];
    float value = (float)json_number_value(json_object_get(row, "value"));
    for (int i = 0; i < 3; i++) {
        const char *expected = json_string_value(json_object_get(row, formats[i].key));
        uint32_t stored = 0;
        check_buffer b = typed(formats[i].type, &value, 1);
        memcpy(&stored, b.data, size_of(formats[i].type));
        snprintf(text[i], sizeof text[i], "0x%0*X", formats[i].digits, stored);
        CHECK(!strcmp(text[i], expected), "%s: %s, expected %s", formats[i].key, text[i], expected);
        CHECK(element(formats[i].type, b.data, 0) == value, "%s back", formats[i].key);
        check_release(&b);
    }
    snprintf(line, sizeof line, "| %g | %s | %s | %s |", (double)value, text[0], text[1], text[2]);
    CHECK(on_page(line), "docs/worked-examples.md lacks: %s", line);
}

int main(void)
{
    json_error_t error;
    json_t *root = json_load_file(GOLDEN, JSON_REJECT_DUPLICATES, &error), *vector, *item;
    size_t i, j, examples = 0, patterns = 0;
    CHECK(root != NULL, "%s: %s", GOLDEN, error.text);
    ref_open();
    read_page();
    json_array_foreach(json_object_get(root, "vectors"), i, vector)
        json_array_foreach(json_object_get(vector, "examples"), j, item)
    {
        example(json_object_get(vector, "weights"), item);
        examples++;
    }
    json_array_foreach(json_object_get(root, "bit_patterns"), i, item)
    {
        bit_pattern(item);
        patterns++;
    }
    CHECK(examples == 2 && patterns == 1, "%zu examples, %zu patterns", examples, patterns);
    ref_close();
    json_decref(root);
    return check_done();
}
