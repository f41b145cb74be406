/* pack_avx2.c - packs planes as panel.h draws it.
 *
 *   16 rows of codes, 4 bits each or 8 after pdep  ->  one block of 64 bytes at a time
 *
 * Bound: reading the codes and writing the blocks; an octet of codes takes about six operations. */
#include "kernels.h"
#include "panel.h"

#include <immintrin.h>
#include <string.h>

/* Codes k..k+7 of row n, one a byte, as the plane has them. Rows are streams of whole octets. */
static inline uint64_t load_octet(const nib_u8 *plane, const nib_place *p, nib_i64 n, nib_i64 k)
{
    uint64_t packed = 0, mask = UINT64_C(0x0101010101010101) * ((1u << p->width) - 1u);
    memcpy(&packed, plane + n * p->pitch + (k >> 3) * p->width, (size_t)p->width);
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
static inline uint64_t packed_octet(void *const span[NIB_SPANS], const nib_args *a, nib_i64 n,
                                    nib_i64 k, uint64_t shift, int octets)
{
    nib_i64 count = min_i64(8, a->cols - k);
    if (n >= a->rows || count <= 0) return 0;
    if (octets && count == 8) return load_octet(span[NIB_CODES], &a->codes, n, k) + shift;
    uint64_t octet = gather_octet(span[NIB_CODES], &a->codes, n, k, count) + shift;
    return count == 8 ? octet : octet & ((UINT64_C(1) << 8 * count) - 1);
}

static void pack_codes(void *const span[NIB_SPANS], const nib_args *a, nib_i64 panel)
{
    nib_i64 n = panel * PANEL_ROWS, blocks = a->p.pack_cols / block_codes(a);
    nib_u8 *to = (nib_u8 *)span[NIB_Y] + panel * blocks * PANEL_BLOCK;
    uint64_t shift = UINT64_C(0x0101010101010101) * (nib_u32)(panel_half(a) - (1 << (a->bits - 1)));
    int octets = a->codes.axis == NIB_AXIS_COLS && !a->codes.strided;
    for (nib_i64 k = 0; k < a->p.pack_cols; k += 8) {
        for (nib_i64 r = 0; r < PANEL_ROWS; r++) {
            uint64_t octet = packed_octet(span, a, n + r, k, shift, octets);
            nib_u32 low = (nib_u32)octet, high = (nib_u32)(octet >> 32), both = low | high << 4;
            if (a->p.pack_bits == 4) {
                memcpy(to + 4 * r, &both, 4);
                continue;
            }
            memcpy(to + 4 * r, &low, 4);
            memcpy(to + PANEL_BLOCK + 4 * r, &high, 4);
        }
        to += a->p.pack_bits == 4 ? PANEL_BLOCK : 2 * PANEL_BLOCK;
    }
}

/* Scales and offsets of group g of row n, which is row r of its panel. A cell that decodes to NaN gets
 * the scale NaN. */
static void pack_cell(void *const span[NIB_SPANS], const nib_args *a, nib_i64 n, nib_i64 g)
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
        pack_codes(span, a, panel);
        for (nib_i64 g = 0; g < a->scale_cols; g++)
            for (nib_i64 r = 0; r < PANEL_ROWS; r++) pack_cell(span, a, panel * PANEL_ROWS + r, g);
    }
}
