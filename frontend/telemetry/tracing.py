"""OpenTelemetry: one span per request, parent of the worker's own spans through W3C headers.

The SDK is an extra (``otel``). Without it, or without a collector to send to, a client's ``traceparent``
still reaches the worker, because headers are passed on.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final, Protocol

from epp.config.errors import ConfigError
from frontend.config.model import TracingConfig
from frontend.visit import Visit

_TRACES: Final = "/v1/traces"
_EXPORT_S: Final = 5
"""Longest one export may take; it bounds the end of the process, too."""


class Tracer(Protocol):
    """What the observer tells; never raises."""

    def begun(self, visit: Visit) -> None:
        """A call enters the pipeline."""
        ...

    def ended(self, visit: Visit) -> None:
        """A request is over; also called for those that never began."""
        ...

    def close(self) -> None:
        """Send what is left; may block for a few seconds."""
        ...


class NoTracer:
    """Traces nothing."""

    def begun(self, visit: Visit) -> None:
        """See :class:`Tracer`."""

    def ended(self, visit: Visit) -> None:
        """See :class:`Tracer`."""

    def close(self) -> None:
        """See :class:`Tracer`."""


class OtelTracer:
    """Makes a span of every call. ``provider`` is an ``opentelemetry.sdk.trace.TracerProvider``."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 -- an extra
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 -- an extra
            TraceContextTextMapPropagator,
        )

        self._provider = provider
        self._tracer = provider.get_tracer("frontend")
        self._server_kind = SpanKind.SERVER
        self._propagator: Any = TraceContextTextMapPropagator()
        self._spans: dict[int, Any] = {}

    def begun(self, visit: Visit) -> None:
        """Open a span under the client's, and make it the parent of the worker's."""
        call = visit.call
        if call is None:
            return
        parent = self._propagator.extract(dict(_trace_headers(visit.request.headers)))
        span = self._tracer.start_span(
            f"{visit.request.method} {visit.endpoint}",
            context=parent,
            kind=self._server_kind,
            attributes={
                "http.request.method": visit.request.method,
                "url.path": visit.request.path,
                "gen_ai.request.model": call.asked_model,
                "request.id": call.request_id,
            },
        )
        self._spans[id(visit)] = span
        self._propagator.inject(call.forward_headers, context=_context_of(span))

    def ended(self, visit: Visit) -> None:
        """Close the span with what became of the request."""
        span = self._spans.pop(id(visit), None)
        if span is None:
            return
        span.set_attributes(_result(visit))
        if visit.status >= 500:
            from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 -- an extra

            span.set_status(Status(StatusCode.ERROR, visit.error_type))
        span.end()

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def make_tracer(config: TracingConfig) -> Tracer:
    """The tracer the configuration asks for. Raises ConfigError when the extra is not installed."""
    if config.otlp_endpoint is None:
        return NoTracer()
    if find_spec("opentelemetry.sdk") is None:
        raise ConfigError(
            f"Traces cannot be sent to {config.otlp_endpoint}: the extra `otel` is not installed."
        )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 -- an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 -- an extra
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 -- an extra

    from frontend.telemetry.otlp import JsonSpanExporter  # noqa: PLC0415 -- imports the extra

    provider = TracerProvider(resource=Resource.create({"service.name": config.service_name}))
    exporter = JsonSpanExporter(traces_url(config.otlp_endpoint), _EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=_EXPORT_S * 1000))
    return OtelTracer(provider)


def traces_url(endpoint: str) -> str:
    """Where spans go: OTLP's path below a collector's address, or an address that names it already."""
    bare = endpoint.rstrip("/")
    return bare if bare.endswith(_TRACES) else bare + _TRACES


def _trace_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}


def _context_of(span: Any) -> Any:
    from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 -- an extra

    return set_span_in_context(span)


def _result(visit: Visit) -> dict[str, Any]:
    attributes: dict[str, Any] = {"http.response.status_code": visit.status}
    call = visit.call
    if call is None:
        return attributes
    route, facts = call.route, call.facts
    if route is not None:
        attributes["llm.worker"] = route.worker.endpoint.host_port
        attributes["llm.worker.reason"] = route.reason
        if route.prefill is not None:
            attributes["llm.prefill_worker"] = route.prefill.endpoint.host_port
    if facts.first_token_s is not None:
        attributes["llm.ttft_ms"] = (facts.first_token_s - call.arrived_s) * 1e3
    counts = {"input": facts.prompt_tokens, "output": facts.output_tokens or None}
    return attributes | {f"gen_ai.usage.{kind}_tokens": n for kind, n in counts.items() if n is not None}
