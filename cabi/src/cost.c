/* Costs (docs/algorithms.md section 4.3) and the choice by them (4.4). Doubles are combined in the order
 * written there, and the build forbids contraction, so that every implementation gets the same bits. */
#include <math.h>

#include "exact.h"
#include "pools.h"

/* A prompt that evicts delays whoever wanted those blocks; decode load breaks near-ties; a prompt that does not
 * fit beside the running requests waits for some of them to end. */
static const double TTFT_EVICT_WEIGHT = 1.5;
static const double TTFT_DECODE_WEIGHT = 0.05;
static const double TTFT_ROOM_WEIGHT = 4.0;

/** What costs of one leg have in common. */
typedef struct leg_facts {
    const epp_request *request;
    uint32_t phase;
    double unit;         /* least block size of the candidates */
    uint64_t least_load; /* least active_prefill_tokens */
    double fleet_rate;   /* largest tokens_per_s */
} leg_facts;

static double kv_cost(const leg_facts *facts, const epp_candidate *c) {
    const epp_request *request = facts->request;
    const bool decode_leg = facts->phase == EPP_PHASE_DECODE;
    const double bs = c->block_tokens, decode = (double)c->potential_decode_blocks;
    const bool credited = !decode_leg && request->overlap_credit > 0.0;
    double decay = 1.0; /* what the formula gives without credit_decay, which is the rule */
    if (c->request_blocks && request->credit_decay > 0.0) {
        const double excess = (double)(c->active_prefill_tokens - facts->least_load) / bs / c->request_blocks;
        decay = 1.0 / (1.0 + request->credit_decay * excess);
    }
    const double credit = (credited ? request->overlap_credit : 0.0) * decay * c->runs.device +
                          (credited ? request->host_weight : 0.0) * (c->runs.host - c->runs.device) +
                          (credited ? request->disk_weight : 0.0) * (c->runs.disk - c->runs.host);
    double blocks = 0.0;
    if (!decode_leg && request->flags & EPP_REQUEST_TRACK_PREFILL) {
        const double prefill = (double)(c->active_prefill_tokens + c->prompt_tokens) / bs - credit;
        blocks = request->prefill_load_scale * (prefill > 0.0 ? prefill : 0.0) + decode;
    } else if (decode - credit > 0.0) {
        blocks = decode - credit;
    }
    return blocks * (bs / facts->unit) + request->active_request_weight * (double)c->active_requests;
}

static double load_cost(const leg_facts *facts, const epp_candidate *c, uint64_t decode_blocks) {
    const double bs = c->block_tokens;
    return ((double)c->active_prefill_tokens / bs + (double)decode_blocks) * (bs / facts->unit);
}

/** How many of the new blocks do not fit beside those resident; 0 if the capacity is unknown. */
static uint64_t evicted_blocks(const epp_candidate *c) {
    if (c->total_blocks == 0) return 0;
    const uint64_t fresh = (uint64_t)ceil(c->work_tokens / c->block_tokens);
    const uint64_t wanted = c->resident_blocks + fresh;
    const uint64_t excess = wanted > c->total_blocks ? wanted - c->total_blocks : 0;
    return excess < fresh ? excess : fresh;
}

/** By how many blocks the running requests and this one exceed the capacity; 0 if it is unknown. */
static uint64_t missing_blocks(const epp_candidate *c) {
    if (c->total_blocks == 0 || c->potential_decode_blocks <= c->total_blocks) return 0;
    return c->potential_decode_blocks - c->total_blocks;
}

static double ttft_cost(const leg_facts *facts, const epp_candidate *c) {
    if (facts->phase == EPP_PHASE_DECODE) return load_cost(facts, c, c->potential_decode_blocks);
    const double evict_s = (double)(evicted_blocks(c) * c->block_tokens) / facts->fleet_rate;
    const double decode_s = (double)(c->potential_decode_blocks * c->block_tokens) / c->tokens_per_s;
    const double room_s = (double)(missing_blocks(c) * c->block_tokens) / facts->fleet_rate;
    const double cost_s = c->queue_s + c->own_s + TTFT_EVICT_WEIGHT * evict_s + TTFT_DECODE_WEIGHT * decode_s;
    return cost_s + TTFT_ROOM_WEIGHT * room_s;
}

static double cost_of(const leg_facts *facts, const epp_candidate *c) {
    switch (facts->request->policy) {
    case EPP_POLICY_KV: return kv_cost(facts, c);
    case EPP_POLICY_TTFT: return ttft_cost(facts, c);
    case EPP_POLICY_LEAST_LOADED:
    case EPP_POLICY_POWER_OF_TWO: return load_cost(facts, c, c->active_decode_blocks);
    default: return 0.0;
    }
}

void epp_set_costs(const epp_router *router, const epp_asked *asked, const epp_leg *leg) {
    epp_candidate *candidates = epp_candidate_at(asked->question, leg->first);
    leg_facts facts = {
        .request = &asked->request, .phase = leg->phase, .unit = INFINITY, .least_load = UINT64_MAX};
    for (uint32_t i = 0; i < leg->n; i++) {
        if (candidates[i].block_tokens < facts.unit) facts.unit = candidates[i].block_tokens;
        if (candidates[i].active_prefill_tokens < facts.least_load)
            facts.least_load = candidates[i].active_prefill_tokens;
        if (candidates[i].tokens_per_s > facts.fleet_rate) facts.fleet_rate = candidates[i].tokens_per_s;
    }
    for (uint32_t i = 0; i < leg->n; i++) {
        candidates[i].cost = cost_of(&facts, &candidates[i]);
        if (asked->n_taints)
            candidates[i].cost *= epp_taint_factor(epp_worker_at(router, candidates[i].worker), asked);
    }
}

/* --- choosing -------------------------------------------------------------------------------------- */

/** splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). */
static uint64_t next_u64(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint32_t below(uint64_t *state, uint32_t n) { return (uint32_t)(next_u64(state) % n); }

static double unit_interval(uint64_t *state) { return (double)(next_u64(state) >> 11) * 0x1p-53; }

static bool same(double x, double y) { return !(x < y) && !(x > y); }

/** The least cost; equal ones by reservoir, so that each is as likely. */
static uint32_t least(const epp_candidate *candidates, uint32_t n, uint64_t *random) {
    uint32_t best = 0, equals = 1;
    for (uint32_t i = 1; i < n; i++) {
        if (candidates[i].cost < candidates[best].cost) {
            best = i;
            equals = 1;
        } else if (same(candidates[i].cost, candidates[best].cost) && below(random, ++equals) == 0) {
            best = i;
        }
    }
    return best;
}

static uint32_t softmax(const epp_candidate *candidates, uint32_t n, double temperature, uint64_t *random,
                        double *weights) {
    double low = candidates[0].cost, high = low, total = 0.0, running = 0.0;
    for (uint32_t i = 1; i < n; i++) {
        if (candidates[i].cost < low) low = candidates[i].cost;
        if (candidates[i].cost > high) high = candidates[i].cost;
    }
    if (same(low, high)) return below(random, n);
    for (uint32_t i = 0; i < n; i++) {
        weights[i] = exp(-((candidates[i].cost - low) / (high - low) / temperature));
        total += weights[i];
    }
    const double target = unit_interval(random) * total;
    for (uint32_t i = 0; i < n; i++) {
        running += weights[i];
        if (target < running) return i;
    }
    return n - 1;
}

static uint32_t better_of_two(const epp_candidate *candidates, uint32_t n, uint64_t *random) {
    const uint32_t first = below(random, n);
    uint32_t second = below(random, n - 1);
    if (second >= first) second++;
    return candidates[second].cost < candidates[first].cost ? second : first;
}

uint32_t epp_choose(const epp_router *router, const epp_asked *asked, const epp_leg *leg, uint64_t *random) {
    const epp_candidate *candidates = epp_candidate_at(asked->question, leg->first);
    const uint32_t policy = asked->request.policy;
    if (policy == EPP_POLICY_ROUND_ROBIN) return (uint32_t)(router->turns[leg->phase] % leg->n);
    if (leg->n == 1) return 0;
    if (policy == EPP_POLICY_RANDOM) return below(random, leg->n);
    if (policy == EPP_POLICY_POWER_OF_TWO) return better_of_two(candidates, leg->n, random);
    if (asked->request.temperature > 0.0 && policy != EPP_POLICY_LEAST_LOADED)
        return softmax(candidates, leg->n, asked->request.temperature, random,
                       asked->question->weights.items);
    return least(candidates, leg->n, random);
}
