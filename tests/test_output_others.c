/* test_output_others.c - an output beside others: another process at the same place, many writing
 * threads, a disk that is full indeed. */
#include "output_job.h"

#include <pthread.h>
#include <sys/mount.h>
#include <sys/wait.h>

static char *root; /* a directory of our own */

static char *fresh(const char *name) { return job_path(root, name); }

/* ---- others at the same place ---- */

static void test_busy(void)
{
    char *path = fresh("busy");
    nib_new_tensor tensor = {"t", NIB_U8, 1, {4}, 0, 0, NULL};
    nib_output_options options = {.size = sizeof options, .identity = "one"};
    nib_output *output, *second = NULL;
    CHECK_OK(nib_output_create(path, NULL, &tensor, 1, &options, &output));
    CHECK_STATUS(nib_output_create(path, NULL, &tensor, 1, &options, &second), NIB_E_BUSY);
    pid_t child = fork();
    if (child == 0)
        _exit(nib_output_create(path, NULL, &tensor, 1, &options, &second) == NIB_E_BUSY ? 0 : 1);
    int how;
    CHECK(waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 0);
    CHECK_OK(nib_output_write(output, 0, 0, "data", 4));
    CHECK_OK(nib_output_finish(output, 0, NULL, 0));
    CHECK_OK(nib_output_commit(output));
    nib_output_close(output);
    CHECK(job_exists(path));
    job_erase(path);
}

/* The name appears while the output is made. */
static void test_overtaken(void)
{
    char *path = fresh("overtaken");
    nib_new_tensor tensor = {"t", NIB_U8, 1, {4}, 0, 0, NULL};
    nib_output_options options = {.size = sizeof options};
    nib_output *output;
    CHECK_OK(nib_output_create(path, NULL, &tensor, 1, &options, &output));
    CHECK_OK(nib_output_write(output, 0, 0, "data", 4));
    CHECK_OK(nib_output_finish(output, 0, NULL, 0));
    temporary_write(path, "theirs", 6);
    uint64_t hash = job_hash(path);
    CHECK_STATUS(nib_output_commit(output), NIB_E_EXISTS);
    nib_output_close(output);
    CHECK(job_hash(path) == hash);
    job_erase(path);
}

typedef struct writer {
    nib_output *output;
    int64_t count;
    int number, failed;
} writer;

enum { WRITERS = 4, PIECES = 37, PIECE = 70000 };

/* Each thread takes every fourth piece of every tensor, the last one first. */
static void *write_share(void *argument)
{
    writer *me = argument;
    char *data = malloc(PIECE);
    if (!data) abort();
    for (int64_t tensor = 0; tensor < me->count; tensor++)
        for (int i = PIECES - 1 - me->number; i >= 0; i -= WRITERS) {
            memset(data, i + (int)tensor, PIECE);
            size_t bytes = i == PIECES - 1 ? PIECE - 5 : PIECE;
            if (nib_output_write(me->output, tensor, (uint64_t)i * PIECE, data, bytes) != NIB_OK)
                me->failed = 1;
        }
    free(data);
    return NULL;
}

static void test_threads(void)
{
    for (int io = NIB_IO_BUFFERED; io <= NIB_IO_DIRECT; io++) {
        char *path = fresh("threads");
        enum { COUNT = 3 };
        nib_new_tensor tensors[COUNT] = {{"a", NIB_U8, 1, {PIECES * PIECE - 5}, 0, 0, NULL},
                                         {"b", NIB_U8, 1, {PIECES * PIECE - 5}, 0, 0, NULL},
                                         {"c", NIB_U8, 1, {PIECES * PIECE - 5}, 0, 0, NULL}};
        nib_output_options options = {
            .size = sizeof options, .io = (nib_io)io, .identity = "one", .journal_bytes = 1};
        nib_output *output;
        pthread_t threads[WRITERS];
        writer writers[WRITERS];
        CHECK_OK(nib_output_create(path, NULL, tensors, COUNT, &options, &output));
        for (int i = 0; i < WRITERS; i++) {
            writers[i] = (writer){output, COUNT, i, 0};
            pthread_create(&threads[i], NULL, write_share, &writers[i]);
        }
        for (int i = 0; i < WRITERS; i++) {
            pthread_join(threads[i], NULL);
            CHECK(!writers[i].failed);
        }
        for (int i = 0; i < COUNT; i++) CHECK_OK(nib_output_finish(output, i, NULL, 0));
        CHECK_OK(nib_output_verify(output));
        CHECK_OK(nib_output_commit(output));
        nib_output_close(output);
        job_erase(path);
    }
}

/* ---- a disk that is full indeed ---- */

static void test_full_disk(void)
{
    char *disk = fresh("disk"), *path = job_path(disk, "out");
    CHECK(mkdir(disk, 0777) == 0);
    if (mount("tmpfs", disk, "tmpfs", 0, "size=1m")) {
        check_skip("a disk that is full", "mounting a small tmpfs needs root");
    } else {
        nib_new_tensor tensor = {"t", NIB_U8, 1, {2 << 20}, 0, 0, NULL};
        nib_output_options options = {.size = sizeof options};
        nib_output *output = NULL;
        CHECK_STATUS(nib_output_create(path, NULL, &tensor, 1, &options, &output), NIB_E_SPACE);
        CHECK(strstr(nib_last_error(), "2101248 bytes") != NULL, "%s", nib_last_error());
        /* It fits, and then another file takes what the small files would need. */
        tensor.shape[0] = 512 << 10;
        options.directory = 1;
        static char data[512 << 10];
        CHECK_OK(nib_output_create(path, NULL, &tensor, 1, &options, &output));
        char *filler = job_path(disk, "filler");
        int fd = open(filler, O_WRONLY | O_CREAT, 0666);
        while (write(fd, data, 4096) == 4096) continue;
        close(fd);
        CHECK_OK(nib_output_write(output, 0, 0, data, sizeof data)); /* reserved */
        CHECK_OK(nib_output_finish(output, 0, NULL, 0));
        CHECK_STATUS(nib_output_text(output, "config.json", data, 8192), NIB_E_SPACE);
        nib_output_close(output);
        CHECK(!job_exists(path));
        free(filler);
        umount(disk);
    }
    free(path);
    temporary_remove(disk);
}

int main(void)
{
    root = temporary_directory();
    test_busy();
    test_overtaken();
    test_threads();
    test_full_disk();
    temporary_remove(root);
    return check_done();
}
