/* test_output_faults.c - breaks the writing of a checkpoint at every system call, at every
 * allocation, by SIGKILL and by loss of power, and looks at what is left: an earlier output is as
 * it was until the new one is complete, and the next run ends with the same bytes as one that
 * nothing broke. */
#include "output_job.h"

#include "../host/formats/io.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <sys/wait.h>

static char *root, *path, *partial, *input;
static uint64_t old_hash, new_hash; /* of the earlier output, of the finished one */

static job job_here(void)
{
    return (job){.path = path,
                 .input = input,
                 .directory = 1,
                 .replace = 1,
                 .io = NIB_IO_DIRECT,
                 .identity = "one",
                 .piece = 70001,
                 .stop_after = -1};
}

/* ---- an earlier output, and what may be there later ---- */

static void remove_path(const char *what)
{
    char *copy = strdup(what);
    temporary_remove(copy);
}

static void put_earlier(void)
{
    remove_path(path);
    remove_path(partial);
    CHECK(mkdir(path, 0777) == 0);
    char *inner = job_path(path, "model.safetensors");
    temporary_write(inner, "earlier", 7);
    free(inner);
}

static void check_left(nib_status status, const char *what, long n)
{
    uint64_t hash = job_hash(path);
    if (status == NIB_OK) CHECK(hash == new_hash, "%s %ld", what, n);
    else CHECK(hash == old_hash, "%s %ld: %s", what, n, nib_last_error());
}

/* Nothing breaks now: the run ends as if nothing had. */
static void check_next_run(const char *what, long n)
{
    job work = job_here();
    nib_status status = job_run(&work);
    CHECK(status == NIB_OK, "after %s %ld: %s", what, n, nib_last_error());
    CHECK(job_hash(path) == new_hash, "after %s %ld", what, n);
    CHECK(!job_exists(partial), "after %s %ld", what, n);
}

/* ---- a system call fails ---- */

static struct {
    nib_io_call call;
    int error;   /* 0: shorten it */
    size_t most; /* bytes that a shortened call moves */
    long left;   /* calls until then; 0 = it has happened */
} fault;

static int fail_once(const nib_io_event *event)
{
    if (event->call != fault.call || fault.left == 0 || --fault.left) return 0;
    if (fault.error) return fault.error;
    if (event->bytes && *event->bytes > fault.most) *event->bytes = fault.most;
    return 0;
}

/* Fails the first, second, ... call of a kind until a run has no more of them. */
static void fail_each(nib_io_call call, int error, size_t most, nib_status expected)
{
    char what[64];
    snprintf(what, sizeof what, "call %d, error %d, %zu bytes", (int)call, error, most);
    for (long n = 1;; n++) {
        put_earlier();
        job work = job_here();
        fault.call = call;
        fault.error = error;
        fault.most = most;
        fault.left = n;
        nib_io_hook = fail_once;
        nib_status status = job_run(&work);
        nib_io_hook = NULL;
        if (fault.left) {
            CHECK(n > 1, "%s never happened", what);
            CHECK(status == NIB_OK);
            return;
        }
        check_left(status, what, n);
        CHECK(status == NIB_OK || status == expected, "%s %ld: %s (%s)", what, n,
              nib_status_name(status), nib_last_error());
        if (error == 0 || error == EINTR) CHECK(status == NIB_OK, "%s %ld", what, n);
        check_next_run(what, n);
    }
}

static void test_failing_calls(void)
{
    for (int call = 0; call < NIB_CALL_COUNT; call++) {
        fail_each((nib_io_call)call, EIO, 0, NIB_E_IO);
        fail_each((nib_io_call)call, EINTR, 0, NIB_OK);
    }
    static const nib_io_call taking_space[] = {NIB_CALL_OPEN,     NIB_CALL_WRITE, NIB_CALL_RESERVE,
                                               NIB_CALL_TRUNCATE, NIB_CALL_SYNC,  NIB_CALL_MKDIR,
                                               NIB_CALL_RENAME,   NIB_CALL_CLOSE};
    for (size_t i = 0; i < sizeof taking_space / sizeof taking_space[0]; i++) {
        fail_each(taking_space[i], ENOSPC, 0, NIB_E_SPACE);
        fail_each(taking_space[i], EDQUOT, 0, NIB_E_SPACE);
    }
    static const nib_io_call by_name[] = {NIB_CALL_OPEN, NIB_CALL_MKDIR, NIB_CALL_RENAME,
                                          NIB_CALL_REMOVE, NIB_CALL_STAT};
    for (size_t i = 0; i < sizeof by_name / sizeof by_name[0]; i++) {
        fail_each(by_name[i], EACCES, 0, NIB_E_IO);
        fail_each(by_name[i], ESTALE, 0, NIB_E_IO);
    }
    fail_each(NIB_CALL_READ, 0, 1, NIB_OK);
    fail_each(NIB_CALL_WRITE, 0, 1, NIB_OK);
    fail_each(NIB_CALL_WRITE, 0, 1000, NIB_OK);
    fail_each(NIB_CALL_RESERVE, EOPNOTSUPP, 0, NIB_OK);
    fail_each(NIB_CALL_LOCK, EOPNOTSUPP, 0, NIB_OK);
    fail_each(NIB_CALL_OPEN, EMFILE, 0, NIB_E_IO);
}

/* ---- a file system that cannot exchange names ---- */

static int no_flags(const nib_io_event *event)
{
    /* Of the renames of a commit the first is the exchange; fail_each counts the others. */
    if (event->call == NIB_CALL_RENAME && event->offset) return EINVAL;
    return fail_once(event);
}

static void test_without_exchange(void)
{
    for (long n = 1; n < 8; n++) {
        put_earlier();
        job work = job_here();
        fault.call = NIB_CALL_RENAME;
        fault.error = EIO;
        fault.left = n;
        nib_io_hook = no_flags;
        nib_status status = job_run(&work);
        nib_io_hook = NULL;
        check_left(status, "rename without exchange", n);
        check_next_run("rename without exchange", n);
        if (fault.left) {
            CHECK(n == 3 && status == NIB_OK, "the earlier output aside, the new one in: %ld", n);
            break;
        }
    }
}

/* ---- the process dies ---- */

enum { RANGES = 4096 };

static struct {
    long left;   /* calls until death */
    int lossy;   /* 1: what was not synced is lost; 2: every other block of it is */
    int without; /* 1: no exchange of names */
    struct range {
        int fd; /* of our own */
        ino_t inode;
        uint64_t offset;
        size_t bytes;
    } ranges[RANGES]; /* written and not synced */
    int count;
    ino_t syncing; /* the file of the sync that came last */
} death;

static ino_t inode_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) ? 0 : st.st_ino;
}

static void lose_power(void)
{
    static const char zeros[4096];
    for (int i = 0; i < death.count; i++) {
        const struct range *range = &death.ranges[i];
        for (size_t at = 0; at < range->bytes; at += sizeof zeros) {
            size_t bytes = range->bytes - at < sizeof zeros ? range->bytes - at : sizeof zeros;
            if (death.lossy == 2 && (range->offset + at) / sizeof zeros % 2) continue;
            (void)!pwrite(range->fd, zeros, bytes, (off_t)(range->offset + at));
        }
    }
}

/* Remembers what a loss of power would take. A sync counts from the next call on. */
static void track(const nib_io_event *event)
{
    int kept = 0;
    for (int i = 0; i < death.count; i++) {
        if (death.syncing && death.ranges[i].inode == death.syncing) close(death.ranges[i].fd);
        else death.ranges[kept++] = death.ranges[i];
    }
    death.count = kept;
    death.syncing = event->call == NIB_CALL_SYNC ? inode_of(event->fd) : 0;
    if (event->call != NIB_CALL_WRITE || death.count == RANGES) return;
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", event->fd);
    death.ranges[death.count++] =
        (struct range){open(name, O_WRONLY), inode_of(event->fd), event->offset, *event->bytes};
}

static int die_once(const nib_io_event *event)
{
    if (death.lossy) track(event);
    if (--death.left == 0) {
        if (death.lossy) lose_power();
        raise(SIGKILL);
    }
    return death.without && event->call == NIB_CALL_RENAME && event->offset ? EINVAL : 0;
}

/* Runs a job in a child that dies at call n. 1: it was killed. */
static int run_and_kill(long n, int lossy, int without)
{
    pid_t child = fork();
    if (child == 0) {
        job work = job_here();
        death.left = n;
        death.lossy = lossy;
        death.without = without;
        nib_io_hook = die_once;
        _exit(job_run(&work) == NIB_OK ? 0 : 1);
    }
    int how = 0;
    CHECK(waitpid(child, &how, 0) == child);
    CHECK(WIFSIGNALED(how) || WEXITSTATUS(how) == 0, "a run that is not killed ends well");
    return WIFSIGNALED(how);
}

static void test_killed(int lossy, int without)
{
    char what[64];
    snprintf(what, sizeof what, "a kill (loss %d, without exchange %d) at call", lossy, without);
    long n = 1;
    for (;; n++) {
        put_earlier();
        if (!run_and_kill(n, lossy, without)) break;
        uint64_t hash = job_hash(path);
        if (!without) CHECK(hash == old_hash || hash == new_hash, "%s %ld", what, n);
        /* Between two renames the earlier output is aside; the next run puts it back first. */
        if (hash != new_hash) {
            job work = job_here();
            work.replace = 0;
            CHECK_STATUS(job_run(&work), NIB_E_EXISTS);
            uint64_t after = job_hash(path);
            CHECK(after == old_hash || after == new_hash, "%s %ld", what, n);
        }
        check_next_run(what, n);
    }
    CHECK(n > 100, "%ld calls", n);
    printf("%s 1 to %ld\n", what, n - 1);
}

/* The same where no output was there, and it is one file. */
static void test_killed_new_file(void)
{
    job work = job_here();
    work.directory = 0;
    work.replace = 0;
    remove_path(path);
    CHECK_OK(job_run(&work));
    uint64_t whole = job_hash(path);
    long n = 1;
    for (;; n++) {
        remove_path(path);
        remove_path(partial);
        pid_t child = fork();
        if (child == 0) {
            death.left = n;
            death.lossy = 1;
            nib_io_hook = die_once;
            _exit(job_run(&work) == NIB_OK ? 0 : 1);
        }
        int how = 0;
        CHECK(waitpid(child, &how, 0) == child);
        if (!WIFSIGNALED(how)) break;
        int there = job_exists(path);
        CHECK(!there || job_hash(path) == whole, "%ld", n);
        nib_status status = job_run(&work);
        CHECK(status == (there ? NIB_E_EXISTS : NIB_OK), "%ld: %s", n, nib_last_error());
        CHECK(job_hash(path) == whole && !job_exists(partial), "%ld", n);
    }
    CHECK(n > 60, "%ld calls", n);
}

/* ---- an allocation fails ---- */

static long allocations_left; /* until one fails; 0: none does */
static int allocation_failed;

static int denied(void)
{
    if (!allocations_left || --allocations_left) return 0;
    allocation_failed = 1;
    return 1;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t bytes) { return denied() ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t bytes)
{
    return denied() ? NULL : __real_calloc(count, bytes);
}
void *__wrap_realloc(void *old, size_t bytes)
{
    return denied() ? NULL : __real_realloc(old, bytes);
}
void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
    return denied() ? NULL : __real_aligned_alloc(align, bytes);
}
char *__wrap_strdup(const char *text) { return denied() ? NULL : __real_strdup(text); }

static void *json_malloc(size_t bytes) { return __wrap_malloc(bytes); }

static void test_failing_allocations(void)
{
    json_set_alloc_funcs(json_malloc, free);
    long n = 1;
    for (;; n++) {
        put_earlier();
        job work = job_here();
        allocation_failed = 0;
        allocations_left = n;
        nib_status status = job_run(&work);
        allocations_left = 0;
        if (!allocation_failed) break;
        CHECK(status == NIB_OK || status == NIB_E_MEMORY, "allocation %ld: %s (%s)", n,
              nib_status_name(status), nib_last_error());
        check_left(status, "allocation", n);
        check_next_run("allocation", n);
    }
    CHECK(n > 50, "%ld allocations", n);
    json_set_alloc_funcs(malloc, free);
}

/* ---- */

/* Syncs cost milliseconds on a disk and nothing in memory; what is tested is the order of calls. */
static void prefer_memory(void)
{
    if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);
}

int main(void)
{
    prefer_memory();
    root = temporary_directory();
    input = job_path(root, "input");
    path = job_path(root, "output");
    partial = job_path(root, "output.partial");
    job work = {.path = input, .directory = 1, .identity = "input", .stop_after = -1};
    CHECK_OK(job_run(&work));
    char *tokenizer = job_path(input, "tokenizer.json");
    temporary_write(tokenizer, "tokens", 6);
    free(tokenizer);
    work = job_here();
    CHECK_OK(job_run(&work));
    new_hash = job_hash(path);
    uint64_t input_hash = job_hash(input);
    put_earlier();
    old_hash = job_hash(path);
    test_failing_calls();
    test_without_exchange();
    test_failing_allocations();
    for (int lossy = 0; lossy < 3; lossy++) test_killed(lossy, 0);
    test_killed(1, 1);
    test_killed_new_file();
    CHECK(job_hash(input) == input_hash, "the input is as it was");
    char *const all[] = {input, path, partial};
    for (size_t i = 0; i < 3; i++) free(all[i]);
    temporary_remove(root);
    return check_done();
}
