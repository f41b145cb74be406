/* cpu_pool.c - persistent workers and one shared counter of items. Between launches workers look
 * for the next one for a while, then sleep on a condition: waking one costs a product of one row
 * and 4096 x 4096 codes of 4 bits a twentieth of its time on two cores. */
#include "cpu_pool.h"

#include "../core/host_memory.h"
#include "../core/internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Pauses before a thread sleeps: 25 us on Zen 4, where it was measured; longer on others. */
enum { PAUSES = 1000 };

/* One launch: read-only but for the counter. */
typedef struct launch {
    nib_host_kernel *kernel;
    void *const *span;
    const nib_args *args;
    int64_t items, grain;
    int threads;          /* that may come to share it */
    _Atomic int64_t next; /* the first item that nobody has taken */
} launch;

typedef struct worker {
    pthread_t thread;
    nib_cpu_pool *pool;
    void *scratch;
} worker;

struct nib_cpu_pool {
    int threads;     /* workers + 1 */
    worker *workers; /* with parallel_for, of scratch memory alone */
    nib_parallel_for *parallel_for;
    void *parallel_user;
    pthread_mutex_t owner; /* held by the caller whose launch the workers have */
    pthread_mutex_t lock;  /* guards what follows */
    pthread_cond_t wake, done;
    launch *current;      /* NULL between launches */
    _Atomic(int) serial;  /* of the current launch, so that a worker takes each once */
    _Atomic(int) busy;    /* workers in the current launch */
    int started, closing; /* workers that exist; they are to end */
};

/* Takes half of this thread's fair share of the items that are left, so that few chunks begin with
 * nothing fetched and the last ones are small; 0 where none are left. Chunks of one item cost a
 * product of one row an eighth of its time. */
static int take(launch *l, int64_t *begin_ret, int64_t *end_ret)
{
    int64_t begin = atomic_load_explicit(&l->next, memory_order_relaxed), end;
    do {
        int64_t left = l->items - begin, half = left / (2 * l->threads);
        if (left <= 0) return 0;
        if (half < l->grain) half = l->grain;
        end = begin + (left < half ? left : half);
    } while (!atomic_compare_exchange_weak_explicit(&l->next, &begin, end, memory_order_relaxed,
                                                    memory_order_relaxed));
    *begin_ret = begin;
    *end_ret = end;
    return 1;
}

static void work(launch *l, void *scratch)
{
    void *span[NIB_HOST_SPANS];
    uint32_t saved = nib_fp_enter();
    memcpy(span, l->span, sizeof span);
    span[NIB_SCRATCH] = scratch;
    for (int64_t begin, end; take(l, &begin, &end);) l->kernel(span, l->args, begin, end);
    nib_fp_leave(saved);
}

/* Lets go of the lock for a while, at most until *word is (or, `is` being 0, is not) `value`. */
static void linger(nib_cpu_pool *pool, _Atomic(int) *word, int is, int value)
{
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < PAUSES; i++) {
        if ((atomic_load_explicit(word, memory_order_relaxed) == value) == is) break;
#ifdef __x86_64__
        __builtin_ia32_pause();
#endif
    }
    pthread_mutex_lock(&pool->lock);
}

static void *run_worker(void *argument)
{
    worker *self = argument;
    nib_cpu_pool *pool = self->pool;
    int seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        if (pool->serial == seen) linger(pool, &pool->serial, 0, seen);
        while (!pool->closing && (!pool->current || pool->serial == seen))
            pthread_cond_wait(&pool->wake, &pool->lock);
        if (pool->closing) break;
        launch *l = pool->current;
        seen = pool->serial;
        pool->busy++;
        pthread_mutex_unlock(&pool->lock);
        work(l, self->scratch);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Signals are the program's own threads' business. */
static int start_worker(nib_cpu_pool *pool, worker *w)
{
    sigset_t all, before;
    w->pool = pool;
    w->scratch = nib_cpu_scratch();
    if (!w->scratch) return ENOMEM;
    if (pool->parallel_for) return 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&w->thread, NULL, run_worker, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) free(w->scratch);
    return error;
}

/* Untouched until a kernel needs it. */
void *nib_cpu_scratch(void) { return aligned_alloc(64, NIB_SCRATCH_BYTES); }

nib_status nib_cpu_pool_open(const nib_options *options, nib_cpu_pool **pool_ret)
{
    int threads = options->threads;
    nib_cpu_pool *pool = calloc(1, sizeof *pool);
    worker *workers = calloc((size_t)threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return NIB_FAIL(NIB_E_MEMORY, "no memory for a pool of %d threads", threads);
    }
    pool->threads = threads;
    pool->workers = workers;
    pool->parallel_for = options->parallel_for;
    pool->parallel_user = options->parallel_user;
    pthread_mutex_init(&pool->owner, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (; pool->started < threads - 1; pool->started++) {
        int error = start_worker(pool, &workers[pool->started]);
        if (!error) continue;
        int count = pool->started;
        nib_cpu_pool_close(pool);
        return NIB_FAIL(NIB_E_MEMORY, "thread %d of %d cannot start: %s; ask for fewer", count + 2,
                        threads, strerror(error));
    }
    *pool_ret = pool;
    return NIB_OK;
}

void nib_cpu_pool_close(nib_cpu_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->closing = 1;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->started; i++) {
        if (!pool->parallel_for) pthread_join(pool->workers[i].thread, NULL);
        free(pool->workers[i].scratch);
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->owner);
    free(pool->workers);
    free(pool);
}

typedef struct share {
    nib_cpu_pool *pool;
    launch *launch;
    void *scratch; /* of the first task */
} share;

static void do_share(void *argument, int32_t i)
{
    const share *s = argument;
    work(s->launch, i ? s->pool->workers[i - 1].scratch : s->scratch);
}

static void run_shared(nib_cpu_pool *pool, launch *l, void *scratch)
{
    if (pool->parallel_for) {
        share all = {pool, l, scratch};
        pool->parallel_for(pool->parallel_user, pool->threads, do_share, &all);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->current = l;
    pool->serial++;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    work(l, scratch);
    pthread_mutex_lock(&pool->lock);
    pool->current = NULL; /* nobody joins any more */
    if (pool->busy) linger(pool, &pool->busy, 1, 0);
    while (pool->busy) pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

void nib_cpu_pool_run(nib_cpu_pool *pool, nib_host_kernel *kernel, void *const span[NIB_HOST_SPANS],
                      const nib_args *args, int64_t items, int64_t grain, void *scratch)
{
    launch l = {kernel, span, args, items, grain, pool->threads, 0};
    int shared = pool->threads > 1 && items > grain && !pthread_mutex_trylock(&pool->owner);
    if (!shared) {
        work(&l, scratch);
        return;
    }
    run_shared(pool, &l, scratch);
    pthread_mutex_unlock(&pool->owner);
}
