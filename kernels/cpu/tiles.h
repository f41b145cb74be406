/* tiles.h - Intel AMX: eight tiles of 16 rows of 64 bytes, by number, all of them whole here.
 *
 *   tile_dot_signed    sum[m][n] += x[m][4k + i] * w[k][4n + i]    i = 0..3: int32, wraps; s8 x and w
 *   tile_dot_unsigned  the same with u8 w
 *   tile_dot_bf16      sum[m][n] += x[m][2k + i] * w[k][2n + i]    i = 0..1: f32, bf16 x and w
 *
 * The instructions themselves: of what GCC 12's own functions read, _tile_loadconfig declares 8
 * bytes and _tile_loadd none, so that stores before them may come too late, or never. Tests put
 * an emulation in their place (NIB_TILES names it: tests/tiles_on_host.h). */
#ifndef NIB_CPU_TILES_H
#define NIB_CPU_TILES_H

#include "../common/prelude.h"

enum { TILE_ROWS = 16, TILE_ROW = 64, TILE_BYTES = TILE_ROWS * TILE_ROW };

/* What ldtilecfg reads. */
typedef struct tile_config {
    nib_u8 palette, start_row, reserved[14];
    nib_u16 row_bytes[16];
    nib_u8 rows[16];
} tile_config;
_Static_assert(sizeof(tile_config) == 64, "as the instruction has it");

static const tile_config whole_tiles = {.palette = 1,
                                        .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                        .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

#if defined(NIB_TILES)
#include NIB_TILES
#else
#define TILE_DO(...) __asm__ volatile(__VA_ARGS__)
#define tile_configure(config) TILE_DO("ldtilecfg %0" ::"m"(*(config)))
#define tile_release() TILE_DO("tilerelease")
#define tile_zero(t) TILE_DO("tilezero %%tmm" #t::)
#define tile_load(t, from)                                                                         \
    TILE_DO("tileloadd (%0,%1,1), %%tmm" #t ::"r"(from), "r"((nib_i64)TILE_ROW) : "memory")
#define tile_store(t, to)                                                                          \
    TILE_DO("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"((nib_i64)TILE_ROW) : "memory")
#define tile_dot_signed(sum, x, w) TILE_DO("tdpbssd %%tmm" #w ", %%tmm" #x ", %%tmm" #sum::)
#define tile_dot_unsigned(sum, x, w) TILE_DO("tdpbsud %%tmm" #w ", %%tmm" #x ", %%tmm" #sum::)
#define tile_dot_bf16(sum, x, w) TILE_DO("tdpbf16ps %%tmm" #w ", %%tmm" #x ", %%tmm" #sum::)
#endif

#endif
