/* quantize.cl - elements to codes, scales and offsets.
 *
 * Any grid, two launches:
 *   quantize_groups   work-group = a group: finds its range, writes its scale
 *   quantize_octets   work-item  = 8 elements: encodes them
 *
 * Rows with scales of their own, groups of 8n elements, one launch:
 *   quantize_rows     work-group = a row, tile by tile; a tile is whole groups on 128 lanes
 *
 *       row    |<------------- tile: up to 1024 elements ------------->|<-- tile ...
 *       lanes  | 0 | 1 | ... |g/8-1| g/8 | ...                     |127|
 *       groups |<---- group 0 ---->|<---- group 1 ---->| ...
 *
 *                     each lane's range; one lane a group makes its scale; each lane's codes
 *
 * Bound: memory. The two launches read x twice; quantize_rows reads it once, and again from cache:
 * on PoCL (2 cores, int4 in groups of 128, bf16) 785 against 469 million elements a second. */
#include "octet.h"

#define GROUP_LANES 64
#define ROW_LANES 128
#define TILE (8 * ROW_LANES)
#define TILE_GROUPS (TILE / 8)

NIB_KERNEL(quantize_groups, GROUP_LANES)
{
    NIB_ENTER;
    __local nib_extent shared[GROUP_LANES];
    nib_i64 cell = get_group_id(0);
    nib_i32 lane = (nib_i32)get_local_id(0);
    nib_extent e = nib_group_extent(x, a, cell, lane, GROUP_LANES, shared);
    if (lane == 0) nib_write_cell(scales, offsets, report, a, cell, e);
}

NIB_KERNEL(quantize_octets, GROUP_LANES)
{
    NIB_ENTER;
    nib_i64 id = get_global_id(0), row = nib_octet_row(a, id), col = nib_octet_col(a, id);
    if (row >= a.rows) return;
    nib_i32 count = nib_octet_count(col, a.cols);
    nib_cells c = nib_read_cells(scales, offsets, a, row, col, count);
    float8 given = nib_load_8(x, a.x_type, row * a.cols + col, count);
    nib_put_8(codes, a.codes, row, col, a.cols, nib_encode_8(a, c, given));
}

/* The groups of the tile that begins at column `start`: lane i joins and writes the i-th. */
NIB_FN void nib_tile_groups(__global uchar *scales, __global uchar *offsets, __global uchar *report,
                            nib_args a, nib_i64 row, nib_i64 start, nib_i32 groups, nib_i32 lane,
                            __local const nib_extent *extents, __local nib_cell *cells)
{
    nib_i64 first = start + lane * a.group;
    if (lane >= groups || first >= a.cols) return;
    nib_i64 from = lane * a.group / 8, octets = (min(a.group, a.cols - first) + 7) / 8;
    nib_i64 to = min((nib_i64)ROW_LANES, from + octets);
    nib_extent e = nib_extent_none();
    for (nib_i64 i = from; i < to; i++) e = nib_extent_join(e, extents[i]);
    nib_i64 cell = row * a.scale_cols + first / a.group;
    cells[lane] = nib_write_cell(scales, offsets, report, a, cell, e);
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
        for (nib_i64 col = start + 8 * lane; col < stop; col += TILE) {
            nib_i32 count = nib_octet_count(col, stop);
            float8 given = nib_load_8(x, a.x_type, row * a.cols + col, count);
            e = nib_extent_add_8(e, a, given, count);
        }
        extents[lane] = e;
        barrier(CLK_LOCAL_MEM_FENCE);
        nib_tile_groups(scales, offsets, report, a, row, start, groups, lane, extents, cells);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (nib_i64 col = start + 8 * lane; col < stop; col += TILE) {
            nib_i32 group = groups == 1 ? 0 : (nib_u32)(col - start) / (nib_u32)a.group;
            nib_i32 count = nib_octet_count(col, stop);
            float8 given = nib_load_8(x, a.x_type, row * a.cols + col, count);
            uint8 code = nib_encode_8(a, nib_cells_same(cells[group]), given);
            nib_put_8(codes, a.codes, row, col, a.cols, code);
        }
    }
}
