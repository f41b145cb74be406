/* pack_avx2.c - packs planes as panel.h draws it.
 *
 *   16 rows of codes, 4 bits each or 8 after pdep  ->  one block of 64 bytes at a time
 *
 * Bound: reading the codes and writing the blocks; an octet of codes takes about six operations. */
#include "kernels.h"
#include "panel.h"

#include <immintrin.h>
#include <string.h>

/* Codes k..k+7 of row n, one a byte, as the plane has them. Rows are streams of whole octets;
 * `width` is a constant for the usual ones, so that a load is one instruction. */
static inline uint64_t load_octet(const nib_u8 *plane, const nib_place *p, nib_i64 n, nib_i64 k,
                                  int width)
{
    uint64_t packed = 0, mask = UINT64_C(0x0101010101010101) * ((1u << width) - 1u);
    memcpy(&packed, plane + n * p->pitch + (k >> 3) * width, (size_t)width);
    return _pdep_u64(packed, mask) ^ UINT64_C(0x0101010101010101) * (nib_u32)p->flip;
}

static uint64_t gather_octet(const nib_u8 *plane, const nib_place *p, nib_i64 n, nib_i64 k,
                             nib_i64 count)
{
    uint64_t octet = 0;
    for (nib_i64 i = 0; i < count; i++) octet |= (uint64_t)load_bits(plane, *p, n, k + i) << 8 * i;
    return octet;
}

/* Eight unsigned packed codes of row n from column k on, one a byte; 0 outside the matrix. */
static uint64_t octet_at_edge(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 n,
                              nib_i64 k, uint64_t shift)
{
    nib_i64 count = min_i64(8, a->cols - k);
    if (n >= a->rows || count <= 0) return 0;
    uint64_t octet = gather_octet(span[NIB_CODES], &a->codes, n, k, count) + shift;
    return count == 8 ? octet : octet & ((UINT64_C(1) << 8 * count) - 1);
}

static inline void store_octet(nib_u8 *block, nib_i64 r, uint64_t octet, int bits, int pairs)
{
    nib_u32 low = (nib_u32)octet, high = (nib_u32)(octet >> 32), both = low | high << 4;
    if (bits == 4 && pairs)
        both = (nib_u32)(_pext_u64(octet, UINT64_C(0x000f000f000f000f)) |
                         _pext_u64(octet, UINT64_C(0x0f000f000f000f00)) << 16);
    memcpy(block + 4 * r, bits == 4 ? &both : &low, 4);
    if (bits == 8) memcpy(block + PANEL_BLOCK + 4 * r, &high, 4);
}

/* A panel, eight columns at a time. `width`: of codes in streams along K; 0: they lie otherwise. */
static inline void pack_codes(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 panel,
                              int width, int bits)
{
    nib_i64 n = panel * PANEL_ROWS, step = bits == 4 ? PANEL_BLOCK : 2 * PANEL_BLOCK;
    nib_u8 *to = (nib_u8 *)span[NIB_Y] + panel * (a->p.pack_cols / 8) * step;
    uint64_t shift = UINT64_C(0x0101010101010101) * (nib_u32)(panel_half(a) - (1 << (a->bits - 1)));
    int inside = width && n + PANEL_ROWS <= a->rows;
    for (nib_i64 k = 0; k < a->p.pack_cols; k += 8, to += step)
        for (nib_i64 r = 0; r < PANEL_ROWS; r++)
            store_octet(to, r,
                        inside && k + 8 <= a->cols
                            ? load_octet(span[NIB_CODES], &a->codes, n + r, k, width) + shift
                            : octet_at_edge(span, a, n + r, k, shift),
                        bits, a->p.acts == NIB_A_FLOAT);
}

static void pack_panel(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 panel)
{
    int streams = a->codes.axis == NIB_AXIS_COLS && !a->codes.strided;
    int width = streams ? a->codes.width : 0;
    if (width == 4 && a->p.pack_bits == 4) pack_codes(span, a, panel, 4, 4);
    else if (width == 8) pack_codes(span, a, panel, 8, 8);
    else if (a->p.pack_bits == 4) pack_codes(span, a, panel, width, 4);
    else pack_codes(span, a, panel, width, 8);
}

/* Scales and offsets of group g of row n, which is row r of its panel. A cell that decodes to
 * NaN gets the scale NaN. */
static void pack_cell(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 n, nib_i64 g)
{
    nib_u8 *to = span[NIB_Y];
    nib_i64 at = (n / PANEL_ROWS * a->scale_cols + g) * PANEL_ROWS + n % PANEL_ROWS;
    cell_decode c = {0.0f, 0.0f, 1 << (a->bits - 1)};
    if (n < a->rows) c = load_cell(span, a, n % a->period, g);
    if (!nib_is_finite(c.scale) || !nib_is_finite(c.min)) {
        c.scale = NIB_BITS_F32(NIB_QNAN_F32);
        c.min = 0.0f;
    }
    store_element(to + a->p.scales_at, a->scale_type, at, c.scale);
    if (a->offset == NIB_O_MIN) store_element(to + a->p.offsets_at, a->scale_type, at, c.min);
    if (a->offset == NIB_O_ZERO)
        ((int8_t *)(to + a->p.offsets_at))[at] = (int8_t)(c.zero - (1 << (a->bits - 1)));
}

NIB_CPU_KERNEL(nib_cpu_pack_panel_avx2)
{
    const nib_args *a = args;
    for (nib_i64 panel = begin * ITEM_PANELS; panel < end * ITEM_PANELS; panel++) {
        pack_panel(span, a, panel);
        for (nib_i64 g = 0; g < a->scale_cols; g++)
            for (nib_i64 r = 0; r < PANEL_ROWS; r++) pack_cell(span, a, panel * PANEL_ROWS + r, g);
    }
}
