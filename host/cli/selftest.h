/* selftest.h - the checks of cmd_selftest.c: operations, inputs, and what came of them. */
#ifndef NIB_CLI_SELFTEST_H
#define NIB_CLI_SELFTEST_H

#include "cli.h"

enum { MAX_SPANS = 8, SELFTEST_OPERATIONS = 8 };

/* A device to run on. */
typedef struct test_side {
    nib_ctx *ctx;
    nib_stream *stream;
    nib_mem spans[MAX_SPANS]; /* of the running operation */
    int span_count;
    nib_status status; /* of its first failure */
} test_side;

nib_status side_open(const char *device, int32_t threads, test_side *side);
void side_close(test_side *side); /* also after a side_open that failed */

typedef struct test_tally {
    int checked, wrong;
} test_tally;

typedef struct test_outcome {
    char device[24];
    test_tally operations[SELFTEST_OPERATIONS];
    test_tally all;
    char first[256]; /* the first thing that was wrong */
} test_outcome;

const char *selftest_operation(size_t index);
/* All of them on every sample, against `ref`, byte for byte. */
nib_status selftest_device(const char *name, int32_t threads, test_side *ref,
                           test_outcome *outcome);
/* How many of the answers worked out on paper `ref` gets wrong. */
int selftest_paper(test_side *ref);

#endif
