/* status.c - status codes and the calling thread's error text. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char error_text[sizeof(nib_error)];

static const struct {
    nib_status status;
    int exit_code;
    const char *name, *text;
} statuses[] = {
#define NIB_STATUS(ID, value, exit_code, text) {NIB_##ID, exit_code, #ID, text},
#include "../../include/nibble_schemes.def"
};

enum { STATUS_COUNT = sizeof statuses / sizeof statuses[0] };

static size_t find(nib_status status)
{
    size_t i = 0;
    while (i < STATUS_COUNT && statuses[i].status != status) i++;
    return i;
}

const char *nib_status_name(nib_status status)
{
    size_t i = find(status);
    return i < STATUS_COUNT ? statuses[i].name : "?";
}

const char *nib_status_text(nib_status status)
{
    size_t i = find(status);
    return i < STATUS_COUNT ? statuses[i].text : "?";
}

int nib_status_exit_code(nib_status status)
{
    size_t i = find(status);
    return i < STATUS_COUNT ? statuses[i].exit_code : 1;
}

const char *nib_last_error(void) { return error_text; }

nib_error nib_error_save(void)
{
    nib_error error;
    memcpy(error.text, error_text, sizeof error.text);
    return error;
}

void nib_error_restore(const nib_error *error)
{
    memcpy(error_text, error->text, sizeof error_text);
}

/* Messages are one line: a name from a file may hold any byte. */
static void make_one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = '?';
}

nib_status nib_fail(nib_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error_text, sizeof error_text, format, args);
    va_end(args);
    make_one_line(error_text);
    return status;
}

nib_status nib_fail_prefix(nib_status status, const char *format, ...)
{
    char inner[sizeof error_text];
    memcpy(inner, error_text, sizeof inner);
    va_list args;
    va_start(args, format);
    int length = vsnprintf(error_text, sizeof error_text, format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < sizeof error_text)
        snprintf(error_text + length, sizeof error_text - (size_t)length, "%s", inner);
    make_one_line(error_text);
    return status;
}
