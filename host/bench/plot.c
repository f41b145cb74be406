/* plot.c - a picture of a matmul's results. For every device and shape a row of two panels:
 * throughput against M, with each scheme's bound dashed and the M at which it stops beating the
 * plain product marked; and the same points under the measured roofs. Both logarithmic. */
#include "engine.h"
#include "svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SERIES = 24, MOST_ROWS = 24, MOST_CROSSINGS = 6 };
static const double width = 1240, row_height = 470, top = 64, plot_top = 58, plot_height = 340;
static const double left_x = 74, left_width = 400, right_x = 748, right_width = 400;
static const char *const ink = "#222222", *const grey = "#6b6b6b", *const faint = "#e4e4e4";

/* One column of one device and shape, in the order of M. */
typedef struct series {
    const bench_record *at[BENCH_MOST_M];
    size_t count;
    const char *color, *dash;
    svg_marker marker;
    double label_y;
} series;

typedef struct axis {
    double low, high; /* log10 of the ends */
    double from, to;  /* pixels */
} axis;

typedef struct panel {
    FILE *to;
    axis x, y;
    double left, top;
} panel;

/* Okabe and Ito's palette, which the colour-blind tell apart; plain products are black and grey. */
static const struct {
    const char *column, *color;
    svg_marker marker;
} looks[] = {{"int4", "#0072b2", SVG_DISC},      {"int8", "#d55e00", SVG_SQUARE},
             {"w8a8", "#009e73", SVG_TRIANGLE},  {"w4a8", "#cc79a7", SVG_DIAMOND},
             {"int4_asym", "#56b4e9", SVG_DISC}, {"int8_asym", "#e69f00", SVG_SQUARE},
             {"bf16", "#000000", SVG_DISC},      {"f16", "#444444", SVG_SQUARE},
             {"f32", "#8a8a8a", SVG_TRIANGLE},   {"int8 s32", "#8a6d3b", SVG_DIAMOND}};

static void give_look(series *s)
{
    const bench_record *r = s->at[0];
    size_t length = strcspn(r->column, r->ours ? " " : ""), count = sizeof looks / sizeof *looks;
    s->color = "#9a8a00", s->marker = SVG_SQUARE;
    for (size_t i = 0; i < count; i++)
        if (strlen(looks[i].column) == (r->ours ? length : strlen(r->column)) &&
            !strncmp(looks[i].column, r->column, strlen(looks[i].column)))
            s->color = looks[i].color, s->marker = looks[i].marker;
    s->dash = strstr(r->column, " codes") || strstr(r->column, " s32") ? "3 3" : NULL;
}

static double rate(const bench_record *r) { return r->operations / r->seconds; }

/* ---- axes ---- */

static double place(const axis *a, double value)
{
    return a->from + (a->to - a->from) * (log10(value) - a->low) / (a->high - a->low);
}

static void widen(axis *a, double value)
{
    if (value <= 0.0) return;
    if (log10(value) < a->low) a->low = log10(value);
    if (log10(value) > a->high) a->high = log10(value);
}

/* Some room at both ends, and never nothing. */
static void pad(axis *a, double share, double least)
{
    double room = (a->high - a->low) * share;
    if (a->high - a->low < least) room = (least - (a->high - a->low)) / 2;
    a->low -= room, a->high += room;
}

static void write_count(char text[24], double value)
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P"};
    int unit = 0;
    while (value >= 999.5 && unit < 5) value /= 1000, unit++;
    snprintf(text, 24, "%g%s", value, units[unit]);
}

/* Lines at 1, 2 and 5 of each power of ten; fewer where they would crowd. */
static void draw_ticks(const panel *p, const axis *a, int upright)
{
    double each = fabs(a->to - a->from) / (a->high - a->low); /* pixels a power of ten */
    static const double steps[] = {1, 2, 5};
    for (int power = (int)floor(a->low); power <= (int)ceil(a->high); power++)
        for (int i = 0; i < (each > 100 ? 3 : 1); i++) {
            double value = steps[i] * pow(10, power), at = place(a, value);
            char text[24];
            if (log10(value) < a->low - 1e-9 || log10(value) > a->high + 1e-9) continue;
            write_count(text, value);
            if (upright) {
                svg_line(p->to, p->x.from, at, p->x.to, at, (svg_style){faint, 1, 1, NULL});
                svg_text(p->to, p->x.from - 8, at + 4, 11, SVG_END, 0, grey, "%s", text);
            } else {
                svg_line(p->to, at, p->y.from, at, p->y.to, (svg_style){faint, 1, 1, NULL});
                svg_text(p->to, at, p->y.from + 17, 11, SVG_MIDDLE, 0, grey, "%s", text);
            }
        }
}

static void draw_frame(const panel *p, const char *title, const char *x_name)
{
    svg_line(p->to, p->x.from, p->y.from, p->x.to, p->y.from, (svg_style){grey, 1, 1, NULL});
    svg_line(p->to, p->x.from, p->y.from, p->x.from, p->y.to, (svg_style){grey, 1, 1, NULL});
    svg_text(p->to, p->x.from, p->y.to - 14, 13, SVG_START, 0, ink, "%s", title);
    svg_text(p->to, (p->x.from + p->x.to) / 2, p->y.from + 36, 12, SVG_MIDDLE, 0, ink, "%s",
             x_name);
    svg_text(p->to, p->x.from - 56, (p->y.from + p->y.to) / 2, 12, SVG_MIDDLE, -90, ink,
             "operations a second");
}

static panel new_panel(FILE *to, double x, double y, double across)
{
    panel p = {.to = to, .left = x, .top = y};
    p.x = (axis){HUGE_VAL, -HUGE_VAL, x, x + across};
    p.y = (axis){HUGE_VAL, -HUGE_VAL, y + plot_top + plot_height, y + plot_top};
    return p;
}

/* ---- throughput against M ---- */

static int by_label(const void *a, const void *b)
{
    const series *x = *(series *const *)a, *y = *(series *const *)b;
    return (x->label_y > y->label_y) - (x->label_y < y->label_y);
}

/* Names at the ends of the lines, moved apart where they would touch. */
static void draw_labels(const panel *p, series *all, size_t count)
{
    enum { GAP = 15 };
    series *sorted[MOST_SERIES];
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &all[i];
        all[i].label_y = place(&p->y, rate(all[i].at[all[i].count - 1]));
    }
    qsort(sorted, count, sizeof *sorted, by_label);
    for (size_t i = 1; i < count; i++)
        if (sorted[i]->label_y < sorted[i - 1]->label_y + GAP)
            sorted[i]->label_y = sorted[i - 1]->label_y + GAP;
    double over = count ? sorted[count - 1]->label_y - (p->y.from + 4) : 0;
    for (size_t i = count; over > 0 && i-- > 0;) {
        double most = i + 1 < count ? sorted[i + 1]->label_y - GAP : p->y.from + 4;
        if (sorted[i]->label_y > most) sorted[i]->label_y = most;
    }
    for (size_t i = 0; i < count; i++) {
        const series *s = sorted[i];
        const bench_record *r = s->at[s->count - 1];
        double x = p->x.to + 34, y = place(&p->y, rate(r));
        svg_line(p->to, place(&p->x, (double)r->m) + 6, y, x - 12, s->label_y,
                 (svg_style){s->color, 0.8, 0.5, NULL});
        svg_mark(p->to, x - 6, s->label_y, 3.4, s->marker, s->dash != NULL, s->color);
        if (r->ours) svg_text(p->to, x + 4, s->label_y + 4, 12, SVG_START, 0, ink, "%s", r->column);
        else
            svg_text(p->to, x + 4, s->label_y + 4, 11, SVG_START, 0, grey, "%s, %s", r->column,
                     r->by);
    }
}

static void draw_series(const panel *p, const series *s)
{
    double x[BENCH_MOST_M], y[BENCH_MOST_M], bound[BENCH_MOST_M];
    int bounded = 1;
    for (size_t i = 0; i < s->count; i++) {
        const bench_record *r = s->at[i];
        x[i] = place(&p->x, (double)r->m), y[i] = place(&p->y, rate(r));
        bounded &= r->bound > 0.0;
        bound[i] = bounded ? place(&p->y, r->operations / r->bound) : 0.0;
    }
    int whole = s->at[0]->ours && !s->dash;
    if (whole && bounded)
        svg_path(p->to, x, bound, s->count, (svg_style){s->color, 1.4, 0.55, "7 4"});
    svg_path(p->to, x, y, s->count,
             (svg_style){s->color, whole ? 2.4 : 1.4, whole ? 1.0 : 0.8, s->dash});
    for (size_t i = 0; i < s->count; i++)
        svg_mark(p->to, x[i], y[i], whole ? 3.6 : 2.8, s->marker, s->dash != NULL, s->color);
}

/* Where a scheme and the plain product trade places: rings, and words below the title. */
static void draw_crossings(const panel *p, const bench_result *result, const series *all,
                           size_t count)
{
    int said = 0;
    for (size_t n = 0; n < count; n++) {
        const series *s = &all[n];
        if (!s->at[0]->ours || s->dash) continue;
        for (size_t i = 1; i < s->count; i++) {
            const bench_record *a = s->at[i - 1], *b = s->at[i];
            const bench_record *plain_a = bench_baseline(result, a),
                               *plain_b = bench_baseline(result, b);
            if (!plain_a || !plain_b || said == MOST_CROSSINGS) continue;
            double before = log(plain_a->seconds / a->seconds),
                   after = log(plain_b->seconds / b->seconds);
            if ((before > 0) == (after > 0)) continue;
            double share = before / (before - after);
            double m = exp(log((double)a->m) + share * log((double)b->m / (double)a->m));
            double speed = exp(log(rate(a)) + share * log(rate(b) / rate(a)));
            double x = place(&p->x, m), y = place(&p->y, speed);
            svg_line(p->to, x, y + 7, x, p->y.from, (svg_style){s->color, 1, 0.8, "1 3"});
            svg_mark(p->to, x, y, 6.5, SVG_DISC, 1, s->color);
            svg_text(p->to, p->x.from + 10, p->y.to + 16 + 16 * said, 11.5, SVG_START, 0, s->color,
                     "%s %s the plain product up to M = %.0f", a->column,
                     before > 0 ? "beats" : "trails", m);
            said++;
        }
    }
}

static void draw_m_ticks(const panel *p, const series *s)
{
    double last = -HUGE_VAL;
    for (size_t i = 0; i < s->count; i++) {
        double x = place(&p->x, (double)s->at[i]->m);
        if (x < last + 34) continue;
        last = x;
        svg_line(p->to, x, p->y.from, x, p->y.to, (svg_style){faint, 1, 1, NULL});
        svg_text(p->to, x, p->y.from + 17, 11, SVG_MIDDLE, 0, grey, "%lld", (long long)s->at[i]->m);
    }
}

static void draw_throughput(FILE *to, double y, const bench_result *result, series *all,
                            size_t count)
{
    panel p = new_panel(to, left_x, y, left_width);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < all[i].count; j++) {
            const bench_record *r = all[i].at[j];
            widen(&p.x, (double)r->m), widen(&p.y, rate(r));
            if (r->bound > 0.0 && r->ours) widen(&p.y, r->operations / r->bound);
        }
    pad(&p.x, 0.03, 0.6), pad(&p.y, 0.08, 1.0);
    p.y.high += (p.y.high - p.y.low) * 0.14; /* for words */
    draw_ticks(&p, &p.y, 1);
    draw_m_ticks(&p, &all[0]);
    draw_frame(&p, "Throughput; dashed: what the roofs allow", "M, rows of x");
    draw_crossings(&p, result, all, count);
    for (size_t i = count; i-- > 0;) draw_series(&p, &all[i]);
    draw_labels(&p, all, count);
}

/* ---- the roofline ---- */

/* Roofs from the highest down; their names stand to the right, moved apart. */
static void draw_roofs(const panel *p, const bench_device *d)
{
    static const char *const names[BENCH_PEAKS] = {"f32", "16-bit", "int8"};
    double start = pow(10, p->x.low), end = pow(10, p->x.high), below = HUGE_VAL,
           last_y = -HUGE_VAL;
    char text[24];
    for (int n = 0; n < BENCH_PEAKS; n++) {
        int next = -1;
        for (int i = 0; i < BENCH_PEAKS; i++)
            if (d->peak[i] < below && (next < 0 || d->peak[i] > d->peak[next])) next = i;
        if (next < 0 || d->peak[next] <= 0) break;
        double peak = below = d->peak[next], y = place(&p->y, peak);
        double knee = d->read > 0 ? fmin(fmax(peak / d->read, start), end) : start;
        svg_line(p->to, place(&p->x, knee), y, p->x.to, y, (svg_style){grey, 1.4, 1, NULL});
        write_count(text, peak < 1e12 ? round(peak / 1e9) * 1e9 : round(peak / 1e10) * 1e10);
        last_y = fmax(y + 4, last_y + 14);
        svg_text(p->to, p->x.to + 7, last_y, 11, SVG_START, 0, grey, "%s %s", names[next], text);
    }
    if (d->read <= 0) return;
    double most = fmax(d->peak[BENCH_F32], fmax(d->peak[BENCH_F16], d->peak[BENCH_INT8]));
    double to = fmin(most > 0 ? most / d->read : end, end);
    double x1 = place(&p->x, start), y1 = place(&p->y, start * d->read), x2 = place(&p->x, to),
           y2 = place(&p->y, to * d->read);
    svg_line(p->to, x1, y1, x2, y2, (svg_style){grey, 1.4, 1, NULL});
    write_count(text, round(d->read / 1e8) * 1e8);
    svg_text(p->to, x1 + (x2 - x1) * 0.3 - 5, y1 + (y2 - y1) * 0.3 - 5, 11, SVG_MIDDLE,
             atan2(y2 - y1, x2 - x1) * 57.29578, grey, "reads %sB/s", text);
}

static void draw_roofline(FILE *to, double y, const bench_device *d, const series *all,
                          size_t count)
{
    panel p = new_panel(to, right_x, y, right_width);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < all[i].count; j++) {
            const bench_record *r = all[i].at[j];
            widen(&p.x, r->operations / r->bytes), widen(&p.y, rate(r));
        }
    for (int i = 0; i < BENCH_PEAKS; i++) widen(&p.y, d->peak[i]);
    if (d->read > 0) widen(&p.y, d->read * pow(10, p.x.low));
    pad(&p.x, 0.06, 1.0), pad(&p.y, 0.07, 1.0);
    if (d->read > 0) widen(&p.y, d->read * pow(10, p.x.low));
    draw_ticks(&p, &p.y, 1);
    draw_ticks(&p, &p.x, 0);
    draw_frame(&p, "Roofline; roofs measured in this run", "operations a byte moved");
    draw_roofs(&p, d);
    for (size_t i = count; i-- > 0;)
        for (size_t j = 0; j < all[i].count; j++) {
            const bench_record *r = all[i].at[j];
            svg_mark(to, place(&p.x, r->operations / r->bytes), place(&p.y, rate(r)), 3.6,
                     all[i].marker, all[i].dash != NULL, all[i].color);
        }
}

/* ---- rows ---- */

static size_t collect(const bench_result *result, const bench_record *first, series *all)
{
    size_t count = 0;
    for (size_t i = 0; i < result->count; i++) {
        const bench_record *r = &result->records[i];
        if (r->device_index != first->device_index || strcmp(r->shape.name, first->shape.name))
            continue;
        size_t s = 0;
        while (s < count &&
               (strcmp(all[s].at[0]->column, r->column) || strcmp(all[s].at[0]->by, r->by)))
            s++;
        if (s == MOST_SERIES) continue;
        if (s == count) all[count++].count = 0;
        if (all[s].count < BENCH_MOST_M) all[s].at[all[s].count++] = r;
    }
    for (size_t s = 0; s < count; s++) give_look(&all[s]);
    return count;
}

void bench_plot(const bench_result *result, const char *title, FILE *to)
{
    static series all[MOST_SERIES];
    const bench_record *rows[MOST_ROWS];
    size_t count = 0;
    for (size_t i = 0; i < result->count && count < MOST_ROWS; i++) {
        const bench_record *r = &result->records[i];
        size_t seen = 0;
        while (seen < count && (rows[seen]->device_index != r->device_index ||
                                strcmp(rows[seen]->shape.name, r->shape.name)))
            seen++;
        if (seen == count) rows[count++] = r;
    }
    svg_begin(to, width, top + row_height * (double)count);
    svg_text(to, 24, 36, 19, SVG_START, 0, ink, "%s", title);
    svg_text(to, 24, 56, 12, SVG_START, 0, grey, "revision %s; %s",
             *bench_revision() ? bench_revision() : "unknown",
             result->working_set_bytes ? "cold weights" : "the same weights in every run (hot)");
    for (size_t i = 0; i < count; i++) {
        const bench_record *r = rows[i];
        const bench_device *d = &result->devices[r->device_index];
        double y = top + row_height * (double)i;
        size_t series_count = collect(result, r, all);
        svg_text(to, 24, y + 22, 14, SVG_START, 0, ink, "%s: %lld x %lld on %s (%s)", r->shape.name,
                 (long long)r->shape.n, (long long)r->shape.k, r->device, d->info.model);
        draw_throughput(to, y, result, all, series_count);
        draw_roofline(to, y, d, all, series_count);
    }
    svg_end(to);
}
