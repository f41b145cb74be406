/* path.c - see path.h. */
#include "path.h"

#include "../core/internal.h"

#include <string.h>

nib_status nib_check_plain_name(const char *what, const char *name, size_t length)
{
    if (length == 0 || length > 255)
        return NIB_FAIL(NIB_E_PATH, "%s has %zu bytes; a file name has 1 to 255", what, length);
    if ((length == 1 && name[0] == '.') || (length == 2 && !memcmp(name, "..", 2)))
        return NIB_FAIL(NIB_E_PATH, "%s is \"%.*s\"; it must be a file's name", what, (int)length,
                        name);
    for (size_t i = 0; i < length; i++)
        if (name[i] == '/' || name[i] == '\\' || (unsigned char)name[i] < 0x20)
            return NIB_FAIL(NIB_E_PATH,
                            "%s is \"%.*s\"; it must be a plain name inside the directory", what,
                            (int)length, name);
    return NIB_OK;
}

int nib_ends_with(const char *name, const char *ending)
{
    size_t length = strlen(name), tail = strlen(ending);
    return length > tail && !strcmp(name + length - tail, ending);
}
