/* text.h - text that grows: headers, indexes, small JSON files to be written. */
#ifndef NIB_FORMATS_TEXT_H
#define NIB_FORMATS_TEXT_H

#include "../../include/nibble.h"

/* Zeroed to begin with. The first failure sticks in `status`, so that a writer checks once, at the
 * end. */
typedef struct nib_text {
    char *data; /* no NUL at its end */
    size_t size, capacity;
    nib_status status;
} nib_text;

void nib_text_add(nib_text *text, const void *bytes, size_t count);
__attribute__((format(printf, 2, 3))) void nib_text_format(nib_text *text, const char *format, ...);
/* A JSON string, quotes and all; E_NAME where it is no UTF-8. */
void nib_text_quote(nib_text *text, const char *string);
void nib_text_free(nib_text *text);

#endif
