// wgmma. Each warp of a warpgroup computes its own 16 rows; nothing synchronises the four. A warp's operations run in
// order, some time between issue and wait; the accumulators come back in the wait.
//
// PTX ISA, "Asynchronous warpgroup level matrix instructions", register fragments: with g = lane / 4, t = lane % 4,
//   D register i: row 16 * warp + g + 8 * (i / 2 % 2), column 8 * (i / 4) + 2t + i % 2
//   A registers: as in mma.m16n8k16 and m16n8k32, rows offset by 16 * warp
// and "Matrix descriptor format": start address, leading and stride byte offsets in units of 16 bytes, swizzle mode.
//
// Issued here, computed when the seed or a wait says so (async.cpp has the rule), and setmaxnreg, which goes with them.

#include "engine.h"

#include <algorithm>

namespace emu
{

// Where 16 bytes of an operand tile lie in shared memory: row r (of M or N), chunk 0 or 1 of the 32 bytes of K that one
// instruction takes. K-major layouts only.
static unsigned chunk_address(uint64_t descriptor, unsigned r, unsigned chunk)
{
    unsigned start = (descriptor & 0x3fff) << 4, leading = (descriptor >> 16 & 0x3fff) << 4,
             stride = (descriptor >> 32 & 0x3fff) << 4;
    auto swizzle = Swizzle(descriptor >> 62);
    if (swizzle == Swizzle::none) return start + r / 8 * stride + r % 8 * 16 + chunk * leading;
    return swizzled(start + r / 8 * stride + r % 8 * row_bytes(swizzle) + chunk * 16, swizzle);
}

static unsigned char *operand(Block &block, uint64_t descriptor, unsigned row, unsigned chunk)
{
    return block.dynamic + (chunk_address(descriptor, row, chunk) - first_shared_address);
}

static void check_operand(uint64_t descriptor, unsigned first_row, unsigned rows, const char *which)
{
    auto swizzle = Swizzle(descriptor >> 62);
    unsigned start = (descriptor & 0x3fff) << 4, pattern = 8 * row_bytes(swizzle);
    if (descriptor >> 49 & 7) fail("descriptors with a base offset are not modelled");
    if (pattern && start % pattern >= row_bytes(swizzle))
        fail(std::string(which) + " starts inside a swizzle pattern of " + std::to_string(pattern) +
             " bytes: its rows must begin at a multiple of that");
    for (unsigned r = first_row; r < first_row + rows; r++)
        for (unsigned chunk = 0; chunk < 2; chunk++) {
            unsigned char *p = shared_pointer(chunk_address(descriptor, r, chunk), 16);
            if (!p)
                fail("row " + std::to_string(r) + " of " + which +
                     " is outside dynamic shared memory");
            if (asan::poisoned(p, 16))
                fail("row " + std::to_string(r) + " of " + which +
                     " is still being written by an asynchronous copy");
        }
}

// Tells TSan what the operation reads, on the side of the async proxy.
static void note_reads(Warp &warp, const Wgmma &w)
{
    for (unsigned chunk = 0; chunk < 2; chunk++) {
        for (unsigned n = 0; n < w.n; n++)
            tsan::read(operand(*warp.block, w.b_descriptor, n, chunk), 16);
        for (unsigned r = 0; r < 16 && !w.a_registers[0]; r++)
            tsan::read(operand(*warp.block, w.a_descriptor, 16 * (warp.rank % 4) + r, chunk), 16);
    }
}

static bool same_accumulators(const Wgmma &a, const Wgmma &b) { return a.d[0] == b.d[0]; }

static float to_float(Mma type, unsigned bits)
{
    if (type == Mma::f16) return half_bits_to_float(bits);
    unsigned u = bits << 16;
    float f;
    std::memcpy(&f, &u, 4);
    return f;
}

// d[row][n] += a[row][k] * b[n][k], in double and rounded once for floats; wrapping for integers.
template <class Accumulator, unsigned k_size, class Load>
static void multiply(Warp &warp, Wgmma &w, Load element)
{
    using Product = std::conditional_t<std::is_same_v<Accumulator, float>, double, unsigned>;
    constexpr unsigned size = 32 / k_size; // bytes in an element
    Product a[16][k_size];
    std::vector<Product> b(w.n * k_size);
    unsigned first_row = 16 * (warp.rank % 4);

    auto load_row = [&](uint64_t descriptor, unsigned row, Product *to) {
        for (unsigned k = 0; k < k_size; k++) {
            const unsigned char *p =
                operand(*warp.block, descriptor, row, k * size / 16) + k * size % 16;
            to[k] = Product(element(size == 2 ? p[0] | p[1] << 8 : p[0]));
        }
    };
    for (unsigned n = 0; n < w.n; n++) load_row(w.b_descriptor, n, &b[n * k_size]);
    if (w.a_registers[0]) {
        for (unsigned lane = 0; lane < 32; lane++)
            for (unsigned r = 0; r < 4; r++)
                for (unsigned j = 0; j < 4 / size; j++)
                    a[lane / 4 + 8 * (r & 1)][(lane % 4 + 4 * (r >> 1)) * (4 / size) + j] = Product(
                        element(w.a[lane][r] >> (8 * size * j) & (size == 2 ? 0xffff : 0xff)));
    } else {
        for (unsigned r = 0; r < 16; r++) load_row(w.a_descriptor, first_row + r, a[r]);
    }

    for (unsigned lane = 0; lane < 32; lane++)
        for (unsigned i = 0; i < w.n / 2; i++) {
            const Product *row = a[lane / 4 + 8 * (i / 2 % 2)],
                          *col = &b[(i / 4 * 8 + lane % 4 * 2 + i % 2) * k_size];
            unsigned &bits = w.values[lane * (w.n / 2) + i];
            Accumulator value;
            std::memcpy(&value, &bits, 4);
            Product sum = w.accumulate ? Product(value) : Product(0);
            for (unsigned k = 0; k < k_size; k++) sum += row[k] * col[k];
            value = Accumulator(sum);
            std::memcpy(&bits, &value, 4);
        }
}

// Computes the warp's oldest wgmma that is not done yet; false if there is none.
bool compute_next(Warp &warp)
{
    auto w = std::find_if(warp.wgmmas.begin(), warp.wgmmas.end(), [](Wgmma &w) { return !w.done; });
    if (w == warp.wgmmas.end()) return false;
    for (auto earlier = warp.wgmmas.begin(); earlier != w; ++earlier)
        if (same_accumulators(*earlier, *w) && !earlier->values.empty())
            w->values = std::move(earlier->values);
    if (w->type == Mma::s8) multiply<int, 32>(warp, *w, [](unsigned bits) { return int8_t(bits); });
    else multiply<float, 16>(warp, *w, [&](unsigned bits) { return to_float(w->type, bits); });
    w->done = true;
    tsan::as(warp.lane[0]->proxy, [&] {
        note_reads(warp, *w);
        tsan::release(&warp.wgmma_done.generic);
    });
    return true;
}

// The warp has waited for its oldest wgmma: the accumulators go back to the kernel, unless a later one continues them.
static void retire(Warp &warp)
{
    while (!warp.wgmmas.front().done) compute_next(warp);
    Wgmma w = std::move(warp.wgmmas.front());
    warp.wgmmas.pop_front();
    for (const unsigned *a : w.a_registers)
        if (a) asan::unpoison(a, 16);
    for (Wgmma &later : warp.wgmmas)
        if (same_accumulators(later, w)) {
            if (later.values.empty()) later.values = std::move(w.values);
            return;
        }
    for (unsigned lane = 0; lane < 32; lane++) {
        asan::unpoison(w.d[lane], w.n / 2 * 4);
        auto *registers = static_cast<volatile unsigned *>(w.d[lane]);
        for (unsigned i = 0; i < w.n / 2; i++) registers[i] = w.values[lane * (w.n / 2) + i];
    }
}

namespace
{
struct WgmmaLane {
    Mma type;
    unsigned n;
    bool accumulate;
    uint64_t a_descriptor, b_descriptor;
    const unsigned *a;
    void *d;
    Warp *warp;
    Where where;
};
} // namespace

static bool same_operation(const Block::WgmmaShape &a, const Block::WgmmaShape &b)
{
    return a.type == b.type && a.n == b.n && a.a == b.a && a.b == b.b &&
           a.accumulate == b.accumulate;
}

// All lanes of a warp have come to a wgmma.
static void issue(void *const *data, unsigned)
{
    auto &first = *static_cast<WgmmaLane *>(data[0]);
    Warp &warp = *first.warp;
    Wgmma w{};
    w.type = first.type;
    w.n = first.n;
    w.accumulate = first.accumulate;
    w.a_descriptor = first.a_descriptor;
    w.b_descriptor = first.b_descriptor;
    w.group = warp.wgmma_group;
    w.where = first.where;
    auto shape = [](const WgmmaLane &l) {
        return Block::WgmmaShape{l.type, l.n, l.a_descriptor, l.b_descriptor, l.accumulate};
    };
    for (unsigned lane = 0; lane < 32; lane++) {
        auto &l = *static_cast<WgmmaLane *>(data[lane]);
        if (!same_operation(shape(l), shape(first)))
            fail("lanes 0 and " + std::to_string(lane) + " gave different descriptors or scale_d");
        w.d[lane] = l.d;
        w.a_registers[lane] = l.a;
        if (l.a) {
            std::memcpy(w.a[lane], l.a, 16);
            asan::poison(l.a, 16);
        }
    }

    // The warps of a warpgroup must issue the same sequence.
    auto &log = warp.block->wgmma_log[warp.rank / 4];
    if (warp.wgmma_count == log.size()) log.push_back(shape(first));
    else if (!same_operation(log[warp.wgmma_count], shape(first)))
        fail("another warp of this warpgroup issued a different wgmma in its place");
    warp.wgmma_count++;

    if (!warp.wgmma_fenced)
        fail("no wgmma_fence since the kernel began or since the last wgmma_wait gave registers "
             "back");
    if (!first.a) check_operand(w.a_descriptor, 16 * (warp.rank % 4), 16, "A");
    check_operand(w.b_descriptor, 0, w.n, "B");
    tsan::Context proxy = warp.lane[0]->proxy;
    if (tsan::enabled) tsan::rename(proxy, ("wgmma issued at " + short_at(w.where)).c_str());
    tsan::as(proxy, [&] { note_reads(warp, w); });

    bool continues = std::any_of(warp.wgmmas.begin(), warp.wgmmas.end(),
                                 [&](Wgmma &other) { return same_accumulators(other, w); });
    if (!continues) {
        unsigned registers = w.n / 2;
        w.values.resize(32 * registers);
        for (unsigned lane = 0; lane < 32; lane++) {
            std::memcpy(&w.values[lane * registers], w.d[lane], registers * 4);
            hide(w.d[lane], registers * 4);
        }
    }
    warp.wgmmas.push_back(std::move(w));
}

void wgmma(Mma type, unsigned n, void *d, const unsigned *a_registers, uint64_t a_descriptor,
           uint64_t b_descriptor, bool accumulate, Where where)
{
    const char *op = type == Mma::s8 ? "wgmma.s8" : type == Mma::f16 ? "wgmma.f16" : "wgmma.bf16";
    Operation operation(op, where);
    Thread &t = *current;
    need_proxies(*t.block);
    if (t.block->threads.size() < (t.warp->rank / 4 + 1) * 128)
        fail("the warpgroup is not whole: it needs 128 threads");
    if (n % 8 || n < 8 || n > 256) fail("no wgmma has N = " + std::to_string(n));
    WgmmaLane lane{type, n, accumulate, a_descriptor, b_descriptor, a_registers, d, t.warp, where};
    collective(op, ~0u, true, &lane, issue, where);
}

void wgmma_fence(Where where)
{
    Operation operation("wgmma_fence", where);
    Warp *warp = current->warp;
    collective(
        "wgmma_fence", ~0u, true, warp,
        [](void *const *data, unsigned) { static_cast<Warp *>(data[0])->wgmma_fenced = true; },
        where);
}

void wgmma_commit(Where where)
{
    Operation operation("wgmma_commit", where);
    collective(
        "wgmma_commit", ~0u, true, current->warp,
        [](void *const *data, unsigned) {
            Warp &warp = *static_cast<Warp *>(data[0]);
            for (Wgmma &w : warp.wgmmas) w.committed = true;
            warp.wgmma_group++;
        },
        where);
    if (random_source.one_in(4)) step_back();
}

void wgmma_wait(unsigned pending, Where where)
{
    Operation operation("wgmma_wait", where);
    struct Lane {
        Warp *warp;
        unsigned pending;
    } lane{current->warp, pending};
    collective(
        "wgmma_wait", ~0u, true, &lane,
        [](void *const *data, unsigned) {
            auto [warp, pending] = *static_cast<Lane *>(data[0]);
            while (!warp->wgmmas.empty() && warp->wgmmas.front().committed &&
                   warp->wgmmas.front().group + pending < warp->wgmma_group)
                retire(*warp);
            warp->wgmma_fenced = false;
        },
        where);
    tsan::acquire(&current->warp->wgmma_done.generic);
}

void set_max_registers(unsigned count, bool increase, Where where)
{
    Operation operation(increase ? "setmaxnreg.inc" : "setmaxnreg.dec", where);
    if (count % 8 || count < 24 || count > 256)
        fail(std::to_string(count) + " registers: must be 24 to 256, a multiple of 8");
    struct Lane {
        Warp *warp;
        unsigned count;
    } lane{current->warp, count};
    collective(
        increase ? "setmaxnreg.inc" : "setmaxnreg.dec", ~0u, true, &lane,
        [](void *const *data, unsigned) {
            auto [warp, count] = *static_cast<Lane *>(data[0]);
            warp->max_registers = count;
            unsigned total = 0;
            for (Warp &w : warp->block->warps) {
                if (!w.max_registers) return; // not all have spoken yet
                total += 32 * w.max_registers;
            }
            if (total > 65536)
                fail("the block's warps together want " + std::to_string(total) +
                     " of 65536 registers");
        },
        where);
}

} // namespace emu
