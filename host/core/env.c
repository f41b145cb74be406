/* env.c - the one place that reads the environment. */
#include "internal.h"

#include <stdlib.h>

const char *nib_env_get(nib_env id)
{
    static const char *const names[] = {
#define NIB_ENV(ID, name, value, text) name,
#include "env.def"
    };
    const char *value = getenv(names[id]);
    return value && *value ? value : NULL;
}
