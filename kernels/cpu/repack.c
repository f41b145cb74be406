/* repack.c - an integer plane from one layout to another, byte by byte of the target.
 *
 *   codes (place args->codes)  ->  y (place args->other); padding becomes zero
 *
 * Bound: reading and writing the plane once; here, one element at a time. */
#include "access.h"
#include "kernels.h"

NIB_CPU_KERNEL(nib_cpu_repack)
{
    nib_place from = args->codes, to = args->other;
    int turned = from.axis != to.axis;
    nib_u8 *out = span[NIB_Y];
    for (nib_i64 at = begin; at < end; at++) {
        nib_i64 stream = nib_place_stream(to, at), bit = nib_place_index(to, at) * 8;
        nib_i64 first = bit / to.width, last = min_i64((bit + 7) / to.width, to.length - 1);
        nib_u32 byte = 0;
        for (nib_i64 i = first; i <= last; i++) {
            nib_u32 element = turned ? load_bits(span[NIB_CODES], from, i, stream)
                                     : load_bits(span[NIB_CODES], from, stream, i);
            element ^= (nib_u32)to.flip;
            nib_i64 shift = i * to.width - bit;
            byte |= shift < 0 ? element >> -shift : element << shift;
        }
        out[at] = (nib_u8)byte;
    }
}
