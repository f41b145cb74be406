/* repack.cu - an integer plane from one layout to another: a thread gathers the bits of one byte of
 * the target, so no two threads write one address, whatever the layouts. Streams and words:
 * include/nibble_schemes.def. Bound: the caches, since strided sources are read by the byte. */
#include "device.cuh"

DEVICE nib_u32 load_code(const void *plane, const nib_place &p, nib_i64 stream, nib_i64 index)
{
    nib_i64 bit = index * p.width, byte = bit >> 3;
    nib_u32 value = 0;
    for (int i = 0; i * 8 < (int)(bit & 7) + p.width; i++)
        value |= (nib_u32)((const nib_u8 *)plane)[nib_place_byte(p, stream, byte + i)] << (8 * i);
    return (value >> (bit & 7) & ((1u << p.width) - 1u)) ^ (nib_u32)p.flip;
}

NIB_CUDA_KERNEL(nib_cuda_repack)
{
    nib_place from = a.codes, to = a.other;
    for (nib_i64 item = grid_thread(); item < items; item += grid_threads()) {
        nib_i64 stream = nib_place_stream(to, item), bit = nib_place_index(to, item) * 8;
        nib_u32 byte = 0;
        for (nib_i64 i = bit / to.width; i * to.width < bit + 8 && i < to.length; i++) {
            nib_u32 code = from.axis == to.axis ? load_code(s.codes, from, stream, i)
                                                : load_code(s.codes, from, i, stream);
            nib_i64 shift = i * to.width - bit;
            code ^= (nib_u32)to.flip;
            byte |= shift >= 0 ? code << shift : code >> -shift;
        }
        ((nib_u8 *)s.y)[item] = (nib_u8)byte;
    }
}
