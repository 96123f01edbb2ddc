"""Range checks of a router's arguments; each raises ValueError with the rule in its message."""

from math import isfinite

from epp.core.blocks import TOKEN_BYTES
from epp.core.endpoints import WorkerRank
from epp.core.kvindex.events import MAX_BLOCK_TOKENS
from epp.core.router import CostParams, SelectRequest, WorkerSpec

_MAX_U64 = (1 << 64) - 1
_MAX_DP_SIZE = 4096
_MAX_PARAM = 1e9
"""Keeps every cost finite."""


def check_spec(spec: WorkerSpec) -> None:
    """A worker as described can exist."""
    _require(0 <= spec.worker_id <= _MAX_U64, "worker_id must be a u64")
    _require(1 <= spec.dp_size <= _MAX_DP_SIZE, f"dp_size must be 1..{_MAX_DP_SIZE}")
    _require(0 <= spec.block_tokens <= MAX_BLOCK_TOKENS, f"block_tokens must be 0..{MAX_BLOCK_TOKENS}")
    _require(spec.total_blocks >= 0, "total_blocks must not be negative")
    _require(spec.max_batched_tokens >= 0, "max_batched_tokens must not be negative")


def check_request(request: SelectRequest) -> None:
    """A question can be answered."""
    check_time(request.now_s)
    _require(0 <= request.seed <= _MAX_U64, "seed must be a u64")
    _require(request.booking is None or 0 < request.booking <= _MAX_U64, "booking must be a u64 above 0")
    _require(isfinite(request.lease_s) and request.lease_s > 0, "lease_s must be above 0")
    _require(request.expected_output_tokens >= 0, "expected_output_tokens must not be negative")
    _require(memoryview(request.tokens).nbytes % TOKEN_BYTES == 0, "tokens must be whole u32 values")
    _check_pin(request.pin)
    _check_pin(request.prefill_pin)
    _check_params(request.params)
    for _, weight in request.preferred_taints:
        _require(isfinite(weight), "weights of preferred taints must be finite")


def check_time(now_s: float) -> None:
    """A moment is a number of seconds."""
    _require(isfinite(now_s), "times must be finite")


def check_decay(decay: float | None) -> None:
    """A decay is a fraction."""
    _require(decay is None or 0.0 <= decay <= 1.0, "decay must be 0..1")


def _check_pin(pin: WorkerRank | None) -> None:
    _require(pin is None or pin.rank >= -1, "a pinned rank must be -1 (any) or a rank")


def _check_params(params: CostParams) -> None:
    weights = (
        params.overlap_credit,
        params.credit_decay,
        params.prefill_load_scale,
        params.host_weight,
        params.disk_weight,
        params.active_request_weight,
        params.temperature,
    )
    _require(all(0.0 <= w <= _MAX_PARAM for w in weights), f"cost parameters must be 0..{_MAX_PARAM:g}")


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)
