"""Composition root: the only module that chooses parts.

Everything a door needs, without a door: discovery → fleet → router; scrape and KV events → fleet;
tokenizer; policy; the picker on top; the inspector beside it. Start order and stop order live here.
"""

import logging
import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from epp.config.errors import ConfigError
from epp.config.model import Config, RoutingConfig
from epp.core.endpoints import Endpoint, WorkerRank
from epp.core.kvindex.native import NativeRouter
from epp.core.kvindex.reference import ReferenceRouter
from epp.core.poolrules import PoolRules
from epp.core.router import BusyLimits, DisaggRule, Policy, Router, RouterOptions
from epp.core.scheduling.building import policy_for
from epp.core.scheduling.foreign import installed_plugins
from epp.discovery.etcd import EtcdDiscovery
from epp.discovery.file import FileDiscovery
from epp.discovery.kubernetes.making import kubernetes_discovery
from epp.discovery.memory import MemoryDiscovery
from epp.discovery.namespaces import NamespaceDiscovery
from epp.discovery.source import Discovery, DiscoveryMetrics
from epp.kvevents.subscriber import EventSubscriber
from epp.net.background import Background, every
from epp.picking.active import ActiveRequests
from epp.picking.choice import Chooser
from epp.picking.fleet import Fleet
from epp.picking.inspecting import InspectedParts, PickerInspector, Readiness
from epp.picking.names import ModelNames
from epp.picking.native import NativeChooser
from epp.picking.picker import PickerParts, RequestPicker
from epp.picking.recording import Recorder
from epp.picking.scored import ScorerChooser
from epp.scrape.scraper import Scraper
from epp.telemetry.catalog import Catalog
from epp.telemetry.door import DoorCounters
from epp.telemetry.kvevents import EventCounters
from epp.telemetry.logs import FieldLog
from epp.telemetry.recent import RecentDecisions
from epp.telemetry.requests import RequestMetrics
from epp.telemetry.tokenizing import TokenizeCounters
from epp.telemetry.workers import DiscoveryCounters, ScrapeCounters
from epp.tokenize.service import TokenizerService
from epp.wire.kvevents import decode

_log = logging.getLogger(__name__)

SCORERS = "scorers"
"""Name of the policy made of profiles and plugins."""

_HOUSEKEEPING_S = 1.0
"""How often leases are renewed and expired."""


class Engine:
    """The picker without its doors."""

    def __init__(
        self,
        config: Config,
        log: FieldLog,
        *,
        discovery: Discovery | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``discovery`` replaces the configured source. Raises ConfigError for what cannot be built."""
        self.config = config
        self._clock = clock
        self.catalog = make_catalog()
        self.door_metrics = DoorCounters(self.catalog)
        self.router = make_router(config.routing)
        self._metrics = RequestMetrics(self.catalog)
        self.active = ActiveRequests(
            self.router, self._metrics, max_lingering=config.routing.max_bookings // 16
        )
        self.fleet = Fleet(
            self.router,
            use_events=config.events.enabled,
            max_batched_tokens=config.routing.max_batched_tokens,
            stale_after_s=config.scrape.stale_after_s,
            on_gone=self._on_gone,
        )
        self.tokenizer = TokenizerService(config.tokenize, TokenizeCounters(self.catalog))
        recent = RecentDecisions(config.telemetry.recent_picks)
        self.busy_limits: dict[str, BusyLimits] = {}
        """By model name, set while running; other models have the configured limits."""
        chooser = make_chooser(config, self.fleet, clock, self.busy_limits)
        self.rules = PoolRules()
        """What the pool's owners say of its requests, kept by discovery."""
        self.picker = RequestPicker(
            config,
            PickerParts(
                fleet=self.fleet,
                chooser=chooser,
                tokenizer=self.tokenizer,
                active=self.active,
                names=ModelNames(config.tokenize.models, self.fleet.has_adapter),
                recorder=Recorder(self.active, self._metrics, recent, log, time.time),
                on_sent=self._note_sent,
                clock=clock,
                rules=self.rules,
            ),
        )
        self.inspector = PickerInspector(
            config,
            InspectedParts(
                self.picker, self.fleet, self.active, recent, self.catalog, chooser, self.readiness, clock
            ),
        )
        self.discovery = discovery or make_discovery(config, self.catalog, self.rules)
        self._events: EventSubscriber | None = None
        self._background = Background(lambda part: self.catalog.part_failures_total.labels(part).inc())

    async def start(self) -> None:
        """Begin to find workers, read them and load models; returns at once, readiness follows."""
        await self.tokenizer.start()
        self.discovery.subscribe(self.fleet.replace)
        self._background.start("discovery", self.discovery.run)
        if self.config.scrape.enabled:
            self._background.start("scrape", self._scrape)
        if self.config.events.enabled:
            self._background.start("kv-events", self._listen)
        self._background.start("housekeeping", every(_HOUSEKEEPING_S, self._keep_house))

    async def stop(self) -> None:
        """Stop every task and thread."""
        await self._background.stop()
        await self.tokenizer.close()

    def readiness(self) -> Readiness:
        """Ready as soon as there is somebody to pick. Everything else only degrades the choice."""
        ready = bool(self.fleet.snapshot.endpoints)
        return Readiness(ready, self._parts())

    def _parts(self) -> Mapping[str, str]:
        endpoints = len(self.fleet.snapshot.endpoints)
        parts = {
            "discovery": self.discovery.problem or ("ok" if endpoints else "no endpoints"),
            "tokenizer": "ok" if self.tokenizer.ready else "loading or failed; picks are estimated",
        }
        if not self.config.tokenize.models:
            parts["tokenizer"] = "no model configured; picks are estimated"
        parts.update(self._background.failing)
        return parts

    async def _scrape(self) -> None:
        """Read metrics pages; everything is made anew after a failure."""
        scraper = Scraper(self.config.scrape, self.fleet, ScrapeCounters(self.catalog), clock=self._clock)
        unsubscribe = self.discovery.subscribe(scraper.follow)
        try:
            await scraper.run()
        finally:
            unsubscribe()

    async def _listen(self) -> None:
        """Follow event streams; after a failure the views start from nothing."""
        self.fleet.drop_views()
        self._events = EventSubscriber(
            self.config.events,
            self.fleet,
            EventCounters(self.catalog),
            on_report=self.active.on_report,
            clock=self._clock,
        )
        unsubscribe = self.discovery.subscribe(self._events.follow)
        try:
            await self._events.run()
        finally:
            unsubscribe()
            self._events = None

    def _on_gone(self, endpoint: Endpoint, bookings: tuple[int, ...]) -> None:
        now_s = self._clock()
        for booking in bookings:
            self.active.on_dropped(booking, now_s)
        self._metrics.forget(endpoint)

    def _note_sent(self, target: WorkerRank, now_s: float) -> None:
        if self._events is not None:
            self._events.note_sent(target, now_s)

    def _keep_house(self) -> None:
        now_s = self._clock()
        self.active.renew_held(now_s)
        self.active.expire(now_s)


def make_catalog() -> Catalog:
    """Every metric over a registry of its own, beside those of the process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return Catalog(registry)


def make_router(routing: RoutingConfig) -> Router:
    """The router the configuration asks for."""
    options = RouterOptions(
        max_blocks=routing.max_blocks,
        max_bookings=routing.max_bookings,
        predicted_ttl_s=routing.predicted_ttl_s,
        default_prefill_tokens_per_s=routing.default_prefill_tokens_per_s,
    )
    if routing.core == "python":
        return ReferenceRouter(options, decode)
    return NativeRouter(options)


def make_chooser(
    config: Config,
    fleet: Fleet,
    clock: Callable[[], float],
    busy_of: Mapping[str, BusyLimits] | None = None,
) -> Chooser:
    """The policy the configuration asks for; raises ConfigError for plugins that cannot be made."""
    routing = config.routing
    scored = routing.policy == SCORERS
    native = NativeChooser(
        fleet.router,
        Policy.KV if scored else Policy(routing.policy),
        lease_s=routing.detached_lease_s if config.server.skip_response else routing.lease_s,
        disagg=DisaggRule(
            routing.disagg_enabled, routing.disagg_min_uncached_tokens, routing.disagg_min_prompt_tokens
        ),
        busy=BusyLimits(
            routing.busy_decode_fraction, routing.busy_prefill_tokens, routing.busy_prefill_fraction
        ),
        fallback_endpoints=0 if scored else routing.fallback_endpoints,
        busy_of=busy_of,
    )
    if not scored:
        return native
    built = policy_for(config, clock=clock, foreign=installed_plugins())
    for note in built.notes:
        _log.warning(note)
    return ScorerChooser(built.policy, native, fleet)


def make_discovery(config: Config, catalog: Catalog, rules: PoolRules | None = None) -> Discovery:
    """The configured source of endpoints, which keeps ``rules`` if it knows any; raises ConfigError for
    certificates that cannot be read, and for a Kubernetes API that nothing says the place of."""
    source, asked = _make_source(config, DiscoveryCounters(catalog), rules), config.discovery
    if asked.namespace is None and asked.namespace_prefix is None:
        return source
    return NamespaceDiscovery(source, asked.namespace, asked.namespace_prefix)


def _make_source(config: Config, metrics: DiscoveryMetrics, rules: PoolRules | None) -> Discovery:
    asked = config.discovery
    if config.pool.name is not None or config.pool.selector is not None:
        return kubernetes_discovery(config.pool, metrics, rules)
    if asked.backend == "etcd":
        try:
            return EtcdDiscovery(asked.etcd, metrics)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(f"The certificates for etcd cannot be used: {error}.") from error
    if asked.endpoints_file is not None:
        return FileDiscovery(asked.endpoints_file, asked.poll_interval_s, metrics)
    return MemoryDiscovery(metrics=metrics)
