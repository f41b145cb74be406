/* cli.h - what the files of the command share: settings, the tables of commands and options, words
 * and numbers as people write them, results as text or JSON. It stands on include/ and nothing
 * else. */
#ifndef NIB_CLI_H
#define NIB_CLI_H

#include "../../include/nibble_matmul.h"
#include "../../include/nibble_quantize.h"

#include <jansson.h>
#include <stdio.h>

/* ---- settings: what a command line says ---- */

typedef struct text_list {
    const char **items; /* borrowed from argv */
    size_t count;
} text_list;

enum { AS_TEXT, AS_MARKDOWN, AS_CSV, AS_JSON, AS_LINES }; /* settings.as */
enum { PROGRESS_AUTO, PROGRESS_LINE, PROGRESS_PLAIN, PROGRESS_JSON, PROGRESS_NONE };
enum { OFFSET_ANY, OFFSET_SYMMETRIC, OFFSET_ASYMMETRIC };     /* settings.offset */
enum { NONFINITE_KEEP = NIB_NONFINITE_SATURATE + 1 };         /* settings.nonfinite */
enum { FORMAT_AUTO, FORMAT_COMPRESSED_TENSORS, FORMAT_GGUF }; /* settings.format */
enum { DTYPE_SCALE, DTYPE_F16, DTYPE_BF16, DTYPE_F32 };       /* settings.dtype */
enum { PLAIN_BF16, PLAIN_F16, PLAIN_F32 };                    /* settings.plain_type */
enum { ACTS_OF_SCHEME, ACTS_16, ACTS_8 };                     /* settings.acts */
enum { MAX_OPERANDS = 2, GROUP_OF_SCHEME = -1, JSON_VERSION = 1 };

typedef struct cli_settings {
    char **arguments; /* as typed, after the command's name */
    int argument_count;
    const char *operands[MAX_OPERANDS];
    int operand_count;

    const char *output, *scheme, *device, *recipe;
    text_list ignore, overrides;
    int64_t group, bits, threads; /* bits 0: the scheme's own */
    uint64_t max_memory, max_vram;
    double min_sqnr; /* NaN: no limit */
    int offset, format, fallback, nonfinite, dtype;
    const char *importance, *output_type, *embedding_type, *prune_layers, *architecture,
        *template_path; /* GGUF */
    text_list keys;
    int pure, leave_output, allow_requantize, keep_split;
    int keep_quantized, direct, no_verify, force, dry_run, follow_links;
    int as, progress, quiet, all, tensors, list, help;

    /* bench, explain */
    const char *model, *m, *plot, *compare;
    text_list shapes, layers, devices;
    int64_t parallel, rounds; /* 0: their defaults */
    uint64_t working_set;
    double seconds, tolerance;
    int acts, plain_type, hot, no_vendor, dequantize;
} cli_settings;

/* ---- commands: commands.def ---- */

typedef enum command_id {
#define COMMAND(ID, name, run, operands, least, most, summary, example) COMMAND_##ID,
#include "commands.def"
    COMMAND_COUNT
} command_id;

typedef struct cli_command {
    command_id id;
    const char *name;
    int (*run)(const struct cli_command *command,
               const cli_settings *settings); /* returns the exit code */
    const char *operands;                     /* as the help shows them */
    int least, most;                          /* how many there are */
    const char *summary, *example;
} cli_command;

#define COMMAND(ID, name, run, operands, least, most, summary, example)                            \
    int run(const cli_command *command, const cli_settings *settings);
#include "commands.def"

const cli_command *command_at(command_id id);

/* ---- options: options.def, options.c ---- */

/* Fills `settings` from what follows the command's name. Returns 0, or 2 after saying what is
 * wrong. */
int options_parse(const cli_command *command, int argc, char **argv, cli_settings *settings);
void options_free(cli_settings *settings);
/* The part of a command's help that lists its options. */
void options_help(const cli_command *command, FILE *to);

/* ---- failing: failure.c ---- */

/* "nibble: ..." on stderr, after any progress line. Returns `code`. */
__attribute__((format(printf, 2, 3))) int fail(int code, const char *format, ...);
/* The same for a mistake on the command line; points to the command's help. Returns 2. */
__attribute__((format(printf, 2, 3))) int fail_usage(const cli_command *command, const char *format,
                                                     ...);
/* nib_last_error(), with the command's options for the libraries' fields. Valid until the next
 * call. */
const char *error_words(void);
/* Says error_words(), with the nearest device where there is none of that name. Returns the
 * status' exit code. */
int fail_status(nib_status status, const cli_settings *settings);
/* "warning: ..." on stderr, unless --quiet. */
__attribute__((format(printf, 2, 3))) void warn(const cli_settings *settings, const char *format,
                                                ...);

/* ---- interruption: main.c ---- */

/* Becomes non-zero on SIGINT, SIGTERM or SIGHUP. A second SIGINT ends the process. */
extern volatile int interrupted;

/* ---- words and numbers: words.c ---- */

enum { WORD_BYTES = 32 };

/* Each writes into `text` and returns it: "16.06 GB" (powers of 1000), "8.03 B" of a count, "1:02"
 * of seconds, "19.4 dB". */
const char *word_bytes(uint64_t bytes, char text[WORD_BYTES]);
const char *word_count(int64_t count, char text[WORD_BYTES]);
const char *word_seconds(double seconds, char text[WORD_BYTES]);
const char *word_decibels(double decibels, char text[WORD_BYTES]);
/* "1 tensor", "14 tensors" */
const char *word_counted(int64_t count, const char *thing, char text[WORD_BYTES]);
/* A byte count as people write one: 256M and 256MiB are 256 * 2^20, 256MB is 256 * 10^6. 0 where it
 * is none. */
int parse_bytes(const char *text, uint64_t *bytes_ret);
/* How many letters must change to turn one word into the other, case and '-' or '_' apart. */
int word_distance(const char *a, const char *b);
/* Offers words one by one and keeps the nearest to `word`; "" where none is near. */
typedef struct cli_nearest {
    const char *word;
    char best[64];
    int distance;
} cli_nearest;
cli_nearest nearest_start(const char *word);
void nearest_offer(cli_nearest *nearest, const char *candidate);
/* "; did you mean X?", or "" */
const char *nearest_hint(const cli_nearest *nearest, char text[96]);
/* Prints text with control characters replaced, so that a name from a file cannot drive the
 * terminal. */
void print_safe(FILE *to, const char *text);
/* The same, with each `letter` as `escape`. */
void print_escaped(FILE *to, const char *text, char letter, const char *escape);
/* Columns that the text takes, one for each code point. */
size_t word_width(const char *text);
/* Cuts the last part off a path, which is not empty: "a/b" becomes "a", "a" ".", "/a" "/". */
void parent_directory(char *path);
/* The directory itself, or the nearest one above it that exists. */
void existing_directory(char *path);
/* The text as a shell takes it: quoted where it must be. malloc'd; NULL without memory. */
char *shell_quote(const char *text);

/* ---- tables: table.c ---- */

typedef struct cli_table cli_table;

/* `headings`: columns separated by '|'; one that begins with '>' is set to the right. `as`:
 * AS_TEXT, AS_MARKDOWN or AS_CSV. Memory that runs out shows when it is printed. */
cli_table *table_new(const char *headings, int as);
__attribute__((format(printf, 2, 3))) void table_cell(cli_table *table, const char *format, ...);
/* word_bytes, word_count and word_decibels as cells; csv has the bare numbers. */
void table_bytes(cli_table *table, uint64_t bytes);
void table_count(cli_table *table, int64_t count);
void table_decibels(cli_table *table, double decibels);
void table_none(cli_table *table); /* no number: "-", in csv an empty cell */
void table_free(cli_table *table); /* NULL is fine */
/* Prints it on stdout and frees it. Returns 0, or 4 after saying that a cell was lost. */
int table_print(cli_table *table);

/* ---- results: json.c ---- */

/* JSON numbers and texts for what JSON has no word for: null for a number that is not finite, '?'
 * for bytes that are not UTF-8. */
json_t *json_number(double number);
json_t *json_text(const char *text);
json_t *json_bytes(uint64_t bytes);
/* {"version": 1, "command": name} */
json_t *json_result(const char *command);
json_t *json_errors(const nib_error_total *errors);
/* Prints on stdout and frees. Returns 0, or 4 after saying that there was no memory. */
int json_print(json_t *json);

/* ---- progress: progress.c ---- */

typedef struct cli_progress cli_progress;

/* Shows a run on stderr as the settings say; NULL without memory, which every call takes. */
cli_progress *progress_start(const cli_settings *settings);
void progress_show(void *progress, const nib_progress *now); /* nib_run_options.progress */
void progress_end(cli_progress *progress);

/* ---- runs: run.c ---- */

nib_run_options run_options(const cli_settings *settings, cli_progress *progress);
/* Adds one tensor's errors to a sum over tensors; in the order of the file, so that the sum is the
 * same everywhere. */
void errors_add(nib_error_total *sum, const nib_error_total *errors);
/* nib_error_sqnr, but infinite wherever there is no noise: a tensor of zeros is exact too. */
double errors_sqnr(const nib_error_total *errors);

/* ---- devices: cmd_devices.c ---- */

/* All devices; the caller frees the array. */
nib_status list_devices(nib_device_info **infos_ret, size_t *count_ret);
json_t *json_devices(const nib_device_info *infos, size_t count);

/* ---- what GGUF files say: keys.c ---- */

/* Numbers and strings by name; of arrays the type and count. One line of the most telling ones. */
json_t *json_keys(const nib_file *file);
void print_keys(const nib_file *file);

/* ---- checkpoints: tensors.c ---- */

/* 1: `text` ends in `end`. */
int ends_in(const char *text, const char *end);

/* Opens an input with the settings' memory cap. */
nib_status open_input(const cli_settings *settings, const char *path, nib_file **file_ret);
/* What a tensor is by its name, for tables: "attention", "mlp", "norm", ... A number below
 * tensor_kind_count(). */
size_t tensor_kind(const char *name);
size_t tensor_kind_count(void);
const char *tensor_kind_at(size_t kind);
int64_t tensor_elements(const nib_tensor *tensor);
uint64_t tensor_bytes(const nib_tensor *tensor);
/* "int4 group 128 zeros" */
void quant_storage(const nib_quant *quant, char *text, size_t size);
/* "BF16", "int4 group 128", "FP8 with scales": how its elements are stored. */
void tensor_storage(const nib_tensor *tensor, char *text, size_t size);
/* How the output stores what a job makes of a tensor, and the name of its scheme or type (NULL
 * where the tensor is not quantized). */
void decision_storage(const nib_decision *decision, char *text, size_t size);
const char *decision_scheme(const nib_decision *decision);
/* "4096 x 11008" */
void tensor_shape(const nib_tensor *tensor, char *text, size_t size);

#endif
