/* imatrix.c - see imatrix.h. */
#include "imatrix.h"

#include "../core/internal.h"
#include "cursor.h"
#include "gguf.h"
#include "input.h"
#include "io.h"
#include "path.h"

#include <math.h>
#include <string.h>

enum { NAME_CAP = 4096 };

#define SUMS ".in_sum2"
#define COUNTS ".counts"

static nib_status check_values(const nib_imatrix_entry *entry)
{
    for (int64_t i = 0; i < entry->count; i++)
        if (!isfinite(entry->values[i]))
            return NIB_FAIL(NIB_E_IMPORTANCE,
                            "the importance of \"%.200s\" is %g at %lld; measure it anew",
                            entry->name, (double)entry->values[i], (long long)i);
    return NIB_OK;
}

static nib_status add_entry(nib_imatrix *m)
{
    NIB_TRY(check_values(&m->entries[m->count]));
    if (nib_names_add(&m->names, m->count) >= 0)
        return NIB_FAIL(NIB_E_DUP, "the importance of \"%.200s\" comes twice",
                        m->entries[m->count].name);
    m->count++;
    return NIB_OK;
}

static nib_status make_tables(nib_imatrix *m, int64_t count)
{
    NIB_TAKE(m->entries, &m->arena, count, "the importance matrix");
    return nib_names_create(&m->names, &m->arena, m->entries, sizeof *m->entries, count);
}

/* ---- GGUF ---- */

static nib_status read_floats(nib_imatrix *m, const nib_file *file, const nib_tensor *tensor,
                              float **values_ret, int64_t *count_ret)
{
    if (tensor->type != NIB_F32 || tensor->quantized)
        return NIB_FAIL(NIB_E_IMPORTANCE, "\"%.200s\" is no F32 tensor", tensor->name);
    *count_ret = (int64_t)(tensor->span[0].bytes / sizeof **values_ret);
    NIB_TAKE(*values_ret, &m->arena, *count_ret, "the importance matrix");
    return nib_file_read(file, tensor->span[0].shard, tensor->span[0].offset, *values_ret,
                         (size_t)tensor->span[0].bytes);
}

/* Divides the sums of each matrix by how many were added. */
static nib_status divide(nib_imatrix_entry *entry, const float *counts, int64_t matrices)
{
    if (matrices == 0 || entry->count % matrices)
        return NIB_FAIL(NIB_E_IMPORTANCE, "\"%.200s\" has %lld sums and %lld counts", entry->name,
                        (long long)entry->count, (long long)matrices);
    int64_t columns = entry->count / matrices;
    for (int64_t i = 0; i < matrices; i++) {
        if (!(counts[i] >= 0) || !isfinite(counts[i]))
            return NIB_FAIL(NIB_E_IMPORTANCE, "\"%.200s\" has a count of %g", entry->name,
                            (double)counts[i]);
        for (int64_t k = i * columns; k < (i + 1) * columns; k++)
            entry->values[k] = counts[i] > 0 ? entry->values[k] / counts[i] : 1.0f;
    }
    return NIB_OK;
}

/* The entry whose sums are `sums`: a tensor's name ends in SUMS. */
static nib_status take_entry(nib_imatrix *m, const nib_file *file, const nib_tensor *sums)
{
    size_t length = strlen(sums->name) - strlen(SUMS);
    nib_imatrix_entry *entry = &m->entries[m->count];
    char *name, counts_name[NIB_GGUF_NAME + sizeof COUNTS];
    float *counts;
    int64_t matrices;
    NIB_TAKE(name, &m->arena, length + 1, "names");
    memcpy(name, sums->name, length);
    memcpy(counts_name, name, length);
    memcpy(counts_name + length, COUNTS, sizeof COUNTS);
    entry->name = name;
    const nib_tensor *found = nib_file_find(file, counts_name);
    if (!found)
        return NIB_FAIL(NIB_E_IMPORTANCE, "\"%.200s\" has sums and no tensor " COUNTS, name);
    NIB_TRY(read_floats(m, file, sums, &entry->values, &entry->count));
    NIB_TRY(read_floats(m, file, found, &counts, &matrices));
    nib_status status = divide(entry, counts, matrices);
    nib_arena_drop(&m->arena, counts);
    return status == NIB_OK ? add_entry(m) : status;
}

static nib_status take_gguf(nib_imatrix *m, const nib_file *file)
{
    const nib_key *type = nib_file_key_find(file, 0, "general.type");
    char text[8] = "";
    if (type && type->type == NIB_KEY_STRING && type->count == 7)
        NIB_TRY(nib_file_read(file, 0, type->value.offset, text, 7));
    if (strcmp(text, "imatrix"))
        return NIB_FAIL(NIB_E_IMPORTANCE,
                        "it is no importance matrix: general.type is not imatrix");
    NIB_TRY(make_tables(m, nib_file_count(file)));
    for (int64_t i = 0; i < nib_file_count(file); i++) {
        const nib_tensor *tensor = nib_file_at(file, i);
        if (nib_ends_with(tensor->name, SUMS)) NIB_TRY(take_entry(m, file, tensor));
    }
    return NIB_OK;
}

static nib_status read_gguf(nib_imatrix *m, const char *path)
{
    nib_file *file;
    const nib_file_options options = {.size = sizeof options, .max_memory_bytes = m->arena.cap};
    NIB_TRY(nib_file_open(path, &options, &file));
    nib_status status = take_gguf(m, file);
    nib_file_close(file);
    return status == NIB_OK ? NIB_OK : nib_fail_prefix(status, "%s: ", path);
}

/* ---- the older format ---- */

/* A number from `least` up that the rest of the file has room for, `each` bytes a piece. */
static nib_status take_count(nib_cursor *c, uint32_t least, uint64_t each, const char *what,
                             uint32_t *count_ret)
{
    NIB_TRY(nib_cursor_u32(c, count_ret, what));
    if (*count_ret >= least && *count_ret <= INT32_MAX && *count_ret <= (c->end - c->at) / each)
        return NIB_OK;
    return NIB_FAIL(NIB_E_IMPORTANCE, "%s is %d at byte %llu; it is no importance matrix", what,
                    (int32_t)*count_ret, (unsigned long long)c->at - 4);
}

static nib_status take_old_entry(nib_imatrix *m, nib_cursor *c)
{
    nib_imatrix_entry *entry = &m->entries[m->count];
    uint32_t bytes, calls, values;
    char *name;
    NIB_TRY(take_count(c, 1, 1, "a name's length", &bytes));
    if (bytes > NAME_CAP)
        return NIB_FAIL(NIB_E_IMPORTANCE, "a name of %u bytes; it is no importance matrix", bytes);
    NIB_TAKE(name, &m->arena, bytes + 1, "names");
    NIB_TRY(nib_cursor_take(c, name, bytes, "a name"));
    if (strlen(name) != bytes)
        return NIB_FAIL(NIB_E_NAME, "the name \"%.200s\" has a NUL inside", name);
    entry->name = name;
    NIB_TRY(nib_cursor_u32(c, &calls, "a count of calls"));
    NIB_TRY(take_count(c, 1, sizeof *entry->values, "a count of values", &values));
    NIB_TAKE(entry->values, &m->arena, values, "the importance matrix");
    NIB_TRY(nib_cursor_take(c, entry->values, values * sizeof *entry->values, "values"));
    entry->count = values;
    if (calls > INT32_MAX)
        return NIB_FAIL(NIB_E_IMPORTANCE, "\"%.200s\" has %d calls", name, (int32_t)calls);
    for (uint32_t i = 0; calls && i < values; i++) entry->values[i] /= (float)calls;
    return add_entry(m);
}

static nib_status take_old(nib_imatrix *m, nib_cursor *c)
{
    enum { LEAST = 4 + 1 + 4 + 4 + 4 }; /* bytes of an entry */
    uint32_t entries;
    NIB_TRY(take_count(c, 1, LEAST, "the count of entries", &entries));
    NIB_TRY(make_tables(m, entries));
    for (uint32_t i = 0; i < entries; i++) NIB_TRY(take_old_entry(m, c));
    return NIB_OK;
}

static nib_status read_old(nib_imatrix *m, const char *path)
{
    nib_input input;
    NIB_TRY(nib_input_open(AT_FDCWD, path, 1, &input));
    nib_cursor c = {.fd = input.fd, .shown = path, .end = input.bytes};
    c.window = nib_arena_take(&m->arena, NIB_CURSOR_WINDOW, 1, "the importance matrix");
    nib_status status = c.window ? take_old(m, &c) : NIB_E_MEMORY;
    nib_arena_drop(&m->arena, c.window);
    nib_input_close(&input);
    return status == NIB_OK ? NIB_OK : nib_fail_prefix(status, "%s: ", path);
}

/* ---- */

nib_status nib_imatrix_read(const char *path, size_t cap, nib_imatrix *matrix_ret)
{
    nib_imatrix made = {.arena.cap = cap};
    nib_status status = nib_gguf_is(path) ? read_gguf(&made, path) : read_old(&made, path);
    if (status == NIB_OK && made.count == 0)
        status = NIB_FAIL(NIB_E_IMPORTANCE, "%s: it says nothing of any tensor", path);
    if (status != NIB_OK) nib_imatrix_free(&made);
    else *matrix_ret = made;
    return status;
}

const nib_imatrix_entry *nib_imatrix_find(const nib_imatrix *matrix, const char *name)
{
    int64_t at = nib_names_find(&matrix->names, name, strlen(name));
    return at < 0 ? NULL : &matrix->entries[at];
}

void nib_imatrix_free(nib_imatrix *matrix)
{
    nib_arena_free(&matrix->arena);
    *matrix = (nib_imatrix){0};
}
