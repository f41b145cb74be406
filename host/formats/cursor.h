/* cursor.h - reads a file front to back through a small window; nothing is taken that is not there.
 */
#ifndef NIB_FORMATS_CURSOR_H
#define NIB_FORMATS_CURSOR_H

#include "../../include/nibble.h"

enum { NIB_CURSOR_WINDOW = 64 << 10 };

/* A position in an open file. Zeroed but for fd, shown, end and window. */
typedef struct nib_cursor {
    int fd;
    const char *shown; /* the file's name for error texts, borrowed */
    uint64_t at, end;
    unsigned char *window; /* NIB_CURSOR_WINDOW bytes of the caller */
    uint64_t window_at;    /* the window holds bytes window_at .. window_at + window_bytes */
    size_t window_bytes;
} nib_cursor;

/* The next `bytes` bytes. E_TRUNC says which thing is cut: `what`. */
nib_status nib_cursor_take(nib_cursor *cursor, void *dst, uint64_t bytes, const char *what);
nib_status nib_cursor_skip(nib_cursor *cursor, uint64_t bytes, const char *what);
/* Little-endian numbers. */
nib_status nib_cursor_u32(nib_cursor *cursor, uint32_t *value_ret, const char *what);
nib_status nib_cursor_u64(nib_cursor *cursor, uint64_t *value_ret, const char *what);

#endif
