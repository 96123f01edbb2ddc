#include "chains.h"

#include <assert.h>

/* The root of a tree is its number with this bit, so that it never equals a node's id. */
static const uint64_t ROOT = UINT64_C(1) << 32;

static epp_node *node_at(const epp_chains *chains, uint32_t id) {
    return (epp_node *)chains->nodes.items + id;
}

static const uint64_t *hashes_of(const epp_chains *chains, const epp_node *node) {
    return epp_text_at(chains, node->text)->hashes;
}

static uint64_t parent_key(uint32_t tree, uint32_t node) { return node == EPP_NONE ? ROOT | tree : node; }

void epp_chains_init(epp_chains *chains, epp_memory *memory) { *chains = (epp_chains){.memory = memory}; }

static void drop_text(epp_chains *chains, epp_text *text) {
    (void)epp_memory_resize(chains->memory, text->hashes, text->capacity * sizeof *text->hashes, 0);
    text->references = 0;
}

void epp_chains_drop(epp_chains *chains) {
    for (uint32_t i = 0; i < chains->texts.used; i++)
        if (epp_text_at(chains, i)->references) drop_text(chains, epp_text_at(chains, i));
    epp_pool_drop(&chains->texts, chains->memory, sizeof(epp_text));
    epp_pool_drop(&chains->nodes, chains->memory, sizeof(epp_node));
    epp_map_drop(&chains->edges, chains->memory);
}

bool epp_chains_reserve(epp_chains *chains) {
    enum { TEXTS = 2, NODES = 4 }; /* two legs; a chain splits one node and adds one */
    return epp_pool_reserve(&chains->texts, chains->memory, TEXTS, sizeof(epp_text)) &&
           epp_pool_reserve(&chains->nodes, chains->memory, NODES, sizeof(epp_node)) &&
           epp_map_reserve(&chains->edges, chains->memory, NODES);
}

/* --- texts ----------------------------------------------------------------------------------------- */

uint32_t epp_text_new(epp_chains *chains, const uint64_t *hashes, uint32_t n) {
    uint64_t *copy = epp_memory_resize(chains->memory, NULL, 0, n * sizeof *copy);
    if (copy == NULL) return EPP_NONE;
    memcpy(copy, hashes, n * sizeof *copy);
    const uint32_t id = epp_pool_take(&chains->texts, sizeof(epp_text));
    *epp_text_at(chains, id) = (epp_text){.hashes = copy, .n = n, .capacity = n, .references = 1};
    return id;
}

bool epp_text_append(epp_chains *chains, uint32_t id, uint64_t hash) {
    epp_text *text = epp_text_at(chains, id);
    if (!epp_memory_grow(chains->memory, (void **)&text->hashes, &text->capacity, (uint64_t)text->n + 1,
                         sizeof *text->hashes))
        return false;
    text->hashes[text->n++] = hash;
    return true;
}

void epp_text_release(epp_chains *chains, uint32_t id) {
    epp_text *text = epp_text_at(chains, id);
    if (--text->references > 0) return;
    drop_text(chains, text);
    epp_pool_give(&chains->texts, id, sizeof(epp_text));
}

/* --- following ------------------------------------------------------------------------------------- */

/** First position in low .. high-1 at which two chains differ, or high. */
static uint32_t first_difference(const uint64_t *x, const uint64_t *y, uint32_t low, uint32_t high) {
    if (x[high - 1] == y[high - 1]) return high; /* the usual case: all of it is shared */
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (x[middle] == y[middle])
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

epp_place epp_chains_follow(const epp_chains *chains, uint32_t tree, const uint64_t *hashes, uint32_t n) {
    epp_place place = {.node = EPP_NONE, .matched = 0};
    while (place.matched < n) {
        const uint32_t next =
            epp_map_get(&chains->edges, parent_key(tree, place.node), hashes[place.matched]);
        if (next == EPP_NONE) break;
        const epp_node *node = node_at(chains, next);
        const uint32_t end = node->end < n ? node->end : n;
        place.node = next;
        place.matched = first_difference(hashes_of(chains, node), hashes, node->start, end);
        if (place.matched < node->end) break;
    }
    return place;
}

bool epp_chains_continues(const epp_chains *chains, uint32_t tree, epp_place place, uint64_t hash) {
    if (place.node != EPP_NONE) {
        const epp_node *node = node_at(chains, place.node);
        if (place.matched < node->end) return hashes_of(chains, node)[place.matched] == hash;
    }
    return epp_map_get(&chains->edges, parent_key(tree, place.node), hash) != EPP_NONE;
}

/* --- holding --------------------------------------------------------------------------------------- */

static uint32_t length_of(const epp_node *node) { return node->end - node->start; }

static void set_weight(epp_node *node, uint32_t weight, uint64_t *units) {
    *units += (uint64_t)weight * length_of(node);
    *units -= (uint64_t)node->weight * length_of(node);
    node->weight = weight;
}

static uint32_t add_node(epp_chains *chains, epp_node node) {
    const uint32_t id = epp_pool_take(&chains->nodes, sizeof(epp_node));
    *node_at(chains, id) = node;
    epp_text_at(chains, node.text)->references++;
    return id;
}

/** Cut a node at block `at`; the lower part keeps its id and bookings. Returns the upper part. */
static uint32_t split(epp_chains *chains, uint32_t lower, uint32_t at) {
    epp_node upper = *node_at(chains, lower);
    const uint64_t *hashes = hashes_of(chains, &upper);
    upper.end = at;
    upper.children = 1;
    const uint32_t id = add_node(chains, upper);
    node_at(chains, lower)->start = at;
    node_at(chains, lower)->parent = id;
    epp_map_set(&chains->edges, parent_key(upper.tree, upper.parent), hashes[upper.start], id);
    epp_map_add(&chains->edges, id, hashes[at], lower);
    return id;
}

static uint32_t grow(epp_chains *chains, uint32_t tree, uint32_t parent, uint32_t text, uint32_t start,
                     uint32_t end, uint64_t *units) {
    const epp_node leaf = {.parent = parent, .text = text, .start = start, .end = end, .tree = tree};
    const uint32_t id = add_node(chains, leaf);
    set_weight(node_at(chains, id), EPP_BLOCK_UNITS, units);
    epp_map_add(&chains->edges, parent_key(tree, parent), epp_text_at(chains, text)->hashes[start], id);
    if (parent != EPP_NONE) node_at(chains, parent)->children++;
    return id;
}

uint32_t epp_chains_hold(epp_chains *chains, uint32_t tree, uint32_t text, uint32_t n, uint64_t *units) {
    const epp_place place = epp_chains_follow(chains, tree, epp_text_at(chains, text)->hashes, n);
    uint32_t leaf = place.node;
    if (leaf != EPP_NONE && place.matched < node_at(chains, leaf)->end)
        leaf = split(chains, leaf, place.matched);
    if (place.matched < n) leaf = grow(chains, tree, leaf, text, place.matched, n, units);
    for (uint32_t id = leaf; id != EPP_NONE; id = node_at(chains, id)->parent) {
        node_at(chains, id)->bookings++;
        set_weight(node_at(chains, id), EPP_BLOCK_UNITS, units); /* what gains a holder weighs one again */
    }
    return leaf;
}

void epp_chains_release(epp_chains *chains, uint32_t leaf, uint64_t *units) {
    for (uint32_t id = leaf; id != EPP_NONE;) {
        epp_node *node = node_at(chains, id);
        const uint32_t parent = node->parent;
        if (--node->bookings == 0) {
            assert(node->children == 0);
            set_weight(node, 0, units);
            (void)epp_map_remove(&chains->edges, parent_key(node->tree, parent),
                                 hashes_of(chains, node)[node->start]);
            if (parent != EPP_NONE) node_at(chains, parent)->children--;
            epp_text_release(chains, node->text);
            epp_pool_give(&chains->nodes, id, sizeof(epp_node));
        }
        id = parent;
    }
}

void epp_chains_weigh(epp_chains *chains, uint32_t leaf, uint32_t weight, uint64_t *units) {
    for (uint32_t id = leaf; id != EPP_NONE; id = node_at(chains, id)->parent)
        if (node_at(chains, id)->bookings == 1) set_weight(node_at(chains, id), weight, units);
}
