/* quantize.cl - elements to codes, scales and offsets.
 *
 * Any grid, two launches:
 *   quantize_groups   work-group = a group: finds its range, writes its scale
 *   quantize_octets   work-item  = 8 elements: encodes them
 *
 * Rows with scales of their own, groups of 8n elements, one launch:
 *   quantize_rows     work-group = a row, tile by tile (octet.h): each lane's range; one lane a
 * group makes its scale; each lane's codes
 *
 * Bound: memory. The two launches read x twice; quantize_rows reads it once, and again from cache:
 * on PoCL 3.1 (bf16, million elements per second of a core) 438 against 224 in groups of 128, 324
 * against 83 in groups of 32. */
#include "octet.h"

#define GROUP_LANES 64

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
    nib_i64 id = get_global_id(0), row = nib_octet_row(a, id);
    if (row >= a.rows) return;
    nib_i64 col = nib_octet_col(a, id, row);
    nib_i32 count = nib_octet_count(col, a.cols);
    nib_cells c = nib_read_cells(scales, offsets, a, row, col, count);
    float8 given = nib_load_8(x, a.x_type, row * a.cols + col, count);
    nib_put_8(codes, a.codes, row, col, a.cols, nib_encode_8(a, c, given));
}

NIB_KERNEL(quantize_rows, TILE_LANES)
{
    NIB_ENTER;
    __local nib_extent extents[TILE_LANES];
    __local nib_cell cells[TILE_GROUPS];
    nib_i64 row = get_group_id(0), cell = row * a.scale_cols;
    nib_i32 lane = (nib_i32)get_local_id(0), groups = nib_tile_groups(a);
    for (nib_i64 start = 0; start < a.cols; start += groups * a.group, cell += groups) {
        nib_i64 stop = min(a.cols, start + groups * a.group);
        extents[lane] = nib_tile_extent(x, a, row, start, stop, lane);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < groups && start + lane * a.group < a.cols) {
            nib_extent e = nib_tile_join(a, start, lane, extents);
            cells[lane] = nib_write_cell(scales, offsets, report, a, cell + lane, e);
        }
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
