/* layout.h - where an element of an integer plane lies. Streams and strided words:
 * include/nibble_schemes.def. */
#ifndef NIB_LAYOUT_H
#define NIB_LAYOUT_H

#include "args.h"

/* Byte `byte` of stream `stream`, from the start of the plane. */
NIB_FN nib_i64 nib_place_byte(nib_place p, nib_i64 stream, nib_i64 byte)
{
    return p.strided ? (((byte >> 2) * p.streams + stream) << 2) + (byte & 3)
                     : stream * p.pitch + byte;
}

/* The stream that byte `at` of the plane belongs to, and which byte of the stream it is. */
NIB_FN nib_i64 nib_place_stream(nib_place p, nib_i64 at)
{
    return p.strided ? (at >> 2) % p.streams : at / p.pitch;
}

NIB_FN nib_i64 nib_place_index(nib_place p, nib_i64 at)
{
    return p.strided ? (((at >> 2) / p.streams) << 2) + (at & 3) : at % p.pitch;
}

#endif
