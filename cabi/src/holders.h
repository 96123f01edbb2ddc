/** Who holds one block: a set of (shelf, plane) bits packed into a u32, or referred to by it.
 *
 *  A shelf is the dense number of what one (worker, rank) holds. A plane is a tier, or a fact about the pair.
 *
 *      0.n. .... shelf(24) planes(6)    one shelf, in place; planes 0: nobody
 *      1.n. class(4)    index(26)       a set of 2^class cells in the pool of that class
 *        n: spare bit of the owner, kept as it is
 *
 *      cell: 64 shelves of one plane    [ bits u64 | key = word << 3 | plane | count in the first ]
 *
 *  A private block thus costs no memory here, and a prefix that 64 workers share costs one 16-byte cell:
 *  two bits per pair. Cells are sorted by key, so the planes of a word lie side by side. */
#ifndef EPP_HOLDERS_H
#define EPP_HOLDERS_H

#include "memory.h"

enum {
    EPP_PLANE_DEVICE = 0,
    EPP_PLANE_HOST = 1,
    EPP_PLANE_DISK = 2,
    EPP_PLANE_EXTERNAL = 3,
    EPP_PLANE_PREDICTED = 4, /* sent there, with a TTL; counts like the device */
    EPP_PLANE_ALIAS = 5,     /* the shelf knows the block by another name than the block's own */
    EPP_PLANES = 6,
};

enum { EPP_TIER_PLANES = 0x0F, EPP_RESIDENT_PLANES = 0x1F };

enum {
    EPP_HOLDERS_CLASSES = 15,
    EPP_MAX_SHELVES = 144 << 10, /* two a rank, one of which a snapshot fills, and some that leave */
};

#define EPP_HOLDERS_SPARE UINT32_C(0x40000000)
#define EPP_HOLDERS_SET UINT32_C(0x80000000)

typedef struct epp_cell {
    uint64_t bits;
    uint32_t key;
    uint32_t count; /* of cells in the set; kept in the first cell only */
} epp_cell;

typedef struct epp_cell_pool {
    epp_cell *cells;
    uint32_t capacity; /* in sets */
    uint32_t used;     /* high water, in sets */
    uint32_t free;     /* first of the free list, linked by count; EPP_NONE: empty */
} epp_cell_pool;

typedef struct epp_holders_pools {
    epp_cell_pool classes[EPP_HOLDERS_CLASSES];
} epp_holders_pools;

void epp_holders_init(epp_holders_pools *pools);
void epp_holders_drop(epp_holders_pools *pools, epp_memory *memory);

static inline bool epp_holders_empty(uint32_t holders) { return (holders & ~EPP_HOLDERS_SPARE) == 0; }

/** The planes `shelf` is in, as bits. */
uint32_t epp_holders_planes(const epp_holders_pools *pools, uint32_t holders, uint32_t shelf);

/** Put `shelf` into `plane` (it may be there). False: no memory, nothing changed. */
bool epp_holders_add(epp_holders_pools *pools, epp_memory *memory, uint32_t *holders, uint32_t shelf,
                     uint32_t plane);

/** Take `shelf` out of `plane` (it may be absent). Cannot fail. */
void epp_holders_remove(epp_holders_pools *pools, epp_memory *memory, uint32_t *holders, uint32_t shelf,
                        uint32_t plane);

/** The set as sorted cells; `in_place` has room for EPP_PLANES and is used when there is no set. */
const epp_cell *epp_holders_cells(const epp_holders_pools *pools, uint32_t holders, epp_cell *in_place,
                                  uint32_t *count);

/** Why the value is malformed, or NULL. */
const char *epp_holders_validate(const epp_holders_pools *pools, uint32_t holders);

#endif
