/* roofs_cpu.c - see roofs_cpu.h. */
#include "roofs_cpu.h"

#include <string.h>

enum { LINE = 64, STREAMS = 8, AHEAD = 32 * LINE };

/* Eight streams a core: one alone does not keep enough lines in flight. A word of each line is
 * enough to have it brought in. */
void bench_probe_read(char *memory, size_t bytes)
{
    size_t share = bytes / STREAMS;
    uint64_t sum = 0, word;
    for (size_t i = 0; i < share; i += LINE)
        for (size_t s = 0; s < STREAMS; s++) {
            const char *at = memory + s * share + i;
            __builtin_prefetch(at + AHEAD);
            memcpy(&word, at, sizeof word);
            sum += word;
        }
    __asm__ volatile("" : : "r"(sum));
}

#if defined(__x86_64__)
#include <immintrin.h>

void bench_probe_copy(char *memory, size_t bytes)
{
    const char *from = memory + bytes / 2;
    for (size_t i = 0; i < bytes / 2; i += sizeof(__m128i))
        _mm_stream_si128((__m128i *)(memory + i), _mm_load_si128((const __m128i *)(from + i)));
    _mm_sfence();
}

/* Twelve sums hide the latency of two units of 4 to 6 steps. A compiler must not see that all
 * are the same: GCC made four of them. */
enum { SUMS = 12, STEPS = 1 << 20 };
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define DECLARE(i) zero,
#define FORGET(i) __asm__ volatile("" : "+x"(sum[i]));

#define PROBE(name, isa, type, first, step)                                                        \
    __attribute__((target(isa))) static void name(char *memory, size_t bytes)                      \
    {                                                                                              \
        (void)memory, (void)bytes;                                                                 \
        type zero = first, x = first, sum[SUMS] = {EACH(DECLARE)};                                 \
        __asm__ volatile("" : "+x"(x));                                                            \
        EACH(FORGET)                                                                               \
        for (int64_t i = 0; i < STEPS; i++) {                                                      \
            EACH(step)                                                                             \
        }                                                                                          \
        EACH(FORGET)                                                                               \
    }

#define FMA_512(i) sum[i] = _mm512_fmadd_ps(x, x, sum[i]);
#define FMA_256(i) sum[i] = _mm256_fmadd_ps(x, x, sum[i]);
#define BF16_512(i) sum[i] = _mm512_dpbf16_ps(sum[i], (__m512bh)x, (__m512bh)x);
#define INT8_512(i) sum[i] = _mm512_dpbusd_epi32(sum[i], x, x);

PROBE(fma_512, "avx512f", __m512, _mm512_setzero_ps(), FMA_512)
PROBE(fma_256, "avx2,fma", __m256, _mm256_setzero_ps(), FMA_256)
PROBE(bf16_512, "avx512f,avx512bw,avx512bf16", __m512, _mm512_setzero_ps(), BF16_512)
PROBE(int8_512, "avx512f,avx512bw,avx512vnni", __m512i, _mm512_setzero_si512(), INT8_512)

bench_probe *bench_probe_peak(bench_peak peak, double *operations_ret)
{
    double products = (double)SUMS * STEPS;
    int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    if (peak == BENCH_INT8 && wide && __builtin_cpu_supports("avx512vnni")) {
        *operations_ret = products * 2.0 * 64.0;
        return int8_512;
    }
    if (peak == BENCH_F16 && wide && __builtin_cpu_supports("avx512bf16")) {
        *operations_ret = products * 2.0 * 32.0;
        return bf16_512;
    }
    int fma = __builtin_cpu_supports("fma");
    *operations_ret = products * 2.0 * (wide ? 16.0 : 8.0);
    return wide ? fma_512 : fma ? fma_256 : NULL;
}
#else
void bench_probe_copy(char *memory, size_t bytes) { memcpy(memory, memory + bytes / 2, bytes / 2); }

bench_probe *bench_probe_peak(bench_peak peak, double *operations_ret)
{
    (void)peak;
    *operations_ret = 0.0;
    return NULL;
}
#endif
