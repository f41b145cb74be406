/* svg.h - shapes and words of a picture, written as they come. Lengths are in pixels. */
#ifndef NIB_BENCH_SVG_H
#define NIB_BENCH_SVG_H

#include <stdio.h>

typedef enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END } svg_anchor;
typedef enum svg_marker { SVG_DISC, SVG_SQUARE, SVG_DIAMOND, SVG_TRIANGLE, SVG_MARKERS } svg_marker;

typedef struct svg_style {
    const char *color;
    double width, opacity;
    const char *dash; /* NULL: none */
} svg_style;

void svg_begin(FILE *to, double width, double height);
void svg_end(FILE *to);
void svg_rect(FILE *to, double x, double y, double width, double height, const char *fill);
void svg_line(FILE *to, double x1, double y1, double x2, double y2, svg_style style);
void svg_path(FILE *to, const double *x, const double *y, size_t count, svg_style style);
/* `open`: an outline filled with white. */
void svg_mark(FILE *to, double x, double y, double size, svg_marker marker, int open,
              const char *color);
/* Words are escaped. `turn`: degrees, around the point. */
__attribute__((format(printf, 8, 9))) void svg_text(FILE *to, double x, double y, double size,
                                                    svg_anchor anchor, double turn,
                                                    const char *color, const char *format, ...);

#endif
