/* progress.c - a run as it goes, on stderr: one line that is written again and again on a terminal,
 * now and then a line elsewhere, JSON lines for programs. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR = 24, NARROWEST = 20, WIDEST = 512 };

#define LINE_SECONDS 0.1   /* between two drawings */
#define PLAIN_SECONDS 10.0 /* between two plain lines */
#define JSON_SECONDS 1.0   /* between two JSON lines that finish no tensor */
#define RATE_SECONDS 4.0   /* how far back the rate looks */

struct cli_progress {
    int form;   /* PROGRESS_LINE, _PLAIN, _JSON */
    int colour; /* NO_COLOR is not set */
    int drawn;  /* a line stands on the terminal */
    int begun;
    double shown_at, rate_at, rate; /* seconds; bytes a second, smoothed */
    uint64_t rate_bytes;
    char name[256]; /* the tensor finished last, and how well */
    char quality[WORD_BYTES];
};

static int set_in_environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

static int form_of(const cli_settings *settings)
{
    if (settings->progress != PROGRESS_AUTO) return settings->progress;
    if (settings->as == AS_JSON) return PROGRESS_JSON;
    if (settings->quiet) return PROGRESS_NONE;
    const char *terminal = getenv("TERM");
    int dumb = !terminal || !strcmp(terminal, "dumb");
    return isatty(STDERR_FILENO) && !dumb ? PROGRESS_LINE : PROGRESS_PLAIN;
}

cli_progress *progress_start(const cli_settings *settings)
{
    int form = form_of(settings);
    cli_progress *p = form == PROGRESS_NONE ? NULL : calloc(1, sizeof *p);
    if (!p) return NULL;
    p->form = form;
    p->colour = !set_in_environment("NO_COLOR");
    return p;
}

/* Asked anew for each drawing, so that the line follows the window. */
static int columns(void)
{
    const char *text = getenv("COLUMNS");
    int width = text ? atoi(text) : 0;
    struct winsize window;
    if (width <= 0 && !ioctl(STDERR_FILENO, TIOCGWINSZ, &window)) width = window.ws_col;
    if (width <= 0) width = 80;
    return width < NARROWEST ? NARROWEST : width > WIDEST ? WIDEST : width;
}

static void follow_rate(cli_progress *p, const nib_progress *now)
{
    if (!p->begun || now->bytes_done < p->rate_bytes) {
        p->begun = 1;
        p->rate_at = now->seconds;
        p->rate_bytes = now->bytes_done;
        return;
    }
    double elapsed = now->seconds - p->rate_at;
    if (elapsed < LINE_SECONDS) return;
    double rate = (double)(now->bytes_done - p->rate_bytes) / elapsed;
    double weight = p->rate > 0 ? 1 - exp(-elapsed / RATE_SECONDS) : 1;
    p->rate += weight * (rate - p->rate);
    p->rate_at = now->seconds;
    p->rate_bytes = now->bytes_done;
}

/* "10.1 GB/16.1 GB  5.60 GB/s  ETA 0:01" */
static void write_numbers(const cli_progress *p, const nib_progress *now, char *text, size_t size)
{
    char done[WORD_BYTES], total[WORD_BYTES], rate[WORD_BYTES], left[WORD_BYTES];
    double rest = (double)(now->bytes_total - now->bytes_done);
    snprintf(text, size, "%s/%s  %s/s  ETA %s", word_bytes(now->bytes_done, done),
             word_bytes(now->bytes_total, total), word_bytes((uint64_t)p->rate, rate),
             word_seconds(p->rate > 0 ? rest / p->rate : HUGE_VAL, left));
}

static int percent(const nib_progress *now)
{
    return now->bytes_total ? (int)(100.0 * (double)now->bytes_done / (double)now->bytes_total)
                            : 100;
}

static void draw_bar(const cli_progress *p, int done)
{
    static const char full[] = "########################", none[] = "------------------------";
    int filled = done * BAR / 100;
    fprintf(stderr, " |%s%.*s%s%.*s|", p->colour ? "\x1b[32m" : "", filled, full,
            p->colour ? "\x1b[0m" : "", BAR - filled, none);
}

/* The end of a name says more than its beginning. */
static const char *cut_to(const char *name, size_t width)
{
    size_t length = word_width(name);
    for (; length > width; length--) {
        name++;
        while (((unsigned char)*name & 0xc0u) == 0x80u) name++;
    }
    return name;
}

static void draw_line(cli_progress *p, const nib_progress *now)
{
    char numbers[160];
    write_numbers(p, now, numbers, sizeof numbers);
    int width = columns() - 1, used = 4, done = percent(now);
    fprintf(stderr, "\r%3d%%", done);
    if (width >= used + BAR + 3 + (int)strlen(numbers) + 1) {
        draw_bar(p, done);
        used += BAR + 3;
    }
    fprintf(stderr, " %.*s", width - used - 1, numbers);
    used += 1 + (int)strlen(numbers);
    int quality = p->quality[0] ? (int)strlen(p->quality) + 2 : 0,
        room = width - used - 2 - quality;
    if (p->name[0] && room >= 12) {
        fputs("  ", stderr);
        print_safe(stderr, cut_to(p->name, (size_t)room));
        if (quality) fprintf(stderr, "  %s", p->quality);
    }
    fputs("\x1b[K", stderr);
    p->drawn = 1;
}

static void write_json(const nib_progress *now)
{
    json_t *line =
        json_pack("{s:i, s:s, s:o, s:o, s:f}", "version", JSON_VERSION, "event",
                  now->tensor ? "tensor" : "progress", "bytes_done", json_bytes(now->bytes_done),
                  "bytes_total", json_bytes(now->bytes_total), "seconds", now->seconds);
    if (line && now->tensor) {
        json_object_set_new(line, "tensor", json_text(now->tensor->tensor->name));
        if (decision_scheme(now->tensor))
            json_object_set_new(line, "scheme", json_text(decision_scheme(now->tensor)));
        if (now->errors)
            json_object_set_new(line, "sqnr_db", json_number(errors_sqnr(now->errors)));
    }
    if (!line) return;
    json_dumpf(line, stderr, JSON_COMPACT);
    fputc('\n', stderr);
    json_decref(line);
}

static void remember(cli_progress *p, const nib_progress *now)
{
    if (!now->tensor) return;
    snprintf(p->name, sizeof p->name, "%s", now->tensor->tensor->name);
    p->quality[0] = 0;
    if (now->errors) word_decibels(errors_sqnr(now->errors), p->quality);
}

void progress_show(void *user, const nib_progress *now)
{
    static const double between[] = {[PROGRESS_LINE] = LINE_SECONDS,
                                     [PROGRESS_PLAIN] = PLAIN_SECONDS,
                                     [PROGRESS_JSON] = JSON_SECONDS};
    cli_progress *p = user;
    if (!p) return;
    follow_rate(p, now);
    remember(p, now);
    int last = now->bytes_done >= now->bytes_total;
    int due = now->seconds - p->shown_at >= between[p->form];
    if (p->form == PROGRESS_JSON ? !due && !now->tensor : !due && !(last && p->drawn)) return;
    p->shown_at = now->seconds;
    if (p->form == PROGRESS_JSON) {
        write_json(now);
    } else if (p->form == PROGRESS_LINE) {
        draw_line(p, now);
    } else {
        char numbers[160];
        write_numbers(p, now, numbers, sizeof numbers);
        fprintf(stderr, "%3d%% %s  ", percent(now), numbers);
        print_safe(stderr, p->name);
        fprintf(stderr, "  %s\n", p->quality);
    }
    fflush(stderr);
}

void progress_end(cli_progress *p)
{
    if (!p) return;
    if (p->drawn) fputs("\r\x1b[K", stderr);
    fflush(stderr);
    free(p);
}
