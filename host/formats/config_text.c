/* config_text.c - see config_text.h. Cutting text keeps key order, spacing and the digits of
 * numbers, which no parse and print does. */
#include "config_text.h"

#include "../core/internal.h"
#include "json.h"

#include <stdlib.h>
#include <string.h>

/* Where a member lies in its object's text. All are NULL but `end` where there is no such member.
 */
typedef struct member_place {
    const char *before; /* the end of what stands before it: '{' or the value before */
    const char *value, *value_end;
    const char *after; /* its comma, or the closing '}' */
    const char *end;   /* behind the last value, or behind '{' */
    int first, empty;
} member_place;

static nib_status find_member(const char *text, size_t length, const char *key,
                              member_place *place_ret)
{
    nib_json json = nib_json_open(text, length);
    member_place place = {.first = 1};
    int more, first = 1;
    NIB_TRY(nib_json_enter(&json, '{', &more));
    place.empty = !more;
    place.end = more ? json.at : json.at - 1;
    while (more) {
        nib_json_text name;
        const char *before = place.end;
        NIB_TRY(nib_json_key(&json, &name));
        nib_json_peek(&json);
        const char *value = json.at;
        NIB_TRY(nib_json_skip(&json));
        place.end = json.at;
        nib_json_peek(&json);
        if (nib_json_is(name, key)) {
            if (place.value) return NIB_FAIL(NIB_E_DUP, "\"%s\" is given twice", key);
            place.before = before;
            place.value = value;
            place.value_end = place.end;
            place.after = json.at;
            place.first = first;
        }
        NIB_TRY(nib_json_next(&json, '}', &more));
        first = 0;
    }
    NIB_TRY(nib_json_close(&json));
    *place_ret = place;
    return NIB_OK;
}

nib_status nib_config_find(const char *text, size_t length, const char *key, const char **value_ret,
                           size_t *bytes_ret)
{
    member_place place;
    NIB_TRY(find_member(text, length, key, &place));
    *value_ret = place.value;
    *bytes_ret = place.value ? (size_t)(place.value_end - place.value) : 0;
    return NIB_OK;
}

/* text up to `head`, then the pieces, then text from `tail` on. */
static nib_status splice(const char *text, const char *head, const char *const pieces[],
                         const char *tail, char **text_ret)
{
    size_t bytes = (size_t)(head - text) + strlen(tail) + 1;
    for (int i = 0; pieces[i]; i++) bytes += strlen(pieces[i]);
    char *made = malloc(bytes);
    if (!made) return NIB_FAIL(NIB_E_MEMORY, "out of memory: config.json needs %zu bytes", bytes);
    memcpy(made, text, (size_t)(head - text));
    char *at = made + (head - text);
    for (int i = 0; pieces[i]; i++) at = stpcpy(at, pieces[i]);
    memcpy(at, tail, strlen(tail) + 1);
    *text_ret = made;
    return NIB_OK;
}

nib_status nib_config_set(const char *text, const char *key, const char *value, char **text_ret)
{
    member_place place;
    if (!*text) text = value ? "{}\n" : "";
    if (!*text) return splice(text, text, (const char *const[]){NULL}, text, text_ret);
    NIB_TRY(find_member(text, strlen(text), key, &place));
    if (place.value && value)
        return splice(text, place.value, (const char *const[]){value, NULL}, place.value_end,
                      text_ret);
    if (place.value) { /* with the comma before it, or behind it where it is the first */
        const char *tail = place.first && *place.after == ',' ? place.after + 1 : place.value_end;
        return splice(text, place.before, (const char *const[]){NULL}, tail, text_ret);
    }
    if (!value) return splice(text, text, (const char *const[]){NULL}, text, text_ret);
    const char *const pieces[] = {place.empty ? "" : ",",  "\n  \"", key, "\": ", value,
                                  place.empty ? "\n" : "", NULL};
    return splice(text, place.end, pieces, place.end, text_ret);
}
