"""Tokenization's facts as metrics."""

from epp.telemetry.catalog import Catalog


class TokenizeCounters:
    """Satisfies the tokenizer's ``TokenizeMetrics``; model names it is given are configured ones."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._ready: set[str] = set()

    def rendered(self, model: str, duration_s: float) -> None:  # noqa: ARG002 -- one series for all models
        """A chat template ran."""
        self._catalog.template_s.observe(duration_s)

    def tokenized(self, model: str, duration_s: float, cached_tokens: int, computed_tokens: int) -> None:  # noqa: ARG002 -- one series for all models
        """A text became token ids."""
        self._catalog.tokenize_s.observe(duration_s)
        self._catalog.tokenizer_cached_tokens_total.inc(cached_tokens)
        self._catalog.tokenizer_uncached_tokens_total.inc(computed_tokens)

    def degraded(self, model: str, reason: str) -> None:
        """A prompt was answered with less than exact tokens."""
        self._catalog.tokenizer_degraded_total.labels(model, reason).inc()

    def queue_depth(self, prompts: int) -> None:
        """Prompts waiting for a thread or running on one."""
        self._catalog.tokenizer_queue.set(prompts)

    def cache_size(self, entries: int, size_bytes: int) -> None:  # noqa: ARG002 -- bytes are what is bounded
        """The prefix cache holds this much."""
        self._catalog.tokenizer_cache_bytes.set(size_bytes)

    def loaded(self, model: str, backend: str, duration_s: float, splits_text: bool) -> None:
        """A model is ready."""
        self._ready.add(model)
        self._catalog.models_ready.set(len(self._ready))
        self._catalog.model_load_s.labels(model, backend, str(splits_text).lower()).set(duration_s)

    def load_failed(self, model: str, reason: str) -> None:
        """A model could not be loaded."""
        self._catalog.model_load_failures_total.labels(model, reason).inc()
