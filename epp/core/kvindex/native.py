"""The router in C (``cabi``) as a :class:`~epp.core.router.Router`: records in, records out, no decisions.

What costs time happens below ``cabi``; this module only names things the way the core does. Text becomes
numbers here: a LoRA adapter and a salt become the seed of block hashes, taints become hashes of their names.
"""

from collections.abc import Sequence
from math import nan
from typing import cast, overload

import cabi
from cabi import records
from cabi.status import ArgumentError, BoundError
from cabi.status import DuplicateBookingError as CoreDuplicateBookingError
from cabi.status import UnknownBookingError as CoreUnknownBookingError
from epp.core.endpoints import Role, WorkerRank
from epp.core.kvindex.arguments import check_decay, check_request, check_spec, check_time
from epp.core.router import (
    ApplyReport,
    BlocksCleared,
    BlocksRemoved,
    BlocksStored,
    BusyLimits,
    CandidateTerms,
    CapacityError,
    CostParams,
    DisaggRule,
    DuplicateBookingError,
    KvEvent,
    LoadSample,
    NoChoice,
    Phase,
    Policy,
    PrefillDone,
    RankLoad,
    RouterOptions,
    RouterStats,
    Selection,
    SelectRequest,
    UnknownBookingError,
    WorkerSpec,
)

_U64 = (1 << 64) - 1
_U32 = (1 << 32) - 1
_ROLES = {
    Role.AGGREGATED: records.Role.AGGREGATED,
    Role.PREFILL: records.Role.PREFILL,
    Role.DECODE: records.Role.DECODE,
    Role.ENCODE: records.Role.ENCODE,
}
_POLICIES = {
    Policy.TTFT: records.Policy.TTFT,
    Policy.KV: records.Policy.KV,
    Policy.ROUND_ROBIN: records.Policy.ROUND_ROBIN,
    Policy.RANDOM: records.Policy.RANDOM,
    Policy.LEAST_LOADED: records.Policy.LEAST_LOADED,
    Policy.POWER_OF_TWO: records.Policy.POWER_OF_TWO,
}
_PIN = int(cabi.Ask.PIN)
_PREFILL_PIN = int(cabi.Ask.PREFILL_PIN)
_KV_REUSE = int(cabi.Ask.KV_REUSE)
_TRACK_PREFILL = int(cabi.Ask.TRACK_PREFILL)
_DISAGG = int(cabi.Ask.DISAGG)
_EXPLAIN = int(cabi.Ask.EXPLAIN)
_NOBODY = (0, -1)
_NO_NAMESPACE = cabi.namespace_seed()
_PHASES = (Phase.AGGREGATED, Phase.PREFILL, Phase.DECODE)
_REFUSALS = {
    cabi.Status.NO_WORKERS: NoChoice.NO_WORKERS,
    cabi.Status.NO_CANDIDATES: NoChoice.NO_CANDIDATES,
    cabi.Status.UNKNOWN_PIN: NoChoice.UNKNOWN_PIN,
    cabi.Status.RANK_OUT_OF_RANGE: NoChoice.RANK_OUT_OF_RANGE,
    cabi.Status.OVERLOADED: NoChoice.OVERLOADED,
}


class NativeRouter:
    """A :class:`~epp.core.router.Router` that any thread may call."""

    def __init__(self, options: RouterOptions) -> None:
        self._core = cabi.Router(
            cabi.Options(
                max_workers=options.max_workers,
                max_bookings=options.max_bookings,
                max_blocks=options.max_blocks,
                predicted_ttl_s=options.predicted_ttl_s,
                default_prefill_tokens_per_s=options.default_prefill_tokens_per_s,
                default_block_tokens=options.default_block_tokens,
            )
        )
        self._last_rules: tuple[CostParams, DisaggRule, BusyLimits, cabi.Rules] | None = None

    # --- workers -------------------------------------------------------------------------------------

    def upsert_worker(self, spec: WorkerSpec) -> None:
        """Add a worker or change it."""
        check_spec(spec)
        try:
            self._core.upsert_worker(
                cabi.Worker(
                    worker_id=spec.worker_id,
                    role=_ROLES[spec.role],
                    total_blocks=spec.total_blocks,
                    max_batched_tokens=spec.max_batched_tokens,
                    dp_size=spec.dp_size,
                    block_tokens=spec.block_tokens,
                    has_events=spec.has_events,
                    taints=tuple(_taint(name) for name in sorted(spec.taints)),
                )
            )
        except BoundError as error:
            raise CapacityError("the router holds as many workers or ranks as it may") from error

    def remove_worker(self, worker_id: int) -> tuple[int, ...]:
        """Forget a worker, its blocks and bookings; returns the bookings dropped."""
        return self._core.remove_worker(worker_id) if 0 <= worker_id <= _U64 else ()

    def update_load(self, target: WorkerRank, load: LoadSample) -> None:
        """Record scraped load; ignored for unknown workers or ranks."""
        if _is_addressable(target):
            sample = records.LoadSample(load.waiting_requests, load.running_requests, load.kv_usage)
            self._core.set_load(target.worker_id, target.rank, sample)

    # --- events --------------------------------------------------------------------------------------

    def apply(self, target: WorkerRank, events: Sequence[KvEvent], now_s: float) -> ApplyReport:
        """Apply one batch of events in order."""
        check_time(now_s)
        if not _is_addressable(target):
            return ApplyReport(ignored=(("unknown-worker", len(events)),) if events else ())
        batch = cabi.EventBatch()
        for event in events:
            _add_event(batch, event)
        return _report(self._core.apply(target.worker_id, target.rank, batch, now_s))

    def apply_payload(self, target: WorkerRank, payload: bytes, now_s: float) -> ApplyReport:
        """Apply one engine message, decoded in C."""
        check_time(now_s)
        worker_id, rank = target if _is_addressable(target) else (0, _U32)
        return _report(self._core.apply_payload(worker_id, rank, payload, now_s))

    def drop_blocks(self, target: WorkerRank) -> int:
        """Forget every block of one rank; returns how many."""
        return self._core.drop_blocks(*target) if _is_addressable(target) else 0

    # --- decisions -----------------------------------------------------------------------------------

    def select(self, request: SelectRequest) -> Selection | NoChoice:
        """Choose, and book if asked."""
        try:
            chosen = self._core.select(self._question(request), explain=request.explain)
        except ArgumentError:
            check_request(request)  # says in words what is wrong
            raise
        except CoreDuplicateBookingError as error:
            raise DuplicateBookingError(f"booking {request.booking} exists already") from error
        except BoundError as error:
            raise CapacityError("the router holds as many bookings as it may") from error
        return _REFUSALS[chosen] if isinstance(chosen, cabi.Status) else _selection(chosen)

    def measure(self, request: SelectRequest) -> tuple[CandidateTerms, ...]:
        """The terms of every eligible candidate; nothing changes."""
        try:
            return tuple(map(_terms, self._core.measure(self._question(request))))
        except ArgumentError:
            check_request(request)
            raise

    # --- bookings ------------------------------------------------------------------------------------

    def prefill_complete(self, booking: int, now_s: float) -> PrefillDone | None:
        """The prompt is computed; None if that was known already."""
        check_time(now_s)
        try:
            done = self._core.prefill_complete(booking, now_s)
        except CoreUnknownBookingError as error:
            raise UnknownBookingError(booking) from error
        return None if done is None else PrefillDone(*done)

    def output_block(self, booking: int, decay: float | None = None) -> None:
        """One more block of output exists."""
        check_decay(decay)
        try:
            self._core.output_block(booking, decay)
        except CoreUnknownBookingError as error:
            raise UnknownBookingError(booking) from error

    def renew(self, booking: int, now_s: float) -> None:
        """Start the lease anew."""
        check_time(now_s)
        try:
            self._core.renew(booking, now_s)
        except CoreUnknownBookingError as error:
            raise UnknownBookingError(booking) from error

    def free(self, booking: int) -> None:
        """End a booking."""
        try:
            self._core.end_booking(booking)
        except CoreUnknownBookingError as error:
            raise UnknownBookingError(booking) from error

    def expire(self, now_s: float) -> tuple[int, ...]:
        """End what is over at ``now_s``; returns the bookings."""
        check_time(now_s)
        return self._core.expire(now_s)

    # --- sizes ---------------------------------------------------------------------------------------

    def loads(self) -> tuple[RankLoad, ...]:
        """Booked load of every rank, ordered by (worker_id, rank)."""
        return tuple(map(_rank_load, self._core.loads()))

    def stats(self) -> RouterStats:
        """Sizes, for gauges."""
        stats = self._core.stats()
        return RouterStats(
            workers=stats.workers,
            ranks=stats.ranks,
            resident_pairs=stats.resident_pairs,
            distinct_blocks=stats.distinct_blocks,
            bookings=stats.bookings,
            predicted_blocks=stats.predicted_blocks,
            memory_bytes=stats.memory_bytes,
        )

    def validate(self) -> str | None:
        """None when every invariant holds, else the first broken one in words."""
        return self._core.validate()

    # --- snapshots: beyond the protocol --------------------------------------------------------------

    def dump(self, now_s: float) -> bytes:
        """Residency as bytes another process can load."""
        return self._core.dump(now_s)

    def load(self, snapshot: bytes, now_s: float) -> records.LoadReport:
        """Take over a snapshot for ranks that are known and hold nothing yet; raises ValueError."""
        return self._core.load(snapshot, now_s)

    def _question(self, request: SelectRequest) -> cabi.Request:
        if request.booking == 0:  # the core's word for asking only
            raise ArgumentError(cabi.Status.ARGUMENT)
        worker, rank = request.pin or _NOBODY
        prefill_worker, prefill_rank = request.prefill_pin or _NOBODY
        return cabi.Request(
            request.tokens,
            flags=_flags(request),
            now_s=request.now_s,
            policy=_POLICIES[request.policy],
            seed=request.seed,
            booking=request.booking or 0,
            lease_s=request.lease_s,
            namespace_seed=_namespace_seed(request),
            expected_output_tokens=request.expected_output_tokens,
            pin_worker=worker,
            pin_rank=rank,
            prefill_pin_worker=prefill_worker,
            prefill_pin_rank=prefill_rank,
            rules=self._rules_of(request.params, request.disagg, request.busy),
            candidates=_known_ids(request.candidates),
            required_taints=[_taint(name) for name in request.required_taints],
            preferred_taints=[(_taint(name), weight) for name, weight in request.preferred_taints],
        )

    def _rules_of(self, params: CostParams, disagg: DisaggRule, busy: BusyLimits) -> cabi.Rules:
        """Most requests go by the rules of the one before: the configured ones."""
        last = self._last_rules
        if last is None or last[0] is not params or last[1] is not disagg or last[2] is not busy:
            last = self._last_rules = (params, disagg, busy, _rules(params, disagg, busy))
        return last[3]


# --- towards the core ----------------------------------------------------------------------------------


def _is_addressable(target: WorkerRank) -> bool:
    """Whether the core can even be asked about it; what is not is unknown to it."""
    return 0 <= target.worker_id <= _U64 and 0 <= target.rank <= _U32


def _taint(name: str) -> int:
    return cabi.xxh3_64(name.encode())


def _add_event(batch: cabi.EventBatch, event: KvEvent) -> None:
    match event:
        case BlocksStored():
            batch.stored(
                event.engine_hashes,
                event.tokens,
                event.block_tokens,
                parent=event.parent_engine_hash,
                namespace_seed=cabi.namespace_seed(event.lora, event.salt),
                tier=event.tier,
                mm_hashes=event.mm_hashes,
            )
        case BlocksRemoved():
            batch.removed(event.engine_hashes, event.tier)
        case BlocksCleared():
            batch.cleared()


def _rules(params: CostParams, disagg: DisaggRule, busy: BusyLimits) -> cabi.Rules:
    return cabi.Rules(
        overlap_credit=params.overlap_credit,
        credit_decay=params.credit_decay,
        prefill_load_scale=params.prefill_load_scale,
        host_weight=params.host_weight,
        disk_weight=params.disk_weight,
        active_request_weight=params.active_request_weight,
        temperature=params.temperature,
        disagg_min_uncached_tokens=max(0, disagg.min_uncached_tokens),
        disagg_min_prompt_tokens=max(0, disagg.min_prompt_tokens),
        busy_decode_fraction=_limit(busy.active_decode_fraction),
        busy_prefill_tokens=_limit(busy.active_prefill_tokens),
        busy_prefill_fraction=_limit(busy.active_prefill_fraction),
    )


def _known_ids(candidates: Sequence[int] | None) -> Sequence[int] | None:
    """Candidates without those that no worker can have."""
    return candidates if candidates is None else [worker for worker in candidates if 0 <= worker <= _U64]


def _namespace_seed(request: SelectRequest) -> int:
    if not request.lora and not request.salt:
        return _NO_NAMESPACE
    return cabi.namespace_seed(request.lora, request.salt)


def _limit(limit: float | None) -> float:
    return nan if limit is None else limit


def _flags(request: SelectRequest) -> int:
    params = request.params
    return (
        (_PIN if request.pin is not None else 0)
        | (_PREFILL_PIN if request.prefill_pin is not None else 0)
        | (_KV_REUSE if params.assume_kv_reuse else 0)
        | (_TRACK_PREFILL if params.track_prefill_tokens else 0)
        | (_DISAGG if request.disagg.enabled else 0)
        | (_EXPLAIN if request.explain else 0)
    )


# --- back from the core --------------------------------------------------------------------------------


def _report(report: records.Report) -> ApplyReport:
    return ApplyReport(
        stored_blocks=report.stored_blocks,
        removed_blocks=report.removed_blocks,
        cleared=report.cleared,
        ignored=report.ignored,
        block_tokens=report.block_tokens,
        prefill_done=tuple(PrefillDone(*done) for done in report.prefill_done),
        decode_blocks=report.decode_blocks,
    )


def _terms(terms: records.Terms) -> CandidateTerms:
    return CandidateTerms(
        worker=WorkerRank(terms.worker_id, terms.rank),
        phase=_PHASES[terms.phase],
        device_blocks=terms.device_blocks,
        host_blocks=terms.host_blocks,
        disk_blocks=terms.disk_blocks,
        request_blocks=terms.request_blocks,
        cached_tokens=terms.cached_tokens,
        uncached_tokens=terms.uncached_tokens,
        active_prefill_tokens=terms.active_prefill_tokens,
        potential_decode_blocks=terms.potential_decode_blocks,
        active_requests=terms.active_requests,
        load=LoadSample(*terms.load),
        prefill_tokens_per_s=terms.prefill_tokens_per_s,
        predicted_ttft_s=terms.predicted_ttft_s,
        cost=terms.cost,
    )


class _Candidates(Sequence[CandidateTerms]):
    """Rows read when asked for; equal to any sequence of equal rows."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Sequence[records.Terms]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> CandidateTerms: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[CandidateTerms]: ...
    def __getitem__(self, index: int | slice) -> CandidateTerms | Sequence[CandidateTerms]:
        if isinstance(index, slice):
            return tuple(map(_terms, self._rows[index]))
        return _terms(self._rows[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(cast("Sequence[object]", other))

    def __hash__(self) -> int:
        return hash(tuple(self))


def _selection(chosen: records.Selection) -> Selection:
    return Selection(
        worker=WorkerRank(chosen.worker_id, chosen.rank),
        prefill=None if chosen.prefill is None else WorkerRank(*chosen.prefill),
        prompt_tokens=chosen.prompt_tokens,
        cached_tokens=chosen.cached_tokens,
        best_cached_tokens=chosen.best_cached_tokens,
        block_tokens=chosen.block_tokens,
        uncached_tokens=chosen.uncached_tokens,
        cost=chosen.cost,
        predicted_ttft_s=chosen.predicted_ttft_s,
        candidates=_Candidates(chosen.terms) if chosen.terms else (),
    )


def _rank_load(load: records.RankLoad) -> RankLoad:
    return RankLoad(
        worker=WorkerRank(load.worker_id, load.rank),
        active_requests=load.active_requests,
        active_prefill_tokens=load.active_prefill_tokens,
        active_decode_blocks=load.active_decode_blocks,
        resident_blocks=load.resident_blocks,
        prefill_tokens_per_s=load.prefill_tokens_per_s,
        scraped=LoadSample(*load.scraped),
    )
