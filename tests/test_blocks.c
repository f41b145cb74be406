/* test_blocks.c - ggml's blocks against bytes that ggml made (tests/golden/ggml_blocks): every
 * input x type x importance is quantized to those bytes, and blocks decode to those values,
 * directly and by way of the unpacked planes.
 *
 * test_blocks DEVICE */
#include "../include/nibble.h"
#include "check.h"

#include <jansson.h>

#define GOLDEN NIBBLE_SOURCE_DIR "/tests/golden/ggml_blocks/"

static nib_ctx *ctx;
static nib_stream *stream;

/* A golden file, malloc'd; NULL where there is none. */
static void *read_file(const char *name, size_t *bytes_ret)
{
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    size_t bytes = (size_t)ftell(file);
    rewind(file);
    void *data = malloc(bytes + 1);
    if (fread(data, 1, bytes, file) != bytes) exit(1);
    fclose(file);
    *bytes_ret = bytes;
    return data;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static int64_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* Device memory that holds `data`, or poison where that is NULL. */
static nib_mem put(const void *data, size_t bytes)
{
    nib_mem mem = {NULL, 0, 0};
    unsigned char *poison = malloc(bytes + 1);
    memset(poison, 0xA5, bytes + 1);
    CHECK_OK(nib_alloc(ctx, bytes, &mem));
    CHECK_OK(nib_upload(stream, mem, data ? data : poison, bytes));
    CHECK_OK(nib_sync(stream));
    free(poison);
    return mem;
}

static void *take(nib_mem *mem, size_t bytes)
{
    void *data = malloc(bytes + 1);
    CHECK_OK(nib_download(stream, data, *mem, bytes));
    CHECK_OK(nib_sync(stream));
    nib_free(ctx, mem);
    return data;
}

static void same(const char *what, const void *expected, const void *got, size_t bytes)
{
    const unsigned char *a = expected, *b = got;
    size_t first = 0, different = 0;
    for (size_t i = bytes; i-- > 0;)
        if (a[i] != b[i]) first = i, different++;
    CHECK(!different, "%s: %zu of %zu bytes differ, first at %zu: expected %02x, got %02x", what,
          different, bytes, first, a[first], b[first]);
}

/* Bytes that no two NaNs can tell apart: ggml's NaN and ours differ. */
static void decodes(const char *what, nib_block block, int64_t rows, int64_t cols,
                    const void *blocks, size_t bytes, const float *expected)
{
    size_t size = (size_t)(rows * cols) * sizeof(float);
    nib_mem b = put(blocks, bytes), y = put(NULL, size), planes[NIB_PLANES];
    CHECK_OK(nib_dequantize_blocks(stream, block, rows, cols, b, NIB_F32, y));
    float *direct = take(&y, size);
    if (expected) same(what, expected, direct, size);

    nib_quant quant;
    CHECK_OK(nib_block_quant(block, rows, cols, &quant));
    for (int p = 0; p < NIB_PLANES; p++) {
        size_t plane_bytes = 0;
        CHECK_OK(nib_plane_bytes(&quant, (nib_plane)p, &plane_bytes));
        planes[p] = put(NULL, plane_bytes);
    }
    y = put(NULL, size);
    CHECK_OK(nib_unpack_blocks(stream, block, rows, cols, b, planes));
    CHECK_OK(nib_dequantize(stream, &quant, planes, NIB_F32, y));
    float *planar = take(&y, size);
    same(what, direct, planar, size);
    for (int p = 0; p < NIB_PLANES; p++) nib_free(ctx, &planes[p]);
    nib_free(ctx, &b);
    free(planar);
    free(direct);
}

static void check_entry(const json_t *e)
{
    const nib_block_type *type = nib_block_find(text_of(e, "type"));
    if (!type) return; /* F16 and BF16 */
    const char *name = text_of(e, "file"), *imatrix = text_of(e, "imatrix");
    int64_t rows = number_of(e, "rows"), cols = number_of(e, "cols");
    size_t x_bytes = 0, bytes = 0, weight_bytes = 0, deq_bytes = 0, expected_bytes = 0;
    void *x = read_file(text_of(e, "input"), &x_bytes), *golden = read_file(name, &bytes);
    void *weight = imatrix ? read_file(imatrix, &weight_bytes) : NULL;
    const char *deq_name = text_of(e, "dequantized_file");
    float *deq = deq_name ? read_file(deq_name, &deq_bytes) : NULL;
    CHECK_OK(nib_block_bytes(type->block, rows, cols, &expected_bytes));
    if (!CHECK(x && golden && bytes == expected_bytes && (!imatrix || weight), "%s", name)) return;

    nib_report report = NIB_REPORT_EMPTY;
    nib_mem xm = put(x, x_bytes), wm = weight ? put(weight, weight_bytes) : (nib_mem){NULL, 0, 0};
    nib_mem out = put(NULL, bytes), rm = put(&report, sizeof report);
    CHECK_OK(nib_quantize_blocks(stream, type->block, rows, cols, NIB_F32, xm, wm,
                                 NIB_NONFINITE_ERROR, out, rm));
    void *blocks = take(&out, bytes);
    nib_report *got = take(&rm, sizeof report);
    same(name, golden, blocks, bytes);
    const json_t *refused = json_object_get(e, "rows_refused_by_library");
    CHECK((got->saturated > 0) == (json_array_size(refused) > 0), "%s: %u saturated", name,
          got->saturated);
    CHECK(got->nonfinite == 0, "%s: %u", name, got->nonfinite);
    decodes(name, type->block, rows, cols, golden, bytes, deq);
    nib_free(ctx, &xm);
    nib_free(ctx, &wm);
    free(got);
    free(blocks);
    free(deq);
    free(weight);
    free(golden);
    free(x);
}

static void check_random_blocks(const json_t *e)
{
    const nib_block_type *type = nib_block_find(text_of(e, "type"));
    size_t bytes = 0, deq_bytes = 0;
    void *blocks = type ? read_file(text_of(e, "input"), &bytes) : NULL;
    float *deq = type ? read_file(text_of(e, "dequantized_file"), &deq_bytes) : NULL;
    if (type && CHECK(blocks && deq, "%s", type->name))
        decodes(text_of(e, "input"), type->block, number_of(e, "blocks"), type->elements, blocks,
                bytes, deq);
    free(deq);
    free(blocks);
}

/* What the interface says of blocks, and what it refuses. */
static void check_interface(void)
{
    nib_mem x = put(NULL, 1024), out = put(NULL, 1024), none = {NULL, 0, 0};
    size_t bytes = 0;
    CHECK(nib_block_count() == 12 && !nib_block_at(12), "%zu types", nib_block_count());
    CHECK(nib_block_find("Q4_k") == nib_block_get(NIB_BLOCK_Q4_K) && !nib_block_find("q4"),
          "names in any case, whole");
    CHECK(!nib_block_get(NIB_BLOCK_NONE) && !nib_block_find(NULL), "no type");
    CHECK_STATUS(nib_block_bytes((nib_block)5, 1, 32, &bytes), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_block_bytes(NIB_BLOCK_Q4_K, 1, 32, &bytes), NIB_E_SHAPE);
    CHECK_STATUS(nib_block_bytes(NIB_BLOCK_Q4_0, INT64_MAX / 32, 64, &bytes), NIB_E_SHAPE);
    CHECK_STATUS(nib_block_bytes(NIB_BLOCK_Q4_0, -1, 64, &bytes), NIB_E_SHAPE);
    CHECK_OK(nib_block_bytes(NIB_BLOCK_Q4_0, 2, 64, &bytes));
    CHECK(bytes == 72, "%zu", bytes);
    CHECK_STATUS(nib_quantize_blocks(stream, NIB_BLOCK_Q8_0, 1, 32, NIB_F32, x, x,
                                     NIB_NONFINITE_ERROR, out, none),
                 NIB_E_UNSUPPORTED);
    CHECK_STATUS(nib_quantize_blocks(stream, NIB_BLOCK_Q8_0, 1, 32, NIB_F32, x, none,
                                     NIB_NONFINITE_ERROR, x, none),
                 NIB_E_ARGUMENT);
    CHECK_STATUS(nib_dequantize_blocks(stream, NIB_BLOCK_Q8_0, 1, 4096, out, NIB_F32, x),
                 NIB_E_ARGUMENT);
    CHECK_STATUS(nib_unpack_blocks(stream, NIB_BLOCK_Q8_0, 1, 32, out, NULL), NIB_E_ARGUMENT);
    nib_free(ctx, &x);
    nib_free(ctx, &out);
}

int main(int argc, char **argv)
{
    const char *device = argc > 1 ? argv[1] : "ref";
    nib_status status = nib_open(device, NULL, &ctx);
    if (status == NIB_E_NO_DEVICE) {
        check_skip(device, nib_last_error());
        return check_done();
    }
    if (!CHECK_OK(status) || !CHECK_OK(nib_stream_open(ctx, &stream))) return check_done();
    check_interface();
    json_t *manifest = json_load_file(GOLDEN "manifest.json", 0, NULL);
    const json_t *entries = json_object_get(manifest, "entries");
    const json_t *random = json_object_get(manifest, "dequantize_random_blocks");
    CHECK(json_array_size(entries) == 686 && json_array_size(random) == 12, "%zu and %zu entries",
          json_array_size(entries), json_array_size(random));
    for (size_t i = 0; i < json_array_size(entries); i++) check_entry(json_array_get(entries, i));
    for (size_t i = 0; i < json_array_size(random); i++)
        check_random_blocks(json_array_get(random, i));
    json_decref(manifest);
    nib_stream_close(stream);
    nib_close(ctx);
    return check_done();
}
