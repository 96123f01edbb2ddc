"""The fleet: endpoints as discovered, facts as learnt, and the router kept in step with both.

One object owns the mapping between the three worlds: discovery speaks of endpoints, engines speak of
blocks and load, the router speaks of workers. It is the sink of discovery, scrape and KV events. It
keeps no clock and opens no socket; all its methods run on the event loop.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from epp.core.endpoints import Endpoint, PoolSnapshot, WorkerRank
from epp.core.router import ApplyReport, BlocksStored, CapacityError, KvEvent, LoadSample, Router, WorkerSpec
from epp.wire.enginemetrics import LoraFacts, WorkerFacts
from epp.wire.kvevents import decode

_log = logging.getLogger(__name__)

_BLOCK_SIZE = "block-size"
"""Why the router ignores events of a size it does not expect."""
_VIEW_BLOCK_TOKENS = 16
"""Granularity of our own view of a worker that publishes nothing, until its page tells its block size."""


@dataclass(slots=True)
class WorkerState:
    """What is known of one worker besides its endpoint."""

    spec: WorkerSpec
    loads: dict[int, LoadSample] = field(default_factory=dict[int, LoadSample])
    """Last scraped load per rank."""
    sampled_at_s: float | None = None
    """When the load was scraped; None: never."""
    lora: LoraFacts = LoraFacts()
    last_event_s: float | None = None
    """When the last KV event message was applied; None: none yet."""


class Fleet:
    """See the module's preface."""

    def __init__(
        self,
        router: Router,
        *,
        use_events: bool,
        stale_after_s: float,
        on_gone: Callable[[Endpoint, tuple[int, ...]], None],
        max_batched_tokens: int = 0,
    ) -> None:
        """``on_gone`` is told every endpoint that left, with the bookings that went with it;
        ``max_batched_tokens`` is every worker's (0: unknown).
        """
        self.router = router
        self.snapshot = PoolSnapshot.of(())
        self.states: dict[int, WorkerState] = {}
        self._use_events = use_events
        self._stale_after_s = stale_after_s
        self._on_gone = on_gone
        self._max_batched_tokens = max_batched_tokens
        self._adapters: frozenset[str] = frozenset()

    def replace(self, snapshot: PoolSnapshot) -> None:
        """Take a new set of endpoints: gone workers are forgotten, changed ones updated. Endpoints beyond
        the router's bound are left out, so that the others can still be picked."""
        for endpoint in self.snapshot.endpoints:
            now = snapshot.by_worker.get(endpoint.worker_id)
            if now is None or _another_engine(endpoint, now):
                self._forget(endpoint)
        taken = tuple(endpoint for endpoint in snapshot.endpoints if self._take(endpoint))
        left_out = len(snapshot.endpoints) - len(taken)
        if left_out:
            _log.error("%d endpoints are left out: the router holds no more workers", left_out)
            snapshot = PoolSnapshot.of(taken, snapshot.generation)
        self.snapshot = snapshot

    def worker_facts(self, worker_id: int, facts: WorkerFacts) -> None:
        """Take what the metrics page says of the engine's cache; zeros mean unknown.

        Workers with an event stream learn their block size from it; until it speaks, the page's is taken,
        though engines with several kinds of attention report another one than their events use.
        """
        state = self.states.get(worker_id)
        if state is None:
            return
        if state.lora != facts.lora:
            state.lora = facts.lora
            self._adapters = _adapters(self.states.values())
        spec = replace(state.spec, total_blocks=facts.total_blocks or state.spec.total_blocks)
        if facts.block_tokens and not (spec.has_events and spec.block_tokens):
            spec = replace(spec, block_tokens=facts.block_tokens)
        try:
            self._upsert(spec)
        except ValueError as error:
            _log.warning("worker %d: its metrics page is not believed: %s", worker_id, error)

    def update_load(self, target: WorkerRank, load: LoadSample, now_s: float) -> None:
        """Take one rank's scraped load."""
        state = self.states.get(target.worker_id)
        if state is None:
            return
        state.loads[target.rank] = load
        state.sampled_at_s = now_s
        self.router.update_load(target, load)

    def apply_payload(self, target: WorkerRank, payload: bytes, now_s: float) -> ApplyReport:
        """Apply one engine message to the index."""
        return self._apply(
            target,
            lambda: self.router.apply_payload(target, payload, now_s),
            lambda: decode(payload).events,
            now_s,
        )

    def apply(self, target: WorkerRank, events: Sequence[KvEvent], now_s: float) -> ApplyReport:
        """Apply events that came in another form than engine messages."""
        return self._apply(target, lambda: self.router.apply(target, events, now_s), lambda: events, now_s)

    def _apply(
        self,
        target: WorkerRank,
        apply: Callable[[], ApplyReport],
        read: Callable[[], Sequence[KvEvent]],
        now_s: float,
    ) -> ApplyReport:
        """``apply``, a second time if the worker's block size had to be learnt from what ``read`` gives."""
        report = apply()
        if _BLOCK_SIZE in dict(report.ignored) and self._learn_anew(target, read()):
            report = apply()
        state = self.states.get(target.worker_id)
        if state is not None:
            state.last_event_s = now_s
            if report.block_tokens and report.block_tokens != state.spec.block_tokens:
                state.spec = replace(state.spec, block_tokens=report.block_tokens)
        return report

    def _learn_anew(self, target: WorkerRank, events: Sequence[KvEvent]) -> bool:
        """The page told another block size than the events use, or the engine came back with a new one."""
        state = self.states.get(target.worker_id)
        sizes = {event.block_tokens for event in events if isinstance(event, BlocksStored)}
        if state is None or len(sizes) != 1:
            return False
        (block_tokens,) = sizes
        _log.warning("worker %d now has blocks of %d tokens", target.worker_id, block_tokens)
        try:
            self._upsert(replace(state.spec, block_tokens=block_tokens))
        except ValueError:
            return False
        return True

    def drop_blocks(self, target: WorkerRank) -> int:
        """Forget what a rank holds; its view can no longer be trusted."""
        return self.router.drop_blocks(target)

    def drop_views(self) -> None:
        """Forget what every rank holds; event streams are about to be followed from their beginning."""
        for state in self.states.values():
            for rank in range(state.spec.dp_size):
                if state.spec.has_events:
                    self.drop_blocks(WorkerRank(state.spec.worker_id, rank))

    def fresh_load(self, target: WorkerRank, now_s: float) -> LoadSample | None:
        """The scraped load of a rank, or None when there is none or it is too old to mean anything."""
        state = self.states.get(target.worker_id)
        if state is None or state.sampled_at_s is None or now_s - state.sampled_at_s > self._stale_after_s:
            return None
        return state.loads.get(target.rank)

    def has_adapter(self, name: str) -> bool:
        """Whether any worker lists a LoRA adapter of this name."""
        return name in self._adapters

    def _spec_of(self, endpoint: Endpoint) -> WorkerSpec:
        known = self.states.get(endpoint.worker_id)
        has_events = self._use_events and endpoint.kv_events is not None
        return WorkerSpec(
            worker_id=endpoint.worker_id,
            dp_size=endpoint.dp_size,
            role=endpoint.role,
            block_tokens=known.spec.block_tokens if known else (0 if has_events else _VIEW_BLOCK_TOKENS),
            total_blocks=known.spec.total_blocks if known else 0,
            max_batched_tokens=self._max_batched_tokens,
            has_events=has_events,
            taints=frozenset(f"{key}={value}" for key, value in endpoint.labels.items()),
        )

    def _take(self, endpoint: Endpoint) -> bool:
        """Whether the router has room for the endpoint, which then may be picked."""
        try:
            self._upsert(self._spec_of(endpoint))
        except CapacityError:
            return False
        return True

    def _upsert(self, spec: WorkerSpec) -> None:
        state = self.states.get(spec.worker_id)
        if state is not None and state.spec == spec:
            return
        self.router.upsert_worker(spec)
        if state is None:
            self.states[spec.worker_id] = WorkerState(spec)
        else:
            state.spec = spec

    def _forget(self, endpoint: Endpoint) -> None:
        del self.states[endpoint.worker_id]
        self._adapters = _adapters(self.states.values())
        self._on_gone(endpoint, self.router.remove_worker(endpoint.worker_id))


def _another_engine(before: Endpoint, now: Endpoint) -> bool:
    """Whether what was learnt of the worker is void: the same name at another address is another engine, and
    what is assumed of a worker without events is no start for one with them."""
    return before.host_port != now.host_port or (before.kv_events is None) != (now.kv_events is None)


def _adapters(states: Iterable[WorkerState]) -> frozenset[str]:
    return frozenset[str]().union(*(s.lora.running | s.lora.waiting for s in states))
