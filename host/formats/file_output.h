/* file_output.h - what an output in the making is, inside host/formats. */
#ifndef NIB_FORMATS_FILE_OUTPUT_H
#define NIB_FORMATS_FILE_OUTPUT_H

#include "output_plan.h"
#include "shard_file.h"
#include "workplace.h"

/* A sum of XXH3-128 over pieces, each seeded by its offset in the tensor: the pieces may come in
 * any order. */
typedef struct nib_sum {
    uint64_t low, high;
} nib_sum;

/* What has happened to a tensor. */
typedef struct nib_progress_mark {
    uint64_t piece;   /* the size of its pieces; 0: not known yet */
    uint64_t written; /* bytes */
    uint64_t tail;    /* where its last piece began, if that is not its first; otherwise 0 */
    nib_sum sum;
    int finished;
    const nib_journal_record *resumed; /* where an earlier run wrote it; otherwise NULL */
} nib_progress_mark;

struct nib_output {
    nib_workplace place;
    nib_output_plan plan;
    nib_shard_file *files; /* plan.shard_count */
    int directory;         /* 1: the output is a directory, `inside` its descriptor */
    int inside;
    int resumable, committed;
    uint64_t journal_bytes;
    nib_bounce bounce;
    char note[512];

    pthread_mutex_t lock; /* of all below */
    nib_progress_mark *marks;
    nib_journal_record *pending; /* finished, and not in the journal */
    size_t pending_count, pending_capacity;
    uint64_t pending_bytes;
    int dirty;         /* bytes were written since the last sync */
    double flushed;    /* when, in seconds */
    nib_status failed; /* the first failure to sync: nothing after it can be trusted */
    char failure[512];

    pthread_mutex_t flushing; /* held by the one thread that syncs; taken before `lock` */
};

/* file_output_create.c */

/* Syncs the directories that lead to the files. */
nib_status nib_output_sync_entries(const struct nib_output *output);
/* Frees everything but the workplace. */
void nib_output_free(struct nib_output *output);

/* file_output_small.c */

/* 1: `name` is one of the output's files of tensors. */
int nib_output_is_shard(const struct nib_output *output, const char *name);

/* file_output_resume.c */

/* A number for the run: its identity, and all that the plan says. */
void nib_output_fingerprint(const struct nib_output *output, const char *identity,
                            uint64_t fingerprint_ret[2]);
/* Marks the tensors that the journal names and whose bytes have its checksum. */
nib_status nib_output_take_up(struct nib_output *output);
/* The checksum of `bytes` bytes, the piece of a tensor at `offset`. */
nib_sum nib_sum_piece(const void *src, size_t bytes, uint64_t offset);
void nib_sum_add(nib_sum *sum, nib_sum added);
/* The checksum of a tensor's bytes in its file. */
nib_status nib_output_sum(const struct nib_output *output, int64_t tensor, uint64_t piece,
                          nib_sum *sum_ret);

#endif
