/* fuzz_json.c - json.c against jansson: both accept a text, or neither does, and strings decode
 * alike. They may differ on nesting above 64, on numbers that jansson cannot hold,
 * and on keys with a NUL. */
#include "../../host/formats/json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static nib_status read_any(nib_json *json)
{
    nib_status status = nib_json_skip(json);
    return status == NIB_OK ? nib_json_close(json) : status;
}

static int same_string(const char *text, size_t size, const json_t *theirs)
{
    nib_json json = nib_json_open(text, size);
    nib_json_text ours;
    if (nib_json_peek(&json) != '"' || nib_json_string(&json, &ours) != NIB_OK) return 0;
    char *decoded = malloc(ours.length + 1);
    if (!decoded) return 1;
    size_t length = nib_json_decode(ours, decoded);
    int same =
        length == json_string_length(theirs) && !memcmp(decoded, json_string_value(theirs), length);
    free(decoded);
    return same;
}

/* What JSON has and jansson does not. */
static int excuses(enum json_error_code code)
{
    return code == json_error_numeric_overflow || code == json_error_stack_overflow ||
           code == json_error_null_byte_in_key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    json_error_t error;
    if (memchr(data, 0, size)) return 0; /* jansson takes a NUL byte for the end */
    nib_json json = nib_json_open(text, size);
    nib_status status = read_any(&json);
    json_t *theirs = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!theirs && excuses(json_error_code(&error))) return 0;
    int excused = theirs && strstr(nib_last_error(), "nested deeper");
    if ((status == NIB_OK) != (theirs != NULL) && !excused) {
        fprintf(stderr, "json.c: %s; jansson: %s\n", status ? nib_last_error() : "ok",
                theirs ? "ok" : error.text);
        abort();
    }
    if (status == NIB_OK && json_is_string(theirs) && !same_string(text, size, theirs)) abort();
    json_decref(theirs);
    return 0;
}
