/* checkpoint.c - opens a file or a directory: finds the shards, checks every header, and only then
 * lets data be read. */
#include "checkpoint.h"

#include "../core/internal.h"
#include "gguf.h"
#include "index.h"
#include "io.h"
#include "path.h"
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

enum { CONFIG_CAP = 16 << 20 };

#define INDEX_SUFFIX ".safetensors.index.json"
#define SUFFIX ".safetensors"

/* The tables of `count` tensors while they become logical ones, which is when they take most. */
static uint64_t tables_bytes(int64_t count)
{
    enum { EACH = sizeof(nib_raw_tensor) + sizeof(nib_tensor) + 2 * sizeof(int64_t) + 1 };
    return (uint64_t)count * EACH + 2 * nib_names_bytes(count);
}

static nib_status copy_text(nib_arena *arena, const char *text, char **copy_ret)
{
    size_t bytes = strlen(text) + 1;
    NIB_TAKE(*copy_ret, arena, bytes, "names");
    memcpy(*copy_ret, text, bytes);
    return NIB_OK;
}

/* ---- headers ---- */

/* The text of a shard's header, a piece of the arena. */
static nib_status read_header(nib_file *file, const nib_shard *shard, char **text_ret,
                              size_t *length_ret)
{
    unsigned char prefix[NIB_HEADER_PREFIX] = {0};
    size_t start = shard->input.bytes < sizeof prefix ? (size_t)shard->input.bytes : sizeof prefix;
    NIB_TRY(nib_io_read(shard->input.fd, shard->name, 0, prefix, start));
    NIB_TRY(nib_header_length(prefix, shard->input.bytes, length_ret));
    NIB_TAKE(*text_ret, &file->arena, *length_ret, "the header");
    return nib_io_read(shard->input.fd, shard->name, NIB_HEADER_PREFIX, *text_ret, *length_ret);
}

/* Reads and checks the header of an open shard, which may be the whole checkpoint; its tables are
 * pieces of the arena. What they need is known and checked before they are made. */
static nib_status take_header(nib_file *file, nib_shard *shard, int whole, nib_header *header_ret,
                              int64_t *count_ret)
{
    char *text;
    size_t length;
    nib_header_counts counts;
    NIB_TRY(read_header(file, shard, &text, &length));
    NIB_TRY(nib_header_count(text, length, &counts));
    uint64_t parsing = (uint64_t)counts.tensors * sizeof(nib_raw_tensor) + length +
                       nib_names_bytes(counts.tensors);
    uint64_t later = whole ? tables_bytes(counts.tensors) : 0;
    uint64_t most = (parsing > later ? parsing : later) + counts.name_bytes;
    if (most > length)
        NIB_TRY(nib_arena_check(&file->arena, most - length, "the tables of its tensors"));
    NIB_TRY(nib_header_parse(text, length, &counts, shard->input.bytes, &file->arena, header_ret));
    nib_arena_drop(&file->arena, text);
    shard->metadata = header_ret->metadata;
    *count_ret = counts.tensors;
    return NIB_OK;
}

/* One file is the whole checkpoint: `name` inside `directory`. */
static nib_status load_single(nib_file *file, int directory, const char *name, int follow)
{
    const char *slash = strrchr(name, '/');
    char *copy;
    NIB_TAKE(file->shards, &file->arena, 1, "shards");
    NIB_TRY(copy_text(&file->arena, slash ? slash + 1 : name, &copy));
    file->shards[0].name = copy;
    NIB_TRY(nib_input_open(directory, name, follow, &file->shards[0].input));
    file->shard_count = 1;
    nib_header header;
    nib_status status = take_header(file, &file->shards[0], 1, &header, &file->raw_count);
    if (status != NIB_OK) return nib_fail_prefix(status, "%s: ", name);
    file->raw = header.tensors;
    return NIB_OK;
}

/* Takes over those tensors of a shard that the index places there. */
static nib_status merge_shard(nib_file *file, nib_index *index, int32_t number)
{
    nib_header header;
    int64_t count;
    NIB_TRY(take_header(file, &file->shards[number], 0, &header, &count));
    for (int64_t i = 0; i < count; i++) {
        nib_raw_tensor *tensor = &header.tensors[i];
        int64_t at = nib_names_find(&index->names, tensor->name, strlen(tensor->name));
        if (at < 0 || index->entries[at].shard != number) {
            file->ignored++;
            continue;
        }
        index->entries[at].found = 1;
        tensor->name = index->entries[at].name;
        tensor->span.shard = number;
        file->raw[file->raw_count++] = *tensor;
    }
    nib_arena_drop(&file->arena, header.tensors);
    nib_arena_drop(&file->arena, header.names);
    return NIB_OK;
}

static nib_status open_shards(nib_file *file, const nib_index *index)
{
    NIB_TAKE(file->shards, &file->arena, index->shard_count, "shards");
    for (int32_t i = 0; i < index->shard_count; i++) {
        nib_shard *shard = &file->shards[i];
        shard->name = index->shards[i];
        nib_status status =
            nib_input_open(file->directory, shard->name, file->follow_links, &shard->input);
        if (status == NIB_E_NOT_FOUND)
            return NIB_FAIL(NIB_E_MISSING,
                            "%s, which the index names, is not there; download it or fix the index",
                            shard->name);
        if (status != NIB_OK) return status;
        file->shard_count++;
    }
    return NIB_OK;
}

static nib_status check_found(const nib_file *file, const nib_index *index)
{
    if (file->raw_count == index->count) return NIB_OK;
    int64_t i = 0;
    while (index->entries[i].found) i++;
    return NIB_FAIL(NIB_E_MISSING,
                    "tensor \"%.200s\" is not in %s, where the index places it; %lld of %lld "
                    "tensors were found",
                    index->entries[i].name, file->shards[index->entries[i].shard].name,
                    (long long)file->raw_count, (long long)index->count);
}

static nib_status load_shards(nib_file *file, nib_index *index)
{
    NIB_TRY(open_shards(file, index));
    NIB_TRY(nib_arena_check(&file->arena, tables_bytes(index->count), "the tables of its tensors"));
    NIB_TAKE(file->raw, &file->arena, index->count, "tensors");
    for (int32_t i = 0; i < file->shard_count; i++) {
        nib_status status = merge_shard(file, index, i);
        if (status != NIB_OK) return nib_fail_prefix(status, "%s: ", file->shards[i].name);
    }
    return check_found(file, index);
}

static nib_status load_index(nib_file *file, const char *name, const nib_input *input)
{
    char *text;
    nib_index index;
    if (input->bytes > NIB_INDEX_CAP)
        return NIB_FAIL(NIB_E_HEADER_BIG, "%s has %llu bytes; an index may have %d", name,
                        (unsigned long long)input->bytes, NIB_INDEX_CAP);
    NIB_TAKE(text, &file->arena, input->bytes, "the index");
    nib_status status = nib_io_read(input->fd, name, 0, text, (size_t)input->bytes);
    if (status == NIB_OK)
        status = nib_index_parse(text, (size_t)input->bytes, &file->arena, &index);
    if (status != NIB_OK) return nib_fail_prefix(status, "%s: ", name);
    nib_arena_drop(&file->arena, text);
    NIB_TRY(load_shards(file, &index));
    nib_names_drop(&index.names, &file->arena);
    nib_arena_drop(&file->arena, index.entries);
    return NIB_OK;
}

/* ---- directories ---- */

/* How the file is called that leads to a directory's tensors; the first kind that is there counts,
 * where it is there once. */
static const struct {
    const char *name; /* whole, or an ending */
    int whole;
    const char *text;
} entry_kinds[] = {
    {"model" INDEX_SUFFIX, 1, ""},
    {"model" SUFFIX, 1, ""},
    {INDEX_SUFFIX, 0, "*" INDEX_SUFFIX " files and no model" INDEX_SUFFIX},
    {SUFFIX, 0, "*" SUFFIX " files and no model" INDEX_SUFFIX " that joins them"},
    {NIB_GGUF_SUFFIX, 0, NIB_GGUF_SUFFIX " files"},
};
enum { ENTRY_KINDS = sizeof entry_kinds / sizeof entry_kinds[0], ENTRY_GGUF = ENTRY_KINDS - 1 };

typedef struct entry_point {
    char name[256];
    int kind;  /* of entry_kinds; ENTRY_KINDS: none */
    int count; /* how many of that kind */
} entry_point;

static int kind_of(const char *name)
{
    int kind = 0;
    while (kind < ENTRY_KINDS &&
           (entry_kinds[kind].whole ? strcmp(name, entry_kinds[kind].name) != 0
                                    : !nib_ends_with(name, entry_kinds[kind].name)))
        kind++;
    return kind == ENTRY_GGUF && nib_gguf_split_number(name) > 1 ? ENTRY_KINDS : kind;
}

static nib_status find_entry_point(const nib_file *file, entry_point *found_ret)
{
    entry_point found = {.kind = ENTRY_KINDS};
    nib_io_names names;
    NIB_TRY(nib_io_list(file->directory, file->path, &names));
    for (size_t i = 0; i < names.count; i++) {
        int kind = kind_of(names.name[i]);
        if (kind == found.kind) found.count++;
        if (kind >= found.kind || strlen(names.name[i]) >= sizeof found.name) continue;
        found.kind = kind;
        found.count = 1;
        memcpy(found.name, names.name[i], strlen(names.name[i]) + 1);
    }
    nib_io_names_free(&names);
    if (found.kind == ENTRY_KINDS)
        return NIB_FAIL(NIB_E_MISSING,
                        "holds no .safetensors or .gguf file; those are what nibble reads");
    if (found.count > 1)
        return NIB_FAIL(NIB_E_FORMAT, "holds %d %s; give the path of the one you mean", found.count,
                        entry_kinds[found.kind].text);
    *found_ret = found;
    return NIB_OK;
}

static nib_status read_config(nib_file *file)
{
    nib_input input;
    char *text;
    nib_status status = nib_input_open(file->directory, "config.json", file->follow_links, &input);
    if (status == NIB_E_NOT_FOUND) return NIB_OK;
    NIB_TRY(status);
    if (input.bytes > CONFIG_CAP)
        status = NIB_FAIL(NIB_E_CONFIG, "config.json has %llu bytes; at most %d are read",
                          (unsigned long long)input.bytes, CONFIG_CAP);
    else if (!(text = nib_arena_take(&file->arena, input.bytes + 1, 1, "config.json")))
        status = NIB_E_MEMORY;
    else if ((status = nib_io_read(input.fd, "config.json", 0, text, (size_t)input.bytes)) ==
             NIB_OK)
        file->config = text;
    nib_input_close(&input);
    if (status == NIB_OK && memchr(file->config, 0, (size_t)input.bytes))
        return NIB_FAIL(NIB_E_CONFIG, "config.json has a NUL byte; it is not text");
    return status;
}

/* Loads what the index `name` inside `directory` leads to. */
static nib_status open_index(nib_file *file, int directory, const char *name, int follow)
{
    nib_input input;
    NIB_TRY(nib_input_open(directory, name, follow, &input));
    nib_status status = load_index(file, name, &input);
    nib_input_close(&input);
    return status;
}

static nib_status load_directory(nib_file *file)
{
    entry_point found;
    NIB_TRY(find_entry_point(file, &found));
    if (found.kind == ENTRY_GGUF)
        return nib_gguf_load(file, file->directory, found.name, file->follow_links);
    if (nib_ends_with(found.name, INDEX_SUFFIX))
        return open_index(file, file->directory, found.name, file->follow_links);
    return load_single(file, file->directory, found.name, file->follow_links);
}

/* ---- opening ---- */

static nib_status open_directory(nib_file *file, const char *path)
{
    NIB_TRY(nib_io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, path, &file->directory));
    file->is_directory = 1;
    return read_config(file);
}

/* The user named the index itself: its directory is the checkpoint. */
static nib_status load_named_index(nib_file *file, const char *path)
{
    char *slash = strrchr(file->path, '/');
    if (!slash) memcpy(file->path, ".", 2);
    else slash[slash == file->path] = '\0';
    NIB_TRY(open_directory(file, file->path));
    return open_index(file, AT_FDCWD, path, 1);
}

static nib_status load(nib_file *file, const char *path)
{
    struct stat st;
    NIB_TRY(copy_text(&file->arena, path, &file->path));
    NIB_TRY(nib_io_stat_at(AT_FDCWD, path, 0, path, &st));
    if (S_ISREG(st.st_mode) && nib_gguf_is(path)) return nib_gguf_load(file, AT_FDCWD, path, 1);
    if (!S_ISDIR(st.st_mode) && !nib_ends_with(path, ".json")) {
        NIB_TRY(load_single(file, AT_FDCWD, path, 1));
    } else if (!S_ISDIR(st.st_mode)) {
        NIB_TRY(load_named_index(file, path));
    } else {
        nib_status status = open_directory(file, path);
        if (status == NIB_OK) status = load_directory(file);
        if (status != NIB_OK) return nib_fail_prefix(status, "%s: ", path);
    }
    if (file->format) return NIB_OK; /* its tensors are what they are stored as */
    nib_status status = nib_file_make_logical(file);
    return status == NIB_OK ? NIB_OK : nib_fail_prefix(status, "%s: ", path);
}

nib_status nib_file_open(const char *path, const nib_file_options *options, nib_file **file_ret)
{
    if (!path || !*path || !file_ret)
        return NIB_FAIL(NIB_E_ARGUMENT, "nib_file_open: %s",
                        !path    ? "path is NULL"
                        : !*path ? "path is empty"
                                 : "file_ret is NULL");
    nib_file_options own = {sizeof own, 0, NIB_IO_BUFFERED, 0};
    if (options)
        NIB_TRY(
            nib_take_given("options", "nib_file_options", options, sizeof own, &own, sizeof own));
    if (own.io != NIB_IO_BUFFERED && own.io != NIB_IO_DIRECT)
        return NIB_FAIL(NIB_E_ARGUMENT, "options.io is %d, no nib_io", (int)own.io);
    nib_file *file = calloc(1, sizeof *file);
    if (!file) return NIB_FAIL(NIB_E_MEMORY, "out of memory");
    file->directory = -1;
    file->config = "";
    file->arena.cap = own.max_memory_bytes;
    file->follow_links = own.follow_links;
    nib_status status = load(file, path);
    if (status != NIB_OK) {
        nib_file_close(file);
        return status;
    }
    for (int32_t i = 0; own.io == NIB_IO_DIRECT && i < file->shard_count; i++)
        nib_input_open_direct(&file->shards[i].input);
    *file_ret = file;
    return NIB_OK;
}

void nib_file_close(nib_file *file)
{
    if (!file) return;
    for (int32_t i = 0; i < file->shard_count; i++) nib_input_close(&file->shards[i].input);
    nib_io_close(file->directory, file->path);
    nib_arena_free(&file->arena);
    free(file);
}

/* ---- what it holds ---- */

int64_t nib_file_raw_count(const nib_file *file) { return file->raw_count; }

const nib_raw_tensor *nib_file_raw_at(const nib_file *file, int64_t index)
{
    return index >= 0 && index < file->raw_count ? &file->raw[index] : NULL;
}

int64_t nib_file_owner(const nib_file *file, int64_t raw)
{
    return raw >= 0 && raw < file->raw_count ? file->owners[raw] : -1;
}

int64_t nib_file_count(const nib_file *file) { return file->count; }

const nib_tensor *nib_file_at(const nib_file *file, int64_t index)
{
    return index >= 0 && index < file->count ? &file->tensors[index] : NULL;
}

const nib_tensor *nib_file_find(const nib_file *file, const char *name)
{
    return nib_file_at(file, nib_names_find(&file->names, name, strlen(name)));
}

int32_t nib_file_shard_count(const nib_file *file) { return file->shard_count; }

static const nib_shard *shard_at(const nib_file *file, int32_t shard)
{
    return shard >= 0 && shard < file->shard_count ? &file->shards[shard] : NULL;
}

const char *nib_file_shard_name(const nib_file *file, int32_t shard)
{
    const nib_shard *found = shard_at(file, shard);
    return found ? found->name : NULL;
}

uint64_t nib_file_shard_bytes(const nib_file *file, int32_t shard)
{
    const nib_shard *found = shard_at(file, shard);
    return found ? found->input.bytes : 0;
}

const char *nib_file_metadata(const nib_file *file, int32_t shard)
{
    const nib_shard *found = shard_at(file, shard);
    return found ? found->metadata : NULL;
}

const char *nib_file_format(const nib_file *file) { return file->format; }
int nib_file_is_directory(const nib_file *file) { return file->is_directory; }
const char *nib_file_path(const nib_file *file) { return file->path; }
const char *nib_file_config(const nib_file *file) { return file->config; }
int64_t nib_file_ignored(const nib_file *file) { return file->ignored; }
size_t nib_file_memory(const nib_file *file) { return file->arena.used + sizeof *file; }

enum { DIRECT_ALIGN = 4096 };

/* The whole aligned blocks of the file that hold the bytes go past the page cache; a last block
 * that the file does not fill cannot, and comes the ordinary way. */
static nib_status read_direct(const nib_shard *shard, uint64_t offset, unsigned char *buffer,
                              size_t bytes)
{
    uint64_t begin = offset / DIRECT_ALIGN * DIRECT_ALIGN, end = offset + bytes;
    uint64_t limit = shard->input.bytes / DIRECT_ALIGN * DIRECT_ALIGN;
    uint64_t stop = (end + DIRECT_ALIGN - 1) / DIRECT_ALIGN * DIRECT_ALIGN;
    if (stop > limit) stop = limit;
    if (begin >= stop)
        return nib_io_read(shard->input.fd, shard->name, offset, buffer + offset % DIRECT_ALIGN,
                           bytes);
    NIB_TRY(
        nib_io_read(shard->input.direct_fd, shard->name, begin, buffer, (size_t)(stop - begin)));
    if (end <= stop) return NIB_OK;
    return nib_io_read(shard->input.fd, shard->name, stop, buffer + (stop - begin),
                       (size_t)(end - stop));
}

nib_status nib_file_read_direct(const nib_file *file, int32_t shard, uint64_t offset, void *buffer,
                                size_t bytes, void **data_ret)
{
    if (!file || !buffer || !data_ret)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL",
                        !file     ? "file"
                        : !buffer ? "buffer"
                                  : "data_ret");
    const nib_shard *found = shard_at(file, shard);
    uint64_t all = found ? found->input.bytes : 0;
    if (!found || found->input.direct_fd < 0 || offset > all || bytes > all - offset) {
        *data_ret = buffer;
        return nib_file_read(file, shard, offset, buffer, bytes);
    }
    *data_ret = (unsigned char *)buffer + offset % DIRECT_ALIGN;
    return read_direct(found, offset, buffer, bytes);
}

nib_status nib_file_read(const nib_file *file, int32_t shard, uint64_t offset, void *dst,
                         size_t bytes)
{
    if (!file || (!dst && bytes))
        return NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", file ? "dst" : "file");
    const nib_shard *found = shard_at(file, shard);
    if (!found)
        return NIB_FAIL(NIB_E_ARGUMENT, "shard is %d; the checkpoint has %d", shard,
                        file->shard_count);
    if (offset > found->input.bytes || bytes > found->input.bytes - offset)
        return NIB_FAIL(NIB_E_TRUNC, "%s: %zu bytes at %llu are not there; the file has %llu",
                        found->name, bytes, (unsigned long long)offset,
                        (unsigned long long)found->input.bytes);
    return nib_io_read(found->input.fd, found->name, offset, dst, bytes);
}

nib_status nib_file_unchanged(const nib_file *file)
{
    for (int32_t i = 0; i < file->shard_count; i++)
        NIB_TRY(nib_input_unchanged(&file->shards[i].input, file->shards[i].name));
    return NIB_OK;
}
