/* words.c - numbers as people read and write them, the nearest word, text that is safe to print. */
#include "cli.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Three digits that matter, two decimals at most, with the unit of the power of 1000. */
static const char *scaled(double value, const char *const units[], size_t unit_count, char *text)
{
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < unit_count) {
        value /= 1000;
        unit++;
    }
    snprintf(text, WORD_BYTES, "%.*f %s", unit ? (value < 99.95 ? 2 : 1) : 0, value, units[unit]);
    return text;
}

const char *word_bytes(uint64_t bytes, char text[WORD_BYTES])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    return scaled((double)bytes, units, sizeof units / sizeof units[0], text);
}

const char *word_count(int64_t count, char text[WORD_BYTES])
{
    static const char *const units[] = {"", "k", "M", "B", "T"};
    scaled((double)count, units, sizeof units / sizeof units[0], text);
    size_t length = strlen(text);
    if (length && text[length - 1] == ' ') text[length - 1] = 0;
    return text;
}

const char *word_seconds(double seconds, char text[WORD_BYTES])
{
    if (!(seconds < 360000)) snprintf(text, WORD_BYTES, "-:--");
    else if (seconds < 3600)
        snprintf(text, WORD_BYTES, "%d:%02d", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(text, WORD_BYTES, "%d:%02d:%02d", (int)seconds / 3600, (int)seconds / 60 % 60,
                 (int)seconds % 60);
    return text;
}

const char *word_decibels(double decibels, char text[WORD_BYTES])
{
    if (isfinite(decibels)) snprintf(text, WORD_BYTES, "%.1f dB", decibels);
    else snprintf(text, WORD_BYTES, "%s", decibels > 0 ? "exact" : isnan(decibels) ? "-" : "-inf");
    return text;
}

const char *word_counted(int64_t count, const char *thing, char text[WORD_BYTES])
{
    snprintf(text, WORD_BYTES, "%lld %s%s", (long long)count, thing, count == 1 ? "" : "s");
    return text;
}

int parse_bytes(const char *text, uint64_t *bytes_ret)
{
    static const char letters[] = "KMGT";
    char *end;
    if (!isdigit((unsigned char)*text) && *text != '.') return 0;
    double number = strtod(text, &end);
    double unit = 1;
    const char *letter = *end ? strchr(letters, toupper((unsigned char)*end)) : NULL;
    if (letter) {
        const char *rest = end + 1;
        int decimal = !strcasecmp(rest, "B");
        if (*rest && !decimal && strcasecmp(rest, "iB") != 0) return 0;
        unit = pow(decimal ? 1000 : 1024, (double)(letter - letters + 1));
    } else if (*end && strcasecmp(end, "B") != 0) {
        return 0;
    }
    double bytes = number * unit;
    if (!(bytes >= 1) || !(bytes < 9e18)) return 0;
    *bytes_ret = (uint64_t)bytes;
    return 1;
}

/* ---- the nearest word ---- */

static char folded(char letter)
{
    return letter == '_' ? '-' : (char)tolower((unsigned char)letter);
}

/* Insertions, deletions, changes and swaps of neighbours. */
int word_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t m = strnlen(a, LONGEST), n = strnlen(b, LONGEST);
    int cost[3][LONGEST + 1];
    for (size_t j = 0; j <= n; j++) cost[0][j] = (int)j;
    for (size_t i = 1; i <= m; i++) {
        int *row = cost[i % 3], *above = cost[(i + 2) % 3], *swap = cost[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            int same = folded(a[i - 1]) == folded(b[j - 1]);
            int best = above[j - 1] + !same;
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
                folded(a[i - 2]) == folded(b[j - 1]) && swap[j - 2] + 1 < best)
                best = swap[j - 2] + 1;
            row[j] = best;
        }
    }
    return cost[m % 3][n];
}

cli_nearest nearest_start(const char *word)
{
    /* a third of the letters may be wrong */
    return (cli_nearest){word, "", (int)strnlen(word, 63) / 3};
}

void nearest_offer(cli_nearest *nearest, const char *candidate)
{
    size_t typed = strlen(nearest->word);
    int distance = word_distance(nearest->word, candidate);
    if (typed >= 3 && !strncasecmp(nearest->word, candidate, typed)) distance = 1;
    if (distance > nearest->distance || (distance == nearest->distance && nearest->best[0])) return;
    nearest->distance = distance;
    snprintf(nearest->best, sizeof nearest->best, "%s", candidate);
}

const char *nearest_hint(const cli_nearest *nearest, char text[96])
{
    text[0] = 0;
    if (nearest->best[0]) snprintf(text, 96, "; did you mean %s?", nearest->best);
    return text;
}

/* ---- text that is safe to print ---- */

/* Control characters of ASCII, and of Unicode's second block (U+0080..U+009F: c2 80..9f). */
void print_escaped(FILE *to, const char *text, char letter, const char *escape)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        int control = *at < 0x20 || *at == 0x7f;
        int long_control = *at == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f;
        if (*at == (unsigned char)letter) fputs(escape, to);
        else fputc(control || long_control ? '?' : *at, to);
        at += long_control;
    }
}

void print_safe(FILE *to, const char *text) { print_escaped(to, text, 0, ""); }

size_t word_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xc0u) != 0x80u;
    return width;
}

void parent_directory(char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') path[--length] = 0;
    char *slash = strrchr(path, '/');
    if (!slash) strcpy(path, ".");
    else slash[slash == path] = 0;
}

void existing_directory(char *path)
{
    while (access(path, F_OK) && strcmp(path, ".") != 0 && strcmp(path, "/") != 0)
        parent_directory(path);
}

char *shell_quote(const char *text)
{
    char *quoted = malloc(4 * strlen(text) + 3);
    if (!quoted) return NULL;
    size_t plain = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./+:,@%=");
    if (plain && !text[plain]) return strcpy(quoted, text);
    char *at = quoted;
    *at++ = '\'';
    for (; *text; text++) {
        if (*text != '\'') *at++ = *text;
        else at = stpcpy(at, "'\\''");
    }
    strcpy(at, "'");
    return quoted;
}
