/* runs_simd.h - codes of any width as words, and keys as values, over either vec_*.h. */
#ifndef NIB_CPU_RUNS_SIMD_H
#define NIB_CPU_RUNS_SIMD_H

/* One instance per type, width, and whether there is a min. */
#define FOR_BITS_MINS(X, type, bits) X(type, bits, NONE) X(type, bits, MIN)
#define FOR_TYPE_MINS(X, type)                                                                     \
    FOR_BITS_MINS(X, type, 2)                                                                      \
    FOR_BITS_MINS(X, type, 3)                                                                      \
    FOR_BITS_MINS(X, type, 4)                                                                      \
    FOR_BITS_MINS(X, type, 5)                                                                      \
    FOR_BITS_MINS(X, type, 6)                                                                      \
    FOR_BITS_MINS(X, type, 8)
#define FOR_TYPES_BITS_MINS(X) FOR_TYPE_MINS(X, F32) FOR_TYPE_MINS(X, F16) FOR_TYPE_MINS(X, BF16)

/* Whether rows of `pitch` bytes at p are better stored around the caches: what a launch moves is
 * more than caches keep, and every row is whole lines. */
enum { STREAM_BYTES = 64 << 20 };
INLINE int should_stream(const void *p, nib_i64 pitch, nib_i64 bytes_moved)
{
    return bytes_moved >= STREAM_BYTES && ((uintptr_t)p | (uintptr_t)pitch) % 64 == 0;
}

/* Begins to bring a line into the cache; any address will do. */
INLINE void prefetch(const nib_u8 *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }
/* The same for what is read once. */
INLINE void prefetch_once(const nib_u8 *p) { _mm_prefetch((const char *)p, _MM_HINT_NTA); }

/* Eight codes in eight bytes, as pext and pdep see them (both are slow before Zen 3). */
INLINE uint64_t octet_mask(int bits) { return UINT64_C(0x0101010101010101) * ((1u << bits) - 1u); }

/* The codes of a run, LSB first in 4 * bits bytes, and back; no byte outside the run is touched.
 * `stream` (8 and 4 bits) goes around the caches, `out` being a multiple of the bytes stored. */
INLINE void store_codes(nib_u8 *out, words w, code_limits c, int stream)
{
    uint64_t octets[4], word = 0;
    int held = 0, bits = c.bits;
    if (bits == 8) {
        w_store_bytes(out, w, c, stream);
        return;
    }
    if (bits == 4) {
        w_store_nibbles(out, w, c, stream);
        return;
    }
    w_to_octets(w, c, octets);
    for (int i = 0; i < 4; i++) {
        uint64_t packed = _pext_u64(octets[i], octet_mask(bits));
        word |= packed << held;
        held += 8 * bits;
        if (held < 64) continue;
        memcpy(out, &word, 8);
        out += 8;
        held -= 64;
        word = held ? packed >> (8 * bits - held) : 0;
    }
    if (held) memcpy(out, &word, 4); /* 4 * bits is a multiple of 4 */
}

/* Two runs, one after the other. */
INLINE void store_codes_2(nib_u8 *out, words a, words b, code_limits c, int stream)
{
    if (c.bits == 8) {
        w_store_bytes_2(out, a, b, c, stream);
    } else if (c.bits == 4) {
        w_store_nibbles_2(out, a, b, c, stream);
    } else {
        store_codes(out, a, c, stream);
        store_codes(out + 4 * c.bits, b, c, stream);
    }
}

INLINE words load_codes(const nib_u8 *in, int bits)
{
    uint64_t octets[4];
    if (bits == 8) return w_load_bytes(in);
    if (bits == 4) return w_load_nibbles(in);
    for (int i = 0; i < 4; i++) {
        int from = i * bits < 4 * bits - 8 ? i * bits : 4 * bits - 8;
        uint64_t word;
        memcpy(&word, in + from, 8);
        octets[i] = _pdep_u64(word >> 8 * (i * bits - from), octet_mask(bits));
    }
    return w_from_octets(octets);
}

#endif
