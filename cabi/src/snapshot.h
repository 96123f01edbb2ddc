/** Snapshots of residency: what `epp_router_dump` writes and `epp_router_load` reads.
 *
 *  All numbers are little-endian; offsets are in bytes; there is no padding.
 *
 *      header    magic "EPPSNAP\0" | version u32 = 1 | n_ranks u32 | n_seeds u32 | n_blocks u32 | n_pairs u64
 *      ranks     n_ranks  x [ worker_id u64 | rank u32 | block_tokens u32 ]      16 bytes, known sizes only
 *      seeds     n_seeds  x [ namespace seed u64 ]
 *      blocks    n_blocks x [ sequence hash u64 | seed index u32 | n_holders u32 ]
 *                each followed by n_holders x [ name u64 | rank index u32 | tiers u32 ]
 *                tiers: a bit per epp_tier; 0: a predicted block, whose name field is the f64 of the seconds
 *                it has left to live
 *      checksum  XXH3-64, seed 0, of everything before
 *
 *  Bookings, loads and learnt rates are of one process's making and are not part of it; of several copies of a
 *  block the reader knows one. A reader checks magic, version, checksum and every bound before it changes
 *  anything. */
#ifndef EPP_SNAPSHOT_H
#define EPP_SNAPSHOT_H

#include "router.h"

enum {
    EPP_SNAPSHOT_VERSION = 1,
    EPP_SNAPSHOT_MAGIC_BYTES = 8,
    EPP_SNAPSHOT_HEADER_BYTES = 32,
    EPP_SNAPSHOT_RANK_BYTES = 16,
    EPP_SNAPSHOT_SEED_BYTES = 8,
    EPP_SNAPSHOT_BLOCK_BYTES = 16,
    EPP_SNAPSHOT_HOLDER_BYTES = 16,
    EPP_SNAPSHOT_CHECKSUM_BYTES = 8,
};

#define EPP_SNAPSHOT_MAGIC "EPPSNAP"

#endif
