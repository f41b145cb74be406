/* measure.c - arms in turns: each is checked, tried once for its pace, then sampled round by
 * round. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

/* A sample lasts at least so long, so that the clock and one wait do not show. */
static const double least_sample = 2e-3;
enum { LEAST_ROUNDS = 3, MOST_REPEATS = 1000 };

bench_arm *bench_arm_new(bench *b, bench_arms *arms, const bench_calls *calls, size_t device)
{
    if (arms->count == BENCH_MOST_ARMS) {
        bench_fail(b, 2, "more than %d columns: take fewer schemes or devices", BENCH_MOST_ARMS);
        return NULL;
    }
    bench_arm *arm = &arms->at[arms->count++];
    memset(arm, 0, sizeof *arm);
    arm->b = b, arm->calls = calls, arm->copies = 1;
    arm->record.device_index = device;
    snprintf(arm->record.device, sizeof arm->record.device, "%s",
             b->result->devices[device].info.name);
    return arm;
}

void bench_arms_close(bench_arms *arms)
{
    for (size_t i = 0; i < arms->count; i++)
        if (arms->at[i].self) arms->at[i].calls->close(&arms->at[i]);
    arms->count = 0;
}

/* Seconds of one of `repeats` runs, which are those of the graph where there is one. */
static int time_runs(bench_arm *arm, int64_t repeats, double *seconds_ret)
{
    double seconds;
    if (arm->queue.instance) {
        TRY(bench_replay(arm, &seconds));
    } else {
        double begin = bench_now();
        for (int64_t i = 0; i < repeats; i++) TRY(arm->calls->run(arm, arm->turn++));
        TRY(arm->calls->wait(arm));
        seconds = bench_now() - begin;
    }
    *seconds_ret = seconds / (double)repeats;
    return 0;
}

static int64_t between(double value, int64_t least, int64_t most)
{
    return value < (double)least ? least : value > (double)most ? most : (int64_t)value;
}

int bench_pace(bench_arm *arm, double *seconds_ret)
{
    TRY(bench_capture(arm, arm->copies));
    return time_runs(arm, arm->queue.instance ? arm->copies : 1, seconds_ret);
}

/* A graph holds whole rotations: it is launched again and again, and a part of the copies might
 * stay in the cache. */
static int set_repeats(bench_arm *arm, double seconds)
{
    arm->repeats = between(least_sample / seconds + 1.0, 1, MOST_REPEATS);
    if (!arm->queue.instance) return 0;
    int64_t rotations = (arm->repeats + arm->copies - 1) / arm->copies;
    arm->repeats = rotations * arm->copies;
    return rotations > 1 ? bench_capture(arm, arm->repeats) : 0;
}

/* The first run is checked, and launched by itself; the next tell the pace. */
static int make_ready(bench_arm *arm, const bench_shape *shape, int64_t m)
{
    const bench_spec *spec = arm->b->spec;
    double seconds;
    arm->record.shape = *shape, arm->record.m = m;
    arm->done = 0;
    TRY(arm->calls->set_m(arm, m));
    TRY(arm->calls->run(arm, arm->turn++));
    TRY(arm->calls->wait(arm));
    TRY(arm->calls->check(arm));
    TRY(bench_pace(arm, &seconds));
    TRY(set_repeats(arm, seconds));
    arm->record.graph = arm->queue.instance != NULL;
    double left = spec->seconds / (seconds * (double)arm->repeats);
    int64_t most = spec->rounds < BENCH_MOST_ROUNDS ? spec->rounds : BENCH_MOST_ROUNDS;
    arm->rounds = most <= LEAST_ROUNDS ? most : between(left, LEAST_ROUNDS, most);
    return 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *sorted, int64_t count, double share)
{
    double at = share * (double)(count - 1);
    int64_t low = (int64_t)at, high = low + 1 < count ? low + 1 : low;
    return sorted[low] + (sorted[high] - sorted[low]) * (at - (double)low);
}

static int add_record(bench *b, bench_arm *arm)
{
    bench_result *result = b->result;
    bench_record *records = realloc(result->records, (result->count + 1) * sizeof *records);
    if (!records) return bench_fail(b, 4, "no memory");
    result->records = records;
    qsort(arm->samples, (size_t)arm->done, sizeof *arm->samples, by_value);
    bench_record *r = &arm->record;
    r->seconds = percentile(arm->samples, arm->done, 0.5);
    r->low = percentile(arm->samples, arm->done, 0.1);
    r->high = percentile(arm->samples, arm->done, 0.9);
    r->rounds = arm->done, r->repeats = arm->repeats;
    records[result->count++] = *r;
    return 0;
}

/* Leaves out a column, with what was measured of it for this shape. */
static void drop(bench *b, bench_arms *arms, size_t index)
{
    bench_arm *arm = &arms->at[index];
    bench_result *result = b->result;
    size_t kept = 0;
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *r = &result->records[i];
        if (r->device_index != arm->record.device_index || strcmp(r->column, arm->record.column) ||
            strcmp(r->by, arm->record.by) || strcmp(r->shape.name, arm->record.shape.name))
            result->records[kept++] = *r;
    }
    result->count = kept;
    arm->calls->close(arm);
    arms->count--;
    memmove(arm, arm + 1, (arms->count - index) * sizeof *arm);
}

/* A vendor whose product is wrong is told and left out; nibble's own ends the run. */
static int make_all_ready(bench *b, bench_arms *arms, const bench_shape *shape, int64_t m)
{
    for (size_t i = 0; i < arms->count;) {
        int code = make_ready(&arms->at[i], shape, m);
        if (code && (code != 1 || arms->at[i].record.ours)) return code;
        if (!code) {
            i++;
            continue;
        }
        char what[BENCH_NAME];
        snprintf(what, sizeof what, "%.20s, %.20s", arms->at[i].record.column, shape->name);
        TRY(bench_note(b, what, "%s", b->result->error));
        b->result->error[0] = 0;
        drop(b, arms, i);
    }
    return 0;
}

int bench_measure(bench *b, bench_arms *arms, const bench_shape *shape, int64_t m)
{
    TRY(make_all_ready(b, arms, shape, m));
    for (int64_t round = 0; round < BENCH_MOST_ROUNDS; round++)
        for (size_t i = 0; i < arms->count; i++) {
            bench_arm *arm = &arms->at[i];
            if (b->spec->cancel && *b->spec->cancel) return bench_fail(b, 130, "interrupted");
            if (round < arm->rounds) TRY(time_runs(arm, arm->repeats, &arm->samples[arm->done++]));
        }
    for (size_t i = 0; i < arms->count; i++) TRY(add_record(b, &arms->at[i]));
    return 0;
}
