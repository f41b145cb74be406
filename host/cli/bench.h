/* bench.h - what the files of `nibble bench` share. */
#ifndef NIB_CLI_BENCH_H
#define NIB_CLI_BENCH_H

#include "../bench/bench.h"
#include "cli.h"

/* The type that settings->plain_type says. */
nib_dtype bench_plain_type(const cli_settings *settings);

/* ---- printing: bench_report.c ---- */

/* Prints the result as the settings say. Returns 0 or an exit code. */
int bench_print(const cli_settings *settings, const bench_spec *spec, const bench_result *result);

/* The sentence that a table ends with: up to which M each quantized column beats 16 bits, and
 * what is fastest where. malloc'd; NULL without memory. `first` is any record of the device and
 * shape. */
char *bench_sentence(const bench_result *result, const bench_record *first);
/* How a table heads a column: "int4", "bf16 (oneDNN 2.6.3)"; with the device where there are
 * several. */
void bench_heading(const bench_result *result, const bench_record *record, char *text,
                   size_t bytes);
/* "61.4 us" */
const char *word_duration(double seconds, char text[WORD_BYTES]);

/* ---- the gate: bench_compare.c ---- */

/* A list of records out of one object with "records", or of one object a line; NULL after saying
 * what is wrong with the file. */
json_t *bench_load(const char *path, int *code_ret);
/* Compares nibble's records with those of an earlier result. Returns 0, 8 after naming what is
 * slower, or 2 where they have nothing in common. */
int bench_compare(const cli_command *command, const cli_settings *settings, const json_t *base,
                  const bench_spec *spec, const bench_result *result);

/* One record as JSON, as jsonl has it. */
json_t *json_record(const bench_spec *spec, const bench_result *result, const bench_record *record);

#endif
