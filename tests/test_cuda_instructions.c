/* test_cuda_instructions.c - what each kernel of cuda_instructions.cu must write, from the PTX
 * ISA and IEEE 754, in plain C. Over the stand-in driver it holds the emulator to that; on a GPU
 * it holds this file to the GPU.
 *
 * test_cuda_instructions [FATBIN]   FATBIN: cuda_instructions.cu by nvcc, for a GPU */
#include "../host/cuda/driver.h"
#include "../kernels/ref/witness.h"
#include "check.h"

#include <math.h>

enum { ROUNDS = 8, MOST = 1 << 18 }; /* launches of each kernel, each in another order of threads */

static uint64_t seed = 1;
static uint32_t word(void) { return (uint32_t)(check_random(&seed) >> 32); }
static int small(void) { return (int)(word() % 17) - 8; } /* sums of products stay exact */

static void fill_words(void *in, size_t bytes)
{
    for (size_t i = 0; i < bytes / 4; i++) ((uint32_t *)in)[i] = word();
}

/* ---- warps ---- */

static uint32_t fold(char how, const uint32_t *v, int first, int end)
{
    uint32_t r = v[first];
    for (int i = first + 1; i < end; i++) {
        uint32_t x = v[i];
        if (how == '+') r += x;
        if (how == 'U') r = x > r ? x : r;
        if (how == 'u') r = x < r ? x : r;
        if (how == 'S') r = (int32_t)x > (int32_t)r ? x : r;
        if (how == 's') r = (int32_t)x < (int32_t)r ? x : r;
    }
    return r;
}

static void expect_warp(const void *in, void *out)
{
    for (int t = 0; t < 64; t++) {
        const uint32_t *v = (const uint32_t *)in + t / 32 * 32;
        uint32_t *o = (uint32_t *)out + t * 24;
        int lane = t % 32, half = lane / 16 * 16;
        uint32_t odd = 0, second = 0, three = 0, some = 0, all = ~0u;
        for (int i = 0; i < 32; i++) odd |= (v[i] & 1) << i;
        for (int i = half; i < half + 16; i++) {
            second |= (v[i] >> 1 & 1) << i;
            three |= v[i] % 32 == 3;
            some |= v[i] & v[i] << 3 & v[i] << 5;
            all &= v[i] | v[i] << 3 | v[i] << 5;
        }
        *o++ = v[5];
        *o++ = v[lane / 8 * 8 + 3];
        *o++ = v[v[lane] % 32];
        *o++ = v[lane ^ 9];
        *o++ = v[lane % 16 < 8 ? lane : lane ^ 8];
        *o++ = v[lane < 3 ? lane : lane - 3];
        *o++ = v[lane % 8 < 3 ? lane : lane - 3];
        *o++ = v[lane > 28 ? lane : lane + 3];
        *o++ = v[lane % 16 > 12 ? lane : lane + 3];
        *o++ = 7;
        *o++ = v[7];
        *o++ = odd;
        *o++ = second;
        *o++ = three;
        *o++ = !three;
        *o++ = fold('+', v, 0, 32);
        *o++ = fold('+', v, half, half + 16);
        *o++ = fold('U', v, 0, 32);
        *o++ = fold('u', v, 0, 32);
        *o++ = fold('S', v, 0, 32);
        *o++ = fold('s', v, 0, 32);
        *o++ = some;
        *o++ = all;
        *o++ = v[half + 15 - lane % 16];
    }
}

/* ---- bits and numbers ---- */

static uint32_t table_of(uint32_t table, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t r = 0;
    for (int i = 0; i < 32; i++)
        r |= (table >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1) << i;
    return r;
}

static uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector)
{
    uint32_t r = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t nibble = selector >> 4 * i & 15, pick = nibble & 7;
        uint32_t byte = (pick < 4 ? a >> 8 * pick : b >> 8 * (pick - 4)) & 255;
        if (nibble & 8) byte = byte & 128 ? 255 : 0;
        r |= byte << 8 * i;
    }
    return r;
}

/* cvt saturates, and NaN becomes 0. */
static uint32_t integer(double x)
{
    if (isnan(x)) return 0;
    return (uint32_t)(int32_t)(x > 2147483647.0    ? 2147483647.0
                               : x < -2147483648.0 ? -2147483648.0
                                                   : x);
}

static void fill_bits(void *in, size_t bytes)
{
    uint32_t *w = in;
    fill_words(in, bytes);
    for (size_t i = 3; i < bytes / 4; i += 4)
        if (i % 8 == 3)
            w[i] = nib_ref_bits((float)(int32_t)word() * 0.125f / (float)(1 << word() % 31));
}

static void expect_bits(const void *in, void *out)
{
    for (int t = 0; t < 256; t++) {
        const uint32_t *w = (const uint32_t *)in + t * 4;
        uint32_t a = w[0], b = w[1], c = w[2], sum = c, *o = (uint32_t *)out + t * 16;
        uint32_t right = a >> b % 32, left = a << b % 32;
        float f = nib_ref_float(w[3]);
        double nearest = floor((double)f), rest = (double)f - nearest; /* half to even */
        if (rest > 0.5 || (rest == 0.5 && fmod(nearest, 2) != 0)) nearest++;
        int ones = 0, leading = 0, first = 0; /* from each end */
        for (int i = 0; i < 32; i++) ones += (int)(a >> i & 1);
        while (leading < 32 && !(right << leading >> 31)) leading++;
        while (first < 32 && !(left >> first & 1)) first++;
        for (int i = 0; i < 32; i += 8) sum += (uint32_t)((int8_t)(a >> i) * (int8_t)(b >> i));
        *o++ = a ^ b ^ c;
        *o++ = (a & b) | c;
        *o++ = table_of((0xf0 ^ 0xcc) & 0x55, a, b, c);
        *o++ = permuted(a, b, c);
        *o++ = sum;
        *o++ = (uint32_t)(((uint64_t)b << 32 | a) >> c % 32);
        *o++ = (uint32_t)ones;
        *o++ = (uint32_t)leading;
        *o++ = first == 32 ? 0 : (uint32_t)first + 1;
        *o++ = integer(nearest);
        *o++ = integer(trunc((double)f));
        *o++ = integer(floor((double)f));
        *o++ = integer(ceil((double)f));
        *o++ = nib_ref_bits((float)(double)(int32_t)a);
        *o++ = nib_ref_bits((float)(double)a);
        *o++ = nib_ref_bits(f >= 1 ? 1.0f : f > 0 ? f : 0.0f);
    }
}

/* Finite numbers of all sizes, subnormal ones too. */
static uint32_t finite_bits(int type)
{
    uint32_t bits = type == NIB_T_F32 ? word() : word() & 0xffff;
    return isfinite(nib_ref_value(type, bits)) ? bits
                                               : bits & (type == NIB_T_F32 ? 0x80ffffffu : 0x83ffu);
}

static void fill_numbers(void *in, size_t bytes)
{
    uint32_t *w = in;
    for (size_t i = 0; i < bytes / 4; i++)
        w[i] = i % 6 < 2 ? finite_bits(NIB_T_F32)
                         : finite_bits(NIB_T_F16) | finite_bits(NIB_T_F16) << 16;
    for (size_t i = 0; i < bytes / 4; i += 12)
        w[i] = finite_bits(NIB_T_F16) << 13 | (word() & 0x1fff); /* small */
}

/* The f16 nearest to a * b + c, by exact integers in units of 2^-48: product 2^-48 * 22 bits, c
 * 2^-24. */
static uint32_t fused(uint32_t ha, uint32_t hb, uint32_t hc)
{
    double a = (double)nib_ref_value(NIB_T_F16, ha), b = (double)nib_ref_value(NIB_T_F16, hb),
           c = (double)nib_ref_value(NIB_T_F16, hc);
    __extension__ typedef __int128 wide;
    wide exact = (wide)(a * 0x1p24) * (wide)(b * 0x1p24) + (wide)(c * 0x1p24) * (1 << 24);
    if (exact == 0) return nib_ref_stored(NIB_T_F16, (float)(a * b + c)); /* its sign */
    wide magnitude = exact < 0 ? -exact : exact;
    uint32_t low = 0, high = 0x7c00; /* the largest f16 that is not above, by halving */
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        wide value = (wide)((double)nib_ref_value(NIB_T_F16, middle) * 0x1p24) << 24;
        if (value <= magnitude) low = middle;
        else high = middle;
    }
    wide below = (wide)((double)nib_ref_value(NIB_T_F16, low) * 0x1p24) << 24;
    wide above = low == 0x7bff ? (wide)65536 << 48
                               : (wide)((double)nib_ref_value(NIB_T_F16, low + 1) * 0x1p24) << 24;
    wide twice = 2 * magnitude - below - above;
    return (exact < 0 ? 0x8000u : 0u) | (twice > 0 || (twice == 0 && low & 1) ? low + 1 : low);
}

static void expect_numbers(const void *in, void *out)
{
    for (int t = 0; t < 256; t++) {
        const uint32_t *w = (const uint32_t *)in + t * 6;
        uint32_t *o = (uint32_t *)out + t * 9, h[6];
        float x = nib_ref_float(w[0]), y = nib_ref_float(w[1]);
        for (int i = 0; i < 6; i++) h[i] = w[2 + i / 2] >> i % 2 * 16 & 0xffff;
        *o++ = nib_ref_bits(nib_ref_value(NIB_T_F16, h[0]));
        *o++ = nib_ref_stored(NIB_T_F16, x);
        *o++ = nib_ref_stored(NIB_T_BF16, x);
        *o++ = fused(h[0], h[1], h[2]);
        *o++ = fused(h[4], h[1], h[3]);
        *o++ = nib_ref_bits(fmaf(x, y, x));
        *o++ = nib_ref_bits((float)((double)x * (double)y));
        *o++ = nib_ref_bits((float)((double)x + (double)y));
        *o++ = nib_ref_bits((float)((double)x / (double)y));
    }
}

/* ---- tensor cores: fragments as in the PTX ISA, g = lane / 4, t = lane % 4 ---- */

static void expect_ldmatrix(const void *in, void *out)
{
    const uint16_t(*tile)[8][8] = in;
    for (int lane = 0; lane < 32; lane++) {
        uint32_t *o = (uint32_t *)out + lane * 12;
        int r = lane / 4, c = lane % 4 * 2;
        for (int m = 0; m < 4; m++) o[m] = tile[m][r][c] | (uint32_t)tile[m][r][c + 1] << 16;
        for (int m = 0; m < 4; m++) o[4 + m] = tile[m][c][r] | (uint32_t)tile[m][c + 1][r] << 16;
        for (int m = 0; m < 2; m++)
            o[8 + m] = tile[1 + m][r][c] | (uint32_t)tile[1 + m][r][c + 1] << 16;
        for (int m = 0; m < 2; m++)
            o[10 + m] = tile[1 + m][c][r] | (uint32_t)tile[1 + m][c + 1][r] << 16;
    }
}

/* Element i of a lane's A: row, column. 16-bit elements: m16n8k16; 8-bit ones: m16n8k32. */
static int a_row(int bits, int lane, int i)
{
    int per = 32 / bits; /* elements in a register */
    return lane / 4 + (i / per % 2 ? 8 : 0);
}
static int a_col(int bits, int lane, int i)
{
    int per = 32 / bits;
    return lane % 4 * per + i % per + (i >= 2 * per ? 4 * per : 0);
}
/* Element i of a lane's B: row (along K), column. */
static int b_row(int bits, int lane, int i)
{
    int per = 32 / bits;
    return lane % 4 * per + i % per + (i >= per ? 4 * per : 0);
}
static int b_col(int lane) { return lane / 4; }
static int d_row(int lane, int i) { return lane / 4 + (i >= 2 ? 8 : 0); }
static int d_col(int lane, int i) { return lane % 4 * 2 + i % 2; }

/* NIB_T_F16, NIB_T_BF16, or 0: int8. */
static int bits_of(int type) { return type ? 16 : 8; }

static void put_element(void *array, int type, int at, int value)
{
    if (type) ((uint16_t *)array)[at] = (uint16_t)nib_ref_stored(type, (float)value);
    else ((int8_t *)array)[at] = (int8_t)value;
}
static int get_element(const void *array, int type, int at)
{
    return type ? (int)nib_ref_value(type, ((const uint16_t *)array)[at])
                : ((const int8_t *)array)[at];
}
static uint32_t accumulator(int type, int64_t value)
{
    return type ? nib_ref_bits((float)value) : (uint32_t)value; /* int32 wraps */
}
static int64_t accumulated(int type, uint32_t stored)
{
    return type ? (int64_t)nib_ref_float(stored) : (int32_t)stored;
}
static int operand(int type) { return type ? small() : (int8_t)word(); }
static uint32_t start_value(int type) { return type ? nib_ref_bits((float)small()) : word(); }

typedef struct fragments {
    uint32_t a[4], b[2], d[4];
} fragments;

static void fill_mma(int type, void *in)
{
    fragments *f = in;
    for (int lane = 0; lane < 32; lane++) {
        for (int i = 0; i < 128 / bits_of(type); i++)
            put_element(f[lane].a, type, i, operand(type));
        for (int i = 0; i < 64 / bits_of(type); i++) put_element(f[lane].b, type, i, operand(type));
        for (int i = 0; i < 4; i++) f[lane].d[i] = start_value(type);
    }
}

static void expect_mma(int type, const void *in, void *out)
{
    const fragments *f = in;
    int bits = bits_of(type), k = 256 / bits, a[16][32], b[32][8];
    for (int lane = 0; lane < 32; lane++) {
        for (int i = 0; i < 128 / bits; i++)
            a[a_row(bits, lane, i)][a_col(bits, lane, i)] = get_element(f[lane].a, type, i);
        for (int i = 0; i < 64 / bits; i++)
            b[b_row(bits, lane, i)][b_col(lane)] = get_element(f[lane].b, type, i);
    }
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++) {
            int64_t sum = accumulated(type, f[lane].d[i]);
            for (int j = 0; j < k; j++) sum += a[d_row(lane, i)][j] * b[j][d_col(lane, i)];
            ((uint32_t *)out)[lane * 4 + i] = accumulator(type, sum);
        }
}

static void fill_mma_f16(void *in, size_t bytes) { (void)bytes, fill_mma(NIB_T_F16, in); }
static void fill_mma_bf16(void *in, size_t bytes) { (void)bytes, fill_mma(NIB_T_BF16, in); }
static void fill_mma_s8(void *in, size_t bytes) { (void)bytes, fill_mma(0, in); }
static void expect_mma_f16(const void *in, void *out) { expect_mma(NIB_T_F16, in, out); }
static void expect_mma_bf16(const void *in, void *out) { expect_mma(NIB_T_BF16, in, out); }
static void expect_mma_s8(const void *in, void *out) { expect_mma(0, in, out); }

/* ---- copies, barriers, blocks ---- */

static void expect_cp_async(const void *in, void *out)
{
    memset(out, 0, 64 * 48);
    for (int t = 0; t < 64; t++) memcpy((char *)out + t * 48, (const char *)in + t * 32, 32);
}

/* Pieces of 32 words, each reversed. */
static void expect_reversed(const void *in, void *out, int pieces)
{
    for (int i = 0; i < pieces * 32; i++)
        ((uint32_t *)out)[i] = ((const uint32_t *)in)[i / 32 * 32 + 31 - i % 32];
}
static void expect_named_barrier(const void *in, void *out) { expect_reversed(in, out, 8); }

enum { SHARED_WORDS = 25 * 1024 }; /* 100 KiB: more than a kernel gets without asking */

static void expect_dynamic_shared(const void *in, void *out)
{
    for (int i = 0; i < SHARED_WORDS; i++)
        ((uint32_t *)out)[i] = ((const uint32_t *)in)[SHARED_WORDS - 1 - i];
}

enum { ATOMICS = 4 * 96 };

static void expect_atomics(const void *in, void *out)
{
    const uint32_t *v = in;
    uint32_t *o = out;
    for (int i = 0; i < ATOMICS; i++) {
        o[0] += v[i];
        o[1] = v[i] > o[1] ? v[i] : o[1];
        o[3] |= v[i] & 0x0f0f0f0fu;
        if ((int32_t)v[i] > (int32_t)o[4]) o[4] = v[i];
        if ((int32_t)v[i] < (int32_t)o[5]) o[5] = v[i];
        o[6] += v[i];
        o[8 + i] = 1; /* each ticket is drawn once */
    }
    o[7] = ATOMICS;
}

static void expect_flags(const void *in, void *out)
{
    const uint32_t *v = in;
    uint32_t *o = out;
    o[0] = 1, o[1] = 2;
    for (int i = 0; i < 64; i++) {
        o[32 + i] = v[i];
        o[96 + i] = v[63 - i];
        o[160 + i] = v[i] + v[63 - i];
    }
}

static void expect_mbarrier(const void *in, void *out)
{
    expect_reversed(in, out, 6);
    for (int i = 0; i < 64; i++) ((uint32_t *)out)[192 + i] = 1;
}

/* ---- wgmma: 64 x 64 x 32 bytes, each swizzle in a block of its own ---- */

typedef struct wgmma_input {
    uint8_t a[8192], b[8192];
    uint32_t d[128][32];
} wgmma_input;

/* Swizzles as descriptors count them: none, 128, 64, 32 bytes. Where byte `byte` of a row lies:
 * without one, 8 rows of 16 bytes, then the next 16 bytes of K; with one, rows of its width,
 * whose 16-byte pieces are exclusive-or'ed with the number of the 128-byte line. */
static int tile_place(int swizzle, int row, int byte)
{
    static const int widths[] = {0, 128, 64, 32};
    int width = widths[swizzle];
    if (!width) return row / 8 * 256 + byte / 16 * 128 + row % 8 * 16 + byte % 16;
    int at = row * width + byte;
    return at ^ (at / 128 % (width / 16)) * 16;
}

/* The accumulators of thread t: rows of its warp, pairs of columns 8 apart. */
static int wide_row(int t, int i) { return t / 32 * 16 + t % 32 / 4 + (i % 4 >= 2 ? 8 : 0); }
static int wide_col(int t, int i) { return i / 4 * 8 + t % 4 * 2 + i % 2; }

static int element_place(int type, int swizzle, int row, int k)
{
    int bytes = bits_of(type) / 8;
    return tile_place(swizzle, row, k * bytes) / bytes;
}

static void fill_wgmma(int type, int registers, void *in)
{
    wgmma_input *w = in;
    int k = 256 / bits_of(type);
    for (int s = 0; s < 4; s++) {
        memset(&w[s], 0xff, sizeof w[s]);
        for (int row = 0; row < 64; row++)
            for (int j = 0; j < k; j++) {
                put_element(w[s].a, type, element_place(type, s, row, j), operand(type));
                put_element(w[s].b, type, element_place(type, s, row, j), operand(type));
            }
        for (int i = 0; registers && i < 128 * 8; i++) put_element(w[s].a, type, i, operand(type));
        for (int i = 0; i < 128 * 32; i++) w[s].d[i / 32][i % 32] = start_value(type);
    }
}

static void expect_wgmma(int type, int registers, const void *in, void *out)
{
    const wgmma_input *w = in;
    int k = 256 / bits_of(type), a[64][32], b[64][32];
    for (int s = 0; s < 4; s++) {
        for (int row = 0; row < 64; row++)
            for (int j = 0; j < k; j++) {
                a[row][j] = get_element(w[s].a, type, element_place(type, s, row, j));
                b[row][j] = get_element(w[s].b, type, element_place(type, s, row, j));
            }
        for (int t = 0; registers && t < 128; t++)
            for (int i = 0; i < 8; i++)
                a[t / 32 * 16 + a_row(16, t % 32, i)][a_col(16, t % 32, i)] =
                    get_element(w[s].a, type, t * 8 + i);
        for (int t = 0; t < 128; t++)
            for (int i = 0; i < 32; i++) {
                int64_t sum = accumulated(type, w[s].d[t][i]);
                for (int j = 0; j < k; j++) sum += a[wide_row(t, i)][j] * b[wide_col(t, i)][j];
                ((uint32_t *)out)[(s * 128 + t) * 32 + i] = accumulator(type, sum);
            }
    }
}

static void fill_wgmma_f16(void *in, size_t bytes) { (void)bytes, fill_wgmma(NIB_T_F16, 0, in); }
static void fill_wgmma_bf16(void *in, size_t bytes) { (void)bytes, fill_wgmma(NIB_T_BF16, 0, in); }
static void fill_wgmma_s8(void *in, size_t bytes) { (void)bytes, fill_wgmma(0, 0, in); }
static void fill_wgmma_registers(void *in, size_t bytes)
{
    (void)bytes, fill_wgmma(NIB_T_F16, 1, in);
}
static void expect_wgmma_f16(const void *in, void *out) { expect_wgmma(NIB_T_F16, 0, in, out); }
static void expect_wgmma_bf16(const void *in, void *out) { expect_wgmma(NIB_T_BF16, 0, in, out); }
static void expect_wgmma_s8(const void *in, void *out) { expect_wgmma(0, 0, in, out); }
static void expect_wgmma_registers(const void *in, void *out)
{
    expect_wgmma(NIB_T_F16, 1, in, out);
}

/* ---- the table ---- */

typedef struct row {
    const char *kernel;
    int sm; /* 90: of Hopper only, for its instructions are */
    unsigned blocks, threads;
    size_t shared, in, out; /* bytes */
    void (*fill)(void *in, size_t bytes);
    void (*expect)(const void *in, void *out);
} row;

/* clang-format off */
static const row rows[] = {
    {"check_warp",            80, 1,  64, 0,                64 * 4,             64 * 96,              fill_words,           expect_warp},
    {"check_bits",            80, 1, 256, 0,                256 * 16,           256 * 64,             fill_bits,            expect_bits},
    {"check_numbers",         80, 1, 256, 0,                256 * 24,           256 * 36,             fill_numbers,         expect_numbers},
    {"check_ldmatrix",        80, 1,  32, 0,                512,                32 * 48,              fill_words,           expect_ldmatrix},
    {"check_mma_f16",         80, 1,  32, 0,                32 * 40,            512,                  fill_mma_f16,         expect_mma_f16},
    {"check_mma_bf16",        80, 1,  32, 0,                32 * 40,            512,                  fill_mma_bf16,        expect_mma_bf16},
    {"check_mma_s8",          80, 1,  32, 0,                32 * 40,            512,                  fill_mma_s8,          expect_mma_s8},
    {"check_cp_async",        80, 1,  64, 0,                64 * 32,            64 * 48,              fill_words,           expect_cp_async},
    {"check_named_barrier",   80, 1, 128, 0,                8 * 128,            8 * 128,              fill_words,           expect_named_barrier},
    {"check_dynamic_shared",  80, 1, 256, 4 * SHARED_WORDS, 4 * SHARED_WORDS,   4 * SHARED_WORDS,     fill_words,           expect_dynamic_shared},
    {"check_atomics",         80, 4,  96, 0,                4 * ATOMICS,        4 * (8 + ATOMICS),    fill_words,           expect_atomics},
    {"check_flags",           80, 2,  64, 0,                256,                4 * 224,              fill_words,           expect_flags},
    {"check_mbarrier",        90, 1,  64, 0,                6 * 128,            6 * 128 + 256,        fill_words,           expect_mbarrier},
    {"check_wgmma_f16",       90, 4, 128, 16384,            4 * sizeof(wgmma_input), 4 * 16384,       fill_wgmma_f16,       expect_wgmma_f16},
    {"check_wgmma_bf16",      90, 4, 128, 16384,            4 * sizeof(wgmma_input), 4 * 16384,       fill_wgmma_bf16,      expect_wgmma_bf16},
    {"check_wgmma_s8",        90, 4, 128, 16384,            4 * sizeof(wgmma_input), 4 * 16384,       fill_wgmma_s8,        expect_wgmma_s8},
    {"check_wgmma_registers", 90, 4, 128, 16384,            4 * sizeof(wgmma_input), 4 * 16384,       fill_wgmma_registers, expect_wgmma_registers},
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof rows[0] };

/* ---- the device ---- */

static const nib_cuda_driver *cu;
static CUstream stream;

static void must(CUresult result, const char *call)
{
    const char *name = NULL;
    if (result == CUDA_SUCCESS) return;
    cu->cuGetErrorName(result, &name);
    printf("%s: %s (%d)\n1 failed\n", call, name ? name : "?", result);
    exit(1);
}
#define MUST(call) must(cu->call, #call)

static CUmodule open_device(const char *fatbin, int *sm_ret)
{
    static unsigned char image[1 << 24];
    CUdevice device;
    CUcontext context;
    CUmodule module;
    int major, minor;
    FILE *file = fatbin ? fopen(fatbin, "rb") : NULL;
    if (fatbin && (!file || !fread(image, 1, sizeof image, file))) {
        perror(fatbin);
        exit(1);
    }
    if (file) fclose(file);
    MUST(cuDeviceGet(&device, 0));
    MUST(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device));
    MUST(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device));
    MUST(cuDevicePrimaryCtxRetain(&context, device));
    MUST(cuCtxPushCurrent(context));
    MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    MUST(cuModuleLoadData(&module, image));
    *sm_ret = 10 * major + minor;
    return module;
}

/* As kernels/cuda/device.cuh has it. */
typedef struct spans {
    CUdeviceptr x, codes, scales, offsets, y, out, report;
} spans;

static void launch(const row *r, CUmodule module, const void *in, void *out)
{
    CUfunction function;
    spans s = {0};
    nib_args args = {0};
    nib_i64 items = (nib_i64)(r->shared / 4);
    void *params[] = {&s, &args, &items};
    static const unsigned char zeros[MOST];
    MUST(cuModuleGetFunction(&function, module, r->kernel));
    if (r->shared)
        MUST(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                (int)r->shared));
    MUST(cuMemAlloc(&s.x, r->in));
    MUST(cuMemAlloc(&s.y, r->out));
    MUST(cuMemcpyHtoDAsync(s.x, in, r->in, stream));
    MUST(cuMemcpyHtoDAsync(s.y, zeros, r->out, stream));
    MUST(cuLaunchKernel(function, r->blocks, 1, 1, r->threads, 1, 1, (unsigned)r->shared, stream,
                        params, NULL));
    MUST(cuMemcpyDtoHAsync(out, s.y, r->out, stream));
    MUST(cuStreamSynchronize(stream));
    MUST(cuMemFree(s.x));
    MUST(cuMemFree(s.y));
}

int main(int argc, char **argv)
{
    const char *why;
    static uint32_t in[MOST / 4], out[MOST / 4], expected[MOST / 4];
    int sm;
    cu = nib_cuda_load(&why);
    if (!cu) return puts(why), 77;
    CUmodule module = open_device(argc > 1 ? argv[1] : NULL, &sm);
    for (int i = 0; i < ROWS; i++) {
        const row *r = &rows[i];
        if (r->sm == 90 && sm != 90) {
            check_skip(r->kernel, "of Hopper only");
            continue;
        }
        for (int round = 0; round < ROUNDS; round++) {
            r->fill(in, r->in);
            memset(expected, 0, r->out);
            r->expect(in, expected);
            launch(r, module, in, out);
            size_t at = 0;
            while (at < r->out / 4 && out[at] == expected[at]) at++;
            CHECK(at == r->out / 4, "%s: word %zu is %08x, expected %08x", r->kernel, at, out[at],
                  expected[at]);
        }
    }
    return check_done();
}
