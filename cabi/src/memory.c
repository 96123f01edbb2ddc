#include "memory.h"

#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

enum { FIRST_CAPACITY = 16, HUGE_BYTES = 1 << 22 };

/** Large tables are read at random: huge pages spare most of the address translation. A hint, no more. */
static void *advise(void *block, size_t bytes) {
#ifdef MADV_HUGEPAGE
    if (block && bytes >= HUGE_BYTES) {
        const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)block;
        const uintptr_t start = (from + page - 1) & ~(page - 1);
        (void)madvise((void *)start, bytes - (start - from), MADV_HUGEPAGE);
    }
#else
    (void)bytes;
#endif
    return block;
}

static void *resize_by_libc(void *state, void *block, size_t old_bytes, size_t new_bytes) {
    (void)state;
    (void)old_bytes;
    if (new_bytes == 0) {
        free(block);
        return NULL;
    }
    return advise(realloc(block, new_bytes), new_bytes);
}

void epp_memory_init(epp_memory *memory, const epp_allocator *allocator) {
    memory->allocator = allocator ? *allocator : (epp_allocator){.resize = resize_by_libc, .state = NULL};
    atomic_init(&memory->used_bytes, 0);
}

void *epp_memory_resize(epp_memory *memory, void *block, size_t old_bytes, size_t new_bytes) {
    if (new_bytes == 0 && block == NULL) return NULL;
    void *moved = memory->allocator.resize(memory->allocator.state, block, old_bytes, new_bytes);
    if (moved == NULL && new_bytes != 0) return NULL;
    atomic_fetch_add_explicit(&memory->used_bytes, new_bytes - old_bytes, memory_order_relaxed);
    return moved;
}

/** The next capacity of an array, or 0 if there is none. */
static uint32_t next_capacity(uint32_t capacity, uint64_t needed, size_t item_bytes) {
    uint64_t wanted = capacity + (uint64_t)capacity / 4;
    if (wanted < FIRST_CAPACITY) wanted = FIRST_CAPACITY;
    if (wanted < needed) wanted = needed;
    return wanted > UINT32_MAX || wanted > SIZE_MAX / item_bytes ? 0 : (uint32_t)wanted;
}

bool epp_memory_grow(epp_memory *memory, void **array, uint32_t *capacity, uint64_t needed,
                     size_t item_bytes) {
    if (needed <= *capacity) return true;
    const uint32_t wanted = next_capacity(*capacity, needed, item_bytes);
    if (wanted == 0) return false;
    void *moved = epp_memory_resize(memory, *array, *capacity * item_bytes, wanted * item_bytes);
    if (moved == NULL) return false;
    *array = moved;
    *capacity = wanted;
    return true;
}

bool epp_memory_grown(epp_memory *memory, epp_array old, uint64_t needed, size_t item_bytes, epp_array *out) {
    *out = (epp_array){0};
    if (needed <= old.capacity) return true;
    const uint32_t wanted = next_capacity(old.capacity, needed, item_bytes);
    if (wanted == 0) return false;
    void *copy = epp_memory_resize(memory, NULL, 0, wanted * item_bytes);
    if (copy == NULL) return false;
    if (old.items) memcpy(copy, old.items, old.capacity * item_bytes);
    *out = (epp_array){.items = copy, .capacity = wanted};
    return true;
}

void epp_memory_drop(epp_memory *memory, void **array, uint32_t *capacity, size_t item_bytes) {
    (void)epp_memory_resize(memory, *array, *capacity * item_bytes, 0);
    *array = NULL;
    *capacity = 0;
}
