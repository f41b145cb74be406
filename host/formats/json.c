/* json.c - see json.h. */
#include "json.h"

#include "../core/internal.h"

#include <string.h>

enum { MAX_DEPTH = 64 };

nib_json nib_json_open(const char *text, size_t size)
{
    return (nib_json){text, text, text + size};
}

static nib_status unexpected(const nib_json *json, const char *expected)
{
    size_t at = (size_t)(json->at - json->text);
    if (json->at == json->end)
        return NIB_FAIL(NIB_E_JSON, "the JSON text ends at byte %zu; expected %s", at, expected);
    unsigned char c = (unsigned char)*json->at;
    if (c < 0x20 || c >= 0x7f)
        return NIB_FAIL(NIB_E_JSON, "byte %zu of the JSON text is 0x%02x; expected %s", at, c,
                        expected);
    return NIB_FAIL(NIB_E_JSON, "byte %zu of the JSON text is '%c'; expected %s", at, c, expected);
}

char nib_json_peek(nib_json *json)
{
    while (json->at < json->end &&
           (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t'))
        json->at++;
    return json->at < json->end ? *json->at : '\0';
}

/* Takes `c` if it is next. At the end of the text peek's '\0' is no byte. */
static int take(nib_json *json, char c)
{
    if (nib_json_peek(json) != c || json->at == json->end) return 0;
    json->at++;
    return 1;
}

nib_status nib_json_close(nib_json *json)
{
    nib_json_peek(json);
    return json->at == json->end ? NIB_OK : unexpected(json, "the end of the text");
}

nib_status nib_json_enter(nib_json *json, char open, int *more_ret)
{
    if (!take(json, open)) return unexpected(json, open == '{' ? "an object" : "an array");
    *more_ret = !take(json, open == '{' ? '}' : ']');
    return NIB_OK;
}

nib_status nib_json_next(nib_json *json, char close, int *more_ret)
{
    if (take(json, ',')) *more_ret = 1;
    else if (take(json, close)) *more_ret = 0;
    else return unexpected(json, close == '}' ? "',' or '}'" : "',' or ']'");
    return NIB_OK;
}

nib_status nib_json_key(nib_json *json, nib_json_text *key_ret)
{
    NIB_TRY(nib_json_string(json, key_ret));
    return take(json, ':') ? NIB_OK : unexpected(json, "':'");
}

/* ---- strings ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four hexadecimal digits at `at`, or -1. */
static int32_t hex4(const char *at, const char *end)
{
    int32_t value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

static int is_high(int32_t unit) { return unit >= 0xd800 && unit <= 0xdbff; }
static int is_low(int32_t unit) { return unit >= 0xdc00 && unit <= 0xdfff; }

/* Checks the escape at json->at (a backslash) and steps over it. */
static nib_status skip_escape(nib_json *json)
{
    const char *at = json->at + 1;
    if (at == json->end || !strchr("\"\\/bfnrtu", *at) || !*at)
        return unexpected(json, "an escape that JSON has");
    if (*at++ != 'u') {
        json->at = at;
        return NIB_OK;
    }
    int32_t unit = hex4(at, json->end);
    if (unit < 0) return unexpected(json, "four hexadecimal digits after \\u");
    at += 4;
    if (is_high(unit) && json->end - at >= 6 && at[0] == '\\' && at[1] == 'u' &&
        is_low(hex4(at + 2, json->end)))
        at += 6;
    else if (is_high(unit) || is_low(unit))
        return NIB_FAIL(NIB_E_UTF8,
                        "byte %zu of the JSON text is the escape of half a surrogate pair",
                        (size_t)(json->at - json->text));
    json->at = at;
    return NIB_OK;
}

/* Unicode 15, table 3-7. */
int nib_utf8_length(const char *at, const char *end)
{
    const unsigned char *s = (const unsigned char *)at;
    ptrdiff_t left = end - at;
    int length = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
                 : s[0] >= 0xe0 && s[0] <= 0xef ? 3
                 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                : 0;
    if (length == 0 || left < length) return 0;
    unsigned low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high) return 0;
    for (int i = 2; i < length; i++)
        if (s[i] < 0x80 || s[i] > 0xbf) return 0;
    return length;
}

nib_status nib_json_string(nib_json *json, nib_json_text *string_ret)
{
    if (!take(json, '"')) return unexpected(json, "a string");
    const char *raw = json->at;
    while (json->at < json->end && *json->at != '"') {
        unsigned char c = (unsigned char)*json->at;
        if (c == '\\') {
            NIB_TRY(skip_escape(json));
        } else if (c < 0x20) {
            return unexpected(json, "no control character in a string");
        } else if (c < 0x80) {
            json->at++;
        } else {
            int length = nib_utf8_length(json->at, json->end);
            if (length == 0)
                return NIB_FAIL(NIB_E_UTF8, "byte %zu of the JSON text is 0x%02x, not UTF-8",
                                (size_t)(json->at - json->text), c);
            json->at += length;
        }
    }
    if (json->at == json->end) return unexpected(json, "the end of a string");
    *string_ret = (nib_json_text){raw, (size_t)(json->at - raw)};
    json->at++;
    return NIB_OK;
}

static char *put_utf8(char *dst, uint32_t point)
{
    if (point < 0x80) {
        *dst++ = (char)point;
        return dst;
    }
    int extra = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const uint32_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    *dst++ = (char)(lead[extra] | point >> (6 * extra));
    while (extra-- > 0) *dst++ = (char)(0x80 | (point >> (6 * extra) & 0x3f));
    return dst;
}

size_t nib_json_decode(nib_json_text string, char *dst)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *at = string.raw, *end = string.raw + string.length;
    char *start = dst;
    while (at < end) {
        if (*at != '\\') {
            *dst++ = *at++;
            continue;
        }
        char escape = at[1];
        at += 2;
        if (escape != 'u') {
            const char *found = strchr(from, escape);
            *dst++ = found ? to[found - from] : escape;
            continue;
        }
        uint32_t point = (uint32_t)hex4(at, end);
        at += 4;
        if (is_high((int32_t)point)) {
            point = 0x10000 + ((point - 0xd800) << 10) + ((uint32_t)hex4(at + 2, end) - 0xdc00);
            at += 6;
        }
        dst = put_utf8(dst, point);
    }
    return (size_t)(dst - start);
}

int nib_json_is(nib_json_text string, const char *text)
{
    char decoded[128];
    size_t length = strlen(text);
    if (string.length < length || string.length > sizeof decoded) return 0;
    return nib_json_decode(string, decoded) == length && !memcmp(decoded, text, length);
}

/* ---- numbers and the rest ---- */

static int is_digit(const nib_json *json)
{
    return json->at < json->end && *json->at >= '0' && *json->at <= '9';
}

nib_status nib_json_u64(nib_json *json, uint64_t *value_ret)
{
    uint64_t value = 0;
    nib_json_peek(json);
    const char *start = json->at;
    while (is_digit(json)) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*json->at - '0'), &value))
            return NIB_FAIL(NIB_E_NUMBER, "byte %zu of the JSON text: a number above 2^64-1",
                            (size_t)(start - json->text));
        json->at++;
    }
    int plain = json->at > start && (*start != '0' || json->at - start == 1);
    if (plain && (json->at == json->end || !strchr(".eE", *json->at) || !*json->at)) {
        *value_ret = value;
        return NIB_OK;
    }
    return NIB_FAIL(NIB_E_NUMBER, "byte %zu of the JSON text: not an integer from 0 to 2^64-1",
                    (size_t)(start - json->text));
}

static nib_status skip_digits(nib_json *json)
{
    if (!is_digit(json)) return unexpected(json, "a digit");
    while (is_digit(json)) json->at++;
    return NIB_OK;
}

static nib_status skip_number(nib_json *json)
{
    if (*json->at == '-') json->at++;
    if (is_digit(json) && *json->at == '0') json->at++;
    else NIB_TRY(skip_digits(json));
    if (json->at < json->end && *json->at == '.') {
        json->at++;
        NIB_TRY(skip_digits(json));
    }
    if (json->at < json->end && (*json->at == 'e' || *json->at == 'E')) {
        json->at++;
        if (json->at < json->end && (*json->at == '+' || *json->at == '-')) json->at++;
        NIB_TRY(skip_digits(json));
    }
    return NIB_OK;
}

static nib_status skip_scalar(nib_json *json)
{
    static const char *const words[] = {"true", "false", "null"};
    nib_json_text string;
    char c = nib_json_peek(json);
    if (c == '"') return nib_json_string(json, &string);
    if (c == '-' || (c >= '0' && c <= '9')) return skip_number(json);
    for (int i = 0; i < 3; i++) {
        size_t length = strlen(words[i]);
        if ((size_t)(json->end - json->at) >= length && !memcmp(json->at, words[i], length)) {
            json->at += length;
            return NIB_OK;
        }
    }
    return unexpected(json, "a value");
}

nib_status nib_json_skip(nib_json *json)
{
    uint64_t objects = 0; /* bit d: the container at depth d is an object */
    int depth = 0, more;
    do {
        char c = nib_json_peek(json);
        nib_json_text key;
        if (c == '{' || c == '[') {
            if (depth == MAX_DEPTH)
                return NIB_FAIL(NIB_E_JSON, "byte %zu of the JSON text: nested deeper than %d",
                                (size_t)(json->at - json->text), MAX_DEPTH);
            NIB_TRY(nib_json_enter(json, c, &more));
            if (more) {
                objects = (objects & ~(UINT64_C(1) << depth)) | (uint64_t)(c == '{') << depth;
                depth++;
                if (c == '{') NIB_TRY(nib_json_key(json, &key));
                continue;
            }
        } else {
            NIB_TRY(skip_scalar(json));
        }
        for (more = 0; depth > 0 && !more; depth -= !more) {
            int object = (int)(objects >> (depth - 1) & 1);
            NIB_TRY(nib_json_next(json, object ? '}' : ']', &more));
            if (more && object) NIB_TRY(nib_json_key(json, &key));
        }
    } while (depth > 0);
    return NIB_OK;
}
