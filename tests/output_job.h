/* output_job.h - one small checkpoint, written as the pipeline would: what the tests of the output
 * run again and again, and break. */
#ifndef NIB_OUTPUT_JOB_H
#define NIB_OUTPUT_JOB_H

#include "../include/nibble_file.h"
#include "check.h"
#include "temporary.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { JOB_TENSORS = 6 };

typedef struct job {
    const char *path, *input;
    int directory, replace;
    nib_io io;
    const char *identity;
    size_t piece;   /* bytes of a write; 0: the whole tensor at once */
    int stop_after; /* tensors of this run; -1: all, and commit */
    int taken_up;   /* out: tensors that were done before */
    char note[512]; /* out */
} job;

/* Two shards in a directory, one in a file; an empty tensor, and one long enough for direct
 * writes. */
static inline void job_tensors(const job *work, nib_new_tensor tensors[JOB_TENSORS])
{
    const nib_new_tensor all[JOB_TENSORS] = {{"a.scales", NIB_BF16, 1, {33}, 0, 0, NULL},
                                             {"a.codes", NIB_I32, 2, {33, 16}, 0, 0, NULL},
                                             {"b.shape", NIB_I64, 1, {2}, 1, 0, NULL},
                                             {"b.codes", NIB_U8, 2, {3, 70001}, 1, 0, NULL},
                                             {"c.empty", NIB_F16, 2, {0, 4}, 0, 0, NULL},
                                             {"c \"\\\xc3\xa4", NIB_F32, 0, {0}, 1, 0, NULL}};
    for (int i = 0; i < JOB_TENSORS; i++) {
        tensors[i] = all[i];
        if (!work->directory) tensors[i].shard = 0;
    }
}

static inline size_t job_bytes(const nib_new_tensor *tensor)
{
    size_t bytes = (size_t)nib_dtype_bits(tensor->type) / 8;
    for (int i = 0; i < tensor->rank; i++) bytes *= (size_t)tensor->shape[i];
    return bytes;
}

/* At most 210,003 bytes. */
static inline void job_fill(int tensor, unsigned char *dst, size_t bytes)
{
    uint64_t state = (uint64_t)tensor + 1;
    for (size_t i = 0; i < bytes; i++) dst[i] = (unsigned char)check_random(&state);
}

static inline nib_status job_tensor(const job *work, nib_output *output, int tensor,
                                    const nib_new_tensor *what)
{
    static unsigned char data[210003];
    char record[16];
    size_t bytes = job_bytes(what), piece = work->piece ? work->piece : bytes;
    job_fill(tensor, data, bytes);
    for (size_t at = 0; at < bytes; at += piece) {
        nib_status status = nib_output_write(output, tensor, at, data + at,
                                             bytes - at < piece ? bytes - at : piece);
        if (status != NIB_OK) return status;
    }
    int length = snprintf(record, sizeof record, "record %d", tensor);
    return nib_output_finish(output, tensor, record, (size_t)length + 1);
}

static inline nib_status job_write(job *work, nib_output *output, const nib_file *input,
                                   const nib_new_tensor *tensors)
{
    int left = work->stop_after;
    nib_status status = NIB_OK;
    for (int i = 0; i < JOB_TENSORS && status == NIB_OK; i++) {
        if (nib_output_done(output, i)) {
            work->taken_up++;
            continue;
        }
        if (left-- == 0) return NIB_E_INTERRUPTED;
        status = job_tensor(work, output, i, &tensors[i]);
    }
    if (status == NIB_OK && work->directory)
        status = nib_output_text(output, "config.json", "{}\n", 3);
    if (status == NIB_OK && input) status = nib_output_carry(output, input);
    if (status == NIB_OK) status = nib_output_verify(output);
    return status == NIB_OK ? nib_output_commit(output) : status;
}

static inline nib_status job_run(job *work)
{
    nib_new_tensor tensors[JOB_TENSORS];
    nib_output *output = NULL;
    nib_file *input = NULL;
    work->taken_up = 0;
    work->note[0] = 0;
    job_tensors(work, tensors);
    nib_status status = work->input ? nib_file_open(work->input, NULL, &input) : NIB_OK;
    nib_output_options options = {.size = sizeof options,
                                  .replace = work->replace,
                                  .directory = work->directory,
                                  .io = work->io,
                                  .metadata = "{\"b\":\"2\",\"a\":\"1\"}",
                                  .journal_bytes = 1,
                                  .identity = work->identity};
    if (status == NIB_OK)
        status = nib_output_create(work->path, input, tensors, JOB_TENSORS, &options, &output);
    if (status == NIB_OK) {
        status = job_write(work, output, input, tensors);
        snprintf(work->note, sizeof work->note, "%s", nib_output_note(output));
        nib_output_close(output);
    }
    nib_file_close(input);
    return status;
}

/* ---- what is on disk ---- */

static inline char *job_path(const char *directory, const char *name)
{
    char *path = malloc(strlen(directory) + strlen(name) + 2);
    if (!path) abort();
    sprintf(path, "%s/%s", directory, name);
    return path;
}

static inline int job_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static inline uint64_t job_hash_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    uint64_t hash = 1;
    char block[65536];
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;)
        hash = XXH3_64bits_withSeed(block, got, hash);
    fclose(file);
    return hash;
}

/* One number for a file, or for all names and bytes of a flat directory; 0 where nothing is there.
 */
static inline uint64_t job_hash(const char *path)
{
    DIR *list = opendir(path);
    if (!list) return job_hash_file(path);
    uint64_t sum = 1;
    for (struct dirent *entry; (entry = readdir(list));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char *inner = job_path(path, entry->d_name);
        sum += XXH3_64bits_withSeed(entry->d_name, strlen(entry->d_name), job_hash_file(inner));
        free(inner);
    }
    closedir(list);
    return sum;
}

/* Reads the checkpoint at `path` back and compares every tensor. */
static inline void job_check(const job *work)
{
    static unsigned char expected[210003], found[210003];
    nib_new_tensor tensors[JOB_TENSORS];
    nib_file *file;
    job_tensors(work, tensors);
    if (!CHECK_OK(nib_file_open(work->path, NULL, &file))) return;
    CHECK(nib_file_raw_count(file) == JOB_TENSORS);
    for (int64_t i = 0; i < nib_file_raw_count(file); i++) {
        const nib_raw_tensor *raw = nib_file_raw_at(file, i);
        int at = 0;
        while (at < JOB_TENSORS && strcmp(tensors[at].name, raw->name)) at++;
        if (!CHECK(at < JOB_TENSORS, "%s", raw->name)) continue;
        size_t bytes = job_bytes(&tensors[at]);
        int align = nib_dtype_bits(raw->type) / 8;
        CHECK(raw->span.bytes == bytes && raw->type == tensors[at].type &&
              raw->span.offset % (uint64_t)align == 0);
        CHECK_OK(nib_file_read(file, raw->span.shard, raw->span.offset, found, bytes));
        job_fill(at, expected, bytes);
        CHECK(!memcmp(expected, found, bytes), "%s", raw->name);
    }
    nib_file_close(file);
}

static inline char *job_partial(const char *path)
{
    char *partial = malloc(strlen(path) + 9);
    if (!partial) abort();
    sprintf(partial, "%s.partial", path);
    return partial;
}

/* Removes the output and what is left of it unfinished; takes `path`. */
static inline void job_erase(char *path)
{
    temporary_remove(job_partial(path));
    temporary_remove(path);
}

#endif
