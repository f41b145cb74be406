/* apart.c - see apart.h. */
#include "apart.h"

#include "../core/internal.h"
#include "checkpoint.h"
#include "io.h"

#include <stdlib.h>
#include <string.h>

typedef struct file_id {
    dev_t device;
    ino_t inode;
} file_id;

/* The input's files, and its directory where it is one. */
typedef struct id_set {
    file_id *ids;
    size_t count;
} id_set;

static int has(const id_set *set, const struct stat *st)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->ids[i].device == st->st_dev && set->ids[i].inode == st->st_ino) return 1;
    return 0;
}

static void add(id_set *set, dev_t device, ino_t inode)
{
    set->ids[set->count++] = (file_id){device, inode};
}

/* Links of the input's directory are followed: replacing an output must not take away what they
 * lead to. Those that lead nowhere do not matter. */
static nib_status add_entries(id_set *set, const nib_file *input, const nib_io_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        struct stat st;
        nib_status status =
            nib_io_stat_at(input->directory, names->name[i], 0, names->name[i], &st);
        if (status == NIB_E_NOT_FOUND) continue;
        NIB_TRY(status);
        if (S_ISREG(st.st_mode)) add(set, st.st_dev, st.st_ino);
    }
    return NIB_OK;
}

static nib_status collect(const nib_file *input, id_set *set)
{
    nib_io_names names = {NULL, 0};
    if (input->is_directory) NIB_TRY(nib_io_list(input->directory, input->path, &names));
    set->ids = malloc((names.count + (size_t)input->shard_count + 1) * sizeof *set->ids);
    nib_status status = set->ids ? NIB_OK : NIB_FAIL(NIB_E_MEMORY, "no memory for file numbers");
    struct stat st;
    if (status == NIB_OK && input->is_directory) {
        status = nib_io_stat(input->directory, input->path, &st);
        if (status == NIB_OK) add(set, st.st_dev, st.st_ino);
    }
    for (int32_t i = 0; i < input->shard_count && status == NIB_OK; i++)
        add(set, input->shards[i].input.device, input->shards[i].input.inode);
    if (status == NIB_OK) status = add_entries(set, input, &names);
    nib_io_names_free(&names);
    return status;
}

static nib_status same(const char *shown, const nib_file *input, const char *how)
{
    return NIB_FAIL(NIB_E_SAME_FILE, "the output %s %s the input %s; choose another place", shown,
                    how, input->path);
}

/* Looks at an entry and, `depth` levels down, at what is in it. */
static nib_status check_entry(int parent, const char *name, int depth, const char *shown,
                              const nib_file *input, const id_set *set)
{
    struct stat st;
    nib_status status = nib_io_stat_at(parent, name, AT_SYMLINK_NOFOLLOW, shown, &st);
    if (status == NIB_E_NOT_FOUND) return NIB_OK;
    NIB_TRY(status);
    if (has(set, &st)) return same(shown, input, "is, or holds a file of,");
    if (!S_ISDIR(st.st_mode) || depth == 0) return NIB_OK;
    int fd;
    nib_io_names names = {NULL, 0};
    NIB_TRY(nib_io_open(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, shown, &fd));
    status = nib_io_list(fd, shown, &names);
    for (size_t i = 0; i < names.count && status == NIB_OK; i++)
        status = check_entry(fd, names.name[i], depth - 1, shown, input, set);
    nib_io_names_free(&names);
    nib_io_close(fd, shown);
    return status;
}

/* Sets *found_ret to 1 if the directory `start` is `id` or lies below it. */
static nib_status find_above(int start, const char *shown, const id_set *set, int *found_ret)
{
    enum { DEEPEST = 4096 };
    int fd;
    struct stat st, last = {0};
    *found_ret = 0;
    NIB_TRY(nib_io_open(start, ".", O_PATH | O_DIRECTORY, shown, &fd));
    nib_status status = NIB_OK;
    for (int i = 0; i < DEEPEST; i++) {
        status = nib_io_stat(fd, shown, &st);
        if (status != NIB_OK) break;
        *found_ret = has(set, &st);
        if (*found_ret || (st.st_ino == last.st_ino && st.st_dev == last.st_dev)) break;
        last = st;
        int above;
        status = nib_io_open(fd, "..", O_PATH | O_DIRECTORY, shown, &above);
        if (status != NIB_OK) break;
        nib_io_close(fd, shown);
        fd = above;
    }
    nib_io_close(fd, shown);
    return status;
}

static nib_status check_inside(int parent, const char *shown, const nib_file *input)
{
    struct stat st;
    int found;
    NIB_TRY(nib_io_stat(input->directory, input->path, &st));
    file_id id = {st.st_dev, st.st_ino};
    NIB_TRY(find_above(parent, shown, &(id_set){&id, 1}, &found));
    return found ? same(shown, input, "lies inside") : NIB_OK;
}

static nib_status check_around(int parent, const char *name, const char *shown,
                               const nib_file *input)
{
    struct stat st;
    int found;
    nib_status status = nib_io_stat_at(parent, name, AT_SYMLINK_NOFOLLOW, shown, &st);
    if (status == NIB_E_NOT_FOUND) return NIB_OK;
    NIB_TRY(status);
    file_id id = {st.st_dev, st.st_ino};
    NIB_TRY(find_above(input->directory, input->path, &(id_set){&id, 1}, &found));
    return found ? same(shown, input, "lies around") : NIB_OK;
}

nib_status nib_check_apart(int parent, const char *name, int depth, const char *shown,
                           const nib_file *input)
{
    id_set set = {NULL, 0};
    nib_status status = collect(input, &set);
    if (status == NIB_OK) status = check_entry(parent, name, depth, shown, input, &set);
    free(set.ids);
    if (status != NIB_OK || !input->is_directory) return status;
    NIB_TRY(check_inside(parent, shown, input));
    return check_around(parent, name, shown, input);
}
