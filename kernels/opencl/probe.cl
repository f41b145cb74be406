/* probe.cl - the self-test of a device's arithmetic: every probe of kernels/common/probe.h on every
 * vector; the host makes the same numbers and compares.
 *
 *   out   vector 0: probe 0, 1 ... | vector 1: probe 0, 1 ... | ... */
#include "../common/probe.h"
#include "spans.h"

NIB_KERNEL(probe_vectors, 64)
{
    NIB_ENTER;
    nib_u32 vector = (nib_u32)get_global_id(0);
    if (vector >= a.rows) return;
    for (nib_i32 probe = 0; probe < NIB_PROBE_COUNT; probe++)
        ((__global uint *)out)[vector * NIB_PROBE_COUNT + probe] = nib_probe(probe, vector);
}
