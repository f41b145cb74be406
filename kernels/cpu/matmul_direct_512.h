/* matmul_direct_512.h - products on 512-bit vectors, any number of rows of x: codes go from
 * packed memory into the sums, and nothing but x is laid out; one text for int8, bf16 and f32 x.
 *
 *   panels of weights  (panel.h) read in strips: WIDE panels x a block of columns
 *   block of x         [96 rows][STEPS][4 bytes], rows apart by 64 bytes more than a power of two,
 *                      which would put all rows into one set of the cache
 *   sums               [96][TILE_N] of the group that is open, and of y
 *
 * A step is 4 bytes of x: four codes, two bf16 or one f32. It is broadcast and multiplied with
 * an operand: the step's columns of 16 rows of W, made of a 64-byte block of codes in registers.
 * A pass of ROWS rows by WIDE panels keeps its sums in registers for a piece: the part of a
 * block of columns that lies in one group.
 *
 * Bound: few rows, reading the weights once: a pass reads several panels at once, since one
 * stream of memory is slower than four, and asks for lines AHEAD bytes before it needs them.
 * Many rows: the products, one vector of them a cycle; operands are made on ports that products
 * leave free. */
#ifndef NIB_CPU_MATMUL_DIRECT_512_H
#define NIB_CPU_MATMUL_DIRECT_512_H

#include "operands_512.h"

enum {
    STEPS = 512,
    TILE_M = 96,
    TILE_N = 256,
    X_PITCH = 4 * STEPS + 64,
    MOST_PIECES = 64, /* of a block of columns */
    MOST_FEW = 6,
    MOST_PASS_ROWS = 12,
    MOST_PASS = 24,
    AHEAD = 512,     /* bytes of a panel */
    AHEAD_GROUPS = 8 /* scales */
};

/* The thread's scratch; few rows touch little of it. */
typedef struct tile {
    _Alignas(64) nib_u8 x[TILE_M * X_PITCH];
    _Alignas(64) nib_i32 open[TILE_M][TILE_N]; /* of a group that goes on: int32, or f32 */
    _Alignas(64) float totals[TILE_M][TILE_N]; /* y, before x's scale and the bias */
    piece pieces[MOST_PIECES];                 /* of the block of columns */
    int piece_count;
    /* Sums over pieces: of codes of W, of codes of x less their zero points, of float x. */
    _Alignas(64) nib_i32 packed[MOST_PIECES][MOST_WIDE * LANES];
    nib_i32 ones[MOST_PIECES][TILE_M];
    float float_ones[MOST_PIECES][TILE_M];
    const nib_u8 *only; /* the block of x where it is one row: not laid out */
    int vectors;        /* of the tile: fewer at the end of N */
} tile;
_Static_assert(sizeof(tile) <= NIB_SCRATCH_BYTES, "a tile fits the scratch");

/* The part of some panels that lies in a block of columns. */
typedef struct strip {
    int first;          /* panel of the tile */
    nib_i64 begin, end; /* columns */
    nib_i64 last;       /* where it ends, in bytes of a panel */
    nib_i64 jump;       /* AHEAD and on to the next strip: what is fetched near the end */
} strip;

/* ---- multiplying ---- */

/* Adds blocks of columns at at.. of each panel. Two texts, since sums that change their type
 * between steps leave the registers (GCC 12). */
#define ADD_BLOCKS(name, vector, add)                                                              \
    INLINE void name(vector *sums, const nib_u8 *codes, nib_i64 step, const strip *s, nib_i64 at,  \
                     nib_i64 end, const nib_u8 *x, const decoder *d, int form, int how, int bits,  \
                     int rows, int wide)                                                           \
    {                                                                                              \
        int steps = block_steps(form, bits);                                                       \
        for (; at < end; at += PANEL_BLOCK, x += 4 * steps) {                                      \
            vi w[MOST_WIDE];                                                                       \
            nib_i64 ahead = at + (at + AHEAD < s->last ? AHEAD : s->jump);                         \
            UNROLL for (int v = 0; v < wide; v++)                                                  \
            {                                                                                      \
                w[v] = v_load(codes + v * step + at);                                              \
                _mm_prefetch((const char *)codes + v * step + ahead, _MM_HINT_T0);                 \
            }                                                                                      \
            UNROLL for (int j = 0; j < steps; j++)                                                 \
            {                                                                                      \
                vi o[MOST_WIDE];                                                                   \
                UNROLL for (int v = 0; v < wide; v++) o[v] =                                       \
                    operand(w[v], j, d, v, form, how, bits);                                       \
                UNROLL for (int r = 0; r < rows; r++)                                              \
                {                                                                                  \
                    nib_i32 four;                                                                  \
                    memcpy(&four, x + r * X_PITCH + 4 * j, sizeof four);                           \
                    vi splat = v_splat_int(four);                                                  \
                    UNROLL for (int v = 0; v < wide; v++) sums[r * wide + v] =                     \
                        add(sums[r * wide + v], o[v], splat, bits);                                \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }
ADD_BLOCKS(add_codes_of, vi, add_bytes)
ADD_BLOCKS(add_floats_of, vf, add_floats)

/* Row r0 of the block of x. */
INLINE const nib_u8 *row_at(const tile *t, int r0, int rows)
{
    return rows == 1 ? t->only : t->x + r0 * X_PITCH;
}

/* Scales and offsets are prefetched AHEAD_GROUPS ahead, past the last for the next item: 7 % of
 * the time of one row of bf16 x on codes of 4 bits, and nothing for int8 x. */
INLINE void fetch_params(const panels *p, const nib_args *a, const tile *t, const strip *s,
                         nib_i64 g, int wide)
{
    UNROLL for (int v = 0; v < wide; v++)
    {
        nib_i64 ahead = g + AHEAD_GROUPS, panel = s->first + v;
        if (ahead >= a->scale_cols) panel += t->vectors - 1;
        _mm_prefetch((const char *)p->scales + panel * p->scale_step + ahead * p->scale_bytes,
                     _MM_HINT_T0);
        if (a->offset == NIB_O_NONE) continue;
        _mm_prefetch((const char *)p->offsets + panel * p->offset_step + ahead * p->offset_bytes,
                     _MM_HINT_T0);
    }
}

INLINE nib_i32 total_codes_512(const nib_u8 *x, nib_i64 count)
{
    vi sum = v_splat_int(0);
    nib_i64 k = 0;
    for (; k + 4 * LANES <= count; k += 4 * LANES)
        sum = add_bytes(sum, v_splat_int(0x01010101), v_load(x + k), 4);
    nib_i32 total = _mm512_reduce_add_epi32((__m512i)sum);
    for (; k < count; k++) total += (int8_t)x[k];
    return total;
}

/* Sum over a piece of codes of x less their zero point. */
INLINE nib_i32 piece_ones(const nib_args *a, const piece *part, const nib_u8 *x, nib_i32 zero)
{
    nib_i32 columns = (nib_i32)(min_i64(a->cols, part->to) - min_i64(a->cols, part->from));
    return total_codes_512(x, part->to - part->from) - wrap_mul(zero, columns);
}

/* Where the int32 sums of a piece begin. With wu and zu the unsigned codes and zeros of W: sum of
 * (q - zx) (wu - zu) =
 *     sum of q wu - zu * sum of (q - zx) - zx * sum of wu. */
INLINE void begin_codes(vi *sums, const tile *t, const nib_args *a, const panels *p,
                        const piece *part, const strip *s, const nib_i32 *x_zeros,
                        const nib_i32 *ones, int r0, int rows, int wide)
{
    UNROLL for (int r = 0; r < rows; r++)
    {
        vi sum = v_splat_int(wrap_mul(-panel_base(a), ones[r]));
        UNROLL for (int v = 0; v < wide; v++) sums[r * wide + v] = sum;
    }
    if (part->begins && a->offset != NIB_O_ZERO && !a->p.x_zeros) return;
    UNROLL for (int v = 0; v < wide; v++)
    {
        vi zeros = load_zeros(p, a, part->g, s->first + v),
           packed = v_load(&t->packed[part->index][v * LANES]);
        for (int r = 0; r < rows; r++) {
            vi sum =
                part->begins ? v_splat_int(0) : v_load(&t->open[r0 + r][(s->first + v) * LANES]);
            sum = v_wrap_sub(sum, v_wrap_mul(zeros, ones[r]));
            if (a->p.x_zeros) sum = v_wrap_sub(sum, v_wrap_mul(packed, x_zeros[r0 + r]));
            sums[r * wide + v] = sum;
        }
    }
}

/* Ends a piece of int32 sums. The first group of weights without mins is not added to 0, whose sign
 * would tell. */
INLINE void end_codes(tile *t, const nib_args *a, const panels *p, const piece *part,
                      const strip *s, const vi *sums, const nib_i32 *ones, int r0, int rows,
                      int wide)
{
    int first = part->g == 0 && a->offset != NIB_O_MIN;
    UNROLL for (int v = 0; v < wide; v++)
    {
        int at = (s->first + v) * LANES;
        vf scales = load_scales(p, part->g, s->first + v);
        UNROLL for (int r = 0; r < rows; r++)
        {
            vi sum = sums[r * wide + v];
            float *total = &t->totals[r0 + r][at];
            if (!part->ends) v_store(&t->open[r0 + r][at], sum);
            else if (first) v_store(total, (vi)(v_convert(sum) * scales));
            else v_store(total, (vi)v_fma(v_convert(sum), scales, (vf)v_load(total)));
        }
        if (a->offset != NIB_O_MIN) continue;
        vf mins = load_mins(p, part->g, s->first + v);
        for (int r = 0; r < rows; r++) {
            float *total = &t->totals[r0 + r][at];
            v_store(total, (vi)v_fma(v_splat((float)ones[r]), mins, (vf)v_load(total)));
        }
    }
}

INLINE void pass_codes(tile *t, const nib_args *a, const panels *p, const strip *s,
                       const nib_i32 *x_zeros, int r0, int bits, int rows, int wide)
{
    const nib_u8 *codes = p->codes + s->first * p->code_step;
    int step = bits == 4 ? 8 : 4;
    for (int i = 0; i < t->piece_count; i++) {
        const piece *part = &t->pieces[i];
        const nib_u8 *x = row_at(t, r0, rows) + (part->from - s->begin);
        vi sums[MOST_PASS];
        nib_i32 ones[MOST_PASS_ROWS];
        UNROLL for (int r = 0; r < rows; r++) ones[r] =
            wide == MOST_WIDE ? piece_ones(a, part, x + r * X_PITCH, x_zeros[r])
                              : t->ones[part->index][r0 + r];
        begin_codes(sums, t, a, p, part, s, x_zeros, ones, r0, rows, wide);
        add_codes_of(sums, codes, p->code_step, s, part->from / step * PANEL_BLOCK,
                     part->to / step * PANEL_BLOCK, x, NULL, STEP_S8, AS_CODES, bits, rows, wide);
        end_codes(t, a, p, part, s, sums, ones, r0, rows, wide);
    }
}

/* Ends a piece of f32 sums. */
INLINE void end_floats(tile *t, const nib_args *a, const panels *p, const piece *part, int r, int v,
                       vf sum, vf scales)
{
    float *total = &t->totals[r][v * LANES];
    vf y = (vf)v_load(total);
    if (part->ends) y = v_fma(sum, scales, y);
    else v_store(&t->open[r][v * LANES], (vi)sum);
    if (a->offset == NIB_O_MIN)
        y = v_fma(v_splat(t->float_ones[part->index][r]), load_mins(p, part->g, v), y);
    v_store(total, (vi)y);
}

INLINE void pass_floats(tile *t, const nib_args *a, const panels *p, const strip *s, int r0,
                        int form, int how, int bits, int rows, int wide)
{
    const nib_u8 *codes = p->codes + s->first * p->code_step;
    int step = bits == 4 ? 8 : 4, size = 4 / step_codes(form);
    decoder d;
    d.table = make_table(panel_base(a), how);
    for (int i = 0; i < t->piece_count; i++) {
        const piece *part = &t->pieces[i];
        nib_i64 k = part->from;
        vf sums[MOST_PASS];
        if (r0 == 0) fetch_params(p, a, t, s, part->g, wide);
        UNROLL for (int r = 0; r < rows; r++)
        {
            UNROLL for (int v = 0; v < wide; v++) sums[r * wide + v] =
                part->begins ? v_splat(0.0f) : (vf)v_load(&t->open[r0 + r][(s->first + v) * LANES]);
        }
        nib_i64 from = k / step * PANEL_BLOCK, to = part->to / step * PANEL_BLOCK;
        const nib_u8 *x = row_at(t, r0, rows) + (k - s->begin) * size;
        int fits = how == BY_TABLE || load_decoder(&d, a, p, part->g, s->first, wide);
        if (fits && how != BY_VALUE)
            add_floats_of(sums, codes, p->code_step, s, from, to, x, &d, form, how, bits, rows,
                          wide);
        else if (how != BY_TABLE)
            add_floats_of(sums, codes, p->code_step, s, from, to, x, &d, form, BY_VALUE, bits, rows,
                          wide);
        UNROLL for (int v = 0; v < wide; v++)
        {
            vf scales = load_scales(p, part->g, s->first + v);
            UNROLL for (int r = 0; r < rows; r++)
                end_floats(t, a, p, part, r0 + r, s->first + v, sums[r * wide + v], scales);
        }
    }
}

/* ---- blocks of columns ---- */

INLINE void cut_block(tile *t, const nib_args *a, const strip *s)
{
    t->piece_count = 0;
    for (nib_i64 k = s->begin; k < s->end; k = t->pieces[t->piece_count++].to)
        t->pieces[t->piece_count] = piece_at(a, t->piece_count, k, s->begin, s->end);
}

/* `bytes` are a multiple of 32. With memcpy products of 8 and 12 rows of int8 took 5 % longer
 * (glibc 2.36, Zen 4). */
INLINE void copy_halves(nib_u8 *to, const nib_u8 *from, nib_i64 bytes)
{
    for (nib_i64 i = 0; i < bytes; i += 32)
        _mm256_storeu_si256((__m256i *)(void *)(to + i),
                            _mm256_loadu_si256((const __m256i *)(const void *)(from + i)));
}

/* Row r of x, columns of s, and its sums. */
INLINE void lay_row(tile *t, const nib_args *a, const nib_u8 *x, nib_i32 zero, int r, int rows,
                    const strip *s, int form)
{
    int size = 4 / step_codes(form);
    const nib_u8 *block = x + s->begin * size;
    t->only = block;
    if (rows > 1) copy_halves(t->x + r * X_PITCH, block, (s->end - s->begin) * size);
    if (form == STEP_S8 ? rows <= MOST_FEW : a->offset != NIB_O_MIN) return;
    for (int i = 0; i < t->piece_count; i++) {
        const piece *part = &t->pieces[i];
        nib_i64 k = part->from;
        const nib_u8 *from = block + (k - s->begin) * size;
        if (form == STEP_BF16)
            t->float_ones[part->index][r] =
                total_bf16((const nib_u16 *)(const void *)from, part->to - k);
        else if (form == STEP_F32)
            t->float_ones[part->index][r] =
                total_floats((const float *)(const void *)from, part->to - k);
        else t->ones[part->index][r] = piece_ones(a, part, from, zero);
    }
}

/* Sums of a strip's codes of W: what zero points of x are multiplied with. */
INLINE void total_strip(tile *t, const panels *p, const strip *s, int bits, int wide)
{
    int step = bits == 4 ? 8 : 4;
    for (int i = 0; i < t->piece_count; i++) {
        const piece *part = &t->pieces[i];
        nib_i64 k = part->from;
        for (int v = 0; v < wide; v++) {
            vi sum = v_splat_int(0);
            for (nib_i64 at = k / step; at < part->to / step; at++) {
                vi w = v_load(codes_of(p, s->first + v) + at * PANEL_BLOCK);
                for (int j = 0; j < block_steps(STEP_S8, bits); j++)
                    sum = add_bytes(sum, operand(w, j, NULL, 0, STEP_S8, AS_CODES, bits),
                                    v_splat_int(0x01010101), bits);
            }
            v_store(&t->packed[part->index][v * LANES], sum);
        }
    }
}

/* A pass over the pieces of a strip for rows r0.. of the tile: functions of their own, since GCC 12
 * keeps sums in registers only where a function has few other values. */
typedef void pass_function(tile *t, const nib_args *a, const panels *p, const strip *s,
                           const nib_i32 *x_zeros, int r0);

#define PASS(name, form, how, bits, rows, wide)                                                    \
    static __attribute__((noinline)) void name(tile *t, const nib_args *a, const panels *p,        \
                                               const strip *s, const nib_i32 *x_zeros, int r0)     \
    {                                                                                              \
        if (form == STEP_S8) pass_codes(t, a, p, s, x_zeros, r0, bits, rows, wide);                \
        else pass_floats(t, a, p, s, r0, form, how, bits, rows, wide);                             \
    }
#define PASSES(name, form, how, bits)                                                              \
    PASS(name##_1, form, how, bits, 1, 4)                                                          \
    PASS(name##_2, form, how, bits, 2, 4)                                                          \
    PASS(name##_4, form, how, bits, 4, 4)                                                          \
    PASS(name##_6_few, form, how, bits, 6, 4)                                                      \
    PASS(name##_6, form, how, bits, 6, 2)                                                          \
    PASS(name##_8, form, how, bits, 8, 2)                                                          \
    PASS(name##_10, form, how, bits, 10, 2)                                                        \
    PASS(name##_12, form, how, bits, 12, 2)                                                        \
    static pass_function *const name[] = {name##_1, name##_2,  name##_4,  name##_6,                \
                                          name##_8, name##_10, name##_12, name##_6_few};

/* Rows of the next pass where `count` are left: as few passes as can be, of about as many rows
 * each. */
INLINE int pass_rows(int count)
{
    int passes = (count + MOST_PASS_ROWS - 1) / MOST_PASS_ROWS,
        rows = (count + passes - 1) / passes;
    return rows + rows % 2;
}

/* All strips of a block of columns by `count` rows: 1, or an even number. */
INLINE void multiply(tile *t, const nib_args *a, const panels *p, strip s, const nib_i32 *x_zeros,
                     int count, pass_function *const passes[], int form, int bits)
{
    int step = bits == 4 ? 8 : 4, wide = count <= MOST_FEW ? MOST_WIDE : 2;
    s.last = s.end / step * PANEL_BLOCK;
    for (s.first = 0; s.first < t->vectors; s.first += wide) {
        nib_i64 next = wide * p->code_step + s.begin / step * PANEL_BLOCK;
        if (s.first + wide >= t->vectors) {
            next = s.last - s.first * p->code_step;
            if (s.end == a->p.pack_cols) next = (t->vectors - s.first) * p->code_step;
        }
        s.jump = AHEAD + next - s.last;
        if (form == STEP_S8 && a->p.x_zeros) total_strip(t, p, &s, bits, wide);
        if (count <= MOST_FEW) passes[count == 6 ? 7 : count / 2](t, a, p, &s, x_zeros, 0);
        for (int r = 0, rows; count > MOST_FEW && r < count; r += rows) {
            rows = pass_rows(count - r);
            passes[rows / 2](t, a, p, &s, x_zeros, r);
        }
    }
}

INLINE void direct_item(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 item, int form,
                        pass_function *const four[], pass_function *const eight[])
{
    tile *t = span[NIB_SCRATCH];
    nib_i64 tiles = (a->rows + a->p.tile_n - 1) / a->p.tile_n;
    nib_i64 m = item / tiles * a->p.tile_m, n = item % tiles * a->p.tile_n;
    int count = (int)min_i64(a->p.tile_m, a->p.m - m), size = 4 / step_codes(form);
    int whole = count == 3 ? 4 : count == 1 ? 1 : count + count % 2; /* with rows of zeros */
    panels p = panels_at(span, a, n / PANEL_ROWS);
    nib_i64 block = STEPS * step_codes(form);
    if (a->scale_cols > 1) block = min_i64(block, MOST_PIECES * a->group);
    x_rows x = x_rows_of(span[NIB_X], a);
    t->vectors = (int)min_i64(a->p.tile_n, a->p.pack_rows - n) / LANES;
    for (int r = 0; r < whole; r++) memset(t->totals[r], 0, (size_t)t->vectors * LANES * 4);
    for (nib_i64 k = 0; k < a->p.pack_cols; k += block) {
        strip s = {0, k, min_i64(k + block, a->p.pack_cols), 0, 0};
        cut_block(t, a, &s);
        for (int r = 0; r < whole; r++)
            lay_row(t, a, (const nib_u8 *)span[NIB_X] + (m + r) * a->p.pack_cols * size,
                    form == STEP_S8 ? x.zeros[m + r] : 0, r, whole, &s, form);
        if (a->p.pack_bits == 4) multiply(t, a, &p, s, x.zeros + m, whole, four, form, 4);
        else multiply(t, a, &p, s, x.zeros + m, whole, eight, form, 8);
    }
    for (int r = 0; r < count; r++)
        for (int v = 0; v < t->vectors; v++)
            end_row(span, a, m + r, n + v * LANES, (vf)v_load(&t->totals[r][v * LANES]),
                    form == STEP_S8 ? &x.scales[m + r] : NULL);
}

#define CODES_KERNEL(name)                                                                         \
    PASSES(name##_4, STEP_S8, AS_CODES, 4)                                                         \
    PASSES(name##_8, STEP_S8, AS_CODES, 8)                                                         \
    NIB_CPU_KERNEL(name)                                                                           \
    {                                                                                              \
        for (nib_i64 item = begin; item < end; item++)                                             \
            direct_item(span, args, item, STEP_S8, name##_4, name##_8);                            \
    }

#define FLOATS_KERNEL(name, form)                                                                  \
    PASSES(name##_4, form, BY_TABLE, 4)                                                            \
    PASSES(name##_zeros, form, LESS_ZEROS, 4)                                                      \
    PASSES(name##_8, form, BY_VALUE, 8)                                                            \
    NIB_CPU_KERNEL(name)                                                                           \
    {                                                                                              \
        const nib_args *a = args;                                                                  \
        pass_function *const *four = a->offset == NIB_O_ZERO ? name##_zeros : name##_4;            \
        for (nib_i64 item = begin; item < end; item++)                                             \
            direct_item(span, a, item, form, four, name##_8);                                      \
    }

#endif
