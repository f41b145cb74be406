/* internal.h - what host/ shares: failing with words, checked sizes, environment, allocation. */
#ifndef NIB_CORE_INTERNAL_H
#define NIB_CORE_INTERNAL_H

#include "../../include/nibble.h"

/* Sets the calling thread's error text and returns `status`, so that a failing function ends in
 *     return NIB_FAIL(NIB_E_SHAPE, "rows is %lld; it must be 0 or more", (long long)rows); */
__attribute__((format(printf, 2, 3))) nib_status nib_fail(nib_status status, const char *format,
                                                          ...);
#define NIB_FAIL(status, ...) nib_fail(status, __VA_ARGS__)

/* Puts words in front of the error text, as an outer function knows more: nib_fail_prefix("%s: ",
 * path). Returns `status`. */
__attribute__((format(printf, 2, 3))) nib_status nib_fail_prefix(nib_status status,
                                                                 const char *format, ...);

/* Keeps the error text over cleaning up that may fail too:
 *     nib_error saved = nib_error_save();  ...  nib_error_restore(&saved); */
typedef struct nib_error {
    char text[1024];
} nib_error;
nib_error nib_error_save(void);
void nib_error_restore(const nib_error *error);

/* Returns from the enclosing function on failure. */
#define NIB_TRY(call)                                                                              \
    do {                                                                                           \
        nib_status nib_try_status_ = (call);                                                       \
        if (nib_try_status_ != NIB_OK) return nib_try_status_;                                     \
    } while (0)

/* E_ARGUMENT where an output pointer is NULL. */
static inline nib_status nib_check_ret(const char *name, const void *pointer)
{
    return pointer ? NIB_OK : NIB_FAIL(NIB_E_ARGUMENT, "%s is NULL", name);
}

/* Copies the struct that a caller gave, which begins with its size, to `own`: fields it is too
 * short for become 0, fields that this version does not know must be 0. `first`: its bytes in
 * the first version. E_ARGUMENT. given.c */
nib_status nib_take_given(const char *name, const char *type, const void *given, size_t first,
                          void *own, size_t own_bytes);

/* F32, F16 or BF16: what kernels compute on. */
static inline int nib_is_float(nib_dtype type)
{
    return type == NIB_F32 || type == NIB_F16 || type == NIB_BF16;
}

/* a * b and a + b; 0 on overflow of int64_t. */
static inline int nib_mul(int64_t a, int64_t b, int64_t *product_ret)
{
    return !__builtin_mul_overflow(a, b, product_ret);
}
static inline int nib_add(int64_t a, int64_t b, int64_t *sum_ret)
{
    return !__builtin_add_overflow(a, b, sum_ret);
}
static inline int64_t nib_ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

/* Cores that the process may use: its affinity, as taskset and batch systems set it. machine.c */
int nib_cores(void);
/* Seconds of a clock that only goes forward. */
double nib_seconds(void);

/* Environment variables, one row each: host/core/env.def. Returns the value, or NULL where unset or
 * empty. */
typedef enum nib_env {
#define NIB_ENV(ID, name, value, text) NIB_ENV_##ID,
#include "env.def"
    NIB_ENV_COUNT
} nib_env;
const char *nib_env_get(nib_env id);

#endif
