/* journal.c - see journal.h. */
#include "journal.h"

#include "../core/internal.h"
#include "io.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(nib_journal_record) == NIB_JOURNAL_RECORD, "a record has no padding");

/* The 1 is the version of head and records; another one is another run's journal. */
static const char magic[16] = "nibble journal1\n";

typedef struct journal_head {
    char magic[16];
    uint64_t fingerprint[2];
    uint64_t check[2];
} journal_head;

_Static_assert(sizeof(journal_head) == NIB_JOURNAL_HEAD, "the head has no padding");

static journal_head make_head(const uint64_t fingerprint[2])
{
    journal_head head = {.fingerprint = {fingerprint[0], fingerprint[1]}};
    memcpy(head.magic, magic, sizeof magic);
    XXH128_hash_t hash = XXH3_128bits(&head, offsetof(journal_head, check));
    head.check[0] = hash.low64;
    head.check[1] = hash.high64;
    return head;
}

static uint64_t record_check(const nib_journal_record *record, uint64_t seed, uint64_t place)
{
    return XXH3_64bits_withSeed(record, offsetof(nib_journal_record, check), seed ^ place);
}

nib_status nib_journal_parse(const void *bytes, size_t size, nib_journal_text *text_ret)
{
    nib_journal_text text = {0};
    journal_head head;
    *text_ret = text;
    if (size < sizeof head) return NIB_OK;
    memcpy(&head, bytes, sizeof head);
    journal_head expected = make_head(head.fingerprint);
    if (memcmp(&head, &expected, sizeof head)) return NIB_OK;
    text.valid = 1;
    memcpy(text.fingerprint, head.fingerprint, sizeof text.fingerprint);
    size_t whole = (size - sizeof head) / NIB_JOURNAL_RECORD;
    text.records = malloc((whole ? whole : 1) * NIB_JOURNAL_RECORD);
    if (!text.records) return NIB_FAIL(NIB_E_MEMORY, "no memory for a journal of %zu bytes", size);
    for (; text.count < whole; text.count++) {
        nib_journal_record *record = &text.records[text.count];
        size_t place = sizeof head + text.count * NIB_JOURNAL_RECORD;
        memcpy(record, (const char *)bytes + place, sizeof *record);
        if (record->check != record_check(record, head.check[0], place)) break;
        if (record->note_bytes > sizeof record->note) break;
    }
    *text_ret = text;
    return NIB_OK;
}

nib_status nib_journal_read(const nib_journal *journal, nib_journal_text *text_ret)
{
    struct stat st;
    NIB_TRY(nib_io_stat(journal->fd, journal->shown, &st));
    size_t size = (size_t)st.st_size;
    char *bytes = malloc(size ? size : 1);
    if (!bytes) return NIB_FAIL(NIB_E_MEMORY, "no memory for a journal of %zu bytes", size);
    nib_status status = nib_io_read_some(journal->fd, journal->shown, 0, bytes, size, &size);
    if (status == NIB_OK) status = nib_journal_parse(bytes, size, text_ret);
    free(bytes);
    return status;
}

nib_status nib_journal_resume(nib_journal *journal, const nib_journal_text *text)
{
    journal->seed = make_head(text->fingerprint).check[0];
    journal->end = NIB_JOURNAL_HEAD + text->count * NIB_JOURNAL_RECORD;
    return nib_io_truncate(journal->fd, journal->shown, journal->end);
}

nib_status nib_journal_start(nib_journal *journal, const uint64_t fingerprint[2])
{
    journal_head head = make_head(fingerprint);
    NIB_TRY(nib_io_truncate(journal->fd, journal->shown, 0));
    NIB_TRY(nib_io_write(journal->fd, journal->shown, 0, &head, sizeof head));
    NIB_TRY(nib_io_sync(journal->fd, journal->shown, 0));
    journal->seed = head.check[0];
    journal->end = sizeof head;
    return NIB_OK;
}

nib_status nib_journal_append(nib_journal *journal, nib_journal_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        records[i].check =
            record_check(&records[i], journal->seed, journal->end + i * NIB_JOURNAL_RECORD);
    size_t bytes = count * NIB_JOURNAL_RECORD;
    NIB_TRY(nib_io_write(journal->fd, journal->shown, journal->end, records, bytes));
    NIB_TRY(nib_io_sync(journal->fd, journal->shown, 0));
    journal->end += bytes;
    return NIB_OK;
}
