/* ptx.cuh - the one place with PTX: what tensor-core kernels need of the machine and CUDA has no
 * intrinsic for. Each function is one instruction; the names and arguments are the emulator's
 * (tests/cuda_on_host/cuda_on_host.h), which stands in for this file under a host compiler.
 * tests/cuda_instructions.cu runs each of them, there and on a GPU.
 *
 * Needs sm_80 unless a section says otherwise. */
#pragma once

/* Shared memory of the size that the launch says; it begins at a multiple of 1024. */
template <class T> DEVICE T *dynamic_shared()
{
    extern __shared__ __align__(1024) unsigned char dynamic_shared_bytes[];
    return reinterpret_cast<T *>(dynamic_shared_bytes);
}

DEVICE unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

/* ---- bits ---- */

/* Bit i of the table is the answer where a, b, c are the bits 4, 2, 1 of i: a op b op c is
 * (0xf0 op 0xcc op 0xaa). */
template <unsigned table> DEVICE unsigned lop3(unsigned a, unsigned b, unsigned c)
{
    unsigned d;
    asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(d) : "r"(a), "r"(b), "r"(c), "n"(table));
    return d;
}

/* ---- memory that other blocks see ---- */

DEVICE unsigned ld_acquire(const unsigned *p)
{
    unsigned value;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(p) : "memory");
    return value;
}

DEVICE void st_release(unsigned *p, unsigned value)
{
    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(value) : "memory");
}

/* ---- tensor cores, one warp ---- */

/* 8 x 8 matrices of 16-bit elements: lane i gives the address of the 16-byte row i % 8 of matrix
 * i / 8 and receives, of each, row i / 4, columns 2 * (i % 4) and the next; `trans` of the
 * transposed matrix. x2 takes the addresses of lanes 0 to 15. */
#define NIB_LDMATRIX_X4(name, form)                                                                \
    DEVICE void name(unsigned (&d)[4], const void *row)                                            \
    {                                                                                              \
        asm volatile("ldmatrix.sync.aligned.m8n8.x4" form ".shared.b16 {%0, %1, %2, %3}, [%4];"    \
                     : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])                              \
                     : "r"(shared_address(row))                                                    \
                     : "memory");                                                                  \
    }
#define NIB_LDMATRIX_X2(name, form)                                                                \
    DEVICE void name(unsigned (&d)[2], const void *row)                                            \
    {                                                                                              \
        asm volatile("ldmatrix.sync.aligned.m8n8.x2" form ".shared.b16 {%0, %1}, [%2];"            \
                     : "=r"(d[0]), "=r"(d[1])                                                      \
                     : "r"(shared_address(row))                                                    \
                     : "memory");                                                                  \
    }
NIB_LDMATRIX_X4(ldmatrix_x4, "")
NIB_LDMATRIX_X4(ldmatrix_x4_trans, ".trans")
NIB_LDMATRIX_X2(ldmatrix_x2, "")
NIB_LDMATRIX_X2(ldmatrix_x2_trans, ".trans")

/* d += a * b with the fragments of the PTX ISA: A 16 x K row by row, B K x 8 column by column, D
 * 16 x 8. */
#define NIB_MMA(name, type, constraint, shape)                                                     \
    DEVICE void name(type(&d)[4], const unsigned(&a)[4], const unsigned(&b)[2])                    \
    {                                                                                              \
        asm volatile("mma.sync.aligned." shape                                                     \
                     " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"            \
                     : constraint(d[0]), constraint(d[1]), constraint(d[2]), constraint(d[3])      \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));          \
    }
NIB_MMA(mma_m16n8k16_f16, float, "+f", "m16n8k16.row.col.f32.f16.f16.f32")
NIB_MMA(mma_m16n8k16_bf16, float, "+f", "m16n8k16.row.col.f32.bf16.bf16.f32")
NIB_MMA(mma_m16n8k32_s8, int, "+r", "m16n8k32.row.col.s32.s8.s8.s32")

/* ---- cp.async: global to shared memory, in groups ---- */

DEVICE void cp_async_16(void *shared, const void *global)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)),
                 "l"(global)
                 : "memory");
}

DEVICE void cp_async_8(void *shared, const void *global)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(shared_address(shared)),
                 "l"(global)
                 : "memory");
}

DEVICE void cp_async_4(void *shared, const void *global)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared_address(shared)),
                 "l"(global)
                 : "memory");
}

/* Writes zeros and reads nothing unless `valid`. */
DEVICE void cp_async_16_or_zero(void *shared, const void *global, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(global), "r"(valid ? 16 : 0)
                 : "memory");
}

DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/* Returns when at most `pending` of this thread's groups are under way. */
template <int pending> DEVICE void cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/* ---- named barriers 1 to 15, of `threads` threads (a multiple of 32); __syncthreads is 0 ---- */

DEVICE void named_barrier_sync(unsigned id, unsigned threads)
{
    asm volatile("barrier.cta.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

DEVICE void named_barrier_arrive(unsigned id, unsigned threads)
{
    asm volatile("barrier.cta.arrive.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* ---- sm_90: one lane of a warp; mbarriers ---- */

/* True for exactly one lane. */
DEVICE bool warp_elect()
{
    unsigned elected;
    asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(elected));
    return elected;
}

DEVICE void mbarrier_init(uint64_t *barrier, unsigned count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
                 "r"(count)
                 : "memory");
}

/* Makes this thread's mbarrier_init visible to the async proxy. */
DEVICE void fence_mbarrier_init()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

DEVICE void mbarrier_arrive(uint64_t *barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
                 : "memory");
}

DEVICE void mbarrier_arrive_expect_tx(uint64_t *barrier, unsigned bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                     shared_address(barrier)),
                 "r"(bytes)
                 : "memory");
}

/* Returns when the phase of this parity is complete; on a fresh barrier parity 1 is. */
DEVICE void mbarrier_wait(uint64_t *barrier, unsigned parity)
{
    asm volatile("{\n.reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n}" ::"r"(shared_address(barrier)),
                 "r"(parity)
                 : "memory");
}

/* Makes this thread's ordinary writes to shared memory visible to TMA and wgmma. */
DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/* ---- sm_90a: wgmma, four warps; N is twice the number of accumulators ---- */

enum class Swizzle : unsigned { none = 0, b128 = 1, b64 = 2, b32 = 3 }; /* as descriptors count */

DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int pending> DEVICE void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

#define NIB_D8(c, d, i)                                                                            \
    c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3]), c(d[i + 4]), c(d[i + 5]), c(d[i + 6]),         \
        c(d[i + 7])
#define NIB_D32(c, d, i)                                                                           \
    NIB_D8(c, d, i), NIB_D8(c, d, i + 8), NIB_D8(c, d, i + 16), NIB_D8(c, d, i + 24)
#define NIB_D64(c, d, i) NIB_D32(c, d, i), NIB_D32(c, d, i + 32)
#define NIB_N8 "%0,%1,%2,%3,%4,%5,%6,%7"
#define NIB_N32                                                                                    \
    NIB_N8 ",%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,"   \
           "%29,%30,%31"
#define NIB_N64                                                                                    \
    NIB_N32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,"    \
            "%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

/* A from shared memory; a0, a1, a2 are the operands after `count` accumulators. */
#define NIB_WGMMA(name, type, constraint, count, shape, flags, a0, a1, a2)                         \
    DEVICE void name(type(&d)[count], uint64_t a, uint64_t b, bool accumulate)                     \
    {                                                                                              \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" a2 ", 0;\n"                              \
                     "wgmma.mma_async.sync.aligned." shape " {" NIB_N##count "}, %" a0 ", %" a1    \
                     ", p" flags ";\n}"                                                            \
                     : NIB_D##count(constraint, d, 0)                                              \
                     : "l"(a), "l"(b), "r"((int)accumulate));                                      \
    }
/* A from registers, a warp's 16 rows as mma_m16n8k16 has them. */
#define NIB_WGMMA_REGISTERS(name, count, shape, a0, a1, a2, a3, a4, a5)                            \
    DEVICE void name(float(&d)[count], const unsigned(&a)[4], uint64_t b, bool accumulate)         \
    {                                                                                              \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" a5 ", 0;\n"                              \
                     "wgmma.mma_async.sync.aligned." shape " {" NIB_N##count "}, {%" a0 ",%" a1    \
                     ",%" a2 ",%" a3 "}, %" a4 ", p, 1, 1, 0;\n}"                                  \
                     : NIB_D##count("+f", d, 0)                                                    \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)accumulate));  \
    }

/* clang-format off */
NIB_WGMMA(wgmma_f16,  float, "+f",  8, "m64n16k16.f32.f16.f16",    ", 1, 1, 0, 0", "8",  "9",  "10")
NIB_WGMMA(wgmma_f16,  float, "+f", 32, "m64n64k16.f32.f16.f16",    ", 1, 1, 0, 0", "32", "33", "34")
NIB_WGMMA(wgmma_f16,  float, "+f", 64, "m64n128k16.f32.f16.f16",   ", 1, 1, 0, 0", "64", "65", "66")
NIB_WGMMA(wgmma_bf16, float, "+f",  8, "m64n16k16.f32.bf16.bf16",  ", 1, 1, 0, 0", "8",  "9",  "10")
NIB_WGMMA(wgmma_bf16, float, "+f", 32, "m64n64k16.f32.bf16.bf16",  ", 1, 1, 0, 0", "32", "33", "34")
NIB_WGMMA(wgmma_bf16, float, "+f", 64, "m64n128k16.f32.bf16.bf16", ", 1, 1, 0, 0", "64", "65", "66")
NIB_WGMMA(wgmma_s8,   int,   "+r",  8, "m64n16k32.s32.s8.s8",      "",             "8",  "9",  "10")
NIB_WGMMA(wgmma_s8,   int,   "+r", 32, "m64n64k32.s32.s8.s8",      "",             "32", "33", "34")
NIB_WGMMA(wgmma_s8,   int,   "+r", 64, "m64n128k32.s32.s8.s8",     "",             "64", "65", "66")
NIB_WGMMA_REGISTERS(wgmma_f16,   8, "m64n16k16.f32.f16.f16",    "8",  "9",  "10", "11", "12", "13")
NIB_WGMMA_REGISTERS(wgmma_f16,  32, "m64n64k16.f32.f16.f16",    "32", "33", "34", "35", "36", "37")
NIB_WGMMA_REGISTERS(wgmma_f16,  64, "m64n128k16.f32.f16.f16",   "64", "65", "66", "67", "68", "69")
NIB_WGMMA_REGISTERS(wgmma_bf16,  8, "m64n16k16.f32.bf16.bf16",  "8",  "9",  "10", "11", "12", "13")
NIB_WGMMA_REGISTERS(wgmma_bf16, 32, "m64n64k16.f32.bf16.bf16",  "32", "33", "34", "35", "36", "37")
NIB_WGMMA_REGISTERS(wgmma_bf16, 64, "m64n128k16.f32.bf16.bf16", "64", "65", "66", "67", "68", "69")
/* clang-format on */
