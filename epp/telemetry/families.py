"""Counters, gauges and histograms that cost next to nothing to write.

The client library's own take a lock, look at what they are and walk the buckets one by one at every
observation: a microsecond each, and a request makes thirty. Here everything is written from one event loop,
so a plain number does; a page may be read from another thread and then shows some request half counted, as
it does with the library's. The pages are the library's: these are collectors of its registry.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from math import inf
from typing import Generic, Protocol, Self, TypeVar

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType] -- untyped

Labels = dict[str, str]


class Sampled(Protocol):
    """Numbers on a page."""

    def samples(self, name: str, labels: Labels) -> Iterator[Sample]:
        """What the page shows of them, under the name of their family."""
        ...


class Series(Sampled, Protocol):
    """One label set's numbers."""

    def fresh(self) -> Self:
        """Another of the same shape, at zero."""
        ...


class Counter:
    """A number that only grows."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add ``amount``, which is never negative."""
        self._value += amount

    def fresh(self) -> Self:
        """See Series."""
        return type(self)()

    def samples(self, name: str, labels: Labels) -> Iterator[Sample]:
        """See Sampled."""
        yield Sample(f"{name}_total", labels, self._value)


class Gauge:
    """A number as it is now."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add ``amount``."""
        self._value += amount

    def dec(self, amount: float = 1.0) -> None:
        """Take ``amount`` away."""
        self._value -= amount

    def set(self, value: float) -> None:
        """Replace it."""
        self._value = float(value)

    def fresh(self) -> Self:
        """See Series."""
        return type(self)()

    def samples(self, name: str, labels: Labels) -> Iterator[Sample]:
        """See Sampled."""
        yield Sample(name, labels, self._value)


class Histogram:
    """How often values fell into which bucket, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds``: the largest value of each bucket, ascending; a last one without a bound is added."""
        self._bounds = bounds if bounds[-1] == inf else (*bounds, inf)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value, which is a number."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def fresh(self) -> Self:
        """See Series."""
        return type(self)(self._bounds)

    def samples(self, name: str, labels: Labels) -> Iterator[Sample]:
        """See Sampled; buckets are cumulative."""
        below = 0
        for bound, count in zip(self._bounds, self._counts, strict=True):
            below += count
            le = floatToGoString(bound)  # type: ignore[no-untyped-call]  # the page's spelling of numbers
            yield Sample(f"{name}_bucket", {**labels, "le": le}, float(below))
        yield Sample(f"{name}_count", labels, float(below))
        yield Sample(f"{name}_sum", labels, self._sum)


S = TypeVar("S", bound=Series)


class Labelled(Generic[S]):
    """One series per label set."""

    __slots__ = ("_by_values", "_empty", "_names")

    def __init__(self, names: Sequence[str], empty: S) -> None:
        """``empty`` is the shape of a series."""
        self._names = tuple(names)
        self._empty = empty
        self._by_values: dict[tuple[str, ...], S] = {}

    def labels(self, *values: str) -> S:
        """The series of these values, in the order of the names; made when first asked for."""
        series = self._by_values.get(values)
        if series is None:
            if len(values) != len(self._names):
                raise ValueError(f"{len(values)} values for labels {self._names}")
            series = self._by_values[values] = self._empty.fresh()
        return series

    def remove(self, *values: str) -> None:
        """Forget a series; nothing happens if there is none."""
        self._by_values.pop(values, None)

    def samples(self, name: str, labels: Labels) -> Iterator[Sample]:
        """Those of every series."""
        for values, series in tuple(self._by_values.items()):  # a copy: the page is another thread's
            yield from series.samples(name, labels | dict(zip(self._names, values, strict=True)))


class Shown(Collector):
    """A family on a registry's page."""

    def __init__(self, name: str, kind: str, text: str, numbers: Sampled) -> None:
        self._name, self._kind, self._text = name, kind, text
        self._numbers = numbers

    def describe(self) -> Iterator[Metric]:
        """Its name, so that a second family of this name is refused."""
        yield Metric(self._name, self._text, self._kind)

    def collect(self) -> Iterator[Metric]:
        """It, with its samples."""
        metric = Metric(self._name, self._text, self._kind)
        metric.samples = list(self._numbers.samples(self._name, {}))
        yield metric
