/* options.c - the command line: one table (options.def) drives getopt_long, the
 * help and the nearest-name hints. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum option_kind {
    SECTION_KIND,
    SET,
    TEXT,
    LIST,
    COUNT,
    BYTES,
    NUMBER,
    CHOICE
} option_kind;

typedef struct option_row {
    unsigned commands; /* a bit for each command_id */
    int letter;
    const char *name, *others;
    option_kind kind;
    size_t field; /* offset in cli_settings */
    int64_t value;
    const char *words, *argument, *text;
} option_row;

enum {
    D = 1u << COMMAND_DOCTOR,
    I = 1u << COMMAND_INSPECT,
    P = 1u << COMMAND_PLAN,
    Q = 1u << COMMAND_QUANTIZE,
    U = 1u << COMMAND_DEQUANTIZE,
    C = 1u << COMMAND_COMPARE,
    K = 1u << COMMAND_CHECK,
    S = 1u << COMMAND_SCHEMES,
    V = 1u << COMMAND_DEVICES,
    T = 1u << COMMAND_SELFTEST,
    B = 1u << COMMAND_BENCH,
    X = 1u << COMMAND_EXPLAIN,
};

static const option_row rows[] = {
#define SECTION(commands, text) {commands, 0, "", "", SECTION_KIND, 0, 0, "", "", text},
#define OPTION(commands, letter, name, others, kind, field, value, words, argument, text)          \
    {commands, letter, name,     others, kind, offsetof(cli_settings, field),                      \
     value,    words,  argument, text},
#include "options.def"
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0], MAX_NAMES = 160, NAME_BYTES = 40 };

static int takes(const cli_command *command, const option_row *row)
{
    return (row->commands >> command->id & 1u) != 0;
}

/* The next word of a list separated by spaces; NULL at its end. */
static const char *next_word(const char **rest, char word[NAME_BYTES])
{
    size_t length = strcspn(*rest, " ");
    if (!length) return NULL;
    snprintf(word, NAME_BYTES, "%.*s", (int)length, *rest);
    *rest += length + ((*rest)[length] == ' ');
    return word;
}

/* ---- what getopt_long wants ---- */

/* A command's options as getopt_long knows them: every name, also with '_' for
 * '-'. `val` is 256 + the row. */
typedef struct name_table {
    struct option options[MAX_NAMES + 1];
    char names[MAX_NAMES][NAME_BYTES];
    int count;
    char letters[2 * ROW_COUNT + 3];
} name_table;

static void add_name(name_table *table, const char *name, int row)
{
    if (table->count >= MAX_NAMES) return;
    char *copy = table->names[table->count];
    snprintf(copy, NAME_BYTES, "%s", name);
    table->options[table->count++] = (struct option){
        copy, rows[row].kind == SET ? no_argument : required_argument, NULL, 256 + row};
}

static void add_names(name_table *table, const char *name, int row)
{
    add_name(table, name, row);
    if (!strchr(name, '-')) return;
    char underscored[NAME_BYTES];
    snprintf(underscored, sizeof underscored, "%s", name);
    for (char *at = underscored; *at; at++)
        if (*at == '-') *at = '_';
    add_name(table, underscored, row);
}

static void make_names(const cli_command *command, name_table *table)
{
    memset(table, 0, sizeof *table);
    char *letters = table->letters;
    *letters++ = '-'; /* operands come in their order, as if they were options of code 1 */
    *letters++ = ':'; /* a missing argument is told from an unknown option */
    for (int row = 0; row < ROW_COUNT; row++) {
        if (!takes(command, &rows[row]) || rows[row].kind == SECTION_KIND) continue;
        char word[NAME_BYTES];
        add_names(table, rows[row].name, row);
        for (const char *rest = rows[row].others; next_word(&rest, word);)
            add_names(table, word, row);
        if (!rows[row].letter) continue;
        *letters++ = (char)rows[row].letter;
        if (rows[row].kind != SET) *letters++ = ':';
    }
}

static const option_row *row_of(const cli_command *command, int code)
{
    if (code >= 256) return &rows[code - 256];
    for (int row = 0; row < ROW_COUNT; row++)
        if (rows[row].letter == code && takes(command, &rows[row])) return &rows[row];
    return NULL;
}

/* ---- arguments ---- */

static int bad_argument(const cli_command *command, const option_row *row, const char *text,
                        const char *wanted)
{
    return fail_usage(command, "--%s is '%s'; it must be %s", row->name, text, wanted);
}

static int has_word(const char *words, const char *text)
{
    char word[NAME_BYTES];
    while (next_word(&words, word))
        if (!strcmp(word, text)) return 1;
    return 0;
}

static int set_count(const cli_command *command, const option_row *row, const char *text,
                     void *field)
{
    int64_t count = 0;
    if (!has_word(row->words, text)) {
        char *end;
        errno = 0;
        long long number = strtoll(text, &end, 10);
        int digits = isdigit((unsigned char)*text) && !*end && !errno;
        if (!digits || number > row->value) {
            char wanted[96] = "a whole number";
            if (row->value < INT64_MAX)
                snprintf(wanted, sizeof wanted, "a number from 0 to %lld", (long long)row->value);
            if (*row->words) snprintf(wanted, sizeof wanted, "a whole number, or: %s", row->words);
            return bad_argument(command, row, text, wanted);
        }
        count = number;
    }
    *(int64_t *)field = count;
    return 0;
}

static int set_choice(const cli_command *command, const option_row *row, const char *text,
                      void *field)
{
    char word[NAME_BYTES], hint[96];
    cli_nearest near = nearest_start(text);
    const char *rest = row->words;
    for (int index = 0; next_word(&rest, word); index++) {
        if (!word_distance(word, text)) {
            *(int *)field = index;
            return 0;
        }
        nearest_offer(&near, word);
    }
    return fail_usage(command, "--%s is '%s'; it must be one of: %s%s", row->name, text, row->words,
                      nearest_hint(&near, hint));
}

static int set_list(const char *text, text_list *list)
{
    const char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items) return fail(4, "no memory for the options");
    list->items = items;
    items[list->count++] = text;
    return 0;
}

static int set_number(const cli_command *command, const option_row *row, const char *text,
                      void *field)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !isfinite(number))
        return bad_argument(command, row, text, "a number");
    *(double *)field = number;
    return 0;
}

static int set_bytes(const cli_command *command, const option_row *row, const char *text,
                     void *field)
{
    if (!parse_bytes(text, field))
        return bad_argument(command, row, text, "a size above 0, as 256M or 2GiB");
    return 0;
}

static int set_field(const cli_command *command, const option_row *row, const char *text,
                     cli_settings *settings)
{
    void *field = (char *)settings + row->field;
    switch (row->kind) {
    case SECTION_KIND: break;
    case SET: *(int *)field = (int)row->value; return 0;
    case TEXT:
        if (!*text) return bad_argument(command, row, text, "a text that is not empty");
        *(const char **)field = text;
        return 0;
    case LIST: return set_list(text, field);
    case COUNT: return set_count(command, row, text, field);
    case BYTES: return set_bytes(command, row, text, field);
    case NUMBER: return set_number(command, row, text, field);
    case CHOICE: return set_choice(command, row, text, field);
    }
    return 0;
}

/* ---- options that come twice ---- */

static int differs(const option_row *row, const cli_settings *a, const cli_settings *b)
{
    static const size_t sizes[] = {
        [SET] = sizeof(int),        [CHOICE] = sizeof(int),    [COUNT] = sizeof(int64_t),
        [BYTES] = sizeof(uint64_t), [NUMBER] = sizeof(double), [TEXT] = sizeof(char *)};
    const char *left = (const char *)a + row->field, *right = (const char *)b + row->field;
    if (row->kind == LIST) return 0;
    if (row->kind == TEXT) return strcmp(*(char *const *)left, *(char *const *)right) != 0;
    return memcmp(left, right, sizes[row->kind]) != 0;
}

/* An earlier option that set the same field otherwise: which one counts is not for order to say.
 * `given`: the argument of every row so far, NULL where it has not come. */
static int check_earlier(const cli_command *command, const option_row *row, const char *text,
                         const char *const given[], const cli_settings *before,
                         const cli_settings *settings)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (given[i] && rows[i].field == row->field && differs(row, before, settings))
            return fail_usage(command, "--%s%s%s and --%s%s%s contradict each other", rows[i].name,
                              *given[i] ? " " : "", given[i], row->name, *text ? " " : "", text);
    return 0;
}

/* ---- parsing ---- */

static int fail_unknown(const cli_command *command, const name_table *table, const char *token)
{
    char name[NAME_BYTES], hint[96];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(token, "="), token);
    if (strncmp(name, "--", 2)) return fail_usage(command, "unknown option %s", name);
    cli_nearest near = nearest_start(name);
    for (int i = 0; i < table->count; i++) {
        char candidate[NAME_BYTES + 2];
        snprintf(candidate, sizeof candidate, "--%s", table->names[i]);
        nearest_offer(&near, candidate);
    }
    return fail_usage(command, "unknown option %s%s", name, nearest_hint(&near, hint));
}

/* getopt_long takes any beginning of a name; the user's scripts should not
 * break when an option is added, so only whole names count. `token` is the
 * option as it was typed. */
static int is_abbreviated(const char *token, const char *name)
{
    size_t length = strcspn(token + 2, "=");
    return length != strlen(name) || strncmp(token + 2, name, length) != 0;
}

static int add_operand(const cli_command *command, const char *operand, cli_settings *settings)
{
    if (settings->operand_count >= command->most) {
        if (!command->most) return fail_usage(command, "unexpected operand '%s'", operand);
        return fail_usage(command, "unexpected operand '%s' after '%s'", operand,
                          settings->operands[settings->operand_count - 1]);
    }
    settings->operands[settings->operand_count++] = operand;
    return 0;
}

static int parse(const cli_command *command, int argc, char **argv, const name_table *table,
                 cli_settings *settings)
{
    const char *given[ROW_COUNT] = {0};
    optind = 1;
    opterr = 0;
    for (;;) {
        int at = optind, index = -1;
        int code = getopt_long(argc, argv, table->letters, table->options, &index);
        if (code == -1) break;
        int error = 0;
        if (code == 1) {
            error = add_operand(command, optarg, settings);
        } else if (code == '?' && optopt && optopt < 256 && strncmp(argv[at], "--", 2)) {
            error = fail_usage(command, "unknown option -%c", optopt);
        } else if (code == '?') {
            error = optopt >= 256
                        ? fail_usage(command, "--%s takes no argument", rows[optopt - 256].name)
                        : fail_unknown(command, table, argv[at]);
        } else if (code == ':') {
            const option_row *row = row_of(command, optopt);
            error = fail_usage(command, "--%s needs an argument: %s", row->name, row->argument);
        } else if (index >= 0 && is_abbreviated(argv[at], table->names[index])) {
            error = fail_unknown(command, table, argv[at]);
        } else {
            const option_row *row = row_of(command, code);
            const cli_settings before = *settings;
            const char *text = optarg ? optarg : "";
            error = set_field(command, row, optarg, settings);
            if (!error) error = check_earlier(command, row, text, given, &before, settings);
            given[row - rows] = text;
        }
        if (error) return error;
    }
    for (; optind < argc; optind++) {
        int error = add_operand(command, argv[optind], settings);
        if (error) return error;
    }
    return 0;
}

static const char *operand_name(const cli_command *command, int index, char word[NAME_BYTES])
{
    const char *rest = command->operands;
    while (index-- >= 0) next_word(&rest, word);
    return word;
}

int options_parse(const cli_command *command, int argc, char **argv, cli_settings *settings)
{
    char word[NAME_BYTES];
    *settings = (struct cli_settings){.arguments = argv + 1,
                                      .argument_count = argc - 1,
                                      .group = GROUP_OF_SCHEME,
                                      .min_sqnr = (double)NAN,
                                      .seconds = 1.0,
                                      .tolerance = 10.0};
    static name_table table;
    make_names(command, &table);
    int error = parse(command, argc, argv, &table, settings);
    if (error || settings->help) return error;
    if (settings->operand_count < command->least)
        return fail_usage(command, "%s is missing: nibble %s %s",
                          operand_name(command, settings->operand_count, word), command->name,
                          command->operands);
    for (int i = 0; i < settings->operand_count; i++)
        if (!*settings->operands[i])
            return fail_usage(command, "%s is empty", operand_name(command, i, word));
    return 0;
}

void options_free(cli_settings *settings)
{
    free(settings->ignore.items);
    free(settings->overrides.items);
    free(settings->shapes.items);
    free(settings->layers.items);
    free(settings->devices.items);
    free(settings->keys.items);
}

/* ---- help ---- */

static void print_wrapped(FILE *to, const char *text, int indent)
{
    enum { COLUMNS = 100 };
    int column = indent;
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (column > indent && column + 1 + length > COLUMNS) {
            fprintf(to, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', to);
            column++;
        }
        fprintf(to, "%.*s", length, text);
        column += length;
        text += length;
        while (*text == ' ') text++;
    }
    fputc('\n', to);
}

void options_help(const cli_command *command, FILE *to)
{
    enum { TEXT_COLUMN = 30 };
    for (int i = 0; i < ROW_COUNT; i++) {
        const option_row *row = &rows[i];
        if (!takes(command, row)) continue;
        if (row->kind == SECTION_KIND) {
            fprintf(to, "\n%s\n", row->text);
            continue;
        }
        char letter[8] = "    ";
        if (row->letter) snprintf(letter, sizeof letter, "-%c, ", row->letter);
        int used = fprintf(to, "  %s--%s%s%s", letter, row->name, *row->argument ? " " : "",
                           row->argument);
        if (used < TEXT_COLUMN - 1) fprintf(to, "%*s", TEXT_COLUMN - used, "");
        else fprintf(to, "\n%*s", TEXT_COLUMN, "");
        print_wrapped(to, row->text, TEXT_COLUMN);
    }
}
