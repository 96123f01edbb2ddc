/** Deadlines: a binary min-heap of small ids that can be moved and removed. Used for leases and TTLs. */
#ifndef EPP_HEAP_H
#define EPP_HEAP_H

#include "memory.h"

typedef struct epp_heap_item {
    double due_s;
    uint32_t id;
} epp_heap_item;

typedef struct epp_heap {
    epp_heap_item *items;
    uint32_t *place_of; /* by id; meaningful while the id is in the heap */
    uint32_t count, item_capacity, id_capacity;
} epp_heap;

/** Room for ids up to `id` and `more` further items. */
bool epp_heap_reserve(epp_heap *heap, epp_memory *memory, uint32_t id, uint32_t more);

/** Add an id that is not in the heap; room must have been reserved. */
void epp_heap_push(epp_heap *heap, uint32_t id, double due_s);

/** Change the deadline of an id in the heap. */
void epp_heap_move(epp_heap *heap, uint32_t id, double due_s);

/** Take an id out. */
void epp_heap_remove(epp_heap *heap, uint32_t id);

/** The deadline of an id in the heap. */
double epp_heap_due_s(const epp_heap *heap, uint32_t id);

/** How many deadlines are `now_s` or before. */
uint32_t epp_heap_count_due(const epp_heap *heap, double now_s);

/** Why it is broken, or NULL. */
const char *epp_heap_validate(const epp_heap *heap);

/** Give the memory back. */
void epp_heap_drop(epp_heap *heap, epp_memory *memory);

#endif
