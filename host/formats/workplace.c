/* workplace.c - see workplace.h. */
#include "workplace.h"

#include "../core/internal.h"
#include "apart.h"
#include "gguf.h"
#include "io.h"
#include "output_plan.h"
#include "path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTIAL ".partial"
#define JOURNAL ".nibble-journal"
#define OUT "out"
#define OLD "old"

static nib_status concatenate(const char *a, const char *b, char **text_ret)
{
    size_t bytes = strlen(a) + strlen(b) + 1;
    *text_ret = malloc(bytes);
    if (!*text_ret) return NIB_FAIL(NIB_E_MEMORY, "no memory for a path");
    snprintf(*text_ret, bytes, "%s%s", a, b);
    return NIB_OK;
}

/* An entry of a directory, if there is one: *found_ret. */
static nib_status look(int directory, const char *name, const char *shown, int *found_ret,
                       struct stat *stat_ret)
{
    nib_status status = nib_io_stat_at(directory, name, AT_SYMLINK_NOFOLLOW, shown, stat_ret);
    *found_ret = status == NIB_OK;
    return status == NIB_E_NOT_FOUND ? NIB_OK : status;
}

/* ---- removing ---- */

static nib_status remove_files(int directory, const char *shown)
{
    nib_io_names names;
    NIB_TRY(nib_io_list(directory, shown, &names));
    nib_status status = NIB_OK;
    for (size_t i = 0; i < names.count && status == NIB_OK; i++)
        status = nib_io_remove(directory, names.name[i], 0, shown);
    nib_io_names_free(&names);
    return status;
}

static nib_status remove_output(nib_workplace *place, const char *name)
{
    int found, fd;
    struct stat st;
    NIB_TRY(look(place->work, name, place->partial, &found, &st));
    if (!found) return NIB_OK;
    if (!S_ISDIR(st.st_mode)) return nib_io_remove(place->work, name, 0, place->partial);
    NIB_TRY(
        nib_io_open(place->work, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, place->partial, &fd));
    nib_status status = remove_files(fd, place->partial);
    nib_io_close(fd, place->partial);
    NIB_TRY(status);
    return nib_io_remove(place->work, name, AT_REMOVEDIR, place->partial);
}

nib_status nib_workplace_clear(nib_workplace *place) { return remove_output(place, OUT); }

nib_status nib_workplace_remove(nib_workplace *place)
{
    NIB_TRY(remove_output(place, OUT));
    NIB_TRY(remove_output(place, OLD));
    NIB_TRY(nib_io_remove(place->work, JOURNAL, 0, place->partial));
    return nib_io_remove(place->parent, place->partial_name, AT_REMOVEDIR, place->partial);
}

/* ---- the final name ---- */

static int is_checkpoint_file(const char *name)
{
    return nib_ends_with(name, NIB_OUTPUT_SUFFIX) || nib_ends_with(name, NIB_GGUF_SUFFIX);
}

/* A directory that --force may delete: flat, and empty or a checkpoint. */
static nib_status check_directory(const nib_workplace *place, int fd)
{
    nib_io_names names;
    NIB_TRY(nib_io_list(fd, place->path, &names));
    nib_status status = NIB_OK;
    int checkpoint = names.count == 0;
    for (size_t i = 0; i < names.count && status == NIB_OK; i++) {
        const char *name = names.name[i];
        checkpoint |= is_checkpoint_file(name);
        struct stat st;
        status = nib_io_stat_at(fd, name, AT_SYMLINK_NOFOLLOW, place->path, &st);
        if (status == NIB_OK && S_ISDIR(st.st_mode))
            status =
                NIB_FAIL(NIB_E_EXISTS,
                         "%s holds the directory %s, so it is not replaced; remove it yourself",
                         place->path, name);
    }
    nib_io_names_free(&names);
    if (status != NIB_OK || checkpoint) return status;
    return NIB_FAIL(
        NIB_E_EXISTS,
        "%s is a directory without a .safetensors or .gguf file, so it is not replaced; remove "
        "it yourself",
        place->path);
}

/* What stands under the final name may be replaced, or is not there: *found_ret. */
static nib_status check_target(const nib_workplace *place, int *found_ret)
{
    struct stat st;
    NIB_TRY(look(place->parent, place->name, place->path, found_ret, &st));
    if (!*found_ret) return NIB_OK;
    if (!place->replace)
        return NIB_FAIL(NIB_E_EXISTS,
                        "%s exists; choose another name, or replace it with options.replace",
                        place->path);
    if (S_ISREG(st.st_mode)) return NIB_OK;
    if (!S_ISDIR(st.st_mode))
        return NIB_FAIL(NIB_E_EXISTS, "%s is no file and no directory, so it is not replaced",
                        place->path);
    int fd;
    NIB_TRY(nib_io_open(place->parent, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                        place->path, &fd));
    nib_status status = check_directory(place, fd);
    nib_io_close(fd, place->path);
    return status;
}

/* How the final name was given, and so how to take it back. */
typedef enum swap { SWAP_NEW, SWAP_EXCHANGED, SWAP_ASIDE } swap;

static nib_status move(const nib_workplace *place, int from, const char *name, int to,
                       const char *new_name, unsigned flags)
{
    return nib_io_rename(from, name, to, new_name, flags, place->path);
}

static nib_status name_new(const nib_workplace *place)
{
    nib_status status = move(place, place->work, OUT, place->parent, place->name, RENAME_NOREPLACE);
    if (status != NIB_E_UNSUPPORTED) return status;
    return move(place, place->work, OUT, place->parent, place->name, 0);
}

/* Where names cannot be exchanged: the earlier output steps aside. */
static nib_status name_aside(const nib_workplace *place)
{
    NIB_TRY(move(place, place->parent, place->name, place->work, OLD, 0));
    nib_status status = name_new(place);
    if (status == NIB_OK) return NIB_OK;
    nib_error saved = nib_error_save();
    nib_status back = move(place, place->work, OLD, place->parent, place->name, 0);
    nib_error_restore(&saved);
    if (back == NIB_OK) return status;
    return nib_fail_prefix(status, "the earlier output is in %s/" OLD "; ", place->partial);
}

static nib_status give_name(const nib_workplace *place, swap *how_ret)
{
    int found;
    NIB_TRY(check_target(place, &found));
    *how_ret = SWAP_NEW;
    if (!found) return name_new(place);
    *how_ret = SWAP_EXCHANGED;
    nib_status status = move(place, place->work, OUT, place->parent, place->name, RENAME_EXCHANGE);
    if (status != NIB_E_UNSUPPORTED) return status;
    *how_ret = SWAP_ASIDE;
    return name_aside(place);
}

static nib_status take_name_back(const nib_workplace *place, swap how)
{
    if (how == SWAP_EXCHANGED)
        return move(place, place->work, OUT, place->parent, place->name, RENAME_EXCHANGE);
    NIB_TRY(move(place, place->parent, place->name, place->work, OUT, 0));
    if (how == SWAP_NEW) return NIB_OK;
    return move(place, place->work, OLD, place->parent, place->name, 0);
}

static nib_status sync_names(const nib_workplace *place)
{
    NIB_TRY(nib_io_sync(place->parent, place->path, 0));
    return nib_io_sync(place->work, place->partial, 0);
}

nib_status nib_workplace_commit(nib_workplace *place)
{
    struct stat st;
    swap how;
    NIB_TRY(nib_io_stat_at(place->work, OUT, AT_SYMLINK_NOFOLLOW, place->partial, &st));
    nib_journal_record record = {.kind = NIB_JOURNAL_COMMIT, .number = st.st_ino};
    NIB_TRY(nib_journal_append(&place->journal, &record, 1));
    NIB_TRY(give_name(place, &how));
    nib_status status = sync_names(place);
    if (status == NIB_OK) return NIB_OK;
    nib_error saved = nib_error_save();
    if (take_name_back(place, how) != NIB_OK)
        return nib_fail_prefix(status, "%s is complete but may not outlive a power cut (%.200s); ",
                               place->path, saved.text);
    nib_error_restore(&saved);
    return status;
}

/* ---- opening ---- */

static nib_status split_path(const char *path, nib_workplace *place)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    NIB_TRY(concatenate(path, "", &place->path));
    place->path[length] = '\0';
    const char *slash = strrchr(place->path, '/');
    place->name = slash ? slash + 1 : place->path;
    NIB_TRY(nib_check_plain_name("the output's name", place->name, strlen(place->name)));
    NIB_TRY(concatenate(place->path, PARTIAL, &place->partial));
    place->partial_name = place->partial + (place->name - place->path);
    return concatenate(place->partial, "/" JOURNAL, &place->journal_path);
}

static nib_status open_parent(nib_workplace *place)
{
    char *parent;
    NIB_TRY(concatenate(place->path, "", &parent));
    size_t length = (size_t)(place->name - place->path);
    parent[length > 1 ? length - 1 : length] = '\0';
    nib_status status = nib_io_open(AT_FDCWD, length ? parent : ".", O_RDONLY | O_DIRECTORY,
                                    length ? parent : ".", &place->parent);
    free(parent);
    return status;
}

/* A directory that was there before must be a working directory, or empty. */
static nib_status check_ours(const nib_workplace *place)
{
    int found;
    struct stat st;
    nib_io_names names;
    NIB_TRY(look(place->work, JOURNAL, place->journal_path, &found, &st));
    if (found) return NIB_OK;
    NIB_TRY(nib_io_list(place->work, place->partial, &names));
    size_t count = names.count;
    nib_io_names_free(&names);
    if (count == 0) return NIB_OK;
    return NIB_FAIL(NIB_E_EXISTS,
                    "%s exists and nibble did not make it; move it away, it is needed for work",
                    place->partial);
}

static nib_status check_linked(int directory, const char *name, int fd, const char *shown)
{
    int found;
    struct stat by_name, by_fd;
    NIB_TRY(look(directory, name, shown, &found, &by_name));
    NIB_TRY(nib_io_stat(fd, shown, &by_fd));
    if (found && by_name.st_ino == by_fd.st_ino && by_name.st_dev == by_fd.st_dev) return NIB_OK;
    return NIB_FAIL(NIB_E_BUSY, "%s was just finished or removed by another process; run again",
                    shown);
}

/* Makes or finds the working directory and locks its journal; the lock counts only where both are
 * still what their names lead to. */
static nib_status take_directory(nib_workplace *place)
{
    nib_status status = nib_io_make_directory(place->parent, place->partial_name, place->partial);
    place->fresh = status == NIB_OK;
    if (status != NIB_OK && status != NIB_E_EXISTS) return status;
    NIB_TRY(nib_io_open(place->parent, place->partial_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                        place->partial, &place->work));
    if (!place->fresh) NIB_TRY(check_ours(place));
    place->journal.shown = place->journal_path;
    NIB_TRY(nib_io_open(place->work, JOURNAL, O_RDWR | O_CREAT | O_NOFOLLOW, place->journal_path,
                        &place->journal.fd));
    NIB_TRY(nib_io_lock(place->journal.fd, place->partial));
    NIB_TRY(check_linked(place->work, JOURNAL, place->journal.fd, place->journal_path));
    NIB_TRY(check_linked(place->parent, place->partial_name, place->work, place->partial));
    place->locked = 1;
    return NIB_OK;
}

static void forget_found(nib_workplace *place)
{
    free(place->found.records);
    place->found = (nib_journal_text){0};
    place->fresh = 1;
}

/* Puts in order what a crash during a commit left: see workplace.h. */
static nib_status recover(nib_workplace *place)
{
    struct stat name, out, old;
    int has_name, has_out, has_old;
    NIB_TRY(look(place->parent, place->name, place->path, &has_name, &name));
    NIB_TRY(look(place->work, OUT, place->partial, &has_out, &out));
    NIB_TRY(look(place->work, OLD, place->partial, &has_old, &old));
    const nib_journal_text *found = &place->found;
    const nib_journal_record *last = found->count ? &found->records[found->count - 1] : NULL;
    int committing = last && last->kind == NIB_JOURNAL_COMMIT;
    if (committing && has_name && name.st_ino == last->number) {
        NIB_TRY(remove_output(place, OUT));
        NIB_TRY(remove_output(place, OLD));
        has_out = has_old = 0;
    }
    if (has_old && has_name)
        return NIB_FAIL(NIB_E_EXISTS, "%s/" OLD " holds an earlier output; move it away",
                        place->partial);
    if (has_old) {
        NIB_TRY(move(place, place->work, OLD, place->parent, place->name, 0));
        NIB_TRY(sync_names(place));
    }
    /* After an exchange, "out" is the output that was replaced. */
    if (has_out && committing && out.st_ino != last->number) has_out = 0;
    if (!has_out) forget_found(place);
    return NIB_OK;
}

static nib_status open_place(nib_workplace *place, const char *path, const nib_file *input)
{
    int found;
    struct stat st;
    NIB_TRY(split_path(path, place));
    NIB_TRY(open_parent(place));
    if (input) {
        NIB_TRY(nib_check_apart(place->parent, place->name, 1, place->path, input));
        NIB_TRY(nib_check_apart(place->parent, place->partial_name, 2, place->partial, input));
    }
    NIB_TRY(look(place->parent, place->partial_name, place->partial, &found, &st));
    if (!found) NIB_TRY(check_target(place, &found)); /* a refusal leaves no trace */
    NIB_TRY(take_directory(place));
    NIB_TRY(nib_journal_read(&place->journal, &place->found));
    NIB_TRY(recover(place));
    return check_target(place, &found);
}

nib_status nib_workplace_open(const char *path, const nib_file *input, int replace,
                              nib_workplace *place_ret)
{
    nib_workplace place = {.parent = -1, .work = -1, .replace = replace, .journal = {.fd = -1}};
    nib_status status = open_place(&place, path, input);
    if (status == NIB_OK) *place_ret = place;
    else nib_workplace_close(&place, place.locked && place.fresh);
    return status;
}

void nib_workplace_close(nib_workplace *place, int remove)
{
    nib_error saved = nib_error_save();
    if (remove) nib_workplace_remove(place);
    nib_io_close(place->journal.fd, place->journal_path);
    nib_io_close(place->work, place->partial);
    nib_io_close(place->parent, place->path);
    nib_error_restore(&saved);
    free(place->path);
    free(place->partial);
    free(place->journal_path);
    free(place->found.records);
}
