/* bench_pipeline.c - a whole quantize run beside a program that only reads the same input and
 * writes as many bytes.
 *
 *   bench_pipeline MODEL WORK_DIR [--rounds N] [--threads N] [--scheme S] [--direct]
 *
 * The plain program has the same number of threads, each of which reads 1 MiB and writes its
 * share to one output file at the place it will have, and ends with the same syncs (fdatasync of
 * the file, fsync of the directory). Both alternate in one process; times are of whole runs
 * without verification. --direct: input cold (its pages are dropped before every run) and read
 * with O_DIRECT by both; otherwise the input is in the page cache. Prints a line of JSON. */
#include "../include/nibble_quantize.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 1 << 20, MOST_ROUNDS = 64, MOST_THREADS = 64 };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

typedef struct plain {
    char path[64][512];
    uint64_t bytes[64], begin[64]; /* of each shard, and where it starts in the whole */
    int fd[64], shards, out, threads;
    uint64_t total, output;
    atomic_ullong next;
} plain;

static void *copy_some(void *argument)
{
    plain *p = argument;
    unsigned char *buffer = aligned_alloc(4096, 2 * PIECE);
    for (;;) {
        uint64_t at = atomic_fetch_add(&p->next, PIECE);
        if (at >= p->total) break;
        int s = p->shards - 1;
        while (p->begin[s] > at) s--;
        uint64_t inside = at - p->begin[s],
                 left = p->begin[s] + p->bytes[s] > at ? p->bytes[s] - inside : 0;
        size_t want = left < PIECE ? (size_t)left : PIECE;
        ssize_t got =
            pread(p->fd[s], buffer, want ? (want + 4095) / 4096 * 4096 : 0, (off_t)inside);
        if (got < 0) fail("pread");
        uint64_t from = (uint64_t)((double)at / (double)p->total * (double)p->output);
        uint64_t to = (uint64_t)((double)(at + PIECE < p->total ? at + PIECE : p->total) /
                                 (double)p->total * (double)p->output);
        for (uint64_t done = 0; from + done < to;) {
            size_t piece = to - from - done < PIECE ? (size_t)(to - from - done) : PIECE;
            if (pwrite(p->out, buffer, piece, (off_t)(from + done)) != (ssize_t)piece)
                fail("pwrite");
            done += piece;
        }
    }
    free(buffer);
    return NULL;
}

static double run_plain(plain *p, const char *work, int direct)
{
    char path[600];
    snprintf(path, sizeof path, "%s/plain", work);
    double start = seconds();
    for (int s = 0; s < p->shards; s++)
        if ((p->fd[s] = open(p->path[s], O_RDONLY | (direct ? O_DIRECT : 0))) < 0) fail(p->path[s]);
    int directory = open(work, O_RDONLY | O_DIRECTORY);
    if ((p->out = open(path, O_CREAT | O_WRONLY, 0600)) < 0 ||
        posix_fallocate(p->out, 0, (off_t)p->output))
        fail(path);
    atomic_store(&p->next, 0);
    pthread_t threads[MOST_THREADS];
    for (int i = 0; i < p->threads; i++) pthread_create(&threads[i], NULL, copy_some, p);
    for (int i = 0; i < p->threads; i++) pthread_join(threads[i], NULL);
    if (fdatasync(p->out) || fsync(directory)) fail("sync");
    double taken = seconds() - start;
    for (int s = 0; s < p->shards; s++) close(p->fd[s]);
    close(p->out);
    close(directory);
    return taken;
}

/* Earlier outputs away, which some file systems pay for at the next commit; then the input's pages
 * out of the cache, or into it. */
static void prepare(const plain *p, const char *work, int direct)
{
    static unsigned char buffer[PIECE];
    char command[2000];
    snprintf(command, sizeof command, "rm -rf '%s/plain' '%s/out' '%s/out.partial'", work, work,
             work);
    if (system(command)) fail(command);
    sync();
    for (int s = 0; s < p->shards; s++) {
        int fd = open(p->path[s], O_RDONLY);
        if (direct) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        else
            while (read(fd, buffer, sizeof buffer) > 0) continue;
        close(fd);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

typedef struct settings {
    const char *model, *work, *scheme;
    int rounds, threads, direct;
} settings;

static int parse(int argc, char **argv, settings *s)
{
    if (argc < 3) return 0;
    *s = (settings){argv[1], argv[2], "int4", 5, (int)sysconf(_SC_NPROCESSORS_ONLN), 0};
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "--direct")) s->direct = 1;
        else if (i + 1 < argc && !strcmp(argv[i], "--rounds")) s->rounds = atoi(argv[++i]);
        else if (i + 1 < argc && !strcmp(argv[i], "--threads")) s->threads = atoi(argv[++i]);
        else if (i + 1 < argc && !strcmp(argv[i], "--scheme")) s->scheme = argv[++i];
        else return 0;
    }
    return s->rounds > 0 && s->rounds <= MOST_ROUNDS && s->threads > 0 &&
           s->threads <= MOST_THREADS;
}

static void describe_plain(plain *p, const nib_file *file, const nib_job *job, const settings *s)
{
    nib_job_totals totals;
    nib_job_sum(job, &totals);
    *p = (plain){
        .shards = nib_file_shard_count(file), .threads = s->threads, .output = totals.output_bytes};
    for (int i = 0; i < p->shards; i++) {
        snprintf(p->path[i], sizeof p->path[i], "%s/%s", s->model, nib_file_shard_name(file, i));
        p->bytes[i] = nib_file_shard_bytes(file, i);
        p->begin[i] = p->total;
        p->total += (p->bytes[i] + PIECE - 1) / PIECE * PIECE;
    }
}

static double run_nibble(nib_job *job, const settings *s)
{
    char output[600];
    snprintf(output, sizeof output, "%s/out", s->work);
    const nib_run_options run = {.size = sizeof run,
                                 .output = output,
                                 .device = "cpu",
                                 .threads = s->threads,
                                 .io = s->direct ? NIB_IO_DIRECT : NIB_IO_BUFFERED};
    if (nib_job_run(job, &run) != NIB_OK) {
        fprintf(stderr, "%s\n", nib_last_error());
        exit(1);
    }
    return nib_job_stats(job)->seconds;
}

static void report(const settings *s, const nib_job *job, const plain *p, double *theirs,
                   double *ours, double *ratios)
{
    const nib_run_stats *stats = nib_job_stats(job);
    double ratio = median(ratios, s->rounds); /* sorted now */
    printf("{\"bench\": \"pipeline\", \"scheme\": \"%s\", \"io\": \"%s\", \"threads\": %d, "
           "\"lanes\": %d, \"rounds\": %d, ",
           s->scheme, s->direct ? "direct, cold" : "buffered, warm", s->threads, stats->lanes,
           s->rounds);
    printf("\"input_bytes\": %llu, \"output_bytes\": %llu, \"plain_seconds\": %.4f, "
           "\"nibble_seconds\": %.4f, ",
           (unsigned long long)stats->read_bytes, (unsigned long long)p->output,
           median(theirs, s->rounds), median(ours, s->rounds));
    printf("\"ratio_median\": %.3f, \"ratio_min\": %.3f, \"ratio_max\": %.3f, ", ratio, ratios[0],
           ratios[s->rounds - 1]);
    printf("\"read_seconds\": %.3f, \"kernel_seconds\": %.3f, \"write_seconds\": %.3f, "
           "\"sync_seconds\": %.3f, \"version\": \"%s\"}\n",
           stats->read_seconds, stats->kernel_seconds, stats->write_seconds, stats->sync_seconds,
           nib_version());
}

int main(int argc, char **argv)
{
    settings s;
    if (!parse(argc, argv, &s)) {
        fprintf(stderr, "usage: bench_pipeline MODEL WORK_DIR [--rounds N] [--threads N] [--scheme "
                        "S] [--direct]\n");
        return 2;
    }
    const nib_file_options file_options = {.size = sizeof file_options,
                                           .io = s.direct ? NIB_IO_DIRECT : NIB_IO_BUFFERED};
    const nib_job_options job_options = {
        .size = sizeof job_options, .scheme = nib_scheme_find(s.scheme), .group = -1};
    nib_file *file;
    nib_job *job;
    if (nib_file_open(s.model, &file_options, &file) != NIB_OK ||
        nib_job_create(file, &job_options, &job) != NIB_OK) {
        fprintf(stderr, "%s\n", nib_last_error());
        return 1;
    }
    plain p;
    describe_plain(&p, file, job, &s);
    double ours[MOST_ROUNDS], theirs[MOST_ROUNDS], ratios[MOST_ROUNDS];
    for (int i = 0; i <= s.rounds; i++) { /* the first round only warms up, and is written over */
        int at = i ? i - 1 : 0;
        prepare(&p, s.work, s.direct);
        theirs[at] = run_plain(&p, s.work, s.direct);
        prepare(&p, s.work, s.direct);
        ours[at] = run_nibble(job, &s);
        ratios[at] = theirs[at] / ours[at];
        fprintf(stderr, "%s: plain %.3f s, nibble %.3f s, ratio %.2f\n", i ? "round" : "warm-up",
                theirs[at], ours[at], ratios[at]);
    }
    report(&s, job, &p, theirs, ours, ratios);
    prepare(&p, s.work, 1);
    nib_job_close(job);
    nib_file_close(file);
    return 0;
}
