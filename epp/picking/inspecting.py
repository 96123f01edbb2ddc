"""What people and scrapers see of the picker: the admin door's ``Inspector``."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client import generate_latest

from epp.config.model import Config
from epp.core.outcomes import PickInput
from epp.picking.active import ActiveRequests
from epp.picking.choice import Chooser
from epp.picking.fleet import Fleet
from epp.picking.picker import RequestPicker
from epp.telemetry.catalog import Catalog
from epp.telemetry.recent import RecentDecisions
from epp.telemetry.state import Bound, RankState, StateCollector, StateSample


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests should come, and the state of each part."""

    ready: bool
    parts: Mapping[str, str]
    """Part → ``ok`` or what is wrong, in words."""


@dataclass(frozen=True, slots=True)
class InspectedParts:
    """What there is to see; made by the composition root."""

    picker: RequestPicker
    fleet: Fleet
    active: ActiveRequests
    recent: RecentDecisions
    catalog: Catalog
    chooser: Chooser
    readiness: Callable[[], Readiness]
    clock: Callable[[], float]
    """Monotonic seconds."""


class PickerInspector:
    """Reads everything, changes nothing."""

    def __init__(self, config: Config, parts: InspectedParts) -> None:
        self._config = config
        self._parts = parts
        self._fleet = parts.fleet
        self._collector = StateCollector()
        parts.catalog.registry.register(self._collector)

    async def refresh(self) -> None:
        """Sample the state for the next metrics page."""
        self._collector.sample = self._sample()

    def metrics_page(self) -> bytes:
        """The page; renders the last sample and may run on any thread."""
        return generate_latest(self._parts.catalog.registry)

    async def recent_picks(self, limit: int, request_id: str | None) -> list[dict[str, Any]]:
        """The last decisions, or the one of a request id."""
        if request_id is None:
            return self._parts.recent.newest(limit)
        found = self._parts.recent.find(request_id)
        return [] if found is None else [found]

    async def explain(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        """What would be chosen now."""
        return await self._parts.picker.explain(PickInput("POST", path, headers, body))

    async def workers(self) -> dict[str, Any]:
        """Every rank with its load, and the sizes of the index."""
        sample = self._sample()
        return {
            "generation": self._fleet.snapshot.generation,
            "workers": [self._rank(state) for state in sample.ranks],
            "index": asdict(sample.stats),
            "in_flight": len(self._parts.active),
        }

    async def readiness(self) -> dict[str, Any]:
        """``ready`` and the parts."""
        now = self._parts.readiness()
        return {"ready": now.ready, "parts": dict(now.parts)}

    def _sample(self) -> StateSample:
        stats = self._fleet.router.stats()
        routing = self._config.routing
        return StateSample(
            pool_name=self._config.telemetry.pool_name,
            stats=stats,
            ranks=tuple(self._states()),
            bounds=(
                Bound("index_blocks", stats.resident_pairs, routing.max_blocks),
                Bound("bookings", stats.bookings, routing.max_bookings),
                Bound("recent_picks", len(self._parts.recent), self._config.telemetry.recent_picks),
            ),
            ready=self._parts.readiness().ready,
            plugins=self._parts.chooser.readings(),
        )

    def _states(self) -> list[RankState]:
        now_s = self._parts.clock()
        states: list[RankState] = []
        for load in self._fleet.router.loads():
            endpoint = self._fleet.snapshot.by_worker.get(load.worker.worker_id)
            known = self._fleet.states.get(load.worker.worker_id)
            if endpoint is None or known is None:
                continue
            age_s = None if known.last_event_s is None else now_s - known.last_event_s
            fresh = self._fleet.fresh_load(load.worker, now_s) is not None
            states.append(RankState(endpoint.host_port, endpoint.role.value, load, fresh, age_s))
        return states

    def _rank(self, state: RankState) -> dict[str, Any]:
        load = state.load
        endpoint = self._fleet.snapshot.by_worker[load.worker.worker_id]
        spec = self._fleet.states[load.worker.worker_id].spec
        return {
            "name": endpoint.name,
            "endpoint": state.endpoint,
            "worker_id": load.worker.worker_id,
            "rank": load.worker.rank,
            "role": state.role,
            "engine": endpoint.engine.value,
            "block_tokens": spec.block_tokens,
            "total_blocks": spec.total_blocks,
            "has_events": spec.has_events,
            "event_age_s": state.event_age_s,
            "resident_blocks": load.resident_blocks,
            "active_requests": load.active_requests,
            "active_prefill_tokens": load.active_prefill_tokens,
            "active_decode_blocks": load.active_decode_blocks,
            "prefill_tokens_per_s": load.prefill_tokens_per_s,
            "load_fresh": state.fresh,
            "waiting_requests": load.scraped.waiting_requests,
            "running_requests": load.scraped.running_requests,
            "kv_usage": load.scraped.kv_usage,
        }
