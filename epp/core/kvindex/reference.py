"""The readable router: the oracle the native one is tested against, and the fallback where it is missing.

It favours being obviously right over being fast. The work is in the modules it joins: ``index`` (who holds
what), ``events`` (how engines tell), ``epp.core.ledger`` (what was sent where), ``question`` and
``epp.core.scheduling`` (who is best). ``docs/algorithms.md`` states what they compute. Not thread-safe.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from epp.core.endpoints import WorkerRank
from epp.core.kvindex.arguments import check_decay, check_request, check_spec, check_time
from epp.core.kvindex.decision import Decision
from epp.core.kvindex.events import EventBatch, merge_counts
from epp.core.kvindex.index import BlockIndex
from epp.core.kvindex.question import Leg, Question, RouterState
from epp.core.kvindex.workers import Worker, WorkerTable
from epp.core.ledger import Ledger, Seen
from epp.core.rng import SplitMix64
from epp.core.router import (
    ApplyReport,
    CandidateTerms,
    CapacityError,
    DecodedPayload,
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
    WorkerSpec,
)
from epp.core.scheduling.select import choose

DecodePayload: TypeAlias = Callable[[bytes, set[int] | None], DecodedPayload]
"""Reads an engine message. The set belongs to the rank: cache groups known to hold another kind of
attention, which a removal names only by number; the decoder reads and extends it."""


class ReferenceRouter:
    """A :class:`~epp.core.router.Router`; ``decode_payload`` reads engine messages for it."""

    def __init__(self, options: RouterOptions, decode_payload: DecodePayload) -> None:
        self._options = options
        self._decode_payload = decode_payload
        self._workers = WorkerTable()
        self._index = BlockIndex(options.max_blocks)
        self._ledger = Ledger(options.default_prefill_tokens_per_s)
        self._state = RouterState(self._workers, self._index, self._ledger, options.default_block_tokens)
        self._turns: Counter[Phase] = Counter()
        """Round-robin's counters."""

    # --- workers -------------------------------------------------------------------------------------

    def upsert_worker(self, spec: WorkerSpec) -> None:
        """Add a worker or change it."""
        check_spec(spec)
        worker = self._workers.get(spec.worker_id)
        if worker is None:
            if len(self._workers) >= self._options.max_workers:
                raise CapacityError(f"the router holds {len(self._workers)} workers, its maximum")
            worker = self._workers.add(spec)
        else:
            self._change_worker(worker, spec)
        for rank in worker.ranks():
            self._ledger.open(rank)

    def remove_worker(self, worker_id: int) -> tuple[int, ...]:
        """Forget a worker; returns the bookings that end with it, ascending."""
        worker = self._workers.pop(worker_id)
        if worker is None:
            return ()
        return tuple(sorted(booking for rank in worker.ranks() for booking in self._close(rank)))

    def update_load(self, target: WorkerRank, load: LoadSample) -> None:
        """Record scraped load, for the explanation and for scorers."""
        worker = self._workers.at(target)
        if worker:
            worker.loads[target.rank] = load

    # --- events --------------------------------------------------------------------------------------

    def apply(self, target: WorkerRank, events: Sequence[KvEvent], now_s: float) -> ApplyReport:
        """Apply one batch in order."""
        return self._apply(target, DecodedPayload(tuple(events), target.rank, 0.0), now_s)

    def apply_payload(self, target: WorkerRank, payload: bytes, now_s: float) -> ApplyReport:
        """Decode one engine message and apply it."""
        worker = self._workers.at(target)
        groups = worker.foreign_groups.setdefault(target.rank, set()) if worker else None
        return self._apply(target, self._decode_payload(payload, groups), now_s)

    def drop_blocks(self, target: WorkerRank) -> int:
        """Forget every block of one rank; returns how many."""
        return self._index.drop_rank(target)

    # --- decisions -----------------------------------------------------------------------------------

    def select(self, request: SelectRequest) -> Selection | NoChoice:
        """Choose, and book if asked."""
        check_request(request)
        self._check_bookable(request.booking)
        question = Question(self._state, request)
        legs = question.legs()
        if isinstance(legs, NoChoice):
            return legs
        rng = SplitMix64(request.seed)
        decision = Decision(request, question, legs, tuple(self._choose(leg, rng) for leg in legs))
        if request.booking is not None:
            self._book(decision, request.booking)
        prefill = self._workers.get(decision.prefill.worker.worker_id)
        return decision.selection(prefill.block_tokens if prefill else 0)

    def measure(self, request: SelectRequest) -> tuple[CandidateTerms, ...]:
        """The rows ``select`` would compare; none if it would refuse."""
        check_request(request)
        legs = Question(self._state, request).legs()
        return () if isinstance(legs, NoChoice) else tuple(row for leg in legs for row in leg.rows())

    # --- bookings ------------------------------------------------------------------------------------

    def prefill_complete(self, booking: int, now_s: float) -> PrefillDone | None:
        """The caller saw the prompt done."""
        check_time(now_s)
        return self._ledger.prefill_complete(booking, now_s)

    def output_block(self, booking: int, decay: float | None = None) -> None:
        """The caller saw one more block of output."""
        check_decay(decay)
        self._ledger.output_block(booking, decay)

    def renew(self, booking: int, now_s: float) -> None:
        """Start the lease anew."""
        check_time(now_s)
        self._ledger.renew(booking, now_s)

    def free(self, booking: int) -> None:
        """End a booking."""
        self._ledger.free(booking)

    def expire(self, now_s: float) -> tuple[int, ...]:
        """End leases, estimates and predictions whose time has come; returns the bookings ended."""
        check_time(now_s)
        ended = self._ledger.expire(now_s, self._has_events)
        self._index.expire(now_s)
        return ended

    # --- sizes ---------------------------------------------------------------------------------------

    def loads(self) -> tuple[RankLoad, ...]:
        """Booked load of every rank, ascending."""
        return tuple(self._load_of(worker, rank) for worker in self._workers for rank in worker.ranks())

    def stats(self) -> RouterStats:
        """Sizes, for gauges; memory is not measured."""
        return RouterStats(
            workers=len(self._workers),
            ranks=sum(worker.spec.dp_size for worker in self._workers),
            resident_pairs=self._index.pair_count,
            distinct_blocks=self._index.block_count,
            bookings=len(self._ledger),
            predicted_blocks=self._index.predicted_count,
            memory_bytes=0,
        )

    def validate(self) -> str | None:
        """The first broken invariant in words; None: all hold."""
        faults = (*self._index.faults(), *self._ledger.faults())
        return next(iter(faults), None)

    # --- the parts -----------------------------------------------------------------------------------

    def _change_worker(self, worker: Worker, spec: WorkerSpec) -> None:
        for rank in tuple(worker.ranks())[spec.dp_size :]:
            self._close(rank)
            worker.loads.pop(rank.rank, None)
            worker.foreign_groups.pop(rank.rank, None)
        worker.spec = spec
        if spec.block_tokens:
            self._set_block_tokens(worker, spec.block_tokens)

    def _set_block_tokens(self, worker: Worker, block_tokens: int) -> None:
        """Blocks hashed in another size mean nothing any more."""
        before = self._state.block_tokens(worker)
        worker.block_tokens = block_tokens
        if block_tokens != before:
            for rank in worker.ranks():
                self._index.drop_rank(rank)

    def _close(self, rank: WorkerRank) -> list[int]:
        self._index.drop_rank(rank)
        return self._ledger.close(rank)

    def _has_events(self, rank: WorkerRank) -> bool:
        worker = self._workers.get(rank.worker_id)
        return worker is not None and worker.spec.has_events

    def _apply(self, target: WorkerRank, decoded: DecodedPayload, now_s: float) -> ApplyReport:
        check_time(now_s)
        worker = self._workers.at(target)
        if worker is None:
            unknown = Counter({"unknown-worker": len(decoded.events)})
            return ApplyReport(ignored=merge_counts(unknown, decoded.ignored))
        told: list[Seen] = []

        def on_stored(sequence: int, previous: int | None) -> None:
            told.append(self._ledger.seen(target, sequence, previous, now_s))

        batch = EventBatch(self._index, target, partial(self._learn_block_tokens, worker), on_stored)
        batch.apply(decoded.events)
        return batch.report(worker.block_tokens, told, decoded.ignored)

    def _learn_block_tokens(self, worker: Worker, block_tokens: int) -> int:
        if not worker.block_tokens:
            self._set_block_tokens(worker, block_tokens)
        return worker.block_tokens

    def _check_bookable(self, booking: int | None) -> None:
        if booking is None:
            return
        if booking in self._ledger:
            raise DuplicateBookingError(f"booking {booking} exists already")
        if len(self._ledger) >= self._options.max_bookings:
            raise CapacityError(f"the router holds {len(self._ledger)} bookings, its maximum")

    def _choose(self, leg: Leg, rng: SplitMix64) -> int:
        policy, turn = leg.request.policy, self._turns[leg.phase]
        if policy is Policy.ROUND_ROBIN:
            self._turns[leg.phase] += 1
        return choose(leg.costs, policy, leg.request.params.temperature, rng, turn)

    def _book(self, decision: Decision, booking: int) -> None:
        self._ledger.book(decision.order(booking))
        expires_at_s = decision.request.now_s + self._options.predicted_ttl_s
        for rank, chain in decision.predictions():
            self._index.predict(rank, chain, decision.question.seed, expires_at_s)

    def _load_of(self, worker: Worker, rank: WorkerRank) -> RankLoad:
        book = self._ledger.book_of(rank)
        return RankLoad(
            worker=rank,
            active_requests=book.active_requests,
            active_prefill_tokens=book.active_prefill_tokens,
            active_decode_blocks=book.active_decode_blocks,
            resident_blocks=self._index.resident(rank),
            prefill_tokens_per_s=book.rate.tokens_per_s,
            scraped=worker.load(rank.rank),
        )
