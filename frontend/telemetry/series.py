"""One cheap object per label set, looked up once per request."""

from typing import Final, NamedTuple

from epp.telemetry.bounded import OTHER, BoundedLabels
from epp.telemetry.families import Counter
from frontend.telemetry.catalog import FrontendCatalog

MAX_MODELS: Final = 256
"""Models with series of their own; clients name models as they like, so the rest is counted as ``other``."""
UNKNOWN_MODEL: Final = "unknown_model"
"""Label of requests refused because nobody serves their model, as Dynamo has it."""


class Labels(NamedTuple):
    """Label values of one request, bounded."""

    model: str
    endpoint: str
    request_type: str


class Series:
    """The children of every per-model family for one model."""

    __slots__ = (
        "active", "cached_tokens", "duration_s", "hit_rate", "inflight", "input_tokens", "itl_s",
        "output_tokens", "output_tokens_total", "ttft_s",
    )  # fmt: skip

    def __init__(self, catalog: FrontendCatalog, model: str) -> None:
        self.inflight = catalog.inflight_requests.labels(model)
        self.active = catalog.active_requests.labels(model)
        self.duration_s = catalog.duration_s.labels(model)
        self.ttft_s = catalog.ttft_s.labels(model)
        self.itl_s = catalog.itl_s.labels(model)
        self.input_tokens = catalog.input_tokens.labels(model)
        self.output_tokens = catalog.output_tokens.labels(model)
        self.output_tokens_total = catalog.output_tokens_total.labels(model)
        self.cached_tokens = catalog.cached_tokens.labels(model)
        self.hit_rate = catalog.kv_hit_rate.labels(model)


class AllSeries:
    """Series by model, made when first needed."""

    def __init__(self, catalog: FrontendCatalog) -> None:
        self._catalog = catalog
        self._bounded = BoundedLabels(MAX_MODELS)
        self._by_model: dict[str, Series] = {}
        self._started: dict[Labels, Counter] = {}
        self._ended: dict[tuple[Labels, str, str], Counter] = {}

    def label(self, model: str) -> str:
        """The model as a label value; empty: the request names none."""
        return self._bounded(model) if model else OTHER

    def of(self, label: str) -> Series:
        """The children of a label value."""
        series = self._by_model.get(label)
        if series is None:
            series = self._by_model[label] = Series(self._catalog, label)
        return series

    def started(self, labels: Labels) -> Counter:
        """Requests taken into the pipeline."""
        counter = self._started.get(labels)
        if counter is None:
            counter = self._started[labels] = self._catalog.requests_started_total.labels(*labels)
        return counter

    def ended(self, labels: Labels, status: str, error_type: str) -> Counter:
        """Requests answered; ``error_type`` is one of few."""
        key = labels, status, error_type
        counter = self._ended.get(key)
        if counter is None:
            counter = self._catalog.requests_total.labels(*labels, status, error_type)
            self._ended[key] = counter
        return counter
