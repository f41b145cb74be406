/* bench_sentence.c - what a table of `nibble bench` comes to, in a sentence. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* Of one device and shape: the M in the order measured. */
typedef struct scene {
    const bench_result *result;
    const bench_record *first;
    int64_t m[BENCH_MOST_M];
    size_t m_count;
} scene;

static int belongs(const scene *s, const bench_record *r)
{
    return r->device_index == s->first->device_index &&
           !strcmp(r->shape.name, s->first->shape.name);
}

/* A whole product: neither codes that were quantized before, nor a vendor's bare int32 sums. */
static int is_whole(const bench_record *r)
{
    return r->baseline || (r->ours && !strstr(r->column, " codes"));
}

static const bench_record *find(const scene *s, const char *column, const char *by, int64_t m)
{
    for (size_t i = 0; i < s->result->count; i++) {
        const bench_record *r = &s->result->records[i];
        if (belongs(s, r) && r->m == m && !strcmp(r->column, column) && !strcmp(r->by, by))
            return r;
    }
    return NULL;
}

static const bench_record *fastest(const scene *s, int64_t m)
{
    const bench_record *best = NULL;
    for (size_t i = 0; i < s->result->count; i++) {
        const bench_record *r = &s->result->records[i];
        if (belongs(s, r) && r->m == m && is_whole(r) && (!best || r->seconds < best->seconds))
            best = r;
    }
    return best;
}

static int same_column(const bench_record *a, const bench_record *b)
{
    return !strcmp(a->column, b->column) && !strcmp(a->by, b->by);
}

void bench_heading(const bench_result *result, const bench_record *r, char *text, size_t bytes)
{
    char device[32] = "", by[BENCH_NAME + 8] = "";
    if (result->device_count > 1) snprintf(device, sizeof device, "%s ", r->device);
    if (!r->ours) snprintf(by, sizeof by, " (%s)", r->by);
    snprintf(text, bytes, "%s%s%s", device, r->column, by);
}

/* What the quantized columns are held against, if it is one and the same at every M. */
static const char *baseline_name(const scene *s, char text[128])
{
    const bench_record *one = NULL;
    for (size_t i = 0; i < s->m_count; i++) {
        bench_record at = *s->first;
        at.m = s->m[i];
        const bench_record *b = bench_baseline(s->result, &at);
        if (one && b && !same_column(one, b)) return "the fastest plain product";
        if (b) one = b;
    }
    if (!one) return NULL;
    snprintf(text, 128, "%s (%s)", one->column, one->by);
    return text;
}

/* "up to M = 16", and so on, of the M at which a column wins. */
static void print_where(FILE *to, const scene *s, const unsigned char *wins)
{
    size_t count = 0, first = s->m_count, last = 0;
    for (size_t i = 0; i < s->m_count; i++)
        if (wins[i]) {
            if (!count++) first = i;
            last = i;
        }
    if (count == s->m_count) fputs("at every M measured", to);
    else if (!count) fputs("at no M measured", to);
    else if (last - first + 1 == count && first == 0)
        fprintf(to, "up to M = %lld", (long long)s->m[last]);
    else if (last - first + 1 == count && last + 1 == s->m_count)
        fprintf(to, "from M = %lld", (long long)s->m[first]);
    else
        for (size_t i = first, n = 0; i <= last; i++)
            if (wins[i]) fprintf(to, "%s%lld", n++ ? ", " : "at M = ", (long long)s->m[i]);
}

static void print_wins(FILE *to, const scene *s)
{
    char text[128];
    const char *name = baseline_name(s, text);
    if (!name) {
        fprintf(to, "no plain product on %s to compare with", s->first->device);
        return;
    }
    size_t said = 0;
    for (size_t i = 0; i < s->result->count; i++) {
        const bench_record *r = &s->result->records[i];
        unsigned char wins[BENCH_MOST_M] = {0};
        if (!belongs(s, r) || !r->ours || !is_whole(r) || r->m != s->m[0]) continue;
        for (size_t j = 0; j < s->m_count; j++) {
            const bench_record *at = find(s, r->column, r->by, s->m[j]);
            const bench_record *b = at ? bench_baseline(s->result, at) : NULL;
            wins[j] = b && at->seconds < b->seconds;
        }
        if (said++) fprintf(to, "; %s ", r->column);
        else fprintf(to, "%s beats %s ", r->column, name);
        print_where(to, s, wins);
    }
}

static void print_fastest(FILE *to, const scene *s)
{
    fputs("fastest: ", to);
    for (size_t i = 0, said = 0; i < s->m_count;) {
        const bench_record *best = fastest(s, s->m[i]);
        size_t end = i + 1;
        while (end < s->m_count && same_column(fastest(s, s->m[end]), best)) end++;
        if (said++) fputs(", ", to);
        fputs(best->column, to);
        if (!best->ours) fprintf(to, " (%s)", best->by);
        if (end < s->m_count) fprintf(to, " up to M = %lld", (long long)s->m[end - 1]);
        else if (i) fputs(" above", to);
        i = end;
    }
}

char *bench_sentence(const bench_result *result, const bench_record *first)
{
    scene s = {.result = result, .first = first};
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *r = &result->records[i];
        if (belongs(&s, r) && (!s.m_count || s.m[s.m_count - 1] != r->m) &&
            s.m_count < BENCH_MOST_M)
            s.m[s.m_count++] = r->m;
    }
    char *text = NULL;
    size_t bytes;
    FILE *to = open_memstream(&text, &bytes);
    if (!to) return NULL;
    print_wins(to, &s);
    fputs("; ", to);
    print_fastest(to, &s);
    return fclose(to) ? NULL : text;
}
