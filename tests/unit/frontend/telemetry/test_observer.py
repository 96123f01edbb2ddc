"""Requests as they are counted, logged and traced."""

import io
from typing import Any

import orjson
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from epp.config.errors import ConfigError
from epp.core.endpoints import Endpoint
from epp.core.outcomes import HeaderPairs
from epp.core.requests import Api
from epp.telemetry.logs import FieldLog, LineWriter
from frontend.body import Body
from frontend.config.model import TracingConfig
from frontend.http.api import Flow, Request
from frontend.nvext import NvExtRequest
from frontend.orchestrate.failures import Reason
from frontend.outgoing import Outgoing
from frontend.pipeline.call import Call, Leg, Route
from frontend.telemetry import tracing
from frontend.telemetry.accesslog import AccessLog, fields_of
from frontend.telemetry.catalog import FrontendCatalog, log_buckets
from frontend.telemetry.disagg import DisaggCounters
from frontend.telemetry.observer import FrontendObserver
from frontend.telemetry.series import MAX_MODELS
from frontend.telemetry.tolerance import BreakerMetrics, MigrationMetrics, QueueMetrics
from frontend.telemetry.tracing import NoTracer, OtelTracer, make_tracer, traces_url
from frontend.tolerance.line import Full
from frontend.tolerance.migration import TOO_LONG
from frontend.visit import Visit

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Swallow:
    started = False

    def start(self, status: int, headers: HeaderPairs) -> None:
        self.started = True

    def data(self, piece: bytes) -> None: ...
    def attach(self, source: Flow | None) -> None: ...
    def end(self) -> None: ...


def visit(model: str = "m", *, stream: bool = True, headers: dict[str, str] | None = None) -> Visit:
    request = Request("POST", "/v1/chat/completions", "", headers or {}, b"{}", 10.0, "1.2.3.4:5")
    body = Body(b"{}")
    call = Call(Api.CHAT, request.path, request.headers, body, "id-1", 10.0, model, stream, NvExtRequest())
    return Visit(request, Outgoing(Swallow()), "chat_completions", Api.CHAT, call)


def value(catalog: FrontendCatalog, name: str, **labels: str) -> float | None:
    return catalog.registry.get_sample_value(f"dynamo_frontend_{name}", labels)


def serve(observer: FrontendObserver, one: Visit, *pieces: bytes, status: int = 200, error: str = "") -> None:
    reply = observer.begun(one, one.out)
    reply.start(status, ())
    for piece in pieces:
        reply.data(piece)
    reply.end()
    one.status, one.error_type, one.ended_s = status, error, 12.0
    observer.ended(one)


def test_a_stream_is_counted_with_what_its_end_says_of_tokens() -> None:
    catalog = FrontendCatalog(CollectorRegistry())
    observer, one = FrontendObserver(catalog, None), visit()
    assert one.call is not None
    facts = one.call.facts
    facts.dispatched_s, facts.first_token_s, facts.last_token_s, facts.chunks = 10.1, 10.5, 11.5, 11
    counts = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
    usage = orjson.dumps({"choices": [], "usage": counts})
    serve(observer, one, b"data: {}\n\n", b"data: " + usage + b"\n\n", b"data: [DONE]\n\n")
    kind = {"model": "m", "endpoint": "chat_completions", "request_type": "stream"}
    assert value(catalog, "requests_total", **kind, status="success", error_type="") == 1
    assert value(catalog, "requests_started_total", **kind) == 1
    assert value(catalog, "time_to_first_token_seconds_sum", model="m") == 0.5
    assert value(catalog, "inter_token_latency_seconds_sum", model="m") == pytest.approx(0.1)
    assert value(catalog, "input_sequence_tokens_sum", model="m") == 9
    assert value(catalog, "output_tokens_total", model="m") == 3
    assert value(catalog, "cached_tokens_sum", model="m") == 8
    assert value(catalog, "inflight_requests", model="m") == 0
    assert value(catalog, "active_requests", model="m") == 0
    assert b"dynamo_frontend_requests_total" in observer.page()


def test_requests_are_in_flight_before_they_are_active() -> None:
    catalog = FrontendCatalog(CollectorRegistry())
    observer, one = FrontendObserver(catalog, None), visit()
    reply = observer.begun(one, one.out)
    assert (value(catalog, "inflight_requests", model="m"), value(catalog, "active_requests", model="m")) == (
        1,
        0,
    )
    reply.start(200, ())
    assert value(catalog, "active_requests", model="m") == 1


@pytest.mark.parametrize(
    ("status", "error", "family"),
    [
        (529, "overload", "model_rejection_total"),
        (499, "cancelled", "model_cancellation_total"),
        (502, "unavailable", "failures_total"),
    ],
)
def test_bad_endings_have_families_of_their_own(status: int, error: str, family: str) -> None:
    catalog = FrontendCatalog(CollectorRegistry())
    serve(FrontendObserver(catalog, None), visit(), status=status, error=error)
    assert value(catalog, family, model="m", endpoint="chat_completions") == 1


def test_names_from_clients_are_bounded() -> None:
    catalog = FrontendCatalog(CollectorRegistry())
    observer = FrontendObserver(catalog, None)
    for number in range(MAX_MODELS + 50):
        serve(observer, visit(f"model-{number}"))
    assert value(catalog, "request_duration_seconds_count", model="other") == 50


def test_models_nobody_serves_take_no_label_from_those_served() -> None:
    catalog = FrontendCatalog(CollectorRegistry())
    observer = FrontendObserver(catalog, None)
    for number in range(MAX_MODELS):
        one = visit(f"model-{number}")
        one.status, one.error_type = 404, "not_found"
        observer.ended(one)
    serve(observer, visit("served"))
    assert value(catalog, "request_duration_seconds_count", model="served") == 1


def test_a_page_of_ours_counts_as_no_model_request() -> None:
    catalog = FrontendCatalog(CollectorRegistry())
    one = visit()
    one.api = one.call = None
    one.status = 200
    FrontendObserver(catalog, None).ended(one)
    assert list(catalog.requests_total.samples("requests", {})) == []


def endpoint(name: str, worker_id: int) -> Endpoint:
    return Endpoint(name=name, address="10.0.0.1", port=8000 + worker_id, worker_id=worker_id)


def test_the_access_log_names_the_workers_and_the_reason() -> None:
    one = visit()
    assert one.call is not None
    one.call.route = Route(Leg(endpoint("d", 1)), Leg(endpoint("p", 2)), reason="most of it is cached")
    one.status, one.ended_s = 200, 10.25
    fields = fields_of(one)
    assert fields["worker"] == "d@10.0.0.1:8001"
    assert fields["prefill"] == "p@10.0.0.1:8002"
    assert fields["reason"] == "most of it is cached"
    assert fields["duration_ms"] == 250.0
    out = io.StringIO()
    writer = LineWriter(out)
    AccessLog(FieldLog(writer, json=False)).write(one)
    writer.flush()
    assert 'reason="most of it is cached"' in out.getvalue()


def test_healthy_pages_are_not_logged() -> None:
    out = io.StringIO()
    writer = LineWriter(out)
    one = visit()
    one.api = one.call = None
    one.status = 200
    AccessLog(FieldLog(writer, json=False)).write(one)
    writer.flush()
    assert out.getvalue() == ""


def test_a_span_lies_between_the_clients_and_the_workers() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    catalog = FrontendCatalog(CollectorRegistry())
    one = visit(headers={"traceparent": PARENT})
    assert one.call is not None
    serve(FrontendObserver(catalog, None, OtelTracer(provider)), one, status=502, error="unavailable")
    (span,) = exporter.get_finished_spans()
    context: Any = span.context
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert f"{context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert one.call.forward_headers["traceparent"].split("-")[2] == f"{context.span_id:016x}"
    assert not span.status.is_ok
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 502
    provider.shutdown()


def test_without_a_collector_nothing_is_traced() -> None:
    assert isinstance(make_tracer(TracingConfig()), NoTracer)


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda _name: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    with pytest.raises(ConfigError, match="`otel` is not installed"):
        make_tracer(TracingConfig(otlp_endpoint="http://127.0.0.1:4318"))


def test_decisions_of_the_orchestrator_are_counted() -> None:
    catalog = FrontendCatalog(CollectorRegistry())
    counters = DisaggCounters(catalog)
    reason = next(iter(Reason))
    counters.prefill_done(0.5)
    counters.prefill_failed(reason)
    counters.fallback(reason)
    counters.bypassed(reason)
    counters.terminal()
    decided = {
        name: value(catalog, "disaggregation_decisions_total", decision=name, reason=why)
        for name, why in (
            ("split", ""),
            ("fallback", reason.value),
            ("bypassed", reason.value),
            ("terminal", ""),
        )
    }
    assert set(decided.values()) == {1.0}


def test_buckets_have_two_significant_figures() -> None:
    assert log_buckets(1, 512, 10) == (0.0, 1.0, 2.2, 4.8, 10.0, 23.0, 49.0, 110.0, 230.0, 510.0)


def test_what_tolerance_tells_is_counted() -> None:
    catalog = FrontendCatalog(CollectorRegistry())
    migration, queue, breaker = MigrationMetrics(catalog), QueueMetrics(catalog), BreakerMetrics(catalog)
    migration.migrated("m", begun=True)
    migration.resumed("m", 0.5)
    migration.given_up("m", begun=False, why=TOO_LONG)
    queue.waiting("m", 2, 30)
    queue.waiting("m", -1, -10)
    queue.turned_away("m", Full.TOKENS)
    breaker.changed(7, is_open=True)
    ongoing = {"model": "m", "migration_type": "ongoing_request", "outcome": "migrated"}
    assert value(catalog, "model_migration_total", **ongoing) == 1
    assert value(catalog, "model_migration_duration_seconds_sum", model="m") == 0.5
    assert value(catalog, "model_migration_max_seq_len_exceeded_total", model="m") == 1
    line = {"model": "m", "worker_type": "aggregated", "policy_class": "default"}
    assert value(catalog, "router_queue_pending_requests", **line) == 1
    assert value(catalog, "router_queue_pending_isl_tokens", **line) == 20
    assert value(catalog, "router_queue_backpressure_total", **line, reason="raw_isl_token_limit") == 1
    assert value(catalog, "worker_circuit_open", worker_id="7") == 1
    breaker.changed(7, is_open=False)
    assert value(catalog, "worker_circuit_open", worker_id="7") is None


@pytest.mark.parametrize("endpoint", ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"])
def test_a_collector_is_named_with_or_without_its_path(endpoint: str) -> None:
    assert traces_url(endpoint) == "http://c:4318/v1/traces"
