"""Counts requests as they come and go, and hands each to the access log and the tracer."""

from collections.abc import Callable

from prometheus_client import generate_latest

from epp.core.requests import Api
from epp.core.usage import Usage
from frontend.errors import CLIENT_GONE_STATUS, OVERLOAD
from frontend.http.api import Reply
from frontend.pipeline.call import Call, Facts
from frontend.telemetry.accesslog import AccessLog
from frontend.telemetry.catalog import FrontendCatalog
from frontend.telemetry.series import UNKNOWN_MODEL, AllSeries, Labels, Series
from frontend.telemetry.tail import ActiveReply, usage_of
from frontend.telemetry.tracing import NoTracer, Tracer
from frontend.visit import Visit


class FrontendObserver:
    """Implements :class:`frontend.visit.Observer`."""

    def __init__(
        self,
        catalog: FrontendCatalog,
        log: AccessLog | None,
        tracer: Tracer | None = None,
        refresh: Callable[[], None] | None = None,
    ) -> None:
        """``refresh`` is called before every page, to take the gauges of what exists right now."""
        self._catalog = catalog
        self._series = AllSeries(catalog)
        self._log = log
        self._tracer = tracer or NoTracer()
        self._refresh = refresh
        self._route_s = catalog.stage_s.labels("route")
        self._dispatch_s = catalog.stage_s.labels("dispatch")
        self._replies: dict[int, ActiveReply] = {}
        """Of requests in the pipeline, by the identity of their visit."""

    def begun(self, visit: Visit, reply: Reply) -> Reply:
        """See :class:`frontend.visit.Observer`."""
        labels = self._labels(visit)
        self._series.started(labels).inc()
        series = self._series.of(labels.model)
        series.inflight.inc()
        self._tracer.begun(visit)
        active = self._replies[id(visit)] = ActiveReply(reply, series.active)
        return active

    def ended(self, visit: Visit) -> None:
        """See :class:`frontend.visit.Observer`."""
        reply = self._replies.pop(id(visit), None)
        if visit.api is not None:
            self._count(visit, reply)
        if self._log is not None:
            self._log.write(visit)
        self._tracer.ended(visit)

    def page(self) -> bytes:
        """See :class:`frontend.visit.Observer`."""
        if self._refresh is not None:
            self._refresh()
        return generate_latest(self._catalog.registry)

    def _labels(self, visit: Visit) -> Labels:
        call = visit.call
        if visit.error_type == "not_found" and visit.api is not None:
            model = UNKNOWN_MODEL  # and takes none of the labels there are
        else:
            model = self._series.label(call.asked_model if call is not None else "")
        streaming = call is not None and call.stream
        return Labels(model, visit.endpoint, "stream" if streaming else "unary")

    def _count(self, visit: Visit, reply: ActiveReply | None) -> None:
        catalog, labels = self._catalog, self._labels(visit)
        status = "success" if not visit.error_type else "error"
        self._series.ended(labels, status, visit.error_type).inc()
        if visit.status == CLIENT_GONE_STATUS:
            catalog.disconnected_clients_total.inc()
            catalog.cancellation_total.labels(labels.model, labels.endpoint).inc()
        elif visit.error_type == OVERLOAD:
            catalog.rejection_total.labels(labels.model, labels.endpoint).inc()
        elif visit.status >= 500:
            catalog.failures_total.labels(labels.model, labels.endpoint).inc()
        call = visit.call
        if reply is None or call is None:
            return
        series = self._series.of(self._series.label(call.asked_model))
        series.inflight.dec()
        if reply.started:
            series.active.dec()
        series.duration_s.observe(visit.ended_s - visit.request.received_s)
        self._stages(call)
        _times(series, call)
        _tokens(series, call, usage_of(visit.out.last))

    def _stages(self, call: Call) -> None:
        facts = call.facts
        if facts.dispatched_s is None:
            return
        self._route_s.observe(facts.dispatched_s - call.arrived_s)
        if facts.first_token_s is not None:
            self._dispatch_s.observe(facts.first_token_s - facts.dispatched_s)


def _times(series: Series, call: Call) -> None:
    facts = call.facts
    if facts.first_token_s is None or not call.stream:
        return
    series.ttft_s.observe(facts.first_token_s - call.arrived_s)
    if facts.last_token_s is not None and facts.chunks > 1:
        series.itl_s.observe((facts.last_token_s - facts.first_token_s) / (facts.chunks - 1))


def _tokens(series: Series, call: Call, usage: Usage) -> None:
    facts = call.facts
    prompt, cached, output = _told(facts, usage)
    route = call.route
    if route is not None and route.cached_tokens is not None and route.uncached_tokens is not None:
        total = route.cached_tokens + route.uncached_tokens
        prompt = prompt if prompt is not None else total
        if total:
            series.hit_rate.observe(route.cached_tokens / total)
    if prompt is not None:
        series.input_tokens.observe(prompt)
    if cached is not None:
        series.cached_tokens.observe(cached)
    if output is not None and call.api is not Api.EMBEDDINGS:
        series.output_tokens.observe(output)
        series.output_tokens_total.inc(output)


def _told(facts: Facts, usage: Usage) -> tuple[int | None, int | None, int | None]:
    """Prompt, cached and output tokens; the answer's own word is kept with the facts, for the log."""
    facts.prompt_tokens = usage.prompt_tokens if facts.prompt_tokens is None else facts.prompt_tokens
    facts.cached_tokens = usage.cached_tokens if facts.cached_tokens is None else facts.cached_tokens
    facts.output_tokens = facts.output_tokens or usage.completion_tokens or 0
    return facts.prompt_tokens, facts.cached_tokens, facts.output_tokens or None
