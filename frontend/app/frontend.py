"""Composition root: the frontend as one object, from its configuration.

Discovery, routing facts and the tokenizer come from :class:`epp.engine.Engine`; around it stand the HTTP
server, the client to the workers, the pipeline, and what is told of the models. Start order and stop order
live here.
"""

import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from epp.config.model import Config
from epp.core.endpoints import PoolSnapshot
from epp.core.router import BusyLimits
from epp.discovery.source import Discovery
from epp.engine import Engine
from epp.net.background import Background
from epp.picking.names import ModelNames
from epp.telemetry.logs import FieldLog
from frontend.app.admission import Admission
from frontend.app.asking import call_of, questioned
from frontend.app.dispatch import Dispatcher
from frontend.app.pages import PageParts, Pages, metrics_page
from frontend.app.routes import Routes
from frontend.app.watching import Watching
from frontend.config.model import FrontendConfig
from frontend.errors import not_found
from frontend.http.api import Request
from frontend.http.client import UpstreamClient
from frontend.http.limits import ServerLimits
from frontend.http.server import HttpServer
from frontend.http.tls import TlsError, server_context
from frontend.pipeline.build import build_pipeline
from frontend.pipeline.components import Components
from frontend.pipeline.knobs import Postprocess, Routing, knobs_of
from frontend.serving.busy import BusyThresholds
from frontend.serving.catalogue import Known, ModelCatalogue
from frontend.serving.polling import ModelPoller
from frontend.serving.rewriting import Rewriting
from frontend.serving.tokens import TokenPages
from frontend.tolerance.breaker import Breakers


class Frontend:
    """Everything but the process around it."""

    def __init__(
        self,
        config: FrontendConfig,
        log: FieldLog,
        *,
        discovery: Discovery | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``discovery`` replaces the configured source. Raises ConfigError for what cannot be built."""
        self.config = config
        self.draining = False
        self._clock = clock
        self._direct = knobs_of(config).routing is Routing.DIRECT
        self._watching = Watching(config.tracing, log)
        picks = log.silent() if config.tracing.access_log else log  # a request's line says all a pick's does
        self.engine = Engine(
            _engine_config(config, direct=self._direct), picks, discovery=discovery, clock=clock
        )
        self.upstream = UpstreamClient(clock=clock)
        self.catalogue = ModelCatalogue(
            config.picker.tokenize.models,
            self._snapshot,
            self.engine.fleet.has_adapter,
            started=int(time.time()),
            served=config.served_names,
        )
        self._poller = ModelPoller(self.upstream, self.catalogue, self._snapshot, clock=clock)
        self._breakers = self._make_breakers()
        self._names = ModelNames(config.picker.tokenize.models, self.engine.fleet.has_adapter)
        self._tokens = TokenPages(self.engine.tokenizer, self._names, self.catalogue)
        self.pipeline = build_pipeline(config, self._components())
        self._routes = Routes(
            config.http.paths,
            anthropic=config.pipeline.enable_anthropic_api,
            admin=config.http.admin_api,
            handover=self._direct,
        )
        self._admission = Admission(
            self.catalogue,
            self._poller.refresh,
            Rewriting(self.engine.rules, trusted=config.picker.server.trust_client_headers),
            direct=self._direct,
            split=config.disagg.needs_prefill,
        )
        self._server = HttpServer(self._dispatcher(), _limits(config), clock=clock)
        self._background = Background(lambda part: self.engine.catalog.part_failures_total.labels(part).inc())

    async def start(self) -> None:
        """Begin to find workers; returns at once."""
        self._watching.start()
        await self.engine.start()
        self.engine.discovery.subscribe(self._poller.pool_changed)
        self.engine.discovery.subscribe(lambda snapshot: self._breakers.keep_only(snapshot.by_worker))
        self._background.start("models", self._poller.run)

    async def listen(self) -> int:
        """Open the port; returns it. Raises OSError, TlsError."""
        http = self.config.http
        return await self._server.start(
            http.host, http.port, ssl_context=_tls(self.config), backlog=http.listen_backlog
        )

    async def drain(self) -> None:
        """Accept no more and let running requests finish, for as long as is configured."""
        self.draining = True
        await self._server.drain(self.config.http.graceful_shutdown_timeout_s)

    async def stop(self) -> None:
        """End everything."""
        await self._server.drain(0.0)
        await self.pipeline.close()
        await self._background.stop()
        await self._poller.close()
        await self.upstream.close()
        await self.engine.stop()
        self._watching.stop()

    def _snapshot(self) -> PoolSnapshot:
        return self.engine.fleet.snapshot

    def _make_breakers(self) -> Breakers:
        tolerance = self.config.tolerance
        return Breakers(
            failures=tolerance.breaker_failures,
            open_s=tolerance.breaker_open_s,
            clock=self._clock,
            changed=self._watching.breakers.changed,
        )

    def _components(self) -> Components:
        return Components(
            upstream=self.upstream,
            snapshot=self._snapshot,
            picker=None if self._direct else self.engine.picker,
            tokenizer=self.engine.tokenizer,
            clock=self._clock,
            health=self._breakers,
            disagg=self._watching.disagg,
            migration=self._watching.migration,
            queue=self._watching.queue,
            retried=self._watching.catalog.retries_total.inc,
            adapter=self._adapter,
            context_window=self.catalogue.context_window,
            decode=self._tokens.text,
            block_tokens=self._block_tokens,
            rules=self.engine.rules,
            restored=lambda outcome: self.engine.catalog.models_restored_total.labels(outcome).inc(),
        )

    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.config.http,
            self._routes,
            Pages(self._page_parts()).handlers(),
            self._admission,
            self.pipeline.handle,
            self._watching.observer,
            nvext=self.config.pipeline.nvext,
            clock=self._clock,
        )

    def _page_parts(self) -> PageParts:
        engine, catalogue = self.engine, self.catalogue
        routing = engine.config.routing
        limits = BusyLimits(
            routing.busy_decode_fraction, routing.busy_prefill_tokens, routing.busy_prefill_fraction
        )
        return PageParts(
            routes=self._routes,
            catalogue=catalogue,
            refresh_models=self._poller.refresh,
            snapshot=self._snapshot,
            draining=lambda: self.draining,
            metrics=self._metrics,
            busy=BusyThresholds(
                engine.busy_limits,
                limits,
                models=lambda: [str(card["id"]) for card in catalogue.cards()],
                served=lambda model: catalogue.known(model) is Known.YES,
            ),
            tokens=self._tokens,
            route=self._route,
            split=self.config.disagg.needs_prefill,
            needs_tokenizer=self.config.pipeline.postprocess == Postprocess.FRONTEND,
        )

    async def _metrics(self) -> bytes:
        inspector = self.engine.inspector
        return await metrics_page(
            inspector.refresh, inspector.metrics_page, lambda: self._watching.page(self._server)
        )

    def _adapter(self, model: str) -> str:
        name = self._names.resolve(model)
        return name.lora.removeprefix(f"{name.base}:")  # SGLang's clients write base:adapter

    def _block_tokens(self, worker_id: int) -> int:
        state = self.engine.fleet.states.get(worker_id)
        return state.spec.block_tokens if state is not None else 0

    async def _route(self, request: Request) -> tuple[int, Any]:
        if self.pipeline.query is None:
            raise not_found("Nothing is chosen here: this frontend goes where requests say.")
        endpoint, explain = questioned(request, self._routes.questionable)
        call = call_of(request, endpoint, nvext=self.config.pipeline.nvext)
        await self._admission.admit(call)
        return 200, await self.pipeline.query.answer(call, explain=explain)


def _engine_config(config: FrontendConfig, *, direct: bool) -> Config:
    """A sidecar that is told the worker needs to know addresses, not loads and caches."""
    picker = config.picker
    if not direct:
        return picker
    return replace(
        picker, scrape=replace(picker.scrape, enabled=False), events=replace(picker.events, enabled=False)
    )


def _limits(config: FrontendConfig) -> ServerLimits:
    http = config.http
    return ServerLimits(
        max_connections=http.max_connections,
        max_body_bytes=http.body_limit_bytes,
        max_bodies_bytes=max(http.bodies_limit_bytes, http.body_limit_bytes),
    )


def _tls(config: FrontendConfig) -> ssl.SSLContext | None:
    http = config.http
    if http.tls_cert_path is None or http.tls_key_path is None:
        return None
    context = server_context(http.tls_cert_path, http.tls_key_path)
    if http.tls_client_ca_path is not None:
        try:
            context.load_verify_locations(http.tls_client_ca_path)
        except OSError as error:  # ssl.SSLError is one
            raise TlsError(f"cannot use the client CAs in {http.tls_client_ca_path}: {error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
