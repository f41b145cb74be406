/* lanes.c - see lanes.h. */
#include "lanes.h"

#include "../core/internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct engine {
    const nib_lanes *lanes;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a slot became free or ready, or a lane stopped */
    int64_t next_take, next_merge;
    int64_t *ready;     /* by slot: the finished tile that waits for its merge; FREE; BUSY */
    int slots, running; /* lanes */
    nib_status status;
    char error[1024];
} engine;

enum { FREE = -1, BUSY = -2 };

typedef struct lane {
    engine *engine;
    int number;
} lane;

int nib_lane_slots(int lanes) { return 2 * lanes + 32; }

/* With the lock held: keeps the first failure. */
static void fail(engine *e, nib_status status)
{
    if (e->status != NIB_OK) return;
    e->status = status;
    snprintf(e->error, sizeof e->error, "%s", nib_last_error());
}

static int find(const engine *e, int64_t what)
{
    for (int s = 0; s < e->slots; s++)
        if (e->ready[s] == what) return s;
    return -1;
}

/* With the lock held: whether nothing has failed and nobody has cancelled. */
static int goes_on(engine *e)
{
    if (e->status == NIB_OK && e->lanes->cancel && *e->lanes->cancel)
        fail(e, NIB_FAIL(NIB_E_INTERRUPTED, "interrupted; the same command goes on from here"));
    return e->status == NIB_OK;
}

/* The calling thread's part: merges tiles in order until all are merged, or no lane can finish
 * one. */
static void merge_all(engine *e)
{
    pthread_mutex_lock(&e->lock);
    while (goes_on(e) && e->next_merge < e->lanes->tiles) {
        int slot = find(e, e->next_merge);
        if (slot < 0 && !e->running) break;
        if (slot < 0) {
            pthread_cond_wait(&e->changed, &e->lock);
            continue;
        }
        pthread_mutex_unlock(&e->lock);
        nib_status status = e->lanes->merge(e->lanes->user, e->next_merge, slot);
        pthread_mutex_lock(&e->lock);
        if (status != NIB_OK) fail(e, status);
        e->ready[slot] = FREE;
        e->next_merge++;
        pthread_cond_broadcast(&e->changed);
    }
    pthread_mutex_unlock(&e->lock);
}

static void *run(void *argument)
{
    lane *l = argument;
    engine *e = l->engine;
    pthread_mutex_lock(&e->lock);
    while (goes_on(e) && e->next_take < e->lanes->tiles) {
        int slot = find(e, FREE);
        if (slot < 0) { /* all are ahead of a tile that another lane still works on */
            pthread_cond_wait(&e->changed, &e->lock);
            continue;
        }
        int64_t tile = e->next_take++;
        e->ready[slot] = BUSY;
        pthread_mutex_unlock(&e->lock);
        nib_status status = e->lanes->work(e->lanes->user, l->number, tile, slot);
        pthread_mutex_lock(&e->lock);
        if (status != NIB_OK) {
            fail(e, status);
            break;
        }
        e->ready[slot] = tile;
        pthread_cond_broadcast(&e->changed);
    }
    e->running--;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

nib_status nib_lanes_run(const nib_lanes *lanes)
{
    engine e = {.lanes = lanes, .slots = nib_lane_slots(lanes->count)};
    pthread_t *threads = calloc((size_t)lanes->count, sizeof *threads);
    lane *all = calloc((size_t)lanes->count, sizeof *all);
    e.ready = malloc((size_t)e.slots * sizeof *e.ready);
    if (!threads || !all || !e.ready) {
        free(threads);
        free(all);
        free(e.ready);
        return NIB_FAIL(NIB_E_MEMORY, "no memory for %d lanes", lanes->count);
    }
    for (int s = 0; s < e.slots; s++) e.ready[s] = FREE;
    pthread_mutex_init(&e.lock, NULL);
    pthread_cond_init(&e.changed, NULL);
    int started = 0;
    e.running = lanes->count;
    for (; started < lanes->count; started++) {
        all[started] = (lane){&e, started};
        if (pthread_create(&threads[started], NULL, run, &all[started])) break;
    }
    pthread_mutex_lock(&e.lock);
    e.running -= lanes->count - started; /* fewer lanes than wanted are slower, not wrong */
    if (!started) fail(&e, NIB_FAIL(NIB_E_MEMORY, "no thread can be started"));
    pthread_mutex_unlock(&e.lock);
    merge_all(&e);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    pthread_cond_destroy(&e.changed);
    pthread_mutex_destroy(&e.lock);
    free(threads);
    free(all);
    free(e.ready);
    return e.status == NIB_OK ? NIB_OK : NIB_FAIL(e.status, "%s", e.error);
}
