/* tiles_on_host.h - Intel AMX's tiles in plain C, for machines without: in the place of the
 * instructions of kernels/cpu/tiles.h (NIB_TILES). What the processor would raise a fault for
 * ends the program with its name, and so does what it would let pass but a kernel must not do:
 * to configure tiles where an earlier call left them configured, and to count on what they hold
 * then.
 *
 * Operations and faults: Intel SDM volume 2, LDTILECFG, TILELOADD, TDPBSSD, TDPBF16PS; volume 1,
 * 18. */
#ifndef NIB_TEST_TILES_ON_HOST_H
#define NIB_TEST_TILES_ON_HOST_H

#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct {
    int configured;
    tile_config config;
    _Alignas(64) unsigned char tile[8][TILE_ROWS][TILE_ROW];
} processor;

static void tile_check(int holds, const char *instruction, const char *fault)
{
    if (holds) return;
    fprintf(stderr, "tiles: failed: %s: %s\n", instruction, fault);
    abort();
}

static void tile_configure(const tile_config *config)
{
    static const unsigned char zeros[16];
    tile_check(!processor.configured, "ldtilecfg", "an earlier call left tiles configured");
    tile_check(config->palette == 1, "ldtilecfg", "no palette 1");
    tile_check(!config->start_row && !memcmp(config->reserved, zeros, sizeof config->reserved),
               "ldtilecfg", "reserved bytes are set");
    for (int t = 0; t < 16; t++) {
        int rows = config->rows[t], bytes = config->row_bytes[t];
        tile_check(t < 8 || (!rows && !bytes), "ldtilecfg", "tile 8 or above");
        tile_check(rows <= TILE_ROWS && bytes <= TILE_ROW, "ldtilecfg", "too many rows or bytes");
        tile_check(!rows == !bytes, "ldtilecfg", "rows without bytes, or bytes without rows");
    }
    processor.config = *config;
    processor.configured = 1;
    memset(processor.tile, 0xff, sizeof processor.tile); /* zeros, on the processor */
}

static void tile_release(void)
{
    tile_check(processor.configured, "tilerelease", "no tiles are configured");
    processor.configured = 0;
}

static void tile_use(const char *instruction, int t)
{
    tile_check(processor.configured, instruction, "tiles are not configured");
    tile_check(t >= 0 && t < 8 && processor.config.rows[t], instruction, "the tile has no rows");
}

static void tile_zero(int t)
{
    tile_use("tilezero", t);
    memset(processor.tile[t], 0, TILE_BYTES);
}

/* Bytes behind a row, and rows behind the last, become 0. */
static void tile_load(int t, const void *from)
{
    tile_use("tileloadd", t);
    memset(processor.tile[t], 0, TILE_BYTES);
    for (int r = 0; r < processor.config.rows[t]; r++)
        memcpy(processor.tile[t][r], (const unsigned char *)from + r * TILE_ROW,
               processor.config.row_bytes[t]);
}

static void tile_store(int t, void *to)
{
    tile_use("tilestored", t);
    for (int r = 0; r < processor.config.rows[t]; r++)
        memcpy((unsigned char *)to + r * TILE_ROW, processor.tile[t][r],
               processor.config.row_bytes[t]);
}

static void tile_use_three(const char *instruction, int sum, int x, int w)
{
    const tile_config *c = &processor.config;
    tile_use(instruction, sum), tile_use(instruction, x), tile_use(instruction, w);
    tile_check(sum != x && x != w && w != sum, instruction, "one tile twice");
    tile_check(c->row_bytes[sum] % 4 == 0 && c->row_bytes[x] % 4 == 0 && c->row_bytes[w] % 4 == 0,
               instruction, "rows of no whole words");
    tile_check(c->rows[sum] == c->rows[x] && c->row_bytes[sum] == c->row_bytes[w] &&
                   c->row_bytes[x] / 4 == c->rows[w],
               instruction, "shapes that do not fit");
}

static void tile_dot_bytes(int sum, int x, int w, int is_signed)
{
    for (int m = 0; m < processor.config.rows[sum]; m++) {
        unsigned row[TILE_ROW / 4];
        memcpy(row, processor.tile[sum][m], sizeof row);
        for (int k = 0; k < processor.config.rows[w]; k++)
            for (int n = 0; n < processor.config.row_bytes[sum] / 4; n++)
                for (int i = 0; i < 4; i++) {
                    int byte = processor.tile[w][k][4 * n + i];
                    if (is_signed) byte = (signed char)byte;
                    row[n] += (unsigned)((signed char)processor.tile[x][m][4 * k + i] * byte);
                }
        memcpy(processor.tile[sum][m], row, sizeof row);
    }
}

static void tile_dot_signed(int sum, int x, int w)
{
    tile_use_three("tdpbssd", sum, x, w);
    tile_dot_bytes(sum, x, w, 1);
}

static void tile_dot_unsigned(int sum, int x, int w)
{
    tile_use_three("tdpbsud", sum, x, w);
    tile_dot_bytes(sum, x, w, 0);
}

/* Even and odd columns have sums of their own, fused, which meet before the sum so far. */
static __attribute__((noinline)) void tile_dot_rows(int sum, int x, int w)
{
    const __m512i odd = _mm512_set1_epi32((int)0xffff0000);
    for (int m = 0; m < processor.config.rows[sum]; m++) {
        __m512 evens = _mm512_setzero_ps(), odds = evens;
        for (int k = 0; k < processor.config.rows[w]; k++) {
            unsigned pair;
            memcpy(&pair, &processor.tile[x][m][4 * k], sizeof pair);
            __m512i two = _mm512_set1_epi32((int)pair),
                    row = _mm512_load_si512(processor.tile[w][k]);
            evens = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(two, 16)),
                                    _mm512_castsi512_ps(_mm512_slli_epi32(row, 16)), evens);
            odds = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(two, odd)),
                                   _mm512_castsi512_ps(_mm512_and_si512(row, odd)), odds);
        }
        __m512 before = _mm512_load_ps(processor.tile[sum][m]);
        _mm512_store_ps(processor.tile[sum][m], _mm512_add_ps(before, _mm512_add_ps(evens, odds)));
    }
}

/* To nearest even, subnormal numbers taken and given as 0, whatever the thread's mode. The rows
 * behind bytes are zeros, which this leaves. */
static void tile_dot_bf16(int sum, int x, int w)
{
    unsigned mode = _mm_getcsr();
    tile_use_three("tdpbf16ps", sum, x, w);
    _mm_setcsr(0x9fc0); /* masks, FTZ, DAZ */
    tile_dot_rows(sum, x, w);
    _mm_setcsr(mode);
}

#endif
