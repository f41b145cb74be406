/* test_formats.c - reading checkpoints: the hand-made malformed and unusual files of tests/golden,
 * and what a file system can hold in place of a file. */
#include "check.h"

#include "../host/formats/json.h"
#include "check_golden.h"
#include "temporary.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

static void test_follow_links(void)
{
    nib_file *file;
    nib_file_options options = {.size = sizeof options, .follow_links = 1};
    if (CHECK_OK(nib_file_open(GOLDEN "safetensors_bad/i09_symlink_out", &options, &file))) {
        check_consistent(file, "i09_symlink_out");
        nib_file_close(file);
    }
}

static void test_contents(void)
{
    nib_file *file;
    if (CHECK_OK(nib_file_open(GOLDEN "safetensors_valid/x03_extra_tensor", NULL, &file))) {
        CHECK(nib_file_raw_count(file) == 2);
        CHECK(nib_file_ignored(file) == 1);
        CHECK(nib_file_is_directory(file) && nib_file_shard_count(file) == 2);
        CHECK(!strcmp(nib_file_shard_name(file, 0), "a.safetensors"));
        CHECK(nib_file_find(file, "w1") && nib_file_find(file, "w2") && !nib_file_find(file, "w"));
        CHECK(!nib_file_shard_name(file, 2) && !nib_file_metadata(file, -1));
        nib_file_close(file);
    }
    if (CHECK_OK(nib_file_open(GOLDEN "safetensors_valid/x04_settled_duplicate", NULL, &file))) {
        CHECK(nib_file_shard_count(file) == 1 && nib_file_raw_count(file) == 1);
        CHECK(!strcmp(nib_file_shard_name(file, 0), "b.safetensors"));
        nib_file_close(file);
    }
    if (CHECK_OK(
            nib_file_open(GOLDEN "safetensors_valid/v10_key_order.safetensors", NULL, &file))) {
        CHECK(nib_file_raw_at(file, 0)->span.offset < nib_file_raw_at(file, 1)->span.offset);
        CHECK(!nib_file_is_directory(file));
        CHECK(!strcmp(nib_file_shard_name(file, 0), "v10_key_order.safetensors"));
        nib_file_close(file);
    }
}

static const char good[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";

static void write_good(const char *path)
{
    unsigned char bytes[8 + sizeof good - 1 + 4] = {sizeof good - 1};
    memcpy(bytes + 8, good, sizeof good - 1);
    temporary_write(path, bytes, sizeof bytes);
}

/* Headers whose fault is one alone, each with its own status. The file has 4 bytes of data. */
static void test_headers(void)
{
#define ONE(name, shape, offsets)                                                                  \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"
    static const struct {
        const char *text;
        nib_status status;
    } rows[] = {
        {"{" ONE("a", "4", "0,4") "}", NIB_OK},
        {"{" ONE("\\ud83d\\ude00\\/\xe0\xa0\x80\xf0\x90\x80\x80", "4", "0,4") "}", NIB_OK},
        {"{" ONE("a", "4", "0,4") "," ONE("b", "0", "4,4") "," ONE("c", "0", "4,4") "}", NIB_OK},
        {"{" ONE("a", "4", "0,4") "," ONE("b", "0", "4,4") "," ONE("b", "0", "4,4") "}", NIB_E_DUP},
        {"{" ONE("a", "4", "0,4") "," ONE("\\u0061", "0", "4,4") "}", NIB_E_DUP},
        {"{" ONE("\\ud83d\\u0041", "4", "0,4") "}", NIB_E_UTF8},
        {"{" ONE("\\ude00", "4", "0,4") "}", NIB_E_UTF8},
        {"{" ONE("\xe0\x9f\xbf", "4", "0,4") "}", NIB_E_UTF8},
        {"{" ONE("\xf0\x8f\xbf\xbf", "4", "0,4") "}", NIB_E_UTF8},
        {"{" ONE("\xf4\x90\x80\x80", "4", "0,4") "}", NIB_E_UTF8},
        {"{" ONE("\xc2", "4", "0,4") "}", NIB_E_UTF8},
        {"{" ONE("a", "0,9223372036854775807,3", "0,0") "," ONE("b", "4", "0,4") "}",
         NIB_E_OVERFLOW},
        {"{" ONE("a", "-0", "0,0") "," ONE("b", "4", "0,4") "}", NIB_E_NUMBER},
        {"{" ONE("a", "4", "0,4,") "}", NIB_E_JSON},
        {"{" ONE("a", "4", "4") "}", NIB_E_JSON},
        {"{\"__metadata__\":{\"a\":\"1\",\"\\u0061\":\"2\"}," ONE("a", "4", "0,4") "}", NIB_E_DUP},
        {"{\"__metadata__\":{\"a\":null}," ONE("a", "4", "0,4") "}", NIB_E_META},
    };
    char *dir = temporary_directory(), path[256];
    snprintf(path, sizeof path, "%s/a.safetensors", dir);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char bytes[512] = {0};
        size_t length = strlen(rows[i].text);
        bytes[0] = (unsigned char)length;
        memcpy(bytes + 8, rows[i].text, length);
        temporary_write(path, bytes, 8 + length + 4);
        nib_file *file = NULL;
        nib_status status = nib_file_open(path, NULL, &file);
        CHECK(length < 256 && status == rows[i].status, "%s: %s (%s)", rows[i].text,
              nib_status_name(status), nib_last_error());
        nib_file_close(file);
    }
    temporary_remove(dir);
}

/* Numbers by themselves: a header's syntax is checked before them. */
static void test_numbers(void)
{
    static const struct {
        const char *text;
        nib_status status;
        uint64_t value;
    } rows[] = {{"0", NIB_OK, 0},         {"18446744073709551615", NIB_OK, UINT64_MAX},
                {" 7,", NIB_OK, 7},       {"18446744073709551616", NIB_E_NUMBER, 0},
                {"02", NIB_E_NUMBER, 0},  {"1.0", NIB_E_NUMBER, 0},
                {"1e3", NIB_E_NUMBER, 0}, {"-1", NIB_E_NUMBER, 0},
                {"", NIB_E_NUMBER, 0},    {"+1", NIB_E_NUMBER, 0},
                {"1E0", NIB_E_NUMBER, 0}, {"0x10", NIB_OK, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        nib_json json = nib_json_open(rows[i].text, strlen(rows[i].text));
        uint64_t value = 0;
        CHECK_STATUS(nib_json_u64(&json, &value), rows[i].status);
        CHECK(value == rows[i].value, "%s", rows[i].text);
    }
}

/* What stands in place of a file or a directory of shards. */
static void test_not_files(void)
{
    char *dir = temporary_directory(), path[256];
    nib_file *file;
    snprintf(path, sizeof path, "%s/fifo.safetensors", dir);
    CHECK(!mkfifo(path, 0600));
    CHECK_STATUS(nib_file_open(path, NULL, &file), NIB_E_NOTREG);
    CHECK_STATUS(nib_file_open(dir, NULL, &file), NIB_E_NOTREG); /* its only *.safetensors */
    unlink(path);
    CHECK_STATUS(nib_file_open(dir, NULL, &file), NIB_E_MISSING);
    CHECK_STATUS(nib_file_open("/dev/zero", NULL, &file), NIB_E_NOTREG);
    CHECK_STATUS(nib_file_open("/nonexistent/model.safetensors", NULL, &file), NIB_E_NOT_FOUND);
    CHECK_STATUS(nib_file_open("", NULL, &file), NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "path is empty") != NULL, "%s", nib_last_error());
    CHECK_STATUS(nib_file_open(dir, NULL, NULL), NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "file_ret is NULL") != NULL, "%s", nib_last_error());
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    CHECK(!mkdir(path, 0700));
    CHECK_STATUS(nib_file_open(dir, NULL, &file), NIB_E_NOTREG);
    rmdir(path);
    write_good(path);
    if (geteuid() == 0) {
        check_skip("a file without read permission", "the superuser reads it");
    } else {
        CHECK(!chmod(path, 0));
        CHECK_STATUS(nib_file_open(path, NULL, &file), NIB_E_IO);
        CHECK(!chmod(path, 0600));
    }
    temporary_remove(dir);
}

static void open_and_close(const char *path, nib_status expected)
{
    nib_file *file = NULL;
    CHECK_STATUS(nib_file_open(path, NULL, &file), expected);
    nib_file_close(file);
}

/* Which file of a directory counts. */
static void test_directories(void)
{
    char *dir = temporary_directory(), one[256], two[256], config[256];
    nib_file *file;
    snprintf(one, sizeof one, "%s/one.safetensors", dir);
    snprintf(two, sizeof two, "%s/two.safetensors", dir);
    write_good(one);
    open_and_close(dir, NIB_OK);
    write_good(two);
    open_and_close(dir, NIB_E_FORMAT);
    snprintf(two, sizeof two, "%s/model.safetensors", dir);
    write_good(two);
    open_and_close(dir, NIB_OK);
    snprintf(config, sizeof config, "%s/config.json", dir);
    temporary_write(config, "{}\n", 3);
    if (CHECK_OK(nib_file_open(dir, NULL, &file))) {
        CHECK(!strcmp(nib_file_config(file), "{}\n"));
        CHECK(!strcmp(nib_file_shard_name(file, 0), "model.safetensors"));
        CHECK(!strcmp(nib_file_path(file), dir));
        nib_file_close(file);
    }
    temporary_write(config, "{}\0", 3);
    open_and_close(dir, NIB_E_CONFIG);
    temporary_remove(dir);
}

static void write_pair(const char *dir, const char *name, const char *first, const char *second)
{
    unsigned char bytes[256] = {0};
    char path[256], *text = (char *)bytes + 8;
    int length = sprintf(text,
                         "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                         "\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                         first, second);
    bytes[0] = (unsigned char)length;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    temporary_write(path, bytes, (size_t)length + 10);
}

/* The index places each tensor, whatever else its shards hold and in whatever order it names them.
 */
static void test_index_decides(void)
{
    static const char map[] = "{\"weight_map\":{\"x\":\"2\",\"y\":\"1\",\"z\":\"2\"}}";
    char *dir = temporary_directory(), path[256];
    nib_file *file;
    write_pair(dir, "1", "x", "y");
    write_pair(dir, "2", "z", "x");
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    temporary_write(path, map, sizeof map - 1);
    if (CHECK_OK(nib_file_open(path, NULL, &file))) {
        CHECK(nib_file_raw_count(file) == 3 && nib_file_ignored(file) == 1);
        CHECK(nib_file_find(file, "x")->span[0].shard == 1);
        CHECK(nib_file_find(file, "y")->span[0].shard == 0);
        CHECK(!strcmp(nib_file_shard_name(file, 1), "2") && !strcmp(nib_file_path(file), dir));
        check_consistent(file, "index");
        nib_file_close(file);
    }
    temporary_remove(dir);
}

/* The file changes between opening and reading. */
static void test_changes(void)
{
    char *dir = temporary_directory(), path[256], bytes[8];
    nib_file *file;
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    write_good(path);
    if (CHECK_OK(nib_file_open(path, NULL, &file))) {
        const nib_span span = nib_file_at(file, 0)->span[0];
        CHECK_OK(nib_file_read(file, 0, span.offset, bytes, 4));
        CHECK_STATUS(nib_file_read(file, 0, span.offset, bytes, 5), NIB_E_TRUNC);
        CHECK_STATUS(nib_file_read(file, 0, UINT64_MAX, bytes, 5), NIB_E_TRUNC);
        CHECK_STATUS(nib_file_read(file, 1, span.offset, bytes, 4), NIB_E_ARGUMENT);
        CHECK_OK(nib_file_unchanged(file));
        CHECK(!truncate(path, (off_t)span.offset + 2));
        CHECK_STATUS(nib_file_read(file, 0, span.offset, bytes, 4), NIB_E_TRUNC);
        CHECK_STATUS(nib_file_unchanged(file), NIB_E_CHANGED);
        nib_file_close(file);
    }
    write_good(path);
    if (CHECK_OK(nib_file_open(path, NULL, &file))) {
        struct stat st;
        CHECK(!stat(path, &st));
        struct timespec times[2] = {st.st_atim, st.st_mtim};
        times[1].tv_nsec ^= 1 << 10;
        CHECK(!utimensat(AT_FDCWD, path, times, 0));
        CHECK_STATUS(nib_file_unchanged(file), NIB_E_CHANGED);
        nib_file_close(file);
    }
    temporary_remove(dir);
}

static void test_memory_cap(void)
{
    nib_file *file;
    nib_file_options options = {.size = sizeof options};
    const char *path = GOLDEN "safetensors_valid/v16_many_zero_size.safetensors";
    if (!CHECK_OK(nib_file_open(path, &options, &file))) return;
    size_t needed = nib_file_memory(file);
    nib_file_close(file);
    CHECK(needed > 2000 && needed < 100000, "%zu", needed);
    options.max_memory_bytes = 3 * needed;
    if (CHECK_OK(nib_file_open(path, &options, &file))) nib_file_close(file);
    for (size_t cap = needed - 512; cap > 0; cap /= 2) {
        options.max_memory_bytes = cap;
        CHECK_STATUS(nib_file_open(path, &options, &file), NIB_E_MEMORY);
    }
    options.size = 4;
    CHECK_STATUS(nib_file_open(path, &options, &file), NIB_E_ARGUMENT);
    options = (nib_file_options){.size = sizeof options, .io = (nib_io)9};
    CHECK_STATUS(nib_file_open(path, &options, &file), NIB_E_ARGUMENT);
    char byte[1];
    void *data;
    CHECK_STATUS(nib_file_read(NULL, 0, 0, byte, 1), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_file_read_direct(NULL, 0, 0, byte, 1, &data), NIB_E_ARGUMENT);
    if (!CHECK_OK(nib_file_open(path, NULL, &file))) return;
    CHECK_STATUS(nib_file_read(file, 0, 0, NULL, 1), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_file_read_direct(file, 0, 0, byte, 1, NULL), NIB_E_ARGUMENT);
    CHECK_OK(nib_file_read(file, 0, 0, byte, 1));
    nib_file_close(file);
}

int main(void)
{
    test_golden("safetensors_bad", check_refused, 80);
    test_golden("safetensors_valid", check_accepted, 20);
    test_follow_links();
    test_contents();
    test_headers();
    test_numbers();
    test_not_files();
    test_directories();
    test_index_decides();
    test_changes();
    test_memory_cap();
    return check_done();
}
