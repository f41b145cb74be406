/* cpu_pool.c - persistent workers and one shared counter of chunks. Workers sleep on a condition
 * between launches; a launch that nobody helps with costs no system call beyond its own work. */
#include "cpu_pool.h"

#include "../core/host_memory.h"
#include "../core/internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* One launch: read-only but for the counter. */
typedef struct launch {
    nib_host_kernel *kernel;
    void *const *span;
    const nib_args *args;
    int64_t items, grain;
    _Atomic int64_t next; /* the first item that nobody has taken */
} launch;

typedef struct worker {
    pthread_t thread;
    nib_cpu_pool *pool;
    void *scratch;
} worker;

struct nib_cpu_pool {
    int threads; /* workers + 1 */
    worker *workers;
    pthread_mutex_t owner; /* held by the caller whose launch the workers have */
    pthread_mutex_t lock;  /* guards what follows */
    pthread_cond_t wake, done;
    launch *current;   /* NULL between launches */
    uint64_t serial;   /* of the current launch, so that a worker takes each once */
    int started, busy; /* workers that exist; that are in the current launch */
    int closing;
};

static void work(launch *l, void *scratch)
{
    void *span[NIB_HOST_SPANS];
    uint32_t saved = nib_fp_enter();
    memcpy(span, l->span, sizeof span);
    span[NIB_SCRATCH] = scratch;
    for (;;) {
        int64_t begin = atomic_fetch_add_explicit(&l->next, l->grain, memory_order_relaxed);
        if (begin >= l->items) break;
        int64_t end = l->items - begin < l->grain ? l->items : begin + l->grain;
        l->kernel(span, l->args, begin, end);
    }
    nib_fp_leave(saved);
}

static void *run_worker(void *argument)
{
    worker *self = argument;
    nib_cpu_pool *pool = self->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    while (!pool->closing) {
        if (!pool->current || pool->serial == seen) {
            pthread_cond_wait(&pool->wake, &pool->lock);
            continue;
        }
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
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&w->thread, NULL, run_worker, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) free(w->scratch);
    return error;
}

/* Untouched until a kernel needs it. */
void *nib_cpu_scratch(void) { return aligned_alloc(64, NIB_SCRATCH_BYTES); }

nib_status nib_cpu_pool_open(int threads, nib_cpu_pool **pool_ret)
{
    nib_cpu_pool *pool = calloc(1, sizeof *pool);
    worker *workers = calloc((size_t)threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return NIB_FAIL(NIB_E_MEMORY, "no memory for a pool of %d threads", threads);
    }
    pool->threads = threads;
    pool->workers = workers;
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
        pthread_join(pool->workers[i].thread, NULL);
        free(pool->workers[i].scratch);
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->owner);
    free(pool->workers);
    free(pool);
}

int nib_cpu_pool_threads(const nib_cpu_pool *pool) { return pool->threads; }

static void run_shared(nib_cpu_pool *pool, launch *l, void *scratch)
{
    pthread_mutex_lock(&pool->lock);
    pool->current = l;
    pool->serial++;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    work(l, scratch);
    pthread_mutex_lock(&pool->lock);
    pool->current = NULL; /* nobody joins any more */
    while (pool->busy) pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

void nib_cpu_pool_run(nib_cpu_pool *pool, nib_host_kernel *kernel, void *const span[NIB_HOST_SPANS],
                      const nib_args *args, int64_t items, int64_t grain, void *scratch)
{
    launch l = {kernel, span, args, items, grain, 0};
    int shared = pool->threads > 1 && items > grain && !pthread_mutex_trylock(&pool->owner);
    if (!shared) {
        work(&l, scratch);
        return;
    }
    run_shared(pool, &l, scratch);
    pthread_mutex_unlock(&pool->owner);
}
