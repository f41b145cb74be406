/* cpu_pool.h - threads, the pool's own or the caller's, that share out the items of one launch
 * at a time. */
#ifndef NIB_CPU_POOL_H
#define NIB_CPU_POOL_H

#include "../core/backend.h"

typedef struct nib_cpu_pool nib_cpu_pool;

/* Of options->threads >= 1 threads: starts threads - 1 workers (the caller of nib_cpu_pool_run
 * is the last), or none where there is a parallel_for. E_MEMORY where the system has no memory
 * or no threads left. */
nib_status nib_cpu_pool_open(const nib_options *options, nib_cpu_pool **pool_ret);
/* Ends the workers. No run may be under way. */
void nib_cpu_pool_close(nib_cpu_pool *pool);

/* Calls the kernel for items 0..items-1, in chunks of at least `grain`, and returns when all are
 * done. Any number of threads may call it at once: while the workers are busy with one caller's
 * launch, other callers do theirs alone. `scratch`: the caller's (nib_cpu_scratch). */
void nib_cpu_pool_run(nib_cpu_pool *pool, nib_host_kernel *kernel, void *const span[NIB_HOST_SPANS],
                      const nib_args *args, int64_t items, int64_t grain, void *scratch);
/* What each thread gives its kernels as span[NIB_SCRATCH] (kernels.h); NULL without memory. To
 * free. */
void *nib_cpu_scratch(void);

#endif
