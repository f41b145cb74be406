/* test_gguf.c - reading GGUF: the hand-made malformed and unusual files of tests/golden, split
 * files, and headers of a million names. */
#include "check_golden.h"
#include "temporary.h"

#include <time.h>

/* ---- making files ---- */

typedef struct bytes {
    unsigned char *data;
    size_t size, capacity;
} bytes;

static void put(bytes *to, const void *from, size_t count)
{
    if (to->size + count > to->capacity) {
        to->capacity = 2 * (to->size + count);
        to->data = realloc(to->data, to->capacity);
        if (!to->data) exit(1);
    }
    memcpy(to->data + to->size, from, count);
    to->size += count;
}

static void put_number(bytes *to, uint64_t value, size_t count)
{
    unsigned char raw[8];
    for (size_t i = 0; i < 8; i++) raw[i] = (unsigned char)(value >> (8 * i));
    put(to, raw, count);
}

static void put_string(bytes *to, const char *text)
{
    put_number(to, strlen(text), 8);
    put(to, text, strlen(text));
}

static void put_head(bytes *to, uint64_t tensors, uint64_t keys)
{
    put(to, "GGUF", 4);
    put_number(to, 3, 4);
    put_number(to, tensors, 8);
    put_number(to, keys, 8);
}

static void put_u32_key(bytes *to, const char *name, uint32_t value)
{
    put_string(to, name);
    put_number(to, NIB_KEY_U32, 4);
    put_number(to, value, 4);
}

/* One byte of type I8 at `offset`. */
static void put_tensor(bytes *to, const char *name, uint64_t offset)
{
    put_string(to, name);
    put_number(to, 1, 4);
    put_number(to, 1, 8);
    put_number(to, 24, 4);
    put_number(to, offset, 8);
}

static void write_file(const char *dir, const char *name, bytes *file, char path[300])
{
    snprintf(path, 300, "%s/%s", dir, name);
    temporary_write(path, file->data, file->size);
    free(file->data);
    *file = (bytes){0};
}

/* ---- contents ---- */

static void test_keys(void)
{
    nib_file *file;
    char text[64];
    if (!CHECK_OK(nib_file_open(GOLDEN "gguf_valid/w12_unicode.gguf", NULL, &file))) return;
    CHECK(!strcmp(nib_file_format(file), "gguf") && !nib_file_is_directory(file));
    const nib_key *key = nib_file_key_find(file, 0, "general.architecture");
    if (CHECK(key && key->type == NIB_KEY_STRING && key->value.bytes == 5)) {
        CHECK_OK(nib_file_read(file, 0, key->value.offset, text, key->value.bytes));
        CHECK(!memcmp(text, "llama", 5));
    }
    key = nib_file_key_find(file, 0, "llama.context_length");
    CHECK(key && key->type == NIB_KEY_U32 && key->bits == 64 && key->count == 1);
    CHECK(nib_file_key_at(file, 0, 0) == nib_file_key_find(file, 0, "general.architecture"));
    CHECK(!nib_file_key_find(file, 0, "general") && !nib_file_key_find(file, 1, "general"));
    CHECK(!nib_file_key_at(file, 0, -1) && !nib_file_key_at(file, 0, 1000));
    nib_file_close(file);
}

/* Rows of every stored type, and shapes with the contiguous dimension last. */
static void test_types(void)
{
    nib_file *file;
    if (CHECK_OK(nib_file_open(GOLDEN "gguf_valid/w15_every_type.gguf", NULL, &file))) {
        CHECK(nib_file_count(file) == 17);
        for (int64_t i = 0; i < nib_file_count(file); i++) {
            const nib_tensor *tensor = nib_file_at(file, i);
            const nib_stored_type *type = nib_stored_type_at(atoi(tensor->name + 1));
            if (!CHECK(type, "%s", tensor->name)) continue;
            CHECK(type->elements > 1 ? tensor->blocks == type : tensor->type == type->type);
            CHECK(nib_stored_type_find(type->name) == type);
        }
        nib_file_close(file);
    }
    if (CHECK_OK(nib_file_open(GOLDEN "gguf_valid/w02_zero_dim.gguf", NULL, &file))) {
        const nib_tensor *tensor = nib_file_at(file, 0);
        CHECK(tensor->rank == 2 && tensor->shape[0] == 0 && tensor->shape[1] == 8);
        nib_file_close(file);
    }
    CHECK(!nib_stored_type_at(4) && !nib_stored_type_at(-1) && !nib_stored_type_at(43));
    CHECK(!nib_stored_type_find("q4") && nib_stored_type_find("q4_k")->number == 12);
}

/* The same fault in another file has another text: each names its own value. */
static void test_texts_differ(void)
{
    static const char *const pairs[][2] = {{"g05_version_0", "g06_version_1"},
                                           {"g07_version_4", "g08_version_swapped"},
                                           {"g19_align_3", "g20_align_0"},
                                           {"g40_type_43", "g41_type_removed"},
                                           {"g43_row_not_multiple_32", "g44_row_not_multiple_256"},
                                           {"g47_offset_overlap", "g48_offset_gap"}};
    char path[300], words[2][1024];
    nib_file *file;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        for (int side = 0; side < 2; side++) {
            snprintf(path, sizeof path, GOLDEN "gguf_bad/%s.gguf", pairs[i][side]);
            CHECK(nib_file_open(path, NULL, &file) != NIB_OK);
            const char *at = strstr(nib_last_error(), ".gguf");
            snprintf(words[side], sizeof words[side], "%s", at ? at : "");
        }
        CHECK(*words[0] && strcmp(words[0], words[1]), "%s: %s", pairs[i][0], words[0]);
    }
}

/* ---- splits ---- */

static void put_split(bytes *to, uint64_t number, uint64_t count, uint64_t all, const char *tensor)
{
    put_head(to, 1, 3);
    put_string(to, "split.no");
    put_number(to, NIB_KEY_U16, 4);
    put_number(to, number, 2);
    put_string(to, "split.count");
    put_number(to, NIB_KEY_U16, 4);
    put_number(to, count, 2);
    put_string(to, "split.tensors.count");
    put_number(to, NIB_KEY_I32, 4);
    put_number(to, all, 4);
    put_tensor(to, tensor, 0);
    while (to->size % 32) put(to, "", 1);
    put(to, "\x07", 1);
}

static void test_splits(void)
{
    char *dir = temporary_directory(), first[300], path[300];
    bytes made = {0};
    nib_file *file = NULL;
    put_split(&made, 0, 2, 2, "a");
    write_file(dir, "m-00001-of-00002.gguf", &made, first);
    CHECK_STATUS(nib_file_open(first, NULL, &file), NIB_E_MISSING);
    put_split(&made, 1, 2, 2, "b");
    write_file(dir, "m-00002-of-00002.gguf", &made, path);
    if (CHECK_OK(nib_file_open(first, NULL, &file))) {
        char byte = 0;
        const nib_tensor *b = nib_file_find(file, "b");
        check_consistent(file, "splits");
        CHECK(nib_file_shard_count(file) == 2 && nib_file_count(file) == 2);
        CHECK(b && b->span[0].shard == 1);
        CHECK_OK(nib_file_read(file, 1, b->span[0].offset, &byte, 1));
        CHECK(byte == 7 && nib_file_key_find(file, 1, "split.no")->bits == 1);
        nib_file_close(file);
    }
    CHECK_STATUS(nib_file_open(path, NULL, &file), NIB_E_SPLIT); /* the second by itself */
    put_split(&made, 1, 2, 2, "a");
    write_file(dir, "m-00002-of-00002.gguf", &made, path);
    CHECK_STATUS(nib_file_open(first, NULL, &file), NIB_E_DUP);
    put_split(&made, 1, 3, 2, "b");
    write_file(dir, "m-00002-of-00002.gguf", &made, path);
    CHECK_STATUS(nib_file_open(first, NULL, &file), NIB_E_SPLIT);
    temporary_remove(dir);
}

/* ---- large headers ---- */

#ifdef __SANITIZE_ADDRESS__
enum { SECONDS = 20 };
#else
enum { SECONDS = 2 };
#endif
enum { MANY = 1 << 20 };

/* Of the processor: other work on the machine does not count. */
static double seconds_to_open(const char *path, nib_status expected)
{
    nib_file *file = NULL;
    clock_t begin = clock();
    CHECK_STATUS(nib_file_open(path, NULL, &file), expected);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    nib_file_close(file);
    return seconds;
}

/* Names are looked up by hash: no work that grows with their square. */
static void test_many(void)
{
    char *dir = temporary_directory(), path[300], name[32];
    bytes made = {0};
    for (int twice = 0; twice < 2; twice++) {
        put_head(&made, MANY, 1);
        put_u32_key(&made, "general.alignment", 1);
        for (int i = 0; i < MANY; i++) {
            snprintf(name, sizeof name, "t%d", twice && i == MANY - 1 ? 0 : i);
            put_tensor(&made, name, (uint64_t)i);
        }
        for (int i = 0; i < MANY; i++) put(&made, "", 1);
        write_file(dir, "tensors.gguf", &made, path);
        double seconds = seconds_to_open(path, twice ? NIB_E_DUP : NIB_OK);
        CHECK(seconds < SECONDS, "2^20 tensors: %.2f s", seconds);
    }
    put_head(&made, 0, MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "k%d", i);
        put_u32_key(&made, name, (uint32_t)i);
    }
    write_file(dir, "keys.gguf", &made, path);
    double seconds = seconds_to_open(path, NIB_OK);
    CHECK(seconds < SECONDS, "2^20 keys: %.2f s", seconds);
    temporary_remove(dir);
}

/* A vocabulary stays in the file: it takes no memory. */
static void test_vocabulary(void)
{
    enum { TOKENS = 1000000 };
    char *dir = temporary_directory(), path[300];
    bytes made = {0};
    nib_file *file;
    put_head(&made, 0, 1);
    put_string(&made, "tokenizer.ggml.tokens");
    put_number(&made, NIB_KEY_ARRAY, 4);
    put_number(&made, NIB_KEY_STRING, 4);
    put_number(&made, TOKENS, 8);
    for (int i = 0; i < TOKENS; i++) put_string(&made, i % 3 ? "token" : "");
    write_file(dir, "vocabulary.gguf", &made, path);
    const nib_file_options options = {.size = sizeof options, .max_memory_bytes = 1 << 20};
    if (CHECK_OK(nib_file_open(path, &options, &file))) {
        CHECK(nib_file_key_at(file, 0, 0)->count == TOKENS && nib_file_memory(file) < 1 << 18);
        nib_file_close(file);
    }
    temporary_remove(dir);
}

static void test_memory_cap(void)
{
    nib_file *file;
    nib_file_options options = {.size = sizeof options};
    const char *path = GOLDEN "gguf_valid/w15_every_type.gguf";
    for (size_t cap = 1 << 17; cap > 0; cap /= 2) {
        options.max_memory_bytes = cap;
        CHECK_STATUS(nib_file_open(path, &options, &file), NIB_E_MEMORY);
    }
    options.max_memory_bytes = 1 << 18;
    if (CHECK_OK(nib_file_open(path, &options, &file))) nib_file_close(file);
}

int main(void)
{
    test_golden("gguf_bad", check_refused, 63);
    test_golden("gguf_valid", check_accepted, 15);
    test_keys();
    test_types();
    test_texts_differ();
    test_splits();
    test_many();
    test_vocabulary();
    test_memory_cap();
    return check_done();
}
