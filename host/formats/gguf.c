/* gguf.c - opens a GGUF file as a checkpoint, with those that it was split into. */
#include "gguf.h"

#include "../core/internal.h"
#include "io.h"
#include "path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SPLITS = 65535 };

int nib_gguf_is(const char *path)
{
    if (nib_ends_with(path, NIB_GGUF_SUFFIX)) return 1;
    nib_input input;
    char magic[4];
    if (nib_input_open(AT_FDCWD, path, 1, &input) != NIB_OK) return 0;
    int is = input.bytes >= sizeof magic &&
             nib_io_read(input.fd, path, 0, magic, sizeof magic) == NIB_OK &&
             !memcmp(magic, "GGUF", sizeof magic);
    nib_input_close(&input);
    return is;
}

/* ---- splits ---- */

int nib_gguf_split_number(const char *name)
{
    size_t length = strlen(name);
    int number = 0, count = 0;
    char rebuilt[40];
    if (length < NIB_GGUF_SPLIT_SUFFIX) return 0;
    name += length - NIB_GGUF_SPLIT_SUFFIX;
    if (sscanf(name, "-%5d-of-%5d", &number, &count) != 2 || number < 1) return 0;
    snprintf(rebuilt, sizeof rebuilt, "-%05d-of-%05d" NIB_GGUF_SUFFIX, number, count);
    return strcmp(rebuilt, name) ? 0 : number;
}

/* Where the files of a split checkpoint are: the path of the first without its numbers. */
typedef struct split_names {
    int directory, follow;
    char *text; /* room for a path; a piece of the arena */
    size_t stem, size;
    int count;
} split_names;

static void split_path(const split_names *names, int number)
{
    snprintf(names->text + names->stem, names->size - names->stem, "-%05d-of-%05d" NIB_GGUF_SUFFIX,
             number + 1, names->count);
}

/* The names of the others follow from the name of the first: "PREFIX-00001-of-00003.gguf". */
static nib_status make_names(nib_file *file, const char *path, int count, split_names *names_ret)
{
    split_names names = *names_ret;
    names.size = strlen(path) + 1;
    names.count = count;
    if (names.size > NIB_GGUF_SPLIT_SUFFIX) names.stem = names.size - 1 - NIB_GGUF_SPLIT_SUFFIX;
    NIB_TAKE(names.text, &file->arena, names.size + NIB_GGUF_SPLIT_SUFFIX, "names");
    names.size += NIB_GGUF_SPLIT_SUFFIX;
    memcpy(names.text, path, strlen(path) + 1);
    split_path(&names, 0);
    if (strcmp(names.text, path))
        return NIB_FAIL(NIB_E_SPLIT,
                        "split.count is %d, so the first file's name must end in -00001-of-%05d"
                        ".gguf; give the path of that one",
                        count, count);
    *names_ret = names;
    return NIB_OK;
}

static nib_status check_split(const nib_shard *shard, int32_t number, int32_t count)
{
    uint64_t its_number = 0, its_count = 1;
    nib_gguf_shard_number(shard, "split.no", &its_number);
    nib_gguf_shard_number(shard, "split.count", &its_count);
    if (its_number == (uint64_t)number && its_count == (uint64_t)count) return NIB_OK;
    return NIB_FAIL(NIB_E_SPLIT, "split.no is %llu of %llu; it must be %d of %d",
                    (unsigned long long)its_number, (unsigned long long)its_count, number, count);
}

/* ---- tables ---- */

/* Opens shard `number`; its path is borrowed. */
static nib_status open_shard(nib_file *file, const split_names *names, const char *path,
                             int32_t number, nib_raw_tensor **tensors_ret, int64_t *count_ret)
{
    nib_shard *shard = &file->shards[number];
    const char *slash = strrchr(path, '/');
    char *name;
    size_t bytes = strlen(slash ? slash + 1 : path) + 1;
    NIB_TAKE(name, &file->arena, bytes, "names");
    memcpy(name, slash ? slash + 1 : path, bytes);
    shard->name = name;
    shard->metadata = "";
    NIB_TRY(nib_input_open(names->directory, path, names->follow, &shard->input));
    file->shard_count++;
    nib_status status = nib_gguf_read(&file->arena, shard, number, tensors_ret, count_ret);
    return status == NIB_OK ? NIB_OK : nib_fail_prefix(status, "%s: ", path);
}

/* The tensors of each shard, before they become one table. */
typedef struct shard_tensors {
    nib_raw_tensor *tensors;
    int64_t count;
} shard_tensors;

static nib_status open_other(nib_file *file, const split_names *names, int32_t number,
                             shard_tensors *part)
{
    nib_status status = open_shard(file, names, names->text, number, &part->tensors, &part->count);
    if (status == NIB_E_NOT_FOUND)
        return NIB_FAIL(NIB_E_MISSING, "%s is not there; it is part of a split checkpoint",
                        names->text);
    return status;
}

static nib_status join(nib_file *file, shard_tensors *parts)
{
    nib_raw_tensor *all;
    int64_t count = 0;
    for (int32_t i = 0; i < file->shard_count; i++) count += parts[i].count;
    NIB_TAKE(all, &file->arena, count, "the table of tensors");
    file->raw = all;
    for (int32_t i = 0; i < file->shard_count; i++) {
        memcpy(all + file->raw_count, parts[i].tensors, (size_t)parts[i].count * sizeof *all);
        nib_arena_drop(&file->arena, parts[i].tensors);
        file->raw_count += parts[i].count;
    }
    return NIB_OK;
}

/* The first is open; opens the others and makes one table of all tensors. */
static nib_status open_others(nib_file *file, split_names names, const char *path, int32_t count)
{
    nib_shard *shards;
    shard_tensors *parts;
    NIB_TRY(make_names(file, path, count, &names));
    NIB_TAKE(shards, &file->arena, count, "files");
    NIB_TAKE(parts, &file->arena, count, "files");
    shards[0] = file->shards[0];
    nib_arena_drop(&file->arena, file->shards);
    file->shards = shards;
    parts[0] = (shard_tensors){file->raw, file->raw_count};
    file->raw_count = 0;
    for (int32_t i = 1; i < count; i++) {
        split_path(&names, i);
        NIB_TRY(open_other(file, &names, i, &parts[i]));
    }
    NIB_TRY(join(file, parts));
    nib_arena_drop(&file->arena, parts);
    nib_arena_drop(&file->arena, names.text);
    return NIB_OK;
}

static nib_status check_splits(const nib_file *file)
{
    uint64_t tensors;
    for (int32_t i = 0; i < file->shard_count; i++) {
        nib_status status = check_split(&file->shards[i], i, file->shard_count);
        if (status != NIB_OK) return nib_fail_prefix(status, "%s: ", file->shards[i].name);
    }
    if (nib_gguf_number(file, "split.tensors.count", &tensors) &&
        tensors != (uint64_t)file->raw_count)
        return NIB_FAIL(NIB_E_SPLIT, "%s: split.tensors.count is %llu and the files hold %lld",
                        file->shards[0].name, (unsigned long long)tensors,
                        (long long)file->raw_count);
    return NIB_OK;
}

/* ---- logical tensors ---- */

/* Each tensor as stored is one as meant. */
static nib_status make_logical(nib_file *file)
{
    NIB_TAKE(file->owners, &file->arena, file->raw_count, "tensors");
    NIB_TAKE(file->tensors, &file->arena, file->raw_count, "tensors");
    NIB_TRY(nib_names_create(&file->names, &file->arena, file->tensors, sizeof *file->tensors,
                             file->raw_count));
    for (int64_t i = 0; i < file->raw_count; i++) {
        const nib_raw_tensor *raw = &file->raw[i];
        nib_tensor *tensor = &file->tensors[i];
        *tensor = (nib_tensor){
            .name = raw->name, .type = raw->type, .rank = raw->rank, .blocks = raw->blocks};
        memcpy(tensor->shape, raw->shape, sizeof tensor->shape);
        tensor->span[0] = raw->span;
        if (raw->blocks && nib_block_get((nib_block)raw->blocks->number)) {
            tensor->quantized = 3;
            tensor->type = NIB_F16; /* of its scales */
        } else if (raw->blocks) {
            tensor->quantized = 2;
            tensor->why = raw->blocks->name;
        }
        file->owners[i] = i;
        if (nib_names_add(&file->names, i) >= 0)
            return NIB_FAIL(NIB_E_DUP, "%s: tensor \"%.200s\" is in an earlier file too",
                            file->shards[raw->span.shard].name, raw->name);
        file->count++;
    }
    return NIB_OK;
}

nib_status nib_gguf_load(nib_file *file, int directory, const char *path, int follow)
{
    const split_names names = {.directory = directory, .follow = follow};
    uint64_t splits = 1;
    file->format = "gguf";
    NIB_TAKE(file->shards, &file->arena, 1, "files");
    NIB_TRY(open_shard(file, &names, path, 0, &file->raw, &file->raw_count));
    nib_gguf_number(file, "split.count", &splits);
    if (splits > MOST_SPLITS)
        return NIB_FAIL(NIB_E_SPLIT, "%s: split.count is %llu; at most %d are read", path,
                        (unsigned long long)splits, MOST_SPLITS);
    if (splits > 1) {
        nib_status status = open_others(file, names, path, (int32_t)splits);
        if (status != NIB_OK) return nib_fail_prefix(status, "%s: ", path);
    }
    NIB_TRY(check_splits(file));
    return make_logical(file);
}

/* ---- keys ---- */

const nib_key *nib_file_key_at(const nib_file *file, int32_t shard, int64_t index)
{
    if (shard < 0 || shard >= file->shard_count) return NULL;
    const nib_shard *found = &file->shards[shard];
    return index >= 0 && index < found->key_count ? &found->keys[index] : NULL;
}

const nib_key *nib_file_key_find(const nib_file *file, int32_t shard, const char *name)
{
    if (shard < 0 || shard >= file->shard_count) return NULL;
    return nib_gguf_key(&file->shards[shard], name);
}

int nib_gguf_number(const nib_file *file, const char *name, uint64_t *value_ret)
{
    return nib_gguf_shard_number(&file->shards[0], name, value_ret);
}
