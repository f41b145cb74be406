/* lanes.h - the streaming engine: lanes (threads) take numbered tiles, work on several at once,
 * and hand results over in strict order. Reading, computing and writing overlap because there
 * are several lanes; nothing depends on how many. */
#ifndef NIB_QUANTIZE_LANES_H
#define NIB_QUANTIZE_LANES_H

#include "../../include/nibble.h"

typedef struct nib_lanes {
    int count;                  /* lanes, 1 or more, each a thread; the calling thread merges */
    int64_t tiles;              /* numbered 0.. */
    const volatile int *cancel; /* stops when non-zero: E_INTERRUPTED; may be NULL */
    void *user;
    /* Works on a tile; `slot` (0 to nib_lane_slots - 1) is this tile's until its merge has
     * returned. */
    nib_status (*work)(void *user, int lane, int64_t tile, int slot);
    /* Takes in a finished tile: in order of tile, one at a time. */
    nib_status (*merge)(void *user, int64_t tile, int slot);
} nib_lanes;

/* Lanes may run ahead by so many tiles while an earlier one is unfinished, or its merge waits
 * for the disk. */
int nib_lane_slots(int lanes);

/* Runs all tiles; returns when every lane has stopped. The first failure stops all. */
nib_status nib_lanes_run(const nib_lanes *lanes);

#endif
