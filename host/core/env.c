/* env.c - the one place that reads the environment. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int nib_cache_directory(char *path, size_t bytes)
{
    const char *own = nib_env_get(NIB_ENV_CACHE_DIR), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    int length;
    if (own && !strcmp(own, "off")) return 0;
    if (own) length = snprintf(path, bytes, "%s", own);
    else if (xdg && *xdg == '/') length = snprintf(path, bytes, "%s/nibble", xdg);
    else if (home && *home == '/') length = snprintf(path, bytes, "%s/.cache/nibble", home);
    else return 0;
    return length > 0 && (size_t)length < bytes;
}
