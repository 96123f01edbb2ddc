"""Counting requests: one cheap object per label set, looked up once per request."""

from typing import NamedTuple

from epp.core.endpoints import Endpoint
from epp.core.outcomes import Ending, Refused, ResponseFacts
from epp.core.router import Selection
from epp.core.tokens import Tokenized
from epp.telemetry.bounded import OTHER, BoundedLabels
from epp.telemetry.catalog import Catalog
from epp.telemetry.families import Counter

DEFAULT_FLOW = "default-flow"
"""Fairness id of requests that name none."""

MAX_LABEL_SETS = 256
"""Bound on label sets of the request families. Models and flows are bounded one by one as the catalogue of
llm-d's router has it, but a page of a thousand times a thousand histograms would serve nobody."""

MAX_ATTEMPT_SETS = 10_000
"""Bound on (outcome, model, endpoint) sets; those of endpoints that left are forgotten."""


class RequestLabels(NamedTuple):
    """Label values of one request, already bounded."""

    model_name: str
    target_model_name: str
    fairness_id: str
    priority: str


class _Series:
    """The children of every per-request family for one label set."""

    __slots__ = (
        "cached_tokens", "duration_s", "dynamo_cached_tokens", "dynamo_input_tokens", "dynamo_started",
        "input_tokens", "ntpot_s", "output_tokens", "request_bytes", "response_bytes", "running", "total",
        "ttft_stream_s", "ttft_unary_s",
    )  # fmt: skip

    def __init__(self, catalog: Catalog, labels: RequestLabels) -> None:
        self.total = catalog.request_total.labels(*labels)
        self.running = catalog.request_running.labels(*labels)
        self.duration_s = catalog.request_duration_s.labels(*labels)
        self.request_bytes = catalog.request_size_bytes.labels(*labels)
        self.input_tokens = catalog.request_input_tokens.labels(*labels)
        self.cached_tokens = catalog.request_cached_tokens.labels(*labels)
        self.output_tokens = catalog.request_output_tokens.labels(*labels)
        self.ntpot_s = catalog.request_ntpot_s.labels(*labels)
        self.response_bytes = catalog.response_size_bytes.labels(*labels)
        self.ttft_stream_s = catalog.request_ttft_s.labels(*labels, "true")
        self.ttft_unary_s = catalog.request_ttft_s.labels(*labels, "false")
        self.dynamo_cached_tokens = catalog.dynamo_cached_tokens.labels(labels.model_name)
        self.dynamo_input_tokens = catalog.dynamo_input_tokens.labels(labels.model_name)
        self.dynamo_started = catalog.dynamo_started_total.labels(labels.model_name)


class RequestMetrics:
    """What happens to requests, as facts."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._series: dict[RequestLabels, _Series] = {}
        self._attempts: dict[tuple[str, ...], Counter] = {}
        self._models = BoundedLabels()
        self._flows = BoundedLabels()

    def labels(self, model: str, target_model: str, fairness_id: str, priority: int) -> RequestLabels:
        """Bounded label values of a request. Priorities are shown as -1, 0 or 1 by sign."""
        sign = str((priority > 0) - (priority < 0))
        flow = fairness_id or DEFAULT_FLOW
        labels = RequestLabels(self._models(model), self._models(target_model), self._flows(flow), sign)
        if labels in self._series:
            return labels
        if len(self._series) >= MAX_LABEL_SETS:
            labels = RequestLabels(OTHER, OTHER, OTHER, sign)
        self._of(labels)
        return labels

    def picked(
        self, labels: RequestLabels, selection: Selection, body_bytes: int, endpoint: Endpoint
    ) -> None:
        """A worker was chosen."""
        series = self._of(labels)
        series.total.inc()
        series.dynamo_started.inc()
        series.request_bytes.observe(body_bytes)
        series.input_tokens.observe(selection.prompt_tokens)
        series.cached_tokens.observe(selection.cached_tokens)
        series.dynamo_input_tokens.observe(selection.prompt_tokens)
        series.dynamo_cached_tokens.observe(selection.cached_tokens)
        self._attempt("success", labels, endpoint)
        self._count_reuse(selection)
        split = "prefill-decode" if selection.prefill is not None else "decode-only"
        self._catalog.disagg_total.labels(split).inc()

    def refused(self, labels: RequestLabels, refused: Refused) -> None:
        """The picker answered itself."""
        self._catalog.request_error_total.labels(*labels, str(refused.status)).inc()
        self._attempt("failure", labels, None)

    def degraded(self, tokens: Tokenized) -> None:
        """A pick was made without exact tokens."""
        if tokens.degraded is not None:
            self._catalog.degraded_total.labels(tokens.degraded).inc()

    def header_error(self, header: str, reason: str) -> None:
        """A routing header was ignored."""
        self._catalog.header_errors_total.labels(header, reason).inc()

    def timed(self, *, scheduling_s: float, processing_s: float) -> None:
        """How long the choice and the whole request took here."""
        self._catalog.scheduler_e2e_s.observe(scheduling_s)
        self._catalog.processing_s.observe(processing_s)

    def started(self, labels: RequestLabels) -> None:
        """A picked request is in flight."""
        self._of(labels).running.inc()

    def finished(self, labels: RequestLabels, duration_s: float, ending: str, facts: ResponseFacts) -> None:
        """Its stream ended; ``ending`` is an :class:`~epp.core.outcomes.Ending` or a word for its lack."""
        series = self._of(labels)
        series.running.dec()
        series.duration_s.observe(duration_s)
        if facts.response_bytes:
            series.response_bytes.observe(facts.response_bytes)
        if facts.completion_tokens is not None:
            series.output_tokens.observe(facts.completion_tokens)
            if facts.completion_tokens:
                series.ntpot_s.observe(duration_s / facts.completion_tokens)
        error = str(facts.status) if facts.status is not None and facts.status >= 400 else ending
        if error != Ending.COMPLETED:
            self._catalog.request_error_total.labels(*labels, error).inc()

    def ttft(self, labels: RequestLabels, seconds: float, *, streaming: bool) -> None:
        """The first token exists, by the worker's own event stream."""
        series = self._of(labels)
        (series.ttft_stream_s if streaming else series.ttft_unary_s).observe(seconds)

    def prefill(self, seconds: float, *, exact: bool) -> None:
        """A prompt is computed, counted from its pick."""
        self._catalog.prefill_s.labels("events" if exact else "estimate").observe(seconds)

    def output_blocks(self, count: int) -> None:
        """Blocks of output appeared."""
        self._catalog.output_blocks_total.inc(count)

    def expired(self) -> None:
        """A lease ended before its stream did."""
        self._catalog.expired_total.inc()

    def forget(self, endpoint: Endpoint) -> None:
        """The endpoint left the pool; its series go."""
        gone = _endpoint_labels(endpoint)
        for key in [key for key in self._attempts if key[2:] == gone]:
            del self._attempts[key]
            self._catalog.scheduler_attempts_total.remove(*key)

    def _count_reuse(self, selection: Selection) -> None:
        catalog = self._catalog
        catalog.prompt_tokens_total.inc(selection.prompt_tokens)
        catalog.selected_cached_tokens_total.inc(selection.cached_tokens)
        catalog.best_cached_tokens_total.inc(selection.best_cached_tokens)
        if selection.cached_tokens < selection.best_cached_tokens:
            catalog.non_max_overlap_total.inc()
        if selection.prompt_tokens:
            catalog.prefix_hit_ratio.observe(selection.cached_tokens / selection.prompt_tokens)

    def _attempt(self, status: str, labels: RequestLabels, endpoint: Endpoint | None) -> None:
        key = (status, labels.target_model_name, *_endpoint_labels(endpoint))
        child = self._attempts.get(key)
        if child is None:
            if len(self._attempts) >= MAX_ATTEMPT_SETS:
                key = (status, OTHER, *_endpoint_labels(None))
            child = self._attempts[key] = self._catalog.scheduler_attempts_total.labels(*key)
        child.inc()

    def _of(self, labels: RequestLabels) -> _Series:
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series(self._catalog, labels)
        return series


def _endpoint_labels(endpoint: Endpoint | None) -> tuple[str, str, str]:
    """Name, namespace and port; empty: nobody was chosen."""
    return ("", "", "") if endpoint is None else (endpoint.name, endpoint.namespace, str(endpoint.port))
