/* json.h - a strict pull reader of JSON text in memory: the reader of everything hostile that is
 * JSON (headers, indexes).
 *
 * It allocates nothing, keeps no tree, does not recurse and accepts RFC 8259 exactly: valid UTF-8,
 * surrogate escapes only in pairs, no comments, no trailing commas. Not libyajl, the usual stream
 * parser: a failed allocation inside yajl 2.1 ends the process, and it reads the escapes
 * \ud800\u0041 as one character.
 *
 * Use: enter a container, take members or values while there are more, close the text.
 *     int more;
 *     NIB_TRY(nib_json_enter(&json, '{', &more));
 *     while (more) {
 *         NIB_TRY(nib_json_key(&json, &key));
 *         NIB_TRY(nib_json_skip(&json));
 *         NIB_TRY(nib_json_next(&json, '}', &more));
 *     }
 *     NIB_TRY(nib_json_close(&json));
 *
 * Failures are E_JSON, E_UTF8 or E_NUMBER, with the byte where the text went wrong. */
#ifndef NIB_FORMATS_JSON_H
#define NIB_FORMATS_JSON_H

#include "../../include/nibble.h"

typedef struct nib_json {
    const char *text, *at, *end;
} nib_json;

/* A string as it stands in the text, between its quotes and checked: escapes and all. */
typedef struct nib_json_text {
    const char *raw;
    size_t length; /* of raw: at least the decoded length */
} nib_json_text;

/* Starts reading `size` bytes, which are borrowed. */
nib_json nib_json_open(const char *text, size_t size);
/* Only white space may be left. */
nib_status nib_json_close(nib_json *json);

/* The first byte of the next value, '\0' at the end of the text. */
char nib_json_peek(nib_json *json);

/* Enters '{' or '['; *more_ret is 0 where it is empty (and then it is already left). */
nib_status nib_json_enter(nib_json *json, char open, int *more_ret);
/* After a member or value: takes ',' (*more_ret 1) or the closing '}' or ']' (*more_ret 0). */
nib_status nib_json_next(nib_json *json, char close, int *more_ret);
/* A member's name and the colon. */
nib_status nib_json_key(nib_json *json, nib_json_text *key_ret);

nib_status nib_json_string(nib_json *json, nib_json_text *string_ret);
/* A plain integer from 0 to 2^64-1: digits alone, no leading zeros. */
nib_status nib_json_u64(nib_json *json, uint64_t *value_ret);
/* Any value; containers nest at most 64 deep. */
nib_status nib_json_skip(nib_json *json);

/* The length of the UTF-8 sequence at `at`, a byte of 0x80 or more; 0 where it is invalid: cut off,
 * overlong, a surrogate, or above U+10FFFF. */
int nib_utf8_length(const char *at, const char *end);

/* Decodes a checked string to dst (string.length bytes suffice; no NUL is added) and returns its
 * length. */
size_t nib_json_decode(nib_json_text string, char *dst);
/* 1 if the string, decoded, is `text`. */
int nib_json_is(nib_json_text string, const char *text);

#endif
