"""Declaring metric families, once each, and remembering them for the reference page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from prometheus_client import CollectorRegistry

from epp.telemetry.families import Counter, Gauge, Histogram, Labelled, S, Sampled, Shown


@dataclass(frozen=True, slots=True)
class Family:
    """One declaration, for the reference page."""

    name: str
    """As it stands on the page."""
    kind: str
    labels: tuple[str, ...]
    text: str


class Declarations:
    """Families over one registry; one that has labels has a series for each set of their values."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.made: list[Family] = []
        """In order."""

    @overload
    def counter(self, name: str, text: str) -> Counter: ...
    @overload
    def counter(self, name: str, text: str, labels: Sequence[str]) -> Labelled[Counter]: ...
    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter | Labelled[Counter]:
        """A counter; ``_total`` is added to ``name``."""
        self.made.append(Family(f"{name}_total", "counter", tuple(labels), text))
        return self._shown(name, "counter", text, labels, Counter())

    @overload
    def gauge(self, name: str, text: str) -> Gauge: ...
    @overload
    def gauge(self, name: str, text: str, labels: Sequence[str]) -> Labelled[Gauge]: ...
    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge | Labelled[Gauge]:
        """A gauge."""
        self.made.append(Family(name, "gauge", tuple(labels), text))
        return self._shown(name, "gauge", text, labels, Gauge())

    @overload
    def histogram(self, name: str, text: str, *, buckets: Sequence[float]) -> Histogram: ...
    @overload
    def histogram(
        self, name: str, text: str, labels: Sequence[str], *, buckets: Sequence[float]
    ) -> Labelled[Histogram]: ...
    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), *, buckets: Sequence[float]
    ) -> Histogram | Labelled[Histogram]:
        """A histogram."""
        self.made.append(Family(name, "histogram", tuple(labels), text))
        return self._shown(name, "histogram", text, labels, Histogram(buckets))

    def _shown(self, name: str, kind: str, text: str, labels: Sequence[str], series: S) -> S | Labelled[S]:
        family: Labelled[S] | None = Labelled(labels, series) if labels else None
        numbers: Sampled = series if family is None else family
        self._registry.register(Shown(name, kind, text, numbers))
        return series if family is None else family
