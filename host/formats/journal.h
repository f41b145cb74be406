/* journal.h - what of an unfinished output is already on disk, and which run wrote it.
 *
 *     head:    magic 16 | fingerprint of the run 16 | XXH3-128 of these 32 bytes
 *     record:  192 bytes, of which the last 8 are XXH3-64 of the others, seeded by the head and the
 *              record's place
 *
 * Records are only ever appended, after the data they speak of were synced; the first one that does
 * not check, torn by a crash, ends the journal. Bytes are the machine's own order: a journal does
 * not travel. */
#ifndef NIB_FORMATS_JOURNAL_H
#define NIB_FORMATS_JOURNAL_H

#include "../../include/nibble_file.h"

enum { NIB_JOURNAL_HEAD = 48, NIB_JOURNAL_RECORD = 192 };

typedef enum nib_journal_kind {
    NIB_JOURNAL_TENSOR = 1, /* number, offset, bytes: a tensor's place; all its bytes are on disk */
    NIB_JOURNAL_COMMIT = 2, /* number: the inode that is about to get the final name */
} nib_journal_kind;

typedef struct nib_journal_record {
    uint32_t kind;
    uint32_t note_bytes; /* of note that count */
    uint64_t number, offset, bytes;
    uint64_t piece; /* the size in which the checksum was taken */
    uint64_t checksum[2];
    unsigned char note[NIB_OUTPUT_RECORD_BYTES]; /* the caller's */
    uint64_t check;
} nib_journal_record;

typedef struct nib_journal {
    int fd;
    const char *shown; /* its path, borrowed */
    uint64_t seed, end;
} nib_journal;

/* What a journal says. */
typedef struct nib_journal_text {
    int valid; /* 0: the head is not nibble's, or torn */
    uint64_t fingerprint[2];
    nib_journal_record *records; /* malloc'd; the caller frees */
    size_t count;
} nib_journal_text;

/* Reads a whole journal from memory; any bytes will do. E_MEMORY. */
nib_status nib_journal_parse(const void *bytes, size_t size, nib_journal_text *text_ret);

/* Reads the journal from its file. */
nib_status nib_journal_read(const nib_journal *journal, nib_journal_text *text_ret);
/* Goes on after the records of `text`: cuts a torn tail off. */
nib_status nib_journal_resume(nib_journal *journal, const nib_journal_text *text);
/* Empties the file and writes a new head. */
nib_status nib_journal_start(nib_journal *journal, const uint64_t fingerprint[2]);
/* Appends records, filling in their checks, and syncs. */
nib_status nib_journal_append(nib_journal *journal, nib_journal_record *records, size_t count);

#endif
