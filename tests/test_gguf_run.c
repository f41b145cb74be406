/* test_gguf_run.c - what a run into GGUF promises beside its bytes (test_gguf_quantize.c):
 * importance matrices good and bad, runs that are stopped, tiles and lanes of any size, headers
 * as written. */
#include "check.h"

#include "../host/formats/imatrix.h"
#include "../include/nibble_quantize.h"
#include "sha256.h"
#include "temporary.h"

#include <math.h>
#include <sys/stat.h>

#define GOLDEN NIBBLE_SOURCE_DIR "/tests/golden/gguf/"
#define TIED GOLDEN "in/llama_f16_gqa4_tied.gguf"

static char *dir;

static void path_in(char path[300], const char *name) { snprintf(path, 300, "%s/%s", dir, name); }

/* ---- importance matrices ---- */

static void test_importance(void)
{
    nib_imatrix matrix;
    if (CHECK_OK(nib_imatrix_read(GOLDEN "imatrix/llama_f32_mha_8l.gguf", 0, &matrix))) {
        const nib_imatrix_entry *entry = nib_imatrix_find(&matrix, "blk.0.attn_k.weight");
        CHECK(matrix.count == 56 && entry && entry->count == 256);
        CHECK(!nib_imatrix_find(&matrix, "blk.0.attn_k"));
        nib_imatrix_free(&matrix);
    }
    if (CHECK_OK(nib_imatrix_read(GOLDEN "imatrix/llama_f32_odd_k.dat", 0, &matrix))) {
        CHECK(nib_imatrix_find(&matrix, "blk.1.ffn_down.weight"));
        nib_imatrix_free(&matrix);
    }
    CHECK_STATUS(nib_imatrix_read(GOLDEN "imatrix/llama_f32_mha_8l.gguf", 4096, &matrix),
                 NIB_E_MEMORY);
    CHECK_STATUS(nib_imatrix_read(GOLDEN "imatrix/llama_f32_odd_k.dat", 4096, &matrix),
                 NIB_E_MEMORY);
    CHECK_STATUS(nib_imatrix_read(GOLDEN "imatrix/edge_imatrix_nan.gguf", 0, &matrix),
                 NIB_E_IMPORTANCE);
    CHECK_STATUS(nib_imatrix_read(GOLDEN "imatrix/edge_imatrix_inf.gguf", 0, &matrix),
                 NIB_E_IMPORTANCE);
    CHECK_STATUS(nib_imatrix_read(TIED, 0, &matrix), NIB_E_IMPORTANCE);
    CHECK_STATUS(nib_imatrix_read("/nonexistent", 0, &matrix), NIB_E_NOT_FOUND);
}

/* An old file of one entry, or two that are alike: "w", `calls`, the values 2, 4. */
static size_t old_file(unsigned char bytes[128], int32_t entries, int32_t name, int32_t calls,
                       int32_t values, float second)
{
    const float numbers[2] = {2.0f, second};
    size_t at = 0;
    memcpy(bytes + at, &entries, 4), at += 4;
    for (int32_t i = 0; i < 2; i++) {
        memcpy(bytes + at, &name, 4), at += 4;
        bytes[at++] = 'w';
        memcpy(bytes + at, &calls, 4), at += 4;
        memcpy(bytes + at, &values, 4), at += 4;
        memcpy(bytes + at, numbers, 8), at += 8;
    }
    return at;
}

static void test_old_importance(void)
{
    static const struct {
        int32_t entries, name, calls, values;
        float second;
        size_t cut; /* bytes of the file; 0: all */
        nib_status status;
    } rows[] = {
        {1, 1, 2, 2, 4.0f, 0, NIB_OK},
        {2, 1, 2, 2, 4.0f, 0, NIB_E_DUP},
        {0, 1, 2, 2, 4.0f, 0, NIB_E_IMPORTANCE},
        {-1, 1, 2, 2, 4.0f, 0, NIB_E_IMPORTANCE},
        {INT32_MAX, 1, 2, 2, 4.0f, 0, NIB_E_IMPORTANCE},
        {1, 0, 2, 2, 4.0f, 0, NIB_E_IMPORTANCE},
        {1, -1, 2, 2, 4.0f, 0, NIB_E_IMPORTANCE},
        {1, 1, -2, 2, 4.0f, 0, NIB_E_IMPORTANCE},
        {1, 1, 2, 0, 4.0f, 0, NIB_E_IMPORTANCE},
        {1, 1, 2, INT32_MAX, 4.0f, 0, NIB_E_IMPORTANCE},
        {1, 1, 2, 2, NAN, 0, NIB_E_IMPORTANCE},
        {1, 1, 2, 2, INFINITY, 0, NIB_E_IMPORTANCE},
        {1, 1, 2, 2, 4.0f, 3, NIB_E_TRUNC},
        {1, 1, 2, 2, 4.0f, 24, NIB_E_IMPORTANCE},
    };
    char path[300];
    path_in(path, "old.dat");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char bytes[128];
        nib_imatrix matrix = {0};
        size_t size = old_file(bytes, rows[i].entries, rows[i].name, rows[i].calls, rows[i].values,
                               rows[i].second);
        temporary_write(path, bytes, rows[i].cut ? rows[i].cut : size);
        nib_status status = nib_imatrix_read(path, 0, &matrix);
        CHECK(status == rows[i].status, "row %zu: %s (%s)", i, nib_status_name(status),
              nib_last_error());
        if (status != NIB_OK) continue;
        const nib_imatrix_entry *entry = nib_imatrix_find(&matrix, "w");
        CHECK(entry && entry->count == 2 && entry->values[0] == 1.0f && entry->values[1] == 2.0f);
        nib_imatrix_free(&matrix);
    }
}

/* ---- runs ---- */

typedef struct stopper {
    int after; /* tensors until the run is stopped; -1: never */
    volatile int cancel;
    int resumed;
} stopper;

static void on_progress(void *user, const nib_progress *progress)
{
    stopper *stop = user;
    if (progress->tensor && stop->after >= 0 && --stop->after <= 0) stop->cancel = 1;
}

static nib_status run(const char *mixture, nib_run_options options, stopper *stop)
{
    nib_file *file;
    nib_job *job = NULL;
    const nib_job_options job_options = {
        .size = sizeof job_options, .group = -1, .mixture = nib_mixture_find(mixture)};
    options.size = sizeof options;
    options.progress = on_progress;
    options.user = stop;
    options.cancel = &stop->cancel;
    if (!CHECK_OK(nib_file_open(TIED, NULL, &file))) return NIB_E_IO;
    nib_status status = nib_job_create(file, &job_options, &job);
    if (status == NIB_OK) status = nib_job_run(job, &options);
    for (int64_t i = 0; i < nib_job_count(job); i++)
        stop->resumed += nib_job_result(job, i)->resumed;
    nib_job_close(job);
    nib_file_close(file);
    return status;
}

/* The bytes do not depend on how a run is cut into tiles and lanes, or on being stopped. */
static void test_runs(void)
{
    static const char whole[] = "4943a690793865cd28dacba57e70f51a0d3a06b66f3946f4c6bbaea7610b38ff";
    static const nib_run_options ways[] = {
        {.threads = 1},
        {.threads = 3},
        {.threads = 2, .max_memory_bytes = 26 << 20},
        {.threads = 2, .verify = 1, .io = NIB_IO_DIRECT},
    };
    char output[300], hash[65];
    path_in(output, "run.gguf");
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        nib_run_options options = ways[i];
        stopper never = {.after = -1};
        options.output = output;
        options.device = "cpu";
        options.replace = 1;
        CHECK_OK(run("q4_k_m", options, &never));
        sha256_file(output, hash);
        CHECK(!strcmp(hash, whole), "way %zu: %s", i, hash);
    }
    unlink(output);
    nib_run_options options = {.threads = 1, .output = output, .device = "cpu", .verify = 1};
    stopper early = {.after = 12}, last = {.after = -1};
    struct stat st;
    CHECK_STATUS(run("q4_k_m", options, &early), NIB_E_INTERRUPTED);
    CHECK(stat(output, &st), "a stopped run has no output");
    CHECK_OK(run("q4_k_m", options, &last));
    sha256_file(output, hash);
    CHECK(!strcmp(hash, whole), "%s", hash);
    CHECK(last.resumed >= 10, "%d tensors were taken over", last.resumed);
    CHECK_STATUS(run("q4_k_m", options, &last), NIB_E_EXISTS);
    options.max_memory_bytes = 4 << 20;
    options.replace = 1;
    CHECK_STATUS(run("q4_k_m", options, &last), NIB_E_MEMORY);
    sha256_file(output, hash);
    CHECK(!strcmp(hash, whole), "a refused run leaves the earlier output: %s", hash);
}

/* ---- headers ---- */

/* What nib_output writes as GGUF is what nib_file_open reads. */
static void test_header(void)
{
    char path[300];
    nib_output *output;
    nib_file *file;
    path_in(path, "small.gguf");
    const nib_stored_type *q8 = nib_stored_type_find("q8_0");
    nib_new_tensor tensors[] = {
        {"blocks", NIB_DTYPE_NONE, 3, {1, 2, 64}, 0, 0, q8},
        {"none", NIB_F32, 2, {0, 8}, 0, 0, NULL},
        {"scalar", NIB_F32, 0, {0}, 0, 0, NULL},
        {"four", NIB_I16, 4, {2, 1, 2, 3}, 0, 0, NULL},
    };
    const nib_output_options options = {.size = sizeof options, .container = NIB_GGUF};
    static const unsigned char zeros[136];
    static const size_t sizes[] = {2 * 2 * 34, 0, 4, 24};
    if (!CHECK_OK(nib_output_create(path, NULL, tensors, 4, &options, &output))) return;
    for (int i = 0; i < 4; i++) {
        CHECK_OK(nib_output_write(output, i, 0, zeros, sizes[i]));
        CHECK_OK(nib_output_finish(output, i, NULL, 0));
        CHECK(tensors[i].offset % 32 == 0);
    }
    CHECK_OK(nib_output_commit(output));
    nib_output_close(output);
    if (!CHECK_OK(nib_file_open(path, NULL, &file))) return;
    CHECK(nib_file_count(file) == 4 && nib_file_shard_bytes(file, 0) % 32 == 0);
    const nib_tensor *blocks = nib_file_at(file, 0), *four = nib_file_at(file, 3);
    CHECK(blocks->rank == 2 && blocks->shape[0] == 2 && blocks->shape[1] == 64 &&
          blocks->blocks == q8 && blocks->quantized == 3);
    CHECK(four->rank == 4 && four->shape[0] == 2 && four->shape[3] == 3);
    nib_file_close(file);
}

/* Tensors that GGUF cannot hold. */
static void test_refused(void)
{
    static const char name64[] = "0123456789012345678901234567890123456789012345678901234567890123";
    const nib_stored_type *q4 = nib_stored_type_find("Q4_K");
    const struct {
        nib_new_tensor tensor;
        nib_status status;
    } rows[] = {
        {{name64, NIB_F32, 1, {1}, 0, 0, NULL}, NIB_E_NAME},
        {{"t", NIB_F32, 5, {2, 2, 2, 2, 2}, 0, 0, NULL}, NIB_E_RANK},
        {{"t", NIB_F8_E4M3, 1, {1}, 0, 0, NULL}, NIB_E_DTYPE},
        {{"t", NIB_DTYPE_NONE, 2, {2, 128}, 0, 0, q4}, NIB_E_ROW},
        {{"t", NIB_DTYPE_NONE, 2, {INT64_MAX / 8, 256}, 0, 0, q4}, NIB_E_OVERFLOW},
        {{"t", NIB_DTYPE_NONE, 1, {256}, 0, 0, NULL}, NIB_E_DTYPE},
    };
    char path[300];
    path_in(path, "refused.gguf");
    const nib_output_options options = {.size = sizeof options, .container = NIB_GGUF};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        nib_new_tensor tensor = rows[i].tensor;
        nib_output *output = NULL;
        CHECK_STATUS(nib_output_create(path, NULL, &tensor, 1, &options, &output), rows[i].status);
    }
}

/* The block table and the file's table say the same. */
static void test_tables(void)
{
    for (size_t i = 0; i < nib_block_count(); i++) {
        const nib_block_type *block = nib_block_at(i);
        const nib_stored_type *stored = nib_stored_type_at((int32_t)block->block);
        CHECK(stored && stored->elements == block->elements && stored->bytes == block->bytes &&
                  stored == nib_stored_type_find(block->name),
              "%s", block->name);
    }
    for (size_t i = 0; i < nib_mixture_count(); i++) {
        const nib_mixture *mixture = nib_mixture_at(i);
        CHECK(nib_mixture_find(mixture->name) == mixture);
        CHECK(!mixture->base || nib_stored_type_find(mixture->base), "%s", mixture->name);
    }
    CHECK(nib_mixture_find("Q4-K-M") && !nib_mixture_find("q4") && !nib_mixture_find(NULL));
}

int main(void)
{
    dir = temporary_directory();
    test_importance();
    test_old_importance();
    test_runs();
    test_header();
    test_refused();
    test_tables();
    temporary_remove(dir);
    return check_done();
}
