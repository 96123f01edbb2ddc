"""What tokenization reports about itself; the metrics registry implements it."""

from typing import Protocol


class TokenizeMetrics(Protocol):
    """Receives every countable fact of tokenization.

    ``model`` is always a configured name (``unknown`` for names that are not), so it is a safe label.
    Durations are wall-clock seconds of the work itself, without waiting for a thread.
    """

    def rendered(self, model: str, duration_s: float) -> None:
        """A chat template ran."""
        ...

    def tokenized(self, model: str, duration_s: float, cached_tokens: int, computed_tokens: int) -> None:
        """A text became token ids, some of them taken from the prefix cache."""
        ...

    def degraded(self, model: str, reason: str) -> None:
        """A prompt was answered with less than exact tokens (``Tokenized.degraded``)."""
        ...

    def queue_depth(self, prompts: int) -> None:
        """Prompts that are waiting for a thread or running on one, now."""
        ...

    def cache_size(self, entries: int, size_bytes: int) -> None:
        """The prefix cache holds this much, now."""
        ...

    def loaded(self, model: str, backend: str, duration_s: float, splits_text: bool) -> None:
        """A model is ready: encoded by ``backend``, its plain text cacheable in pieces or not."""
        ...

    def load_failed(self, model: str, reason: str) -> None:
        """A model could not be loaded; it is tried again later."""
        ...


class NullMetrics:
    """Counts nothing."""

    def rendered(self, model: str, duration_s: float) -> None:
        """Ignore."""

    def tokenized(self, model: str, duration_s: float, cached_tokens: int, computed_tokens: int) -> None:
        """Ignore."""

    def degraded(self, model: str, reason: str) -> None:
        """Ignore."""

    def queue_depth(self, prompts: int) -> None:
        """Ignore."""

    def cache_size(self, entries: int, size_bytes: int) -> None:
        """Ignore."""

    def loaded(self, model: str, backend: str, duration_s: float, splits_text: bool) -> None:
        """Ignore."""

    def load_failed(self, model: str, reason: str) -> None:
        """Ignore."""
