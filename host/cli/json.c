/* json.c - results as JSON: what it has no word for becomes null or '?'. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *json_number(double number) { return isfinite(number) ? json_real(number) : json_null(); }

json_t *json_text(const char *text)
{
    json_t *json = json_string(text);
    if (json) return json;
    char *copy = strdup(text);
    if (!copy) return NULL;
    for (char *at = copy; *at; at++)
        if ((unsigned char)*at >= 0x80) *at = '?';
    json = json_string(copy);
    free(copy);
    return json;
}

json_t *json_bytes(uint64_t bytes)
{
    return json_integer(bytes < INT64_MAX ? (json_int_t)bytes : INT64_MAX);
}

json_t *json_result(const char *command)
{
    return json_pack("{s:i, s:s}", "version", JSON_VERSION, "command", command);
}

json_t *json_errors(const nib_error_total *errors)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:I}", "sqnr_db", json_number(nib_error_sqnr(errors)),
                     "mse", json_number(nib_error_mse(errors)), "max_error",
                     json_number(errors->max), "cosine", json_number(nib_error_cosine(errors)),
                     "elements", (json_int_t)errors->count);
}

int json_print(json_t *json)
{
    if (!json) return fail(4, "no memory for the result as JSON");
    int failed = json_dumpf(json, stdout, JSON_INDENT(2));
    json_decref(json);
    putchar('\n');
    return failed && !ferror(stdout) ? fail(4, "no memory for the result as JSON") : 0;
}
