/* repack.cl - an integer plane from any layout to any other.
 *
 *   work-item = one byte of the target: the 1 to 4 elements whose bits meet in it
 *
 *       stream  | e0 e0 e0 e1 e1 e1 e2 e2 | e2 e3 e3 e3 ...     (3 bits)
 *       byte    |<--------- at --------->|
 *
 * Bound: memory, and the divisions that find an element's place. */
#include "spans.h"

NIB_KERNEL(repack_bytes, 64)
{
    NIB_ENTER;
    nib_place from = a.codes, to = a.other;
    nib_i64 byte = get_global_id(0);
    if (byte >= to.streams * to.pitch) return;
    nib_i64 stream = nib_place_stream(to, byte), bit = nib_place_index(to, byte) * 8;
    nib_u32 value = 0;
    for (nib_i64 e = bit / to.width; e < to.length && e * to.width < bit + 8; e++) {
        nib_i64 row = to.axis == NIB_AXIS_COLS ? stream : e;
        nib_i64 col = to.axis == NIB_AXIS_COLS ? e : stream;
        nib_u32 element = from.axis == NIB_AXIS_COLS ? nib_get(codes, from, row, col)
                                                     : nib_get(codes, from, col, row);
        element ^= (nib_u32)to.flip;
        nib_i64 shift = e * to.width - bit;
        value |= shift < 0 ? element >> -shift : element << shift;
    }
    y[byte] = (uchar)value;
}
