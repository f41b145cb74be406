/* test_pool.c - the cpu's pool by itself (host/cpu/cpu_pool.h): every item once, whatever the
 * sizes, with workers that still look for a launch and workers that sleep, and callers who find
 * the pool taken. */
#include "../host/cpu/cpu_pool.h"
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { MOST_ITEMS = 1000, LAUNCHES = 300, CALLERS = 3 };

typedef struct tally {
    _Atomic int times[MOST_ITEMS];
    _Atomic int chunks, small, without_scratch, shared_scratch;
    int64_t items, grain;
} tally;

static void count(void *const span[NIB_HOST_SPANS], const nib_args *args, nib_i64 begin,
                  nib_i64 end)
{
    (void)args;
    tally *t = span[0];
    t->chunks++;
    if (end - begin < t->grain && end != t->items) t->small++;
    if (!span[NIB_SCRATCH]) t->without_scratch++;
    else *(volatile nib_i64 *)span[NIB_SCRATCH] = begin;
    if (t->items == 15) usleep(500); /* longer than a caller looks for the end */
    for (nib_i64 i = begin; i < end; i++) t->times[i]++;
    if (t->items > 500) sched_yield(); /* so that another thread may come */
    if (span[NIB_SCRATCH] && *(volatile nib_i64 *)span[NIB_SCRATCH] != begin) t->shared_scratch++;
}

static void launch(nib_cpu_pool *pool, void *scratch, int64_t items, int64_t grain)
{
    static const nib_args args;
    tally *t = calloc(1, sizeof *t);
    void *span[NIB_HOST_SPANS] = {t};
    t->items = items;
    t->grain = grain;
    nib_cpu_pool_run(pool, count, span, &args, items, grain, scratch);
    int wrong = 0;
    for (int i = 0; i < MOST_ITEMS; i++) wrong += t->times[i] != (i < items);
    CHECK(!wrong, "%d items not done once, of %d by %d", wrong, (int)items, (int)grain);
    CHECK(!t->small, "%d chunks below %d", t->small, (int)grain);
    CHECK(!t->without_scratch, "%d chunks", t->without_scratch);
    CHECK(!t->shared_scratch, "%d chunks found another's numbers in scratch", t->shared_scratch);
    CHECK(t->chunks <= items / grain + 1, "%d chunks of %d by %d", t->chunks, (int)items,
          (int)grain);
    free(t);
}

/* A runtime's own threads, or (`user` being NULL) none. */
typedef struct runtime_task {
    void (*task)(void *arg, int32_t i);
    void *arg;
    int32_t i;
} runtime_task;

static void *do_task(void *argument)
{
    const runtime_task *t = argument;
    t->task(t->arg, t->i);
    return NULL;
}

static void runtime_for(void *user, int32_t tasks, void (*task)(void *arg, int32_t i), void *arg)
{
    pthread_t ids[16];
    runtime_task each[16];
    for (int32_t i = 0; i < tasks; i++) {
        each[i] = (runtime_task){task, arg, i};
        if (!user) task(arg, tasks - 1 - i);
        else CHECK(!pthread_create(&ids[i], NULL, do_task, &each[i]), "no thread");
    }
    for (int32_t i = 0; user && i < tasks; i++) pthread_join(ids[i], NULL);
}

static void every_size(nib_options options)
{
    static const int64_t items[] = {0, 1, 2, 3, 15, 64, MOST_ITEMS}, grains[] = {1, 3, 16, 5000};
    nib_cpu_pool *pool;
    void *scratch = nib_cpu_scratch();
    CHECK_OK(nib_cpu_pool_open(&options, &pool));
    for (size_t i = 0; i < sizeof items / sizeof *items; i++)
        for (size_t g = 0; g < sizeof grains / sizeof *grains; g++)
            launch(pool, scratch, items[i], grains[g]);
    nib_cpu_pool_close(pool);
    free(scratch);
}

static void *call(void *pool)
{
    void *scratch = nib_cpu_scratch();
    for (int i = 0; i < LAUNCHES; i++) {
        if (i % 16 == 0) usleep(200); /* longer than a worker looks for a launch */
        launch(pool, scratch, 64, 1);
    }
    free(scratch);
    return NULL;
}

static void callers(int count_of_them)
{
    nib_cpu_pool *pool;
    pthread_t ids[CALLERS];
    CHECK_OK(nib_cpu_pool_open(&(nib_options){.threads = 4}, &pool));
    for (int i = 0; i < count_of_them; i++)
        CHECK(!pthread_create(&ids[i], NULL, call, pool), "no thread");
    for (int i = 0; i < count_of_them; i++) pthread_join(ids[i], NULL);
    nib_cpu_pool_close(pool);
}

int main(void)
{
    for (int threads = 1; threads <= 9; threads += 2) {
        every_size((nib_options){.threads = threads});
        every_size((nib_options){.threads = threads, .parallel_for = runtime_for});
        every_size((nib_options){
            .threads = threads, .parallel_for = runtime_for, .parallel_user = &threads});
    }
    callers(1);
    callers(CALLERS);
    return check_done();
}
