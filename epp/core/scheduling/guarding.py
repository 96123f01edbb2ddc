"""Guards around foreign plugins: a plugin may fail or dawdle, a request may not die of it.

A filter that raises keeps everyone; a scorer that raises, answers out of shape or with something that is no
number scores everyone neutral; a picker that does picks the best score. Each is counted, with the last
error for the page; each call is timed by the clock given, and those beyond :data:`SLOW_S` are counted
apart. Built-in plugins run without guards: a fault of theirs is ours and must be seen.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from epp.core.endpoints import Endpoint
from epp.core.rng import SplitMix64
from epp.core.scheduling.context import Candidate, SchedulingContext
from epp.core.scheduling.pickers import MaxScorePicker
from epp.core.scheduling.plugin import NEUTRAL, Filter, Picker, Remembering, Scored, Scorer, Stamping

Clock = Callable[[], float]
"""Monotonic seconds."""
SLOW_S = 0.001
"""A plugin that takes longer is slow: a whole decision takes less."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PluginReading:
    """What one plugin did since the start."""

    plugin: str
    calls: int
    failures: int
    slow: int
    """Calls beyond :data:`SLOW_S`."""
    seconds: float
    """All calls together."""
    worst_s: float
    last_error: str
    """Empty: it never failed."""


class Meter:
    """Counts the calls of one plugin."""

    def __init__(self, plugin: str, clock: Clock) -> None:
        self._plugin = plugin
        self._clock = clock
        self._calls = self._failures = self._slow = 0
        self._seconds = self._worst_s = 0.0
        self._last_error = ""

    def run(self, call: Callable[[], _T], otherwise: _T) -> _T:
        """The call's result, or ``otherwise`` if it raises."""
        start_s = self._clock()
        try:
            return call()
        except Exception as error:  # noqa: BLE001 -- foreign code may raise anything; counted here
            self._failures += 1
            self._last_error = f"{type(error).__name__}: {error}"[:200]
            return otherwise
        finally:
            self._note(self._clock() - start_s)

    def reading(self) -> PluginReading:
        """The counts now."""
        return PluginReading(
            self._plugin,
            self._calls,
            self._failures,
            self._slow,
            self._seconds,
            self._worst_s,
            self._last_error,
        )

    def _note(self, took_s: float) -> None:
        self._calls += 1
        self._slow += took_s > SLOW_S
        self._seconds += took_s
        self._worst_s = max(self._worst_s, took_s)


class _Guarded:
    """What guards of filters and scorers share."""

    def __init__(self, inner: object, meter: Meter) -> None:
        self._memory = inner if isinstance(inner, Remembering) else None
        self._stamp = inner if isinstance(inner, Stamping) else None
        self._meter = meter

    def chosen(self, context: SchedulingContext, candidate: Candidate) -> None:
        """Tell the plugin, if it wants to know."""
        memory = self._memory
        if memory is not None:
            self._meter.run(lambda: memory.chosen(context, candidate), None)

    def response_header(self, endpoint: Endpoint) -> tuple[str, str] | None:
        """Ask the plugin, if it has one."""
        stamp = self._stamp
        return None if stamp is None else self._meter.run(lambda: _header(stamp, endpoint), None)


class GuardedFilter(_Guarded):
    """A foreign filter."""

    def __init__(self, inner: Filter, meter: Meter) -> None:
        super().__init__(inner, meter)
        self._inner = inner

    def keep(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """What it keeps of those given; everyone if it fails."""
        return self._meter.run(lambda: self._keep(context, candidates), candidates)

    def _keep(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        kept = {id(one) for one in self._inner.keep(context, candidates)}
        return [one for one in candidates if id(one) in kept]


class GuardedScorer(_Guarded):
    """A foreign scorer."""

    def __init__(self, inner: Scorer, meter: Meter) -> None:
        super().__init__(inner, meter)
        self._inner = inner

    def score(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[float]:
        """Its scores, clamped to 0..1; neutral for everyone if it fails."""
        return self._meter.run(lambda: self._score(context, candidates), [NEUTRAL] * len(candidates))

    def _score(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[float]:
        scores = [float(score) for score in self._inner.score(context, candidates)]
        if len(scores) != len(candidates):
            raise ValueError(f"{len(scores)} scores for {len(candidates)} candidates")
        if any(math.isnan(score) for score in scores):
            raise ValueError("a score is not a number")
        return [min(1.0, max(0.0, score)) for score in scores]


class GuardedPicker:
    """A foreign picker."""

    def __init__(self, inner: Picker, meter: Meter, listed: int) -> None:
        self._inner = inner
        self._meter = meter
        self._fallback = MaxScorePicker(listed)

    def pick(self, context: SchedulingContext, scored: Sequence[Scored], rng: SplitMix64) -> Sequence[Scored]:
        """Its order; the best score if it fails or names nobody."""
        nobody: Sequence[Scored] = ()
        picked = self._meter.run(lambda: self._pick(context, scored, rng), nobody)
        return picked or self._fallback.pick(context, scored, rng)

    def _pick(
        self, context: SchedulingContext, scored: Sequence[Scored], rng: SplitMix64
    ) -> Sequence[Scored]:
        by_candidate = {id(one.candidate): one for one in scored}
        picked = [by_candidate.pop(id(one.candidate), None) for one in self._inner.pick(context, scored, rng)]
        if not picked or None in picked:
            raise ValueError("a picker must name candidates it was given, each once")
        return [one for one in picked if one is not None]


def _header(stamp: Stamping, endpoint: Endpoint) -> tuple[str, str] | None:
    header = stamp.response_header(endpoint)
    if header is None:
        return None
    name, value = header
    if not (isinstance(name, str) and isinstance(value, str)):  # pyright: ignore[reportUnnecessaryIsInstance] -- foreign
        raise TypeError("a response header is a pair of texts")
    return name.lower(), value
