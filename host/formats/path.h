/* path.h - names, which may come from a hostile file. */
#ifndef NIB_FORMATS_PATH_H
#define NIB_FORMATS_PATH_H

#include "../../include/nibble.h"

/* A name of one file inside a directory: 1 to 255 bytes, no '/', '\\', NUL or control character,
 * not "." or "..". E_PATH says which rule it breaks; `what` names the thing in the message. */
nib_status nib_check_plain_name(const char *what, const char *name, size_t length);

/* 1: the name ends in `ending` and does not begin with it. */
int nib_ends_with(const char *name, const char *ending);

#endif
