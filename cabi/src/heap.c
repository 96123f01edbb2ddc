#include "heap.h"

bool epp_heap_reserve(epp_heap *heap, epp_memory *memory, uint32_t id, uint32_t more) {
    return epp_memory_grow(memory, (void **)&heap->place_of, &heap->id_capacity, (uint64_t)id + 1,
                           sizeof *heap->place_of) &&
           epp_memory_grow(memory, (void **)&heap->items, &heap->item_capacity, (uint64_t)heap->count + more,
                           sizeof *heap->items);
}

static bool before(epp_heap_item x, epp_heap_item y) { return x.due_s < y.due_s; }

static void put(epp_heap *heap, uint32_t place, epp_heap_item item) {
    heap->items[place] = item;
    heap->place_of[item.id] = place;
}

static void sift_up(epp_heap *heap, uint32_t place, epp_heap_item item) {
    while (place > 0 && before(item, heap->items[(place - 1) / 2])) {
        put(heap, place, heap->items[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put(heap, place, item);
}

static void sift_down(epp_heap *heap, uint32_t place, epp_heap_item item) {
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= heap->count) break;
        if (child + 1 < heap->count && before(heap->items[child + 1], heap->items[child])) child++;
        if (!before(heap->items[child], item)) break;
        put(heap, place, heap->items[child]);
        place = child;
    }
    put(heap, place, item);
}

static void settle(epp_heap *heap, uint32_t place, epp_heap_item item) {
    if (place > 0 && before(item, heap->items[(place - 1) / 2]))
        sift_up(heap, place, item);
    else
        sift_down(heap, place, item);
}

void epp_heap_push(epp_heap *heap, uint32_t id, double due_s) {
    const uint32_t place = heap->count++;
    sift_up(heap, place, (epp_heap_item){.due_s = due_s, .id = id});
}

void epp_heap_move(epp_heap *heap, uint32_t id, double due_s) {
    settle(heap, heap->place_of[id], (epp_heap_item){.due_s = due_s, .id = id});
}

void epp_heap_remove(epp_heap *heap, uint32_t id) {
    const uint32_t place = heap->place_of[id];
    const epp_heap_item last = heap->items[--heap->count];
    if (place < heap->count) settle(heap, place, last);
}

double epp_heap_due_s(const epp_heap *heap, uint32_t id) { return heap->items[heap->place_of[id]].due_s; }

static uint32_t count_below(const epp_heap *heap, uint32_t place, double now_s) {
    if (place >= heap->count || heap->items[place].due_s > now_s) return 0;
    return 1 + count_below(heap, 2 * place + 1, now_s) + count_below(heap, 2 * place + 2, now_s);
}

uint32_t epp_heap_count_due(const epp_heap *heap, double now_s) { return count_below(heap, 0, now_s); }

const char *epp_heap_validate(const epp_heap *heap) {
    for (uint32_t place = 0; place < heap->count; place++) {
        if (heap->place_of[heap->items[place].id] != place) return "a deadline is not where its id says";
        if (place > 0 && before(heap->items[place], heap->items[(place - 1) / 2]))
            return "a deadline stands above an earlier one";
    }
    return NULL;
}

void epp_heap_drop(epp_heap *heap, epp_memory *memory) {
    epp_memory_drop(memory, (void **)&heap->place_of, &heap->id_capacity, sizeof *heap->place_of);
    epp_memory_drop(memory, (void **)&heap->items, &heap->item_capacity, sizeof *heap->items);
    heap->count = 0;
}
