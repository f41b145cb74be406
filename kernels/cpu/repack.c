/* repack.c - an integer plane from one layout to another, byte by byte of the target.
 *
 *   codes (place args->codes)  ->  y (place args->other); padding becomes zero
 *
 * Bound: reading and writing the plane once; here, one element at a time. */
#include "access.h"
#include "kernels.h"

/* A byte of the target: its stream, the stream's bit where it begins, and the element there. */
typedef struct place_at {
    nib_i64 stream, bit, element;
} place_at;

static place_at find_place(nib_place p, nib_i64 at)
{
    place_at found = {nib_place_stream(p, at), nib_place_index(p, at) * 8, 0};
    found.element = found.bit / p.width;
    return found;
}

NIB_CPU_KERNEL(nib_cpu_repack)
{
    nib_place from = args->codes, to = args->other;
    int turned = from.axis != to.axis;
    nib_u8 *out = span[NIB_Y];
    place_at p = {0, 0, 0};
    for (nib_i64 at = begin; at < end; at++) {
        /* words may alternate between streams: look again at each, and at each new stream */
        if (at == begin || at % 4 == 0 || p.bit == to.pitch * 8) p = find_place(to, at);
        nib_u32 byte = 0;
        nib_i64 i = p.element;
        for (; i * to.width < p.bit + 8; i++) {
            nib_i64 shift = i * to.width - p.bit;
            if (i >= to.length) continue;
            nib_u32 element = turned ? load_bits(span[NIB_CODES], from, i, p.stream)
                                     : load_bits(span[NIB_CODES], from, p.stream, i);
            element ^= (nib_u32)to.flip;
            byte |= shift < 0 ? element >> -shift : element << shift;
        }
        out[at] = (nib_u8)byte;
        p.bit += 8;
        p.element = i * to.width > p.bit ? i - 1 : i;
    }
}
