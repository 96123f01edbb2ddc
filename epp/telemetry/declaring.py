"""Declaring metric families, once each, and remembering them for the reference page."""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


@dataclass(frozen=True, slots=True)
class Family:
    """One declaration, for the reference page."""

    name: str
    """As it stands on the page."""
    kind: str
    labels: tuple[str, ...]
    text: str


class Declarations:
    """Families over one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.made: list[Family] = []
        """In order."""

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """A counter; ``_total`` is added to ``name``."""
        self.made.append(Family(f"{name}_total", "counter", tuple(labels), text))
        return Counter(name, text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        """A gauge."""
        self.made.append(Family(name, "gauge", tuple(labels), text))
        return Gauge(name, text, labels, registry=self._registry)

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), *, buckets: Sequence[float]
    ) -> Histogram:
        """A histogram."""
        self.made.append(Family(name, "histogram", tuple(labels), text))
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)
