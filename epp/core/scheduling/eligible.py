"""Who may serve a request at all, before anyone is compared (``docs/algorithms.md`` section 4.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from epp.core.endpoints import Role, WorkerRank
from epp.core.kvindex.workers import Worker, WorkerTable
from epp.core.ledger_rank import RankBook
from epp.core.router import BusyLimits, NoChoice, SelectRequest

_SERVING = frozenset({Role.AGGREGATED, Role.DECODE})
_PREFILLING = frozenset({Role.PREFILL})
_PINNED_PREFILLING = frozenset({Role.PREFILL, Role.AGGREGATED})


@dataclass(frozen=True, slots=True)
class Pools:
    """Ranks that may take each leg, ascending."""

    serve: tuple[WorkerRank, ...]
    """For the decode leg, or the whole request."""
    prefill: tuple[WorkerRank, ...]


def find_pools(workers: WorkerTable, request: SelectRequest) -> Pools | NoChoice:
    """The ranks a request's pins, candidates and required taints leave."""
    if all(worker.spec.role is Role.ENCODE for worker in workers):
        return NoChoice.NO_WORKERS
    refusal = _check_pins(workers, request)
    if refusal:
        return refusal
    prefill_roles = _PREFILLING if request.prefill_pin is None else _PINNED_PREFILLING
    pools = Pools(
        serve=_pool(workers, request, _SERVING, request.pin),
        prefill=_pool(workers, request, prefill_roles, request.prefill_pin),
    )
    if not pools.serve or (request.prefill_pin is not None and not pools.prefill):
        return NoChoice.NO_CANDIDATES
    return pools


def without_busy(
    pool: Sequence[WorkerRank],
    limits: BusyLimits,
    workers: WorkerTable,
    book_of: Callable[[WorkerRank], RankBook],
) -> tuple[WorkerRank, ...]:
    """The ranks of those workers that are not busy."""
    if limits == BusyLimits():
        return tuple(pool)
    busy = {
        worker.spec.worker_id
        for worker in workers
        if all(_exceeds(worker, book_of(rank), limits) for rank in worker.ranks())
    }
    return tuple(rank for rank in pool if rank.worker_id not in busy)


def splits(request: SelectRequest, prompt_tokens: int, best_serving_cached_tokens: int) -> bool:
    """Whether a request that could be split over prefill and decode workers is."""
    if request.prefill_pin is not None:
        return True
    rule = request.disagg
    return (
        rule.enabled
        and prompt_tokens >= rule.min_prompt_tokens
        and prompt_tokens - best_serving_cached_tokens >= rule.min_uncached_tokens
    )


def decode_leg(request: SelectRequest) -> SelectRequest:
    """The request as the decode worker of a split sees it: its prompt arrives computed."""
    params = replace(request.params, overlap_credit=0.0, assume_kv_reuse=False, track_prefill_tokens=False)
    return replace(request, params=params)


def _check_pins(workers: WorkerTable, request: SelectRequest) -> NoChoice | None:
    pins = [pin for pin in (request.pin, request.prefill_pin) if pin is not None]
    found = [(pin, workers.get(pin.worker_id)) for pin in pins]
    if any(worker is None for _, worker in found):
        return NoChoice.UNKNOWN_PIN
    if any(worker and pin.rank >= worker.spec.dp_size for pin, worker in found):
        return NoChoice.RANK_OUT_OF_RANGE
    return None


def _pool(
    workers: WorkerTable, request: SelectRequest, roles: frozenset[Role], pin: WorkerRank | None
) -> tuple[WorkerRank, ...]:
    allowed = None if request.candidates is None else frozenset(request.candidates)
    return tuple(
        rank
        for worker in workers
        if worker.spec.role in roles
        and (allowed is None or worker.spec.worker_id in allowed)
        and request.required_taints <= worker.spec.taints
        for rank in worker.ranks()
        if pin is None or (rank.worker_id == pin.worker_id and pin.rank in (-1, rank.rank))
    )


def _exceeds(worker: Worker, book: RankBook, limits: BusyLimits) -> bool:
    spec = worker.spec
    checks = (
        (book.active_decode_blocks, spec.total_blocks, limits.active_decode_fraction),
        (book.active_prefill_tokens, 1, limits.active_prefill_tokens),
        (book.active_prefill_tokens, spec.max_batched_tokens, limits.active_prefill_fraction),
    )
    return any(
        limit is not None and capacity > 0 and amount / capacity > limit for amount, capacity, limit in checks
    )
