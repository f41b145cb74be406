/* text.c - see text.h. */
#include "text.h"

#include "../core/internal.h"
#include "json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void nib_text_add(nib_text *text, const void *bytes, size_t count)
{
    if (text->status != NIB_OK) return;
    if (count > text->capacity - text->size) {
        size_t needed, larger = text->capacity < 2048 ? 4096 : text->capacity * 2;
        char *grown = NULL;
        if (!__builtin_add_overflow(text->size, count, &needed)) {
            if (larger < needed) larger = needed;
            grown = realloc(text->data, larger);
        }
        if (!grown) {
            text->status = NIB_FAIL(NIB_E_MEMORY, "no memory for a text of %zu bytes", larger);
            return;
        }
        text->data = grown;
        text->capacity = larger;
    }
    if (count) memcpy(text->data + text->size, bytes, count);
    text->size += count;
}

void nib_text_format(nib_text *text, const char *format, ...)
{
    char piece[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (text->status == NIB_OK && (length < 0 || (size_t)length >= sizeof piece))
        text->status = NIB_FAIL(NIB_E_INTERNAL, "a piece of text has more than 511 bytes");
    nib_text_add(text, piece, text->status == NIB_OK ? (size_t)length : 0);
}

void nib_text_quote(nib_text *text, const char *string)
{
    static const char controls[] = "\b\f\n\r\t", letters[] = "bfnrt";
    size_t start = text->size;
    nib_text_add(text, "\"", 1);
    for (const char *at = string; *at && text->status == NIB_OK; at++) {
        const char *control = strchr(controls, *at);
        if (control) nib_text_add(text, (char[]){'\\', letters[control - controls]}, 2);
        else if ((unsigned char)*at < 0x20) nib_text_format(text, "\\u%04x", (unsigned char)*at);
        else if (*at == '"' || *at == '\\') nib_text_add(text, (char[]){'\\', *at}, 2);
        else nib_text_add(text, at, 1);
    }
    nib_text_add(text, "\"", 1);
    if (text->status != NIB_OK) return;
    nib_json json = nib_json_open(text->data + start, text->size - start);
    nib_json_text checked;
    if (nib_json_string(&json, &checked) != NIB_OK)
        text->status = NIB_FAIL(NIB_E_NAME, "\"%.200s\" is no UTF-8 text", string);
}

void nib_text_free(nib_text *text)
{
    free(text->data);
    *text = (nib_text){0};
}
