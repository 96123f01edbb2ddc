"""Costs of the policies that need no prediction: Dynamo's ``kv``, and plain load.

Formulas: ``docs/algorithms.md`` section 4.3. Every function returns one cost per candidate, in order.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from epp.core.router import CostParams, Phase, Policy
from epp.core.scheduling.candidate import Candidate, tier_weights
from epp.core.scheduling.ttft import ttft_costs

Costs: TypeAlias = Callable[[Sequence[Candidate], CostParams, Phase], list[float]]


def kv_costs(candidates: Sequence[Candidate], params: CostParams, _phase: Phase) -> list[float]:
    """Uncached prefill blocks plus decode blocks."""
    unit = min(c.block_tokens for c in candidates)
    least_active = min(c.active_prefill_tokens for c in candidates)
    return [
        _kv_blocks(c, params, least_active) * (c.block_tokens / unit)
        + params.active_request_weight * c.active_requests
        for c in candidates
    ]


def _kv_blocks(c: Candidate, params: CostParams, least_active: int) -> float:
    device_weight, host_weight, disk_weight = tier_weights(params)
    excess = 0.0
    if c.request_blocks:
        excess = (c.active_prefill_tokens - least_active) / c.block_tokens / c.request_blocks
    decay = 1.0 / (1.0 + params.credit_decay * excess)
    credit = (
        device_weight * decay * c.device_blocks + host_weight * c.host_blocks + disk_weight * c.disk_blocks
    )
    if not params.track_prefill_tokens:
        return max(0.0, c.potential_decode_blocks - credit)
    prefill = (c.active_prefill_tokens + c.prompt_tokens) / c.block_tokens
    return params.prefill_load_scale * max(0.0, prefill - credit) + c.potential_decode_blocks


def load_costs(candidates: Sequence[Candidate], _params: CostParams, _phase: Phase) -> list[float]:
    """Blocks of booked prefill and decode, cache ignored."""
    unit = min(c.block_tokens for c in candidates)
    return [
        (c.active_prefill_tokens / c.block_tokens + c.active_decode_blocks) * (c.block_tokens / unit)
        for c in candidates
    ]


def no_costs(candidates: Sequence[Candidate], _params: CostParams, _phase: Phase) -> list[float]:
    """All alike."""
    return [0.0] * len(candidates)


COSTS: dict[Policy, Costs] = {
    Policy.TTFT: ttft_costs,
    Policy.KV: kv_costs,
    Policy.LEAST_LOADED: load_costs,
    Policy.POWER_OF_TWO: load_costs,
    Policy.ROUND_ROBIN: no_costs,
    Policy.RANDOM: no_costs,
}
"""What each policy compares."""
