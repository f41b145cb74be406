/* svg.c - see svg.h. */
#include "svg.h"

#include <stdarg.h>

void svg_begin(FILE *to, double width, double height)
{
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
            "viewBox=\"0 0 %.0f %.0f\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\">\n",
            width, height, width, height);
    svg_rect(to, 0, 0, width, height, "#ffffff");
}

void svg_end(FILE *to) { fputs("</svg>\n", to); }

void svg_rect(FILE *to, double x, double y, double width, double height, const char *fill)
{
    fprintf(to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y,
            width, height, fill);
}

static void write_style(FILE *to, svg_style s)
{
    fprintf(to, " fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" stroke-linejoin=\"round\"",
            s.color, s.width);
    if (s.opacity < 1.0) fprintf(to, " stroke-opacity=\"%.2f\"", s.opacity);
    if (s.dash) fprintf(to, " stroke-dasharray=\"%s\"", s.dash);
    fputs("/>\n", to);
}

void svg_line(FILE *to, double x1, double y1, double x2, double y2, svg_style style)
{
    fprintf(to, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"", x1, y1, x2, y2);
    write_style(to, style);
}

void svg_path(FILE *to, const double *x, const double *y, size_t count, svg_style style)
{
    fputs("<polyline points=\"", to);
    for (size_t i = 0; i < count; i++) fprintf(to, "%s%.1f,%.1f", i ? " " : "", x[i], y[i]);
    fputs("\"", to);
    write_style(to, style);
}

void svg_mark(FILE *to, double x, double y, double size, svg_marker marker, int open,
              const char *color)
{
    /* the corners of each, around the middle; a disc has none */
    static const double corners[SVG_MARKERS][8] = {
        [SVG_SQUARE] = {-0.9, -0.9, 0.9, -0.9, 0.9, 0.9, -0.9, 0.9},
        [SVG_DIAMOND] = {0, -1.25, 1.25, 0, 0, 1.25, -1.25, 0},
        [SVG_TRIANGLE] = {0, -1.15, 1.1, 0.85, -1.1, 0.85, 0, -1.15}};
    if (marker == SVG_DISC) {
        fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"", x, y, size);
    } else {
        fputs("<polygon points=\"", to);
        for (int i = 0; i < 8; i += 2)
            fprintf(to, "%s%.1f,%.1f", i ? " " : "", x + size * corners[marker][i],
                    y + size * corners[marker][i + 1]);
        fputs("\"", to);
    }
    fprintf(to, " fill=\"%s\" stroke=\"%s\" stroke-width=\"1.3\"/>\n", open ? "#ffffff" : color,
            open ? color : "#ffffff");
}

/* Letters stand on a white edge, so that lines behind them do not make them hard to read. */
static void write_escaped(FILE *to, const char *text)
{
    for (; *text; text++) {
        unsigned char letter = (unsigned char)*text;
        if (letter == '&') fputs("&amp;", to);
        else if (letter == '<') fputs("&lt;", to);
        else if (letter == '>') fputs("&gt;", to);
        else fputc(letter < 0x20 || letter >= 0x7f ? '?' : letter, to);
    }
}

void svg_text(FILE *to, double x, double y, double size, svg_anchor anchor, double turn,
              const char *color, const char *format, ...)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(to,
            "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%.1f\" text-anchor=\"%s\" fill=\"%s\" "
            "stroke=\"#ffffff\" stroke-width=\"3\" paint-order=\"stroke\"",
            x, y, size, anchors[anchor], color);
    if (turn != 0.0) fprintf(to, " transform=\"rotate(%.0f %.1f %.1f)\"", turn, x, y);
    fputs(">", to);
    write_escaped(to, text);
    fputs("</text>\n", to);
}
