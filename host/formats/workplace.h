/* workplace.h - where an output is made before it has its final name, and how it gets it.
 *
 *     <path>.partial/.nibble-journal   held locked by the one process that works here
 *     <path>.partial/out               the new output: a directory, or one file
 *     <path>.partial/old               an earlier output, for the moment between two renames, where
 *                                      the file system cannot exchange names
 *
 * A crash at any point leaves <path> as it was or complete; the next nib_workplace_open puts in
 * order what it left behind. Outputs are flat: nothing here deletes a directory in a directory. */
#ifndef NIB_FORMATS_WORKPLACE_H
#define NIB_FORMATS_WORKPLACE_H

#include "journal.h"

typedef struct nib_workplace {
    char *path;    /* the final one, without slashes at its end */
    char *partial; /* <path>.partial */
    char *journal_path;
    const char *name, *partial_name; /* their last components */
    int parent, work;                /* descriptors: the directory of both, and <path>.partial */
    int replace, locked;
    int fresh; /* nothing of use of an earlier run is here: it may be removed on failure */
    nib_journal journal;
    nib_journal_text found; /* what an earlier run left; count 0 where none of use */
} nib_workplace;

/* Checks the path against the input (may be NULL) and an existing output, makes or takes over the
 * working directory and locks it. On failure there is nothing to close. E_EXISTS, E_SAME_FILE,
 * E_BUSY, E_PATH, E_NOT_FOUND, E_IO, E_MEMORY. */
nib_status nib_workplace_open(const char *path, const nib_file *input, int replace,
                              nib_workplace *place_ret);
/* Removes "out", whatever it is. */
nib_status nib_workplace_clear(nib_workplace *place);
/* Gives "out" its final name. When it returns a failure, the final name is as it was before. The
 * caller has synced all of "out". */
nib_status nib_workplace_commit(nib_workplace *place);
/* Removes the working directory and all in it. After a commit it may fail without harm: the output
 * is complete, and the next nib_workplace_open cleans up. */
nib_status nib_workplace_remove(nib_workplace *place);
/* Closes; `remove` 1 removes the working directory before, as far as that goes. */
void nib_workplace_close(nib_workplace *place, int remove);

#endif
