/** Chains of blocks that bookings hold, per slot, with what they share counted once.
 *
 *  Bookings of one slot form a radix tree over sequence hashes. A node is a stretch of blocks that the same
 *  bookings hold; equal hashes mean equal chains up to there, so comparing two stretches is a binary search:
 *
 *      chain of A: a b c d e        root -- [a b c d e] 1      A alone
 *      chain of B: a b c x          root -- [a b c] 2 --+-- [d e] 1
 *                                                       +-- [x] 1
 *
 *  Booking 2048 tokens is thus one node and one copy of 128 hashes, not 128 table entries. Nodes point into
 *  chain texts, which bookings and nodes share by reference count. Every slot has two trees: blocks its
 *  decodes hold (`weight` in 1/65536 block) and blocks its unfinished prefills will make (`weight` unused). */
#ifndef EPP_CHAINS_H
#define EPP_CHAINS_H

#include "pool.h"

enum { EPP_BLOCK_UNITS = 1 << 16 };

/** Hashes of one booking's prompt, then of the output seen to follow it. */
typedef struct epp_text {
    uint64_t *hashes;
    uint32_t n, capacity;
    uint32_t references; /* 0: unused */
} epp_text;

typedef struct epp_node {
    uint32_t parent; /* EPP_NONE: a child of the root */
    uint32_t text;
    uint32_t start, end; /* blocks start .. end-1 of the text, and of every chain through here */
    uint32_t bookings;   /* that pass; 0: unused */
    uint32_t weight;     /* of each block */
    uint32_t children;
    uint32_t tree;
} epp_node;

typedef struct epp_chains {
    epp_memory *memory;
    epp_pool texts, nodes;
    epp_map edges; /* (parent, or tree with ROOT set; first hash) -> node */
} epp_chains;

void epp_chains_init(epp_chains *chains, epp_memory *memory);
void epp_chains_drop(epp_chains *chains);

/** Room to hold one more text of `n` hashes and two more chains. */
bool epp_chains_reserve(epp_chains *chains);

/** A copy of `n` hashes with one reference; EPP_NONE: no memory. Room must have been reserved. */
uint32_t epp_text_new(epp_chains *chains, const uint64_t *hashes, uint32_t n);

/** Add one hash; false: no memory. */
bool epp_text_append(epp_chains *chains, uint32_t text, uint64_t hash);

static inline epp_text *epp_text_at(const epp_chains *chains, uint32_t id) {
    return (epp_text *)chains->texts.items + id;
}

/** One reference less; the last one drops it. */
void epp_text_release(epp_chains *chains, uint32_t text);

/** Where a chain leaves a tree. */
typedef struct epp_place {
    uint32_t node;    /* the node it ends in or after; EPP_NONE: the root */
    uint32_t matched; /* blocks held by the tree already */
} epp_place;

/** Follow the first `n` hashes down a tree. */
epp_place epp_chains_follow(const epp_chains *chains, uint32_t tree, const uint64_t *hashes, uint32_t n);

/** Whether the tree continues from a place that was matched in full with this hash. */
bool epp_chains_continues(const epp_chains *chains, uint32_t tree, epp_place place, uint64_t hash);

/** Hold the first `n` > 0 hashes of a text; returns the leaf to give back later. Adds to `*units`. Room must
 *  have been reserved. */
uint32_t epp_chains_hold(epp_chains *chains, uint32_t tree, uint32_t text, uint32_t n, uint64_t *units);

/** Hold them no longer. */
void epp_chains_release(epp_chains *chains, uint32_t leaf, uint64_t *units);

/** Set the weight of the blocks down to `leaf` that one booking alone holds. */
void epp_chains_weigh(epp_chains *chains, uint32_t leaf, uint32_t weight, uint64_t *units);

#endif
