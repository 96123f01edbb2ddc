"""The ``ttft`` policy: least predicted time to first token, with an eye on everyone else's.

Formula: ``docs/algorithms.md`` section 4.3.
"""

from collections.abc import Sequence
from math import ceil

from epp.core.router import CostParams, Phase
from epp.core.scheduling.candidate import Candidate

TTFT_EVICT_WEIGHT = 1.5
"""Seconds of cost per second the best candidate would need to compute again what must be evicted for this
prompt. On a full cache work then weighs more than waiting: prompts go where they fit or are known."""
TTFT_DECODE_WEIGHT = 0.05
"""Seconds of cost per second it would take to compute the blocks being decoded. They slow prefill a little
and settle what prediction leaves open."""
TTFT_ROOM_WEIGHT = 4.0
"""Seconds of cost per second it would take to compute the blocks that running requests must free before
this one fits beside them. Blocks are freed as answers end, which takes far longer than computing them."""


def ttft_costs(candidates: Sequence[Candidate], _params: CostParams, phase: Phase) -> list[float]:
    """Seconds, for the choice that prefills; blocks of load, for the choice that decodes."""
    if phase is not Phase.DECODE:
        best_rate = max(c.tokens_per_s for c in candidates)
        return [_prefill_cost(c, best_rate) for c in candidates]
    unit = min(c.block_tokens for c in candidates)
    return [
        (c.active_prefill_tokens / c.block_tokens + c.potential_decode_blocks) * (c.block_tokens / unit)
        for c in candidates
    ]


def _prefill_cost(c: Candidate, best_rate: float) -> float:
    evict_s = _evicted_blocks(c) * c.block_tokens / best_rate
    decode_s = c.potential_decode_blocks * c.block_tokens / c.tokens_per_s
    room_s = _missing_blocks(c) * c.block_tokens / best_rate
    cost_s = c.queue_s + c.own_s + TTFT_EVICT_WEIGHT * evict_s + TTFT_DECODE_WEIGHT * decode_s
    return cost_s + TTFT_ROOM_WEIGHT * room_s


def _evicted_blocks(c: Candidate) -> int:
    """How many blocks of the new ones do not fit beside those resident; 0 if the capacity is unknown."""
    if not c.spec.total_blocks:
        return 0
    new_blocks = ceil(c.work_tokens / c.block_tokens)
    return min(new_blocks, max(0, c.resident_blocks + new_blocks - c.spec.total_blocks))


def _missing_blocks(c: Candidate) -> int:
    """By how many blocks the running requests and this one exceed the capacity; 0 if it is unknown."""
    return max(0, c.potential_decode_blocks - c.spec.total_blocks) if c.spec.total_blocks else 0
