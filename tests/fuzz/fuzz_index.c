/* fuzz_index.c - any bytes as an index, and as config.json. */
#include "../../host/formats/compressed_tensors.h"
#include "../../host/formats/config_text.h"
#include "../../host/formats/index.h"
#include "../../host/formats/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAP = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "does not hold: %s\n", #condition);                                    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void check_index(const nib_index *index)
{
    for (int32_t i = 0; i < index->shard_count; i++) {
        MUST(nib_check_plain_name("shard", index->shards[i], strlen(index->shards[i])) == NIB_OK);
        MUST(i == 0 || strcmp(index->shards[i - 1], index->shards[i]) < 0);
    }
    for (int64_t i = 0; i < index->count; i++) {
        const nib_index_entry *entry = &index->entries[i];
        MUST(entry->shard >= 0 && entry->shard < index->shard_count);
        MUST(nib_names_find(&index->names, entry->name, strlen(entry->name)) == i);
    }
}

/* A member that was set is found again, and the text without it is as it was. */
static void check_config(const char *text)
{
    char *with, *without;
    const char *value;
    size_t bytes;
    nib_file file = {.arena.cap = CAP, .config = text, .is_directory = 1};
    nib_ct_config config;
    (void)nib_ct_config_read(&file, &config);
    nib_arena_free(&file.arena);
    if (nib_config_set(text, "fuzz", "[1]", &with) != NIB_OK) return;
    MUST(nib_config_find(with, strlen(with), "fuzz", &value, &bytes) == NIB_OK);
    MUST(bytes == 3 && !memcmp(value, "[1]", 3));
    MUST(nib_config_set(with, "fuzz", NULL, &without) == NIB_OK);
    MUST(nib_config_find(without, strlen(without), "fuzz", &value, &bytes) == NIB_OK && !value);
    free(with);
    free(without);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nib_arena arena = {.cap = CAP};
    nib_index index;
    if (nib_index_parse((const char *)data, size, &arena, &index) == NIB_OK) check_index(&index);
    nib_arena_free(&arena);
    char *text = calloc(1, size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    if (strlen(text) == size && size > 0) check_config(text);
    free(text);
    return 0;
}
