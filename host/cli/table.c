/* table.c - a table of text: aligned for people, markdown or csv for what comes after. */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COLUMNS = 16, GAP = 2 };

struct cli_table {
    char *headings[MAX_COLUMNS];
    int right[MAX_COLUMNS];
    size_t columns;
    char **cells;
    size_t count, capacity;
    int lost; /* a cell that memory did not suffice for */
};

cli_table *table_new(const char *headings)
{
    cli_table *t = calloc(1, sizeof *t);
    if (!t) return NULL;
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
    if (!strpbrk(cell, ",\"\n")) {
        print_safe(to, cell);
        return;
    }
    fputc('"', to);
    for (; *cell; cell++) {
        char letter[3] = {*cell, *cell == '"' ? '"' : 0, 0};
        fputs(letter, to);
    }
    fputc('"', to);
}

static void print_markdown_cell(const char *cell, FILE *to)
{
    for (; *cell; cell++) {
        if (*cell == '|') fputc('\\', to);
        if ((unsigned char)*cell >= 0x20) fputc(*cell, to);
    }
}

static void print_row(const cli_table *t, char *const *cells, const size_t *widths, int as,
                      FILE *to)
{
    for (size_t c = 0; c < t->columns; c++) {
        int pad = (int)(widths[c] - word_width(cells[c]));
        int last = c + 1 == t->columns;
        if (as == AS_CSV) {
            print_csv_cell(cells[c], to);
            fputc(last ? '\n' : ',', to);
            continue;
        }
        if (as == AS_MARKDOWN) fputs("| ", to);
        else fprintf(to, "%*s", c ? GAP : 1, "");
        if (t->right[c]) fprintf(to, "%*s", pad, "");
        if (as == AS_MARKDOWN) print_markdown_cell(cells[c], to);
        else print_safe(to, cells[c]);
        if (!t->right[c] && (!last || as == AS_MARKDOWN)) fprintf(to, "%*s", pad, "");
        if (as == AS_MARKDOWN) fputs(last ? " |\n" : " ", to);
        else if (last) fputc('\n', to);
    }
}

static void print_rule(const cli_table *t, const size_t *widths, FILE *to)
{
    for (size_t c = 0; c < t->columns; c++) {
        fputc('|', to);
        for (size_t i = 0; i < widths[c] + 1; i++) fputc('-', to);
        fputc(t->right[c] ? ':' : '-', to);
    }
    fputs("|\n", to);
}

int table_print(cli_table *t, int as, FILE *to)
{
    if (!t) return fail(4, "no memory for a table");
    size_t widths[MAX_COLUMNS] = {0};
    for (size_t c = 0; c < t->columns && !t->lost; c++) widths[c] = word_width(t->headings[c]);
    for (size_t i = 0; i < t->count; i++) {
        size_t width = word_width(t->cells[i]);
        if (width > widths[i % t->columns]) widths[i % t->columns] = width;
    }
    int lost = t->lost;
    if (!t->lost) {
        print_row(t, t->headings, widths, as, to);
        if (as == AS_MARKDOWN) print_rule(t, widths, to);
        for (size_t i = 0; i + t->columns <= t->count; i += t->columns)
            print_row(t, t->cells + i, widths, as, to);
    }
    table_free(t);
    return lost ? fail(4, "no memory for a table") : 0;
}
