/* given.c - structs that callers fill: of this version, an earlier or a later one. */
#include "internal.h"

#include <string.h>

enum { MOST = 4096 }; /* bytes of any struct; a size beyond is no size */

nib_status nib_take_given(const char *name, const char *type, const void *given, size_t first,
                          void *own, size_t own_bytes)
{
    size_t size;
    memcpy(&size, given, sizeof size);
    if (size < first || size > MOST)
        return NIB_FAIL(NIB_E_ARGUMENT, "%s.size is %zu; set it to sizeof(%s)", name, size, type);
    for (size_t i = own_bytes; i < size; i++)
        if (((const unsigned char *)given)[i])
            return NIB_FAIL(NIB_E_ARGUMENT,
                            "%s.size is %zu and byte %zu is set: a field of a later version than "
                            "this libnibble, whose %s has %zu bytes",
                            name, size, i, type, own_bytes);
    memset(own, 0, own_bytes);
    memcpy(own, given, size < own_bytes ? size : own_bytes);
    return NIB_OK;
}
