/* table.c - a table of text: aligned for people, markdown or csv for what comes after. */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COLUMNS = 32, GAP = 2 };

struct cli_table {
    char *headings[MAX_COLUMNS];
    int right[MAX_COLUMNS];
    size_t columns;
    char **cells;
    size_t count, capacity;
    int as;
    int lost; /* a cell that memory did not suffice for */
};

cli_table *table_new(const char *headings, int as)
{
    cli_table *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->as = as;
    while (t->columns < MAX_COLUMNS) {
        size_t length = strcspn(headings, "|");
        t->right[t->columns] = *headings == '>';
        size_t skip = *headings == '>';
        char *heading = strndup(headings + skip, length - skip);
        t->lost |= !heading;
        t->headings[t->columns++] = heading;
        if (!headings[length]) break;
        headings += length + 1;
    }
    return t;
}

void table_cell(cli_table *t, const char *format, ...)
{
    if (!t || t->lost) return;
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 64;
        char **cells = realloc(t->cells, capacity * sizeof *cells);
        if (!cells) {
            t->lost = 1;
            return;
        }
        t->cells = cells;
        t->capacity = capacity;
    }
    char *cell;
    va_list args;
    va_start(args, format);
    t->lost = vasprintf(&cell, format, args) < 0;
    va_end(args);
    if (!t->lost) t->cells[t->count++] = cell;
}

void table_bytes(cli_table *t, uint64_t bytes)
{
    char text[WORD_BYTES];
    if (t && t->as == AS_CSV) table_cell(t, "%llu", (unsigned long long)bytes);
    else table_cell(t, "%s", word_bytes(bytes, text));
}

void table_count(cli_table *t, int64_t count)
{
    char text[WORD_BYTES];
    if (t && t->as == AS_CSV) table_cell(t, "%lld", (long long)count);
    else table_cell(t, "%s", word_count(count, text));
}

void table_decibels(cli_table *t, double decibels)
{
    char text[WORD_BYTES];
    if (t && t->as == AS_CSV) table_cell(t, "%.4f", decibels);
    else table_cell(t, "%s", word_decibels(decibels, text));
}

void table_none(cli_table *t) { table_cell(t, "%s", t && t->as == AS_CSV ? "" : "-"); }

void table_free(cli_table *t)
{
    if (!t) return;
    for (size_t c = 0; c < t->columns; c++) free(t->headings[c]);
    for (size_t i = 0; i < t->count; i++) free(t->cells[i]);
    free(t->cells);
    free(t);
}

/* ---- printing ---- */

static void print_csv_cell(const char *cell, FILE *to)
{
    if (!strpbrk(cell, ",\"")) { /* a new line becomes '?' */
        print_safe(to, cell);
        return;
    }
    fputc('"', to);
    print_escaped(to, cell, '"', "\"\"");
    fputc('"', to);
}

static void print_csv(const cli_table *t, char *const *cells)
{
    for (size_t c = 0; c < t->columns; c++) {
        print_csv_cell(cells[c], stdout);
        fputc(c + 1 == t->columns ? '\n' : ',', stdout);
    }
}

static void print_markdown(const cli_table *t, char *const *cells, const size_t *widths)
{
    for (size_t c = 0; c < t->columns; c++) {
        int pad = (int)(widths[c] - word_width(cells[c]));
        printf("| %*s", t->right[c] ? pad : 0, "");
        print_escaped(stdout, cells[c], '|', "\\|");
        printf("%*s ", t->right[c] ? 0 : pad, "");
    }
    fputs("|\n", stdout);
}

/* Spaces are held back until something follows them. */
static void print_text(const cli_table *t, char *const *cells, const size_t *widths)
{
    int spaces = 1;
    for (size_t c = 0; c < t->columns; c++) {
        int pad = (int)(widths[c] - word_width(cells[c]));
        if (t->right[c]) spaces += pad;
        if (*cells[c]) {
            printf("%*s", spaces, "");
            print_safe(stdout, cells[c]);
            spaces = 0;
        }
        spaces += GAP + (t->right[c] ? 0 : pad);
    }
    putchar('\n');
}

static void print_rule(const cli_table *t, const size_t *widths)
{
    for (size_t c = 0; c < t->columns; c++) {
        putchar('|');
        for (size_t i = 0; i < widths[c] + 1; i++) putchar('-');
        putchar(t->right[c] ? ':' : '-');
    }
    puts("|");
}

static void print_row(const cli_table *t, char *const *cells, const size_t *widths)
{
    if (t->as == AS_CSV) print_csv(t, cells);
    else if (t->as == AS_MARKDOWN) print_markdown(t, cells, widths);
    else print_text(t, cells, widths);
}

static void print_rows(const cli_table *t)
{
    size_t widths[MAX_COLUMNS] = {0};
    for (size_t c = 0; c < t->columns; c++) widths[c] = word_width(t->headings[c]);
    for (size_t i = 0; i < t->count; i++) {
        size_t width = word_width(t->cells[i]);
        if (width > widths[i % t->columns]) widths[i % t->columns] = width;
    }
    print_row(t, t->headings, widths);
    if (t->as == AS_MARKDOWN) print_rule(t, widths);
    for (size_t i = 0; i + t->columns <= t->count; i += t->columns)
        print_row(t, t->cells + i, widths);
}

int table_print(cli_table *t)
{
    int lost = !t || t->lost;
    if (!lost) print_rows(t);
    table_free(t);
    return lost ? fail(4, "no memory for a table") : 0;
}
