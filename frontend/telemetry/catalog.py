"""The frontend's metrics, declared once.

Names, labels and bucket bounds are those of Dynamo's frontend (its metrics catalogue), so that its dashboards
read them; the prefix can be changed. What has no meaning here (a request plane, an async runtime of another
language) is not declared. The engine's own families stand beside these in the same registry.
"""

from math import floor, log10
from typing import Final

from prometheus_client import CollectorRegistry

from epp.telemetry.declaring import Declarations, Family

DEFAULT_PREFIX: Final = "dynamo_frontend"
_MODEL: Final = ("model",)
_KIND: Final = ("model", "endpoint", "request_type")
_QUEUE: Final = ("model", "worker_type", "policy_class")
_LOOP_DELAY_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def log_buckets(least: float, most: float, count: int) -> tuple[float, ...]:
    """``count`` bounds: 0, then log-spaced from ``least`` to ``most`` with two significant figures."""
    step = (most / least) ** (1 / (count - 2))
    spaced = (_two_figures(least * step**power) for power in range(count - 1))
    return (0.0, *dict.fromkeys(spaced))


def _two_figures(value: float) -> float:
    return round(value, 1 - floor(log10(value)))


class FrontendCatalog:
    """Every family over one registry."""

    def __init__(self, registry: CollectorRegistry, prefix: str = DEFAULT_PREFIX) -> None:
        self.registry = registry
        self._prefix = prefix
        self._make = Declarations(registry)
        self._requests()
        self._tokens()
        self._tolerance()
        self._disagg()
        self._process()

    @property
    def families(self) -> tuple[Family, ...]:
        """Everything declared here, in order."""
        return tuple(self._make.made)

    def _name(self, name: str) -> str:
        return f"{self._prefix}_{name}"

    def _requests(self) -> None:
        make, name = self._make, self._name
        self.requests_total = make.counter(
            name("requests"), "Requests answered.", (*_KIND, "status", "error_type")
        )
        self.requests_started_total = make.counter(
            name("requests_started"), "Requests taken into the pipeline.", _KIND
        )
        self.failures_total = make.counter(
            name("failures"), "Requests that ended with a server error.", ("model", "endpoint")
        )
        self.inflight_requests = make.gauge(name("inflight_requests"), "Requests in the pipeline.", _MODEL)
        self.active_requests = make.gauge(
            name("active_requests"), "Requests whose answer has begun and not ended.", _MODEL
        )
        self.disconnected_clients_total = make.counter(
            name("disconnected_clients"), "Clients that left before their answer was whole."
        )
        self.connections = make.gauge(name("http_connections"), "Clients' connections that are open.")
        self.body_bytes = make.gauge(
            name("http_request_body_bytes"), "Bodies of requests that are not answered yet."
        )
        self.duration_s = make.histogram(
            name("request_duration_seconds"), "From the request's head to the end of its answer.", _MODEL,
            buckets=log_buckets(1, 512, 10),
        )  # fmt: skip
        self.stage_s = make.histogram(
            name("stage_duration_seconds"),
            "Parts of a request: route (until it leaves for its worker), dispatch (until the first piece).",
            ("stage",),
            buckets=log_buckets(0.00005, 10, 18),
        )

    def _tokens(self) -> None:
        make, name = self._make, self._name
        self.ttft_s = make.histogram(
            name("time_to_first_token_seconds"), "From the request's head to the first piece of a stream.",
            _MODEL, buckets=log_buckets(0.001, 480, 18),
        )  # fmt: skip
        self.itl_s = make.histogram(
            name("inter_token_latency_seconds"), "Mean time between the pieces of one stream.", _MODEL,
            buckets=log_buckets(0.001, 80, 20),
        )  # fmt: skip
        self.input_tokens = make.histogram(
            name("input_sequence_tokens"), "Prompt tokens, where the answer or the pick tells them.", _MODEL,
            buckets=log_buckets(50, 128_000, 12),
        )  # fmt: skip
        self.output_tokens = make.histogram(
            name("output_sequence_tokens"), "Generated tokens, where the answer tells them.", _MODEL,
            buckets=log_buckets(50, 32_000, 10),
        )  # fmt: skip
        self.output_tokens_total = make.counter(name("output_tokens"), "Generated tokens.", _MODEL)
        self.cached_tokens = make.histogram(
            name("cached_tokens"), "Prompt tokens found in a worker's cache, by its own word.", _MODEL,
            buckets=log_buckets(50, 128_000, 12),
        )  # fmt: skip
        self.kv_hit_rate = make.histogram(
            name("kv_hit_rate"), "Cached part of a prompt, as predicted by the pick.", _MODEL,
            buckets=tuple(tenth / 10 for tenth in range(11)),
        )  # fmt: skip

    def _tolerance(self) -> None:
        make, name = self._make, self._name
        self.migration_total = make.counter(
            name("model_migration"), "Requests taken to another worker.",
            ("model", "migration_type", "outcome"),
        )  # fmt: skip
        self.migration_s = make.histogram(
            name("model_migration_duration_seconds"), "From the loss to the first piece from elsewhere.",
            _MODEL, buckets=log_buckets(0.001, 480, 18),
        )  # fmt: skip
        self.migration_too_long_total = make.counter(
            name("model_migration_max_seq_len_exceeded"), "Requests grown too long to be migrated.", _MODEL
        )
        self.cancellation_total = make.counter(
            name("model_cancellation"), "Requests whose client left.", ("model", "endpoint")
        )
        self.rejection_total = make.counter(
            name("model_rejection"), "Requests refused because everybody was busy.", ("model", "endpoint")
        )
        self.queued_requests = make.gauge(name("queued_requests"), "Requests that wait for a worker.", _MODEL)
        self.queue_requests = make.gauge(
            name("router_queue_pending_requests"), "Requests in the waiting queue.", _QUEUE
        )
        self.queue_tokens = make.gauge(
            name("router_queue_pending_isl_tokens"), "Prompt tokens in the waiting queue.", _QUEUE
        )
        self.queue_backpressure_total = make.counter(
            name("router_queue_backpressure"), "Requests the full queue refused.", (*_QUEUE, "reason")
        )
        self.breaker_open = make.gauge(
            name("worker_circuit_open"), "1: the worker is left alone after failures.", ("worker_id",)
        )
        self.retries_total = make.counter(
            name("worker_retries"), "Requests sent again to another worker before anything was answered."
        )

    def _disagg(self) -> None:
        make, name = self._make, self._name
        self.prefill_s = make.histogram(
            name("prefill_duration_seconds"), "Prefill legs that brought what decoding needs.",
            buckets=log_buckets(0.001, 480, 18),
        )  # fmt: skip
        self.prefill_failures_total = make.counter(
            name("prefill_failures"), "Prefill legs that brought nothing.", ("reason",)
        )
        self.disagg_total = make.counter(
            name("disaggregation_decisions"),
            "Requests with a prefill worker at hand: split, below a threshold (bypassed), whole for want of a"
            " way (fallback), or answered whole by the prefill (terminal).",
            ("decision", "reason"),
        )

    def _process(self) -> None:
        make, name = self._make, self._name
        self.loop_delay_s = make.histogram(
            name("event_loop_delay_seconds"), "How late the event loop runs what is due.",
            buckets=_LOOP_DELAY_S,
        )  # fmt: skip
        self.loop_stalls_total = make.counter(
            name("event_loop_stall"), "Times the event loop was more than 100 ms late."
        )
