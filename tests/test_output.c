/* test_output.c - what nib_output_* writes, refuses, takes up again and never touches. */
#include "output_job.h"

#include "../host/formats/journal.h"

static char *root; /* a directory of our own */

static job job_at(const char *path)
{
    return (job){.path = path, .directory = 1, .identity = "one", .stop_after = -1};
}

static char *fresh(const char *name) { return job_path(root, name); }

/* A checkpoint to read from, with other files beside it. */
static char *make_input(const char *name)
{
    char *path = fresh(name);
    job work = job_at(path);
    CHECK_OK(job_run(&work));
    char *tokenizer = job_path(path, "tokenizer.json"), *inner = job_path(path, "sub");
    temporary_write(tokenizer, "tokens", 6);
    CHECK(mkdir(inner, 0777) == 0);
    free(tokenizer);
    free(inner);
    return path;
}

/* ---- what is written ---- */

static void test_round_trip(void)
{
    uint64_t first[2] = {0, 0};
    const size_t pieces[] = {0, 8, 4096, 65536, 70001};
    char *path = fresh("round");
    for (size_t i = 0; i < 20; i++) {
        job work = job_at(path);
        work.directory = i % 2 == 0;
        work.io = i % 4 < 2 ? NIB_IO_BUFFERED : NIB_IO_DIRECT;
        work.piece = pieces[i / 4];
        if (i % 3 == 0) work.identity = NULL;
        CHECK_OK(job_run(&work));
        job_check(&work);
        uint64_t hash = job_hash(path);
        if (i < 2) first[i % 2] = hash;
        CHECK(hash == first[i % 2], "the same bytes however they are written");
        char *partial = job_partial(path);
        CHECK(!job_exists(partial));
        free(partial);
        job_erase(path);
        path = fresh("round");
    }
    free(path);
}

static char *read_text(const char *directory, const char *name, size_t *bytes_ret)
{
    static char text[1 << 16];
    char *path = job_path(directory, name);
    FILE *file = fopen(path, "rb");
    *bytes_ret = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[*bytes_ret] = 0;
    if (file) fclose(file);
    free(path);
    return text;
}

static void test_texts(void)
{
    char *path = fresh("texts");
    job work = job_at(path);
    CHECK_OK(job_run(&work));
    size_t bytes;
    const char *index = read_text(path, "model.safetensors.index.json", &bytes);
    const char *expected = "{\n  \"metadata\": {\n    \"total_size\": 212201\n  },\n"
                           "  \"weight_map\": {\n"
                           "    \"a.codes\": \"model-00001-of-00002.safetensors\",\n"
                           "    \"a.scales\": \"model-00001-of-00002.safetensors\",\n"
                           "    \"b.codes\": \"model-00002-of-00002.safetensors\",\n"
                           "    \"b.shape\": \"model-00002-of-00002.safetensors\",\n"
                           "    \"c \\\"\\\\\xc3\xa4\": \"model-00002-of-00002.safetensors\",\n"
                           "    \"c.empty\": \"model-00001-of-00002.safetensors\"\n  }\n}\n";
    CHECK(!strcmp(index, expected), "%s", index);
    const char *header = read_text(path, "model-00001-of-00002.safetensors", &bytes) + 8;
    const char *start = "{\"__metadata__\":{\"a\":\"1\",\"b\":\"2\",\"format\":\"pt\"},"
                        "\"a.codes\":{\"dtype\":\"I32\",\"shape\":[33,16],"
                        "\"data_offsets\":[0,2112]},\"a.scales\":{\"dtype\":\"BF16\","
                        "\"shape\":[33],\"data_offsets\":[2112,2178]},\"c.empty\":{\"dtype\":"
                        "\"F16\",\"shape\":[0,4],\"data_offsets\":[2178,2178]}} ";
    CHECK(!strncmp(header, start, strlen(start)), "%.400s", header);
    CHECK(bytes == 4096 + 2178, "data begin at a multiple of 4096");
    job_erase(path);
}

static void test_carry(void)
{
    char *input = make_input("carry-in"), *path = fresh("carry");
    job work = job_at(path);
    work.input = input;
    CHECK_OK(job_run(&work));
    size_t bytes;
    CHECK(!strcmp(read_text(path, "tokenizer.json", &bytes), "tokens"));
    CHECK(!strcmp(read_text(path, "config.json", &bytes), "{}\n"));
    char *inner = job_path(path, "sub");
    CHECK(!job_exists(inner), "directories are not carried");
    free(inner);
    /* A link is followed where it stays inside, or the input was opened to follow them. */
    char *inside = job_path(input, "inside.txt"), *outside = job_path(input, "outside.txt");
    CHECK(symlink("tokenizer.json", inside) == 0);
    work.replace = 1;
    CHECK_OK(job_run(&work));
    CHECK(!strcmp(read_text(path, "inside.txt", &bytes), "tokens"));
    CHECK(symlink("/etc/passwd", outside) == 0);
    CHECK_STATUS(job_run(&work), NIB_E_PATH);
    free(inside);
    free(outside);
    job_erase(path);
    temporary_remove(input);
}

/* ---- what is refused ---- */

static nib_status create(const char *path, const nib_file *input, nib_new_tensor *tensors,
                         int64_t count, nib_output_options options)
{
    nib_output *output = NULL;
    options.size = sizeof options;
    nib_status status = nib_output_create(path, input, tensors, count, &options, &output);
    CHECK(status == NIB_OK || output == NULL);
    nib_output_close(output);
    char *partial = job_partial(path);
    CHECK(!job_exists(partial), "a refusal leaves no trace");
    free(partial);
    return status;
}

static void test_bad_plans(void)
{
    static const struct {
        nib_new_tensor tensors[2];
        nib_output_options options;
        nib_status expected;
    } rows[] = {
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"a", NIB_F16, 1, {1}, 0, 0, NULL}}, {0}, NIB_E_DUP},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"a", NIB_F16, 1, {1}, 1, 0, NULL}},
         {.directory = 1},
         NIB_E_DUP},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"", NIB_F16, 1, {1}, 0, 0, NULL}}, {0}, NIB_E_NAME},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"__metadata__", NIB_F16, 1, {1}, 0, 0, NULL}},
         {0},
         NIB_E_NAME},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"\xff", NIB_F16, 1, {1}, 0, 0, NULL}},
         {0},
         NIB_E_NAME},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"b", NIB_F16, 1, {1}, 1, 0, NULL}},
         {0},
         NIB_E_ARGUMENT},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"b", NIB_F16, 1, {1}, 2, 0, NULL}},
         {.directory = 1},
         NIB_E_ARGUMENT},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"b", NIB_F16, 1, {-1}, 0, 0, NULL}},
         {0},
         NIB_E_SHAPE},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"b", NIB_F4, 1, {3}, 0, 0, NULL}}, {0}, NIB_E_SHAPE},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"b", NIB_F16, 9, {1}, 0, 0, NULL}}, {0}, NIB_E_RANK},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"b", (nib_dtype)99, 1, {1}, 0, 0, NULL}},
         {0},
         NIB_E_DTYPE},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"b", NIB_F16, 2, {INT64_MAX, 4}, 0, 0, NULL}},
         {0},
         NIB_E_OVERFLOW},
        {{{"a", NIB_U8, 1, {INT64_MAX / 8}, 0, 0, NULL}, {"b", NIB_F16, 1, {1}, 0, 0, NULL}},
         {0},
         NIB_E_SPACE},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"b", NIB_F16, 1, {1}, 0, 0, NULL}},
         {.metadata = "{\"a\":1}"},
         NIB_E_META},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"b", NIB_F16, 1, {1}, 0, 0, NULL}},
         {.metadata = "[]"},
         NIB_E_META},
        {{{"a", NIB_F32, 1, {1}, 0, 0, NULL}, {"b", NIB_F16, 1, {1}, 0, 0, NULL}},
         {.metadata = "{\"a\":\"1\",\"a\":\"2\"}"},
         NIB_E_META},
    };
    char *path = fresh("bad");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        nib_new_tensor tensors[2];
        memcpy(tensors, rows[i].tensors, sizeof tensors);
        CHECK_STATUS(create(path, NULL, tensors, 2, rows[i].options), rows[i].expected);
        CHECK(!job_exists(path), "row %zu", i);
    }
    free(path);
}

/* Names that are the tails of one string: 14,200 of them have more than 100,000,000 bytes. */
static void test_big_header(void)
{
    enum { COUNT = 14200 };
    char *path = fresh("big"), *names = malloc(COUNT + 1);
    nib_new_tensor *tensors = calloc(COUNT, sizeof *tensors);
    if (!names || !tensors) abort();
    memset(names, 'a', COUNT);
    names[COUNT] = 0;
    for (int i = 0; i < COUNT; i++)
        tensors[i] = (nib_new_tensor){names + i, NIB_U8, 0, {0}, 0, 0, NULL};
    CHECK_STATUS(create(path, NULL, tensors, COUNT, (nib_output_options){0}), NIB_E_HEADER_BIG);
    free(tensors);
    free(names);
    free(path);
}

static void test_existing(void)
{
    char *path = fresh("existing");
    job work = job_at(path);
    CHECK_OK(job_run(&work));
    uint64_t hash = job_hash(path);
    CHECK_STATUS(job_run(&work), NIB_E_EXISTS);
    CHECK(job_hash(path) == hash);
    work.replace = 1;
    CHECK_OK(job_run(&work));
    CHECK(job_hash(path) == hash);
    /* A file takes a directory's place and back. */
    work.directory = 0;
    CHECK_OK(job_run(&work));
    job_check(&work);
    work.directory = 1;
    CHECK_OK(job_run(&work));
    /* What is no checkpoint is not deleted, whatever is asked. */
    char *inner = job_path(path, "photos");
    CHECK(mkdir(inner, 0777) == 0);
    CHECK_STATUS(job_run(&work), NIB_E_EXISTS);
    CHECK(job_exists(inner));
    job_erase(path);
    free(inner);
    path = fresh("existing");
    CHECK(mkdir(path, 0777) == 0);
    work.path = path;
    inner = job_path(path, "diary.txt");
    temporary_write(inner, "dear", 4);
    CHECK_STATUS(job_run(&work), NIB_E_EXISTS);
    CHECK(unlink(inner) == 0);
    CHECK_OK(job_run(&work)); /* empty now */
    job_erase(path);
    free(inner);
}

static void test_paths(void)
{
    char *missing = fresh("no/such/place"), *link = fresh("link"), *foreign = fresh("x.partial");
    char *path = fresh("x"), *inner = job_path(foreign, "mine.txt");
    char *here = job_path(root, "."), *slashes = fresh("slashes///");
    job work = job_at(missing);
    CHECK_STATUS(job_run(&work), NIB_E_NOT_FOUND);
    work = job_at(here);
    CHECK_STATUS(job_run(&work), NIB_E_PATH);
    CHECK(symlink("nowhere", link) == 0);
    work = job_at(link);
    work.replace = 1;
    CHECK_STATUS(job_run(&work), NIB_E_EXISTS);
    CHECK(mkdir(foreign, 0777) == 0);
    temporary_write(inner, "mine", 4);
    work = job_at(path);
    CHECK_STATUS(job_run(&work), NIB_E_EXISTS);
    CHECK(job_exists(inner), "a directory that only has the name stays");
    work = job_at(slashes);
    CHECK_OK(job_run(&work));
    job_check(&work);
    char *const all[] = {missing, link, foreign, path, inner, here, slashes};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
}

static void test_same_file(void)
{
    char *input = make_input("same"), *inside = job_path(input, "out"), *other = fresh("same-2");
    char *sub = job_path(input, "sub/out"), *single = job_path(other, "model.safetensors");
    uint64_t hash = job_hash(input);
    job work = job_at(input);
    work.input = input;
    work.replace = 1;
    CHECK_STATUS(job_run(&work), NIB_E_SAME_FILE);
    work.path = inside;
    CHECK_STATUS(job_run(&work), NIB_E_SAME_FILE);
    work.path = sub;
    CHECK_STATUS(job_run(&work), NIB_E_SAME_FILE);
    work.path = root; /* around the input */
    CHECK_STATUS(job_run(&work), NIB_E_SAME_FILE);
    /* The output that would be replaced holds a hard link to a shard of the input. */
    char *shard = job_path(input, "model-00001-of-00002.safetensors");
    CHECK(mkdir(other, 0777) == 0 && link(shard, single) == 0);
    work.path = other;
    CHECK_STATUS(job_run(&work), NIB_E_SAME_FILE);
    /* The input's other files are links into the output. */
    CHECK(unlink(single) == 0);
    char *vocabulary = job_path(other, "vocabulary"), *link_to = job_path(input, "vocabulary");
    temporary_write(single, "", 0);
    temporary_write(vocabulary, "words", 5);
    CHECK(symlink(vocabulary, link_to) == 0);
    CHECK_STATUS(job_run(&work), NIB_E_SAME_FILE);
    CHECK(unlink(link_to) == 0);
    /* A file, by another name. */
    char *alias = fresh("alias.safetensors");
    CHECK(link(shard, alias) == 0);
    work.input = shard;
    work.path = alias;
    work.directory = 0;
    CHECK_STATUS(job_run(&work), NIB_E_SAME_FILE);
    CHECK(job_hash(input) == hash, "the input is as it was");
    char *const all[] = {inside, sub, single, shard, alias, vocabulary, link_to};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
    temporary_remove(other);
    temporary_remove(input);
}

static void test_pieces(void)
{
    char *path = fresh("pieces"), data[64] = {0};
    nib_new_tensor tensor = {"t", NIB_U8, 1, {20}, 0, 0, NULL};
    nib_output_options options = {.size = sizeof options};
    nib_output *output;
    options.io = (nib_io)9;
    CHECK_STATUS(nib_output_create(path, NULL, &tensor, 1, &options, &output), NIB_E_ARGUMENT);
    options.io = NIB_IO_BUFFERED;
    CHECK_OK(nib_output_create(path, NULL, &tensor, 1, &options, &output));
    CHECK_STATUS(nib_output_commit(output), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_output_finish(output, 0, NULL, 0), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_output_write(output, 1, 0, data, 8), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_output_write(output, 0, 0, NULL, 8), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_output_write(NULL, 0, 0, data, 8), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_output_finish(output, 0, NULL, 5), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_output_write(output, 0, 16, data, 5), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_output_write(output, 0, UINT64_MAX, data, 2), NIB_E_ARGUMENT);
    CHECK_OK(nib_output_write(output, 0, 16, data, 4)); /* the last may come first */
    CHECK_OK(nib_output_write(output, 0, 8, data, 8));
    CHECK_STATUS(nib_output_write(output, 0, 0, data, 4), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_output_finish(output, 0, NULL, 0), NIB_E_ARGUMENT);
    CHECK_OK(nib_output_write(output, 0, 0, data, 8));
    CHECK_STATUS(nib_output_write(output, 0, 0, data, 8), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_output_finish(output, 0, data, 129), NIB_E_ARGUMENT);
    CHECK_OK(nib_output_finish(output, 0, NULL, 0));
    CHECK_STATUS(nib_output_finish(output, 0, NULL, 0), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_output_text(output, "config.json", "", 0), NIB_E_UNSUPPORTED);
    CHECK_OK(nib_output_verify(output));
    CHECK_OK(nib_output_commit(output));
    nib_output_close(output);
    job_erase(path);
}

/* ---- what is taken up ---- */

static void test_resume(void)
{
    char *path = fresh("resume"), *partial = job_partial(path);
    job work = job_at(path);
    CHECK_OK(job_run(&work));
    uint64_t hash = job_hash(path);
    temporary_remove(path);
    path = fresh("resume");
    work.path = path;
    for (int done = 0; done < JOB_TENSORS; done++) { /* one tensor a run */
        work.stop_after = 1;
        CHECK_STATUS(job_run(&work), NIB_E_INTERRUPTED);
        CHECK(work.taken_up == done, "%d of %d: %s", work.taken_up, done, work.note);
        CHECK(job_exists(partial) && !job_exists(path));
        if (done == JOB_TENSORS - 2) break;
    }
    work.stop_after = -1;
    CHECK_OK(job_run(&work));
    CHECK(work.taken_up == JOB_TENSORS - 1);
    CHECK(job_hash(path) == hash && !job_exists(partial));
    free(partial);
    job_erase(path);
}

/* Interrupts a run after three tensors, lets `spoil` at what is left, and runs again. */
static void resume_after(void (*spoil)(const char *partial), const char *identity, int taken_up,
                         const char *note)
{
    char *path = fresh("spoilt"), *partial = job_partial(path);
    job work = job_at(path);
    work.stop_after = 3;
    CHECK_STATUS(job_run(&work), NIB_E_INTERRUPTED);
    if (spoil) spoil(partial);
    work.stop_after = -1;
    work.identity = identity;
    CHECK_OK(job_run(&work));
    CHECK(work.taken_up == taken_up, "%d, not %d", work.taken_up, taken_up);
    CHECK(!strncmp(work.note, note, strlen(note)), "%s", work.note);
    job_check(&work);
    free(partial);
    job_erase(path);
}

static void change(const char *directory, const char *name, long offset, int whence)
{
    char *path = job_path(directory, name);
    FILE *file = fopen(path, "r+b");
    if (!file || fseek(file, offset, whence)) abort();
    int byte = fgetc(file);
    fseek(file, offset, whence);
    fputc(byte ^ 1, file);
    fclose(file);
    free(path);
}

static void spoil_data(const char *partial) /* of a.codes */
{
    change(partial, "out/model-00001-of-00002.safetensors", 4096, SEEK_SET);
}
static void spoil_head(const char *partial) { change(partial, ".nibble-journal", 20, SEEK_SET); }
static void spoil_tail(const char *partial) { change(partial, ".nibble-journal", -100, SEEK_END); }
static void lose_shard(const char *partial)
{
    char *path = job_path(partial, "out/model-00002-of-00002.safetensors");
    CHECK(unlink(path) == 0);
    free(path);
}
static void add_stray(const char *partial)
{
    char *path = job_path(partial, "out/stray.json");
    temporary_write(path, "{}", 2);
    free(path);
}

static void test_spoilt(void)
{
    resume_after(NULL, "one", 3, "took up ");
    resume_after(NULL, "two", 0, "threw away ");
    resume_after(NULL, NULL, 0, "threw away ");
    resume_after(spoil_data, "one", 2, "took up ");
    resume_after(spoil_head, "one", 0, "threw away ");
    resume_after(spoil_tail, "one", 2, "took up ");
    resume_after(lose_shard, "one", 2, "took up ");
    resume_after(add_stray, "one", 3, "took up ");
}

static void test_records(void)
{
    char *path = fresh("records");
    job work = job_at(path);
    work.stop_after = 2;
    CHECK_STATUS(job_run(&work), NIB_E_INTERRUPTED);
    nib_new_tensor tensors[JOB_TENSORS];
    job_tensors(&work, tensors);
    nib_output_options options = {.size = sizeof options,
                                  .directory = 1,
                                  .metadata = "{\"a\":\"1\",\"b\":\"2\"}",
                                  .identity = "one"};
    nib_output *output;
    CHECK_OK(nib_output_create(path, NULL, tensors, JOB_TENSORS, &options, &output));
    size_t bytes = 0;
    const char *record = nib_output_record(output, 1, &bytes);
    CHECK(record && bytes == 9 && !strcmp(record, "record 1"));
    CHECK(!nib_output_record(output, 2, &bytes) && !nib_output_record(output, 99, &bytes));
    char data[2112];
    CHECK_STATUS(nib_output_write(output, 1, 0, data, sizeof data), NIB_E_ARGUMENT);
    CHECK_OK(nib_output_redo(output, 1));
    CHECK(!nib_output_done(output, 1) && nib_output_done(output, 0));
    job_fill(1, (unsigned char *)data, sizeof data);
    CHECK_OK(nib_output_write(output, 1, 0, data, sizeof data));
    CHECK_OK(nib_output_finish(output, 1, NULL, 0));
    nib_output_close(output);
    job_erase(path);
}

/* Every cut and every changed bit leaves a prefix of the records, or nothing. */
static void test_journal_text(void)
{
    enum { COUNT = 3, SIZE = NIB_JOURNAL_HEAD + COUNT * NIB_JOURNAL_RECORD };
    char *path = fresh("journal");
    unsigned char bytes[SIZE], changed[SIZE];
    nib_journal journal = {.fd = open(path, O_RDWR | O_CREAT, 0666), .shown = path};
    nib_journal_record records[COUNT] = {{.kind = 1, .number = 7}, {.kind = 1}, {.kind = 2}};
    nib_journal_text text;
    CHECK_OK(nib_journal_start(&journal, (uint64_t[2]){1, 2}));
    CHECK_OK(nib_journal_append(&journal, records, 1));
    CHECK_OK(nib_journal_append(&journal, records + 1, COUNT - 1));
    CHECK(pread(journal.fd, bytes, SIZE, 0) == SIZE);
    close(journal.fd);
    for (size_t size = 0; size <= SIZE; size++) {
        size_t expected = size < NIB_JOURNAL_HEAD ? 0 : (size - NIB_JOURNAL_HEAD) / 192;
        CHECK_OK(nib_journal_parse(bytes, size, &text));
        CHECK(text.valid == (size >= NIB_JOURNAL_HEAD) && text.count == expected);
        free(text.records);
    }
    for (size_t bit = 0; bit < SIZE * 8; bit++) {
        memcpy(changed, bytes, SIZE);
        changed[bit / 8] ^= (unsigned char)(1 << bit % 8);
        CHECK_OK(nib_journal_parse(changed, SIZE, &text));
        size_t byte = bit / 8;
        CHECK(text.valid == (byte >= NIB_JOURNAL_HEAD));
        CHECK(text.count == (text.valid ? (byte - NIB_JOURNAL_HEAD) / 192 : 0));
        free(text.records);
    }
    temporary_remove(path);
}

static void test_verify(void)
{
    char *path = fresh("verify"), *partial = job_partial(path);
    nib_new_tensor tensor = {"t", NIB_U8, 1, {100000}, 0, 0, NULL};
    static char data[100000];
    nib_output_options options = {.size = sizeof options};
    nib_output *output;
    CHECK_OK(nib_output_create(path, NULL, &tensor, 1, &options, &output));
    CHECK(tensor.offset == 4096);
    CHECK_OK(nib_output_write(output, 0, 0, data, sizeof data));
    CHECK_STATUS(nib_output_verify(output), NIB_E_ARGUMENT);
    CHECK_OK(nib_output_finish(output, 0, NULL, 0));
    CHECK_OK(nib_output_verify(output));
    change(partial, "out", 4096 + 77777, SEEK_SET);
    CHECK_STATUS(nib_output_verify_tensor(output, 0), NIB_E_IO);
    CHECK(strstr(nib_last_error(), "\"t\"") != NULL);
    nib_output_close(output);
    CHECK(!job_exists(partial) && !job_exists(path), "without an identity nothing stays");
    free(partial);
    job_erase(path);
}

int main(void)
{
    root = temporary_directory();
    test_round_trip();
    test_texts();
    test_carry();
    test_bad_plans();
    test_big_header();
    test_existing();
    test_paths();
    test_same_file();
    test_pieces();
    test_resume();
    test_spoilt();
    test_records();
    test_journal_text();
    test_verify();
    temporary_remove(root);
    return check_done();
}
