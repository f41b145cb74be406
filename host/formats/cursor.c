/* cursor.c - see cursor.h. */
#include "cursor.h"

#include "../core/internal.h"
#include "io.h"

#include <string.h>

static nib_status check(const nib_cursor *c, uint64_t bytes, const char *what)
{
    if (bytes <= c->end - c->at) return NIB_OK;
    return NIB_FAIL(NIB_E_TRUNC,
                    "the file ends in %s: %llu bytes are needed at byte %llu, %llu are there", what,
                    (unsigned long long)bytes, (unsigned long long)c->at,
                    (unsigned long long)(c->end - c->at));
}

/* Makes the window begin at the cursor. */
static nib_status fill(nib_cursor *c)
{
    uint64_t left = c->end - c->at;
    size_t bytes = left < NIB_CURSOR_WINDOW ? (size_t)left : NIB_CURSOR_WINDOW;
    c->window_bytes = 0;
    NIB_TRY(nib_io_read(c->fd, c->shown, c->at, c->window, bytes));
    c->window_at = c->at;
    c->window_bytes = bytes;
    return NIB_OK;
}

static int is_inside(const nib_cursor *c, uint64_t bytes)
{
    return c->at >= c->window_at && c->at - c->window_at <= c->window_bytes &&
           bytes <= c->window_bytes - (c->at - c->window_at);
}

nib_status nib_cursor_take(nib_cursor *c, void *dst, uint64_t bytes, const char *what)
{
    NIB_TRY(check(c, bytes, what));
    if (bytes > NIB_CURSOR_WINDOW) {
        NIB_TRY(nib_io_read(c->fd, c->shown, c->at, dst, (size_t)bytes));
    } else if (bytes) {
        if (!is_inside(c, bytes)) NIB_TRY(fill(c));
        memcpy(dst, c->window + (c->at - c->window_at), (size_t)bytes);
    }
    c->at += bytes;
    return NIB_OK;
}

nib_status nib_cursor_skip(nib_cursor *c, uint64_t bytes, const char *what)
{
    NIB_TRY(check(c, bytes, what));
    c->at += bytes;
    return NIB_OK;
}

static nib_status take_number(nib_cursor *c, int bytes, uint64_t *value_ret, const char *what)
{
    unsigned char raw[8] = {0};
    uint64_t value = 0;
    NIB_TRY(nib_cursor_take(c, raw, (uint64_t)bytes, what));
    for (int i = 0; i < bytes; i++) value |= (uint64_t)raw[i] << (8 * i);
    *value_ret = value;
    return NIB_OK;
}

nib_status nib_cursor_u32(nib_cursor *c, uint32_t *value_ret, const char *what)
{
    uint64_t value;
    NIB_TRY(take_number(c, 4, &value, what));
    *value_ret = (uint32_t)value;
    return NIB_OK;
}

nib_status nib_cursor_u64(nib_cursor *c, uint64_t *value_ret, const char *what)
{
    return take_number(c, 8, value_ret, what);
}
