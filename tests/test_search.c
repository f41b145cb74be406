/* test_search.c - the nearest of iq4's 16 values, against ggml's way to find it.
 *
 * test_search [STRIDE]: every STRIDEth f32, 1021 unless told; and every one about a tie. 1 tries
 * all, in minutes. */
#include "../kernels/common/block_bytes.h"
#include "../kernels/common/lane.h"
#include "check.h"

#include "../kernels/common/search.h"

static const float values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};

/* ggml's best_index_int8. */
static int ggml_index(float x)
{
    int low = 0, high = 15;
    if (x <= values[0]) return 0;
    if (x >= values[15]) return 15;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (x < values[middle]) high = middle;
        else low = middle;
    }
    return x - values[high - 1] < values[high] - x ? high - 1 : high;
}

/* Bits from..to, every stride-th. */
static void try_range(uint64_t from, uint64_t to, uint64_t stride)
{
    uint64_t bad = 0, first = 0;
    for (uint64_t bits = from; bits <= to; bits += stride) {
        float x = NIB_BITS_F32((uint32_t)bits);
        nib_iq4 q = nib_iq4_nearest(x);
        int expected = ggml_index(x);
        if (q.index == (float)expected && q.value == values[expected]) continue;
        if (!bad++) first = bits;
    }
    CHECK(bad == 0, "%llu of %llx..%llx, the first at %llx", (unsigned long long)bad,
          (unsigned long long)from, (unsigned long long)to, (unsigned long long)first);
}

int main(int argc, char **argv)
{
    uint64_t stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 1021;
    try_range(0, UINT32_MAX, stride ? stride : 1);
    for (int k = 1; k < 16; k++) {
        uint32_t tie = NIB_F32_BITS((values[k - 1] + values[k]) * 0.5f);
        try_range(tie - 4096, tie + 4096, 1);
    }
    return check_done();
}
