/* env.c - the one place that reads the environment. */
#include "internal.h"

#include <stdlib.h>

static const nib_variable variables[] = {
#define NIB_ENV(ID, name, value, text) {name, value, text},
#include "env.def"
};

const char *nib_env_get(nib_env id)
{
    const char *value = getenv(variables[id].name);
    return value && *value ? value : NULL;
}

const nib_variable *nib_variable_at(size_t index)
{
    return index < NIB_ENV_COUNT ? &variables[index] : NULL;
}
