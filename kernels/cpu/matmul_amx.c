/* matmul_amx.c - products of many rows of x on Intel AMX: tiles of 16 rows of 64 bytes, a dot of
 * two of which adds 16 x 16 sums over 64 columns of int8, or 32 of bf16.
 *
 *   x       [8 tiles of 16 rows][16 steps][16 rows][64 bytes]    a block of columns, zeros behind K
 *   w       [2 panels][16 steps][16][16 rows of W][4 bytes]      a strip of it: w' int8, or u - z bf16
 *   open    [8][16 panels][16 rows][16]   sums of a group that goes on: int32 or f32
 *   totals  [8][16 panels][16 rows][16]   y, before x's scale and the bias
 *
 * A panel of 8-bit codes (panel.h) is such tiles already, which int8 x meets where they lie;
 * what is left is laid out a strip at a time, near the processor, for all rows of x. Scales and
 * zero points meet the sums where a group ends, so no weight is rounded. A pass takes two tiles
 * of x and two panels: four sums and four operands are all the tiles there are.
 *
 * Bound, expected and not measured, as no machine with AMX has run this: a dot takes 16 cycles
 * (2048 operations of int8 in each, 1024 of bf16), and two loads of 8 beside it. To each dot
 * come, counted: of laying out x 3; of W 16 / (M / 16), four times that for 8 bits as bf16; of
 * sums of a group that goes on 1.5; of each end of a group 32, to store and to scale its sums.
 * At M = 128, nothing hidden under dots, that leaves of the peak for int8 x and 8 bits with one
 * group a row 0.78, for 4 bits in groups of 128 0.43, and with bf16 x 0.55: 3.8, 2.1 and 1.4
 * TOPS a core at 2.4 GHz. All but the tiles' instructions, which a Zen 4 lacks, took 2.9, 9.8
 * and 11.3 ms there at M = 512 for 4096 x 4096 (its stores of 64 bytes take two cycles); added
 * to the dots that would be 2.7, 1.3 and 0.9. Few rows: reading W, so a pass fetches its share
 * of the next strip. From 9 rows on tiles should win: for 4 bits that rest took 0.60 and 0.74 ms
 * there, and a tile of 16 rows has dots of 0.11 and 0.22; vectors took 0.92 and 1.59. */
#include "vec_avx512.h"

#include "operands_512.h"
#include "tiles.h"

enum {
    STEPS = 16, /* tiles along K */
    TILE_M = 128,
    TILE_N = 256,
    X_TILES = TILE_M / TILE_ROWS,
    W_TILES = TILE_N / PANEL_ROWS,
    WIDE = 2,        /* panels of a strip */
    MOST_PIECES = 16 /* a group has a step or more */
};

typedef nib_u8 tile_bytes[TILE_ROWS][TILE_ROW];

/* The thread's scratch. */
typedef struct block {
    _Alignas(64) tile_bytes x[X_TILES][STEPS], w[WIDE][STEPS], sums[2 * WIDE];
    tile_bytes open[X_TILES][W_TILES], totals[X_TILES][W_TILES];
    /* Sums from a group's begin on, and those of a group that goes on: of codes of W; of float
     * x; of codes of x, less their zero points where the group ends. */
    _Alignas(64) nib_i32 packed[MOST_PIECES][WIDE][LANES], open_packed[W_TILES][LANES];
    nib_i32 ones[MOST_PIECES][TILE_M], open_ones[TILE_M];
    float float_ones[MOST_PIECES][TILE_M], open_float_ones[TILE_M];
    piece pieces[MOST_PIECES];
    int piece_count;
    nib_i64 column, end; /* of the block */
    int x_tiles, panels; /* of the item */
    int raw;             /* W is multiplied as it is packed, unsigned */
} block;
_Static_assert(sizeof(block) <= NIB_SCRATCH_BYTES, "a block fits the scratch");

/* Two panels of a block of columns. */
typedef struct strip {
    int first;                             /* panel of the item */
    const nib_u8 *from[WIDE], *next[WIDE]; /* their codes; those of the strip after */
    int direct;                            /* steps whose codes are tiles where they lie */
    int step_bytes;                        /* of codes in a panel */
    int lines;                             /* of the next strip that a pass fetches at a step */
} strip;

INLINE int step_columns(int form) { return TILE_ROW / 4 * step_codes(form); }

/* Sums of four bytes u8 x s8 a lane, one factor being 1. */
INLINE vi total_bytes(vi u, vi s) { return v_madd(v_maddubs(u, s), (vw)v_splat_int(0x00010001)); }

/* ---- laying out ---- */

/* Row `row` of x, columns of the block. Returns the sum of its codes, where `sums`. */
INLINE nib_i32 lay_row(block *b, const nib_u8 *from, nib_i64 bytes, int row, int sums)
{
    nib_u8 *to = b->x[row / TILE_ROWS][0][row % TILE_ROWS];
    vi sum = v_splat_int(0);
    for (nib_i64 at = 0; at < bytes; at += TILE_ROW, to += TILE_BYTES) {
        __mmask64 inside = bytes - at < TILE_ROW ? UINT32_MAX : UINT64_MAX;
        vi x = (vi)_mm512_maskz_loadu_epi8(inside, from + at);
        v_store(to, x);
        if (sums) sum += total_bytes(v_splat_int(0x01010101), x);
    }
    return _mm512_reduce_add_epi32((__m512i)sum);
}

/* Sums of row `row` of x, which is row m + row of all. Prepared x has those of groups of codes
 * where W has zeros or mins; raw codes without them have one group, of which the block adds
 * `total`. */
INLINE void total_codes_of(block *b, const nib_args *a, const x_rows *x, nib_i64 m, int row,
                           nib_i32 total)
{
    for (int i = 0; i < b->piece_count; i++) {
        const piece *part = &b->pieces[i];
        nib_i32 sum = total + (part->begins ? 0 : b->open_ones[row]);
        if (a->offset != NIB_O_NONE) sum = x->sums[(m + row) * a->scale_cols + part->g];
        b->open_ones[row] = sum;
        b->ones[i][row] = sum - wrap_mul(x->zeros[m + row], group_count(a, part->g));
    }
}

INLINE void total_floats_of(block *b, int row)
{
    const nib_u8 *x = b->x[row / TILE_ROWS][0][row % TILE_ROWS];
    for (int i = 0; i < b->piece_count; i++) {
        const piece *part = &b->pieces[i];
        nib_i64 step = (part->from - b->column) / 32, end = (part->to - b->column) / 32;
        vf sum = v_splat(0.0f);
        for (; step < end; step++) {
            vi pairs = v_load(x + step * TILE_BYTES);
            sum += (vf)(pairs << 16) + (vf)(pairs & (int)0xffff0000);
        }
        float before = part->begins ? 0.0f : b->open_float_ones[row];
        b->float_ones[i][row] = before + _mm512_reduce_add_ps((__m512)sum);
        b->open_float_ones[row] = b->float_ones[i][row];
    }
}

/* All rows of x that the item has, columns of the block. */
INLINE void lay_x(block *b, const nib_args *a, const nib_u8 *from, const x_rows *x, nib_i64 m,
                  int form)
{
    const int size = form == STEP_S8 ? 1 : 2, sums = b->raw && a->offset == NIB_O_NONE;
    nib_i64 bytes = (b->end - b->column) * size;
    for (int r = 0; r < b->x_tiles * TILE_ROWS; r++) {
        nib_i64 at = ((m + r) * a->p.pack_cols + b->column) * size;
        nib_i32 total = lay_row(b, from + at, bytes, r, sums);
        if (form == STEP_S8 && (sums || a->offset != NIB_O_NONE))
            total_codes_of(b, a, x, m, r, total);
        if (form == STEP_BF16 && a->offset == NIB_O_MIN) total_floats_of(b, r);
    }
}

/* The codes of columns `from` to part->to of panel v of the strip, and zeros to the end of a
 * step. */
INLINE void lay_codes(block *b, const strip *s, const piece *part, nib_i64 from, const decoder *d,
                      int v, int form, int how, int bits)
{
    const nib_u8 *codes = s->from[v];
    nib_i64 step = bits == 4 ? 8 : 4, at = (from - b->column) / step_codes(form);
    nib_u8(*to)[TILE_ROW] = b->w[v][0];
    for (nib_i64 k = from; k < part->to; k += step) {
        vi w = v_load(codes + (k - b->column) / step * PANEL_BLOCK);
        UNROLL for (int j = 0; j < block_steps(form, bits); j++, at++)
        {
            vi o = operand(w, j, d, v, form, how, bits);
            v_store(to[at], form == STEP_S8 ? (vi)((vub)o - (vub)d->zeros[v]) : o);
        }
    }
    for (; at % TILE_ROWS; at++) v_store(to[at], v_splat_int(0));
}

/* For int8 x: signed, less what all zeros share; of raw codes only a last step of half its
 * columns. */
static __attribute__((noinline)) void lay_bytes(block *b, const nib_args *a, const strip *s)
{
    decoder d;
    for (int i = 0; i < b->piece_count; i++)
        for (int v = 0; v < WIDE; v++) {
            const piece *part = &b->pieces[i];
            nib_i64 from = b->raw ? part->to / 64 * 64 : part->from;
            d.zeros[v] = v_splat_int(b->raw ? 0 : wrap_mul(panel_base(a), 0x01010101));
            if (a->p.pack_bits == 4) lay_codes(b, s, part, from, &d, v, STEP_S8, AS_CODES, 4);
            else lay_codes(b, s, part, from, &d, v, STEP_S8, AS_CODES, 8);
        }
}

static __attribute__((noinline)) void lay_floats(block *b, const nib_args *a, const panels *p,
                                                 const strip *s)
{
    int how = a->p.pack_bits == 8 ? BY_VALUE : a->offset == NIB_O_ZERO ? LESS_ZEROS : BY_TABLE;
    decoder d;
    d.table = make_table(panel_base(a), how);
    for (int i = 0; i < b->piece_count; i++) {
        const piece *part = &b->pieces[i];
        int fits = load_decoder(&d, a, p, part->g, s->first, WIDE);
        for (int v = 0; v < WIDE; v++)
            if (how == BY_VALUE) lay_codes(b, s, part, part->from, &d, v, STEP_BF16, BY_VALUE, 8);
            else if (how == BY_TABLE)
                lay_codes(b, s, part, part->from, &d, v, STEP_BF16, BY_TABLE, 4);
            else if (fits) lay_codes(b, s, part, part->from, &d, v, STEP_BF16, LESS_ZEROS, 4);
            else lay_codes(b, s, part, part->from, &d, v, STEP_BF16, BY_VALUE, 4);
    }
}

INLINE const nib_u8 *tile_of(const block *b, const strip *s, int v, int step)
{
    return step < s->direct ? s->from[v] + step * TILE_BYTES : b->w[v][step][0];
}

/* Sums of a strip's codes: what zero points of x are multiplied with. */
INLINE void total_strip(block *b, const nib_args *a, const strip *s)
{
    for (int i = 0; i < b->piece_count; i++)
        for (int v = 0; v < WIDE; v++) {
            const piece *part = &b->pieces[i];
            nib_i32 *last = b->open_packed[s->first + v];
            vi sum = part->begins ? v_splat_int(0) : v_load(last);
            int from = (int)(part->from - b->column) / 64,
                to = (int)(part->to - b->column + 63) / 64;
            for (int step = from; step < to; step++)
                for (int r = 0; r < TILE_ROWS; r++) {
                    vi w = v_load(tile_of(b, s, v, step) + r * TILE_ROW),
                       one = v_splat_int(0x01010101);
                    sum += b->raw ? total_bytes(w, one) : total_bytes(one, w);
                }
            if (!b->raw && part->to > a->cols) /* codes behind K are 0, which is no w' of 0 */
                sum += panel_base(a) * (nib_i32)(part->to - a->cols);
            v_store(b->packed[i][v], sum);
            v_store(last, sum);
        }
}

/* ---- multiplying ---- */

/* Ends a group of int32 sums for tile m of x and panel v of the strip: sum of (q - zx) (w - z) =
 *     sum of q w - z * sum of (q - zx) - zx * sum of w. */
static __attribute__((noinline)) void end_codes(block *b, const nib_args *a, const panels *p,
                                                const piece *part, const strip *s,
                                                const nib_i32 *x_zeros, int m, int v)
{
    const int panel = s->first + v, first = part->g == 0, with_mins = a->offset == NIB_O_MIN,
              with_zeros = b->raw || a->offset == NIB_O_ZERO, with_x_zeros = a->p.x_zeros;
    const nib_i32 *ones = &b->ones[part->index][m * TILE_ROWS];
    const nib_u8(*sums)[TILE_ROW] = b->sums[m % 2 * WIDE + v];
    nib_u8(*totals)[TILE_ROW] = b->totals[m][panel];
    vi zeros = load_zeros(p, a, part->g, panel) - (b->raw ? 0 : panel_base(a));
    vi packed = with_x_zeros ? v_load(b->packed[part->index][v]) : v_splat_int(0);
    vf scales = load_scales(p, part->g, panel), mins = scales;
    if (with_mins) mins = load_mins(p, part->g, panel);
    for (int r = 0; r < TILE_ROWS; r++) {
        vi sum = v_load(sums[r]);
        if (with_zeros) sum = v_wrap_sub(sum, v_wrap_mul(zeros, ones[r]));
        if (with_x_zeros) sum = v_wrap_sub(sum, v_wrap_mul(packed, x_zeros[m * TILE_ROWS + r]));
        vf y = v_convert(sum);
        y = first ? y * scales : v_fma(y, scales, (vf)v_load(totals[r]));
        if (with_mins) y = v_fma(v_splat((float)ones[r]), mins, y);
        v_store(totals[r], (vi)y);
    }
}

static __attribute__((noinline)) void end_floats(block *b, const nib_args *a, const panels *p,
                                                 const piece *part, const strip *s, int m, int v)
{
    const int panel = s->first + v, first = part->g == 0, with_mins = a->offset == NIB_O_MIN;
    const float *ones = &b->float_ones[part->index][m * TILE_ROWS];
    const nib_u8(*sums)[TILE_ROW] = b->sums[m % 2 * WIDE + v];
    nib_u8(*totals)[TILE_ROW] = b->totals[m][panel];
    vf scales = load_scales(p, part->g, panel), mins = scales;
    if (with_mins) mins = load_mins(p, part->g, panel);
    for (int r = 0; r < TILE_ROWS; r++) {
        vf y = (vf)v_load(sums[r]);
        y = first ? y * scales : v_fma(y, scales, (vf)v_load(totals[r]));
        if (with_mins) y = v_fma(v_splat(ones[r]), mins, y);
        v_store(totals[r], (vi)y);
    }
}

/* Steps whose tiles of W follow one another. */
typedef struct run {
    const nib_u8 *x, *w[WIDE], *next[WIDE]; /* what is fetched meanwhile, */
    nib_i64 steps, lines, next_step;        /* so many lines at a step */
} run;

/* Adds a run to sums 0 to 3, x by w; tiles 4 and 5 are x, 6 and 7 w. Functions of their own,
 * since all that a pass knows would not leave room for their few pointers in registers. */
#define RUN(name, dot)                                                                             \
    static __attribute__((noinline)) void name(const run *r, int rows)                             \
    {                                                                                              \
        const nib_u8 *x = r->x, *w0 = r->w[0], *w1 = r->w[1];                                      \
        nib_i64 at = 0, steps = r->steps, lines = r->lines, gap = r->next_step - 64 * lines;       \
        for (; steps; steps--, x += TILE_BYTES, w0 += TILE_BYTES, w1 += TILE_BYTES, at += gap) {   \
            tile_load(4, x);                                                                       \
            tile_load(6, w0);                                                                      \
            dot(0, 4, 6);                                                                          \
            tile_load(7, w1);                                                                      \
            dot(1, 4, 7);                                                                          \
            if (rows == 2) {                                                                       \
                tile_load(5, x + STEPS * TILE_BYTES);                                              \
                dot(2, 5, 6);                                                                      \
                dot(3, 5, 7);                                                                      \
            }                                                                                      \
            for (nib_i64 end = at + 64 * lines; at < end; at += 64) {                              \
                _mm_prefetch((const char *)r->next[0] + at, _MM_HINT_T1);                          \
                _mm_prefetch((const char *)r->next[1] + at, _MM_HINT_T1);                          \
            }                                                                                      \
        }                                                                                          \
    }
RUN(run_signed, tile_dot_signed)
RUN(run_unsigned, tile_dot_unsigned)
RUN(run_floats, tile_dot_bf16)

/* Tiles m.. of x, `rows` of them, by columns from.. of a strip. Each of the passes over a strip
 * fetches its share of the next. */
INLINE void add_piece(const block *b, const strip *s, const piece *part, int m, int form, int rows)
{
    int columns = step_columns(form), step = (int)(part->from - b->column) / columns,
        to = (int)(part->to - b->column + columns - 1) / columns;
    for (int end; step < to; step = end) {
        end = step < s->direct && s->direct < to ? s->direct : to;
        nib_i64 at = step * s->step_bytes + m / 2 * s->lines * 64;
        run r = {.x = b->x[m][step][0], .steps = end - step};
        for (int v = 0; v < WIDE; v++) r.w[v] = tile_of(b, s, v, step), r.next[v] = s->next[v] + at;
        r.lines = s->lines, r.next_step = s->step_bytes;
        if (form == STEP_BF16) run_floats(&r, rows);
        else if (b->raw) run_unsigned(&r, rows);
        else run_signed(&r, rows);
    }
}

#define BEGIN(t, r, v)                                                                             \
    do {                                                                                           \
        if (part->begins) tile_zero(t);                                                            \
        else tile_load(t, b->open[m + (r)][s->first + (v)]);                                       \
    } while (0)
#define END(t, r, v) tile_store(t, part->ends ? b->sums[t] : b->open[m + (r)][s->first + (v)])

/* Tiles m.. of x by a strip. */
INLINE void pass(block *b, const nib_args *a, const panels *p, const strip *s,
                 const nib_i32 *x_zeros, int m, int form, int rows)
{
    for (int i = 0; i < b->piece_count; i++) {
        const piece *part = &b->pieces[i];
        BEGIN(0, 0, 0);
        BEGIN(1, 0, 1);
        if (rows == 2) BEGIN(2, 1, 0);
        if (rows == 2) BEGIN(3, 1, 1);
        add_piece(b, s, part, m, form, rows);
        END(0, 0, 0);
        END(1, 0, 1);
        if (rows == 2) END(2, 1, 0);
        if (rows == 2) END(3, 1, 1);
        for (int t = 0; part->ends && t < rows * WIDE; t++)
            if (form == STEP_S8) end_codes(b, a, p, part, s, x_zeros, m + t / WIDE, t % WIDE);
            else end_floats(b, a, p, part, s, m + t / WIDE, t % WIDE);
    }
}

/* ---- blocks of columns ---- */

/* Where panel v of the strip at panel `first` has the codes of column k. */
INLINE const nib_u8 *codes_at(const nib_args *a, const panels *p, int first, int v, nib_i64 k)
{
    return p->codes + (first + v) * p->code_step + k / block_codes(a) * PANEL_BLOCK;
}

INLINE void multiply(block *b, const nib_args *a, const panels *p, const nib_i32 *x_zeros, int form)
{
    int passes = (b->x_tiles + 1) / 2;
    strip s;
    s.direct = b->raw ? (int)(b->end - b->column) / step_columns(form) : 0;
    s.step_bytes = (int)(step_columns(form) / block_codes(a)) * PANEL_BLOCK;
    s.lines = (s.step_bytes / 64 + passes - 1) / passes;
    for (s.first = 0; s.first < b->panels; s.first += WIDE) {
        int last = s.first + WIDE >= b->panels, turns = last && b->end < a->p.pack_cols;
        for (int v = 0; v < WIDE; v++) {
            s.from[v] = codes_at(a, p, s.first, v, b->column);
            s.next[v] = codes_at(a, p, turns ? 0 : s.first + WIDE, v,
                                 turns  ? b->end
                                 : last ? 0
                                        : b->column);
        }
        if (form == STEP_S8) lay_bytes(b, a, &s);
        else lay_floats(b, a, p, &s);
        if (a->p.x_zeros) total_strip(b, a, &s);
        for (int m = 0; m < b->x_tiles; m += 2)
            pass(b, a, p, &s, x_zeros, m, form, m + 1 < b->x_tiles ? 2 : 1);
    }
}

INLINE void tiles_item(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 item, int form)
{
    block *b = span[NIB_SCRATCH];
    nib_i64 tiles = (a->rows + a->p.tile_n - 1) / a->p.tile_n;
    nib_i64 m = item / tiles * a->p.tile_m, n = item % tiles * a->p.tile_n;
    int count = (int)min_i64(a->p.tile_m, a->p.m - m);
    panels p = panels_at(span, a, n / PANEL_ROWS);
    x_rows x = x_rows_of(span[NIB_X], a);
    b->x_tiles = (count + TILE_ROWS - 1) / TILE_ROWS;
    b->panels = (int)min_i64(a->p.tile_n, a->p.pack_rows - n) / PANEL_ROWS;
    b->raw =
        form == STEP_S8 && a->p.pack_bits == 8 && (a->offset != NIB_O_NONE || a->scale_cols == 1);
    for (b->column = 0; b->column < a->p.pack_cols; b->column = b->end) {
        b->end = min_i64(b->column + STEPS * step_columns(form), a->p.pack_cols);
        b->piece_count = 0;
        for (nib_i64 k = b->column; k < b->end; k = b->pieces[b->piece_count++].to)
            b->pieces[b->piece_count] = piece_at(a, b->piece_count, k, b->column, b->end);
        lay_x(b, a, span[NIB_X], &x, m, form);
        multiply(b, a, &p, form == STEP_S8 ? x.zeros + m : NULL, form);
    }
    for (int r = 0; r < count; r++)
        for (int v = 0; v < b->panels; v++)
            end_row(span, a, m + r, n + v * PANEL_ROWS,
                    (vf)v_load(b->totals[r / TILE_ROWS][v][r % TILE_ROWS]),
                    form == STEP_S8 ? &x.scales[m + r] : NULL);
}

/* Tiles are the thread's: configured for the items of a call, and given back. */
#define TILES_KERNEL(name, form)                                                                   \
    NIB_CPU_KERNEL(name)                                                                           \
    {                                                                                              \
        tile_configure(&whole_tiles);                                                              \
        for (nib_i64 item = begin; item < end; item++) tiles_item(span, args, item, form);         \
        tile_release();                                                                            \
    }
TILES_KERNEL(nib_cpu_matmul_codes_amx, STEP_S8)
TILES_KERNEL(nib_cpu_matmul_floats_amx, STEP_BF16)
