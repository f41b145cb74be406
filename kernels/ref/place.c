/* place.c - integer planes one bit at a time, as include/nibble_schemes.def describes a layout:
 *
 *   element i of a stream: bits i * width .. of it;  bit j of a stream: byte j / 8, bit j % 8
 *   byte t of stream s:    s * pitch + t,  or where words are strided
 *                          4 * ((t / 4) * streams + s) + t % 4 */
#include "witness.h"

#include <string.h>

/* Which byte of the plane holds bit `bit` of a stream. */
static int64_t byte_of(const nib_place *place, int64_t stream, int64_t bit)
{
    int64_t byte = bit / 8;
    if (!place->strided) return stream * place->pitch + byte;
    return 4 * (byte / 4 * place->streams + stream) + byte % 4;
}

int64_t nib_ref_get(const void *plane, const nib_place *place, int64_t row, int64_t col)
{
    int by_row = place->axis == NIB_AXIS_COLS;
    int64_t stream = by_row ? row : col, index = by_row ? col : row;
    int64_t element = 0;
    for (int64_t j = 0; j < place->width; j++) {
        int64_t bit = index * place->width + j;
        int64_t byte = ((const uint8_t *)plane)[byte_of(place, stream, bit)];
        element += (byte >> (bit % 8)) % 2 << j;
    }
    return element ^ place->flip;
}

void nib_ref_put(void *plane, const nib_place *place, int64_t row, int64_t col, int64_t element)
{
    int by_row = place->axis == NIB_AXIS_COLS;
    int64_t stream = by_row ? row : col, index = by_row ? col : row;
    int64_t stored = element ^ place->flip;
    for (int64_t j = 0; j < place->width; j++) {
        int64_t bit = index * place->width + j;
        uint8_t *byte = (uint8_t *)plane + byte_of(place, stream, bit);
        *byte = (uint8_t)(*byte | ((stored >> j) % 2) << (bit % 8));
    }
}

void nib_ref_clear(void *plane, const nib_place *place)
{
    int64_t bytes = place->streams * place->pitch;
    if (bytes) memset(plane, 0, (size_t)bytes);
}

NIB_REF_KERNEL(nib_ref_repack)
{
    (void)begin, (void)end;
    nib_ref_clear(span[NIB_Y], &a->other);
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t k = 0; k < a->cols; k++) {
            int64_t element = nib_ref_get(span[NIB_CODES], &a->codes, r, k);
            nib_ref_put(span[NIB_Y], &a->other, r, k, element);
        }
}

NIB_REF_KERNEL(nib_ref_histogram)
{
    (void)begin, (void)end;
    uint32_t *counts = span[NIB_OUT];
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t k = 0; k < a->cols; k++)
            counts[nib_ref_get(span[NIB_CODES], &a->codes, r, k)]++;
}
