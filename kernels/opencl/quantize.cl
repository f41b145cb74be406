/* quantize.cl - elements to codes, scales and offsets.
 *
 *   any grid, two launches    quantize_groups: a work-group per group finds its range and writes its
 *                             scale; quantize_runs: a work-item per run of 8 elements encodes it
 *   rows with own scales,     quantize_rows: a work-group per row; tiles of whole groups that fit
 *   groups of 8n elements     its lanes, 8 elements a lane:
 *
 *       row    |<------------- tile: up to 1024 elements ------------->|<-- tile ...
 *       lanes  | 0 | 1 | ... |g/8-1| g/8 | ...                     |127|
 *       groups |<---- group 0 ---->|<---- group 1 ---->| ...
 *
 *                             ranges per lane -> one lane per group makes its scale -> lanes encode
 *
 * Bound: memory. The two launches read x twice and write codes once; quantize_rows reads x from
 * memory once, and again from cache. */
#include "group.h"
#include "runs.h"

#define GROUP_LANES 64
#define ROW_LANES 128
#define TILE (8 * ROW_LANES)
#define TILE_GROUPS (TILE / 8)

NIB_FN nib_u32 nib_encode_in(nib_args a, nib_cell c, float given)
{
    if (!nib_is_finite(c.scale)) return 0u;
    return nib_encode(c, nib_admit(given, a.nonfinite, a.x_type));
}

NIB_KERNEL(quantize_groups, GROUP_LANES)
{
    NIB_ENTER;
    __local nib_extent shared[GROUP_LANES];
    nib_i64 cell = get_group_id(0);
    nib_i32 lane = (nib_i32)get_local_id(0);
    nib_extent e = nib_group_extent(x, a, cell, lane, GROUP_LANES, shared);
    if (lane == 0) nib_write_cell(scales, offsets, report, a, cell, e);
}

NIB_KERNEL(quantize_runs, GROUP_LANES)
{
    NIB_ENTER;
    nib_i64 id = get_global_id(0), row = nib_run_row(a, id), col = nib_run_col(a, id);
    if (row >= a.rows) return;
    nib_i64 cell = row % a.period * a.scale_cols + col / a.group, left = a.group - col % a.group;
    nib_cell c = nib_read_cell(scales, offsets, a, cell);
    ulong word = 0;
    for (nib_i32 i = 0; i < 8 && col + i < a.cols; i++, left--) {
        if (left == 0) {
            c = nib_read_cell(scales, offsets, a, ++cell);
            left = a.group;
        }
        float given = nib_load(x, a.x_type, row * a.cols + col + i);
        word |= nib_run_bits(nib_encode_in(a, c, given), a.codes, i);
    }
    nib_put_run(codes, a.codes, row, col, a.cols, word);
}

NIB_KERNEL(quantize_rows, ROW_LANES)
{
    NIB_ENTER;
    __local nib_extent extents[ROW_LANES];
    __local nib_cell cells[TILE_GROUPS];
    nib_i64 row = get_group_id(0);
    nib_i32 lane = (nib_i32)get_local_id(0);
    nib_i32 groups = (nib_i32)max((nib_i64)1, TILE / a.group); /* of a tile */
    for (nib_i64 start = 0; start < a.cols; start += groups * a.group) {
        nib_i64 stop = min(a.cols, start + groups * a.group);
        nib_extent e = nib_extent_none();
        for (nib_i64 col = start + 8 * lane; col < stop; col += TILE)
            for (nib_i32 i = 0; i < 8 && col + i < stop; i++)
                e = nib_extent_add(e, a, nib_load(x, a.x_type, row * a.cols + col + i));
        extents[lane] = e;
        barrier(CLK_LOCAL_MEM_FENCE);
        nib_i64 first = start + lane * a.group;
        if (lane < groups && first < a.cols) {
            nib_i64 from = lane * a.group / 8, to = min(a.group, a.cols - first);
            to = min((nib_i64)ROW_LANES, from + (to + 7) / 8);
            e = nib_extent_none();
            for (nib_i64 i = from; i < to; i++) e = nib_extent_join(e, extents[i]);
            cells[lane] = nib_write_cell(scales, offsets, report, a,
                                         row * a.scale_cols + first / a.group, e);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (nib_i64 col = start + 8 * lane; col < stop; col += TILE) {
            nib_cell c = cells[groups == 1 ? 0 : (nib_u32)(col - start) / (nib_u32)a.group];
            ulong word = 0;
            for (nib_i32 i = 0; i < 8 && col + i < stop; i++) {
                float given = nib_load(x, a.x_type, row * a.cols + col + i);
                word |= nib_run_bits(nib_encode_in(a, c, given), a.codes, i);
            }
            nib_put_run(codes, a.codes, row, col, a.cols, word);
        }
    }
}
