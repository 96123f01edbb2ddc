/** Which shelf holds which block, in which tiers, under which engine name (docs/algorithms.md section 2).
 *
 *  A shelf is what one rank holds. A rank that lost everything gets an empty shelf, and the full one is *leaving*: it
 *  belongs to whoever took it away, counts no longer, is looked at by nobody, and is emptied in parts.
 *
 *  A block is its sequence hash. Content-addressed engines give equal blocks equal names, so a block keeps
 *  one name for all of its holders; a holder that calls it otherwise has an *alias* of its own:
 *
 *      by_chain --+                       by_name --+
 *                 v                                 v
 *      blocks:  [ chain u64 | name u64 | holders u32 | seed u32 ]      24 bytes a distinct block
 *      aliases: [ name u64 | block u32 | shelf u32 ]  <- by_alias (shelf, name), by_pair (shelf, block)
 *      predicted: [ block u32 | shelf u32 ]           <- by_guess (shelf, block); deadlines in a heap
 *      seeds:   [ seed u64 | blocks u32 ]            <- seed_ids
 *      copies:  (shelf, block), tier -> copies beyond the first; few blocks have any
 *
 *  Names of blocks are unique; a name somebody else's block has becomes an alias. A block that nobody holds
 *  is gone. Everything grows in reserve calls, before anything changes; the sets of holders and the copies alone
 *  may find no memory half-way, and then that one block is left out. */
#ifndef EPP_INDEX_H
#define EPP_INDEX_H

#include "heap.h"
#include "holders.h"
#include "ids.h"
#include "pool.h"

typedef struct epp_block {
    uint64_t chain;
    uint64_t name; /* meaningful if EPP_HOLDERS_SPARE is set in holders */
    uint32_t holders;
    uint32_t seed; /* index into seeds; EPP_NONE: the block is unused */
} epp_block;

typedef struct epp_alias {
    uint64_t name;
    uint32_t block;
    uint32_t shelf; /* EPP_NONE: unused */
} epp_alias;

typedef struct epp_guess {
    uint32_t block;
    uint32_t shelf; /* EPP_NONE: unused */
} epp_guess;

typedef struct epp_seed {
    uint64_t seed;
    uint32_t blocks; /* hashed in it; EPP_NONE: unused */
} epp_seed;

typedef enum epp_shelf_state { EPP_SHELF_CLOSED, EPP_SHELF_OPEN, EPP_SHELF_LEAVING } epp_shelf_state;

typedef struct epp_shelf {
    uint32_t free; /* the pool's, while closed */
    uint32_t pairs;
    uint32_t aliases; /* to pass the look-up when there are none */
    uint32_t next;    /* leaving: the next of the list, or EPP_NONE */
    epp_shelf_state state;
} epp_shelf;

/** Larger tables, made while others read the old ones; later the old ones. Empty: none is needed. */
typedef struct epp_index_spare {
    epp_ids by_chain, by_name, by_alias, by_pair, by_guess;
    epp_array blocks, aliases, guesses, deadlines, places_of_deadlines;
    epp_array cells[EPP_HOLDERS_CLASSES];
} epp_index_spare;

typedef struct epp_index {
    epp_memory *memory;
    uint64_t max_pairs;
    uint64_t n_pairs, n_copies; /* pairs of open shelves; copies of all */
    uint64_t n_leaving;         /* pairs; never more than max_pairs */
    uint64_t changes;           /* of who holds what, and of how many there are */
    uint32_t n_blocks, n_guesses;
    epp_pool shelves, blocks, aliases, guesses, seeds;
    epp_ids by_chain, by_name, by_alias, by_pair, by_guess;
    epp_map seed_ids, copies;
    epp_heap deadlines; /* of guesses */
    epp_holders_pools holders;
} epp_index;

typedef enum epp_stored { EPP_STORED, EPP_STORED_DUPLICATE, EPP_STORED_CAPACITY } epp_stored;

/** EPP_REMOVED_COPY: one copy went, another still serves. */
typedef enum epp_removed { EPP_REMOVED, EPP_REMOVED_COPY, EPP_REMOVED_UNKNOWN } epp_removed;

void epp_index_init(epp_index *index, epp_memory *memory, uint64_t max_pairs);
void epp_index_drop(epp_index *index);

/** Room for so many more shelves. */
bool epp_index_reserve_shelves(epp_index *index, uint32_t more);

/** An empty shelf; room must have been reserved. */
uint32_t epp_index_open_shelf(epp_index *index);

/** Give back an empty shelf. */
void epp_index_close_shelf(epp_index *index, uint32_t shelf);

static inline epp_shelf *epp_index_shelf(const epp_index *index, uint32_t shelf) {
    return (epp_shelf *)index->shelves.items + shelf;
}

/** Make what `epp_index_reserve` for so much will need, in an empty spare. Only reads the index, so others may
 *  read it too, but nothing may change before the exchange. False: no memory, and the spare is empty. */
bool epp_index_prepare(const epp_index *index, uint64_t blocks, uint64_t guesses, epp_index_spare *spare);

/** Exchange tables for those that were prepared. */
void epp_index_exchange(epp_index *index, epp_index_spare *spare);
void epp_index_drop_spare(const epp_index *index, epp_index_spare *spare);

/** Room for as many more blocks as may come in one call; also of `guesses` predicted ones. */
bool epp_index_reserve(epp_index *index, uint64_t blocks, uint64_t guesses);

/** Bring the places a coming `epp_index_store` will look at into the cache. */
__attribute__((always_inline)) static inline void epp_index_prefetch(const epp_index *index, uint64_t chain,
                                                                     uint64_t name) {
    epp_ids_prefetch(&index->by_chain, chain);
    epp_ids_prefetch(&index->by_name, epp_mix(name));
}

/** The id of a seed for `epp_index_store`; EPP_NONE: no memory. Ids live while blocks use them, and until
 *  `epp_index_release_seed` if none does. */
uint32_t epp_index_seed(epp_index *index, uint64_t seed);
void epp_index_release_seed(epp_index *index, uint32_t seed_id);

/** The block with this sequence hash, or EPP_NONE. */
uint32_t epp_index_find(const epp_index *index, uint64_t chain);

/** The block that `shelf`'s engine calls `name`, or EPP_NONE. */
uint32_t epp_index_named(const epp_index *index, uint32_t shelf, uint64_t name);

static inline epp_block *epp_index_block(const epp_index *index, uint32_t id) {
    return (epp_block *)index->blocks.items + id;
}

static inline uint64_t epp_index_seed_of(const epp_index *index, uint32_t block) {
    return ((const epp_seed *)index->seeds.items)[epp_index_block(index, block)->seed].seed;
}

/** The name by which `shelf` calls a block that it holds in some tier. */
uint64_t epp_index_name_of(const epp_index *index, uint32_t shelf, uint32_t block);

/** Copies beyond the first that `shelf` holds of a block in `tier`. */
uint32_t epp_index_more_copies(const epp_index *index, uint32_t shelf, uint32_t block, uint32_t tier);

/** When the belief that `shelf` holds a block ends. */
double epp_index_due_s(const epp_index *index, uint32_t shelf, uint32_t block);

/** The engine of `shelf` stored a block under `name` in `tier`. Room must have been reserved. */
epp_stored epp_index_store(epp_index *index, uint32_t shelf, uint64_t name, uint64_t chain, uint32_t seed_id,
                           uint32_t tier);

/** One copy of the block `name` left `tier` of `shelf`. */
epp_removed epp_index_remove(epp_index *index, uint32_t shelf, uint64_t name, uint32_t tier);

/** Forget all of a shelf. */
void epp_index_empty_shelf(epp_index *index, uint32_t shelf);

/** Let an open shelf leave. False: too much is leaving already, nothing changed. */
bool epp_index_leave(epp_index *index, uint32_t shelf, uint32_t *list);

/** Forget a part of a leaving shelf, in about a tenth of a millisecond. `*at` is 0 at first and then as the call before
 *  left it; it is EPP_NONE when the shelf is empty and closed. */
void epp_index_forget_some(epp_index *index, uint32_t shelf, uint32_t *at);

/** Believe until `due_s` that `shelf` holds these blocks. Room must have been reserved. */
void epp_index_predict(epp_index *index, uint32_t shelf, const uint64_t *chain, uint32_t n, uint32_t seed_id,
                       double due_s);

/** Forget what was believed until now. */
void epp_index_expire(epp_index *index, double now_s);

/** Lengths of a shelf's runs along a chain, each at least the one before. */
typedef struct epp_runs {
    uint32_t device, host, disk;
} epp_runs;

/** Runs of many shelves along one chain.
 *  live     a bit per shelf of interest in the first n_words words; room for 3 * n_words, all destroyed.
 *  live_words  scratch of n_words.
 *  pending  per shelf, how many first blocks count as if on the device; NULL: none.
 *  runs     by shelf; written for shelves of interest only. */
void epp_index_walk(const epp_index *index, const uint64_t *chain, uint32_t n, uint64_t *live,
                    uint32_t n_words, uint32_t *live_words, const uint32_t *pending, epp_runs *runs);

/** Bytes of everything above. */
uint64_t epp_index_bytes(const epp_index *index);

#endif
