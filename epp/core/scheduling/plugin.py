"""What a plugin is: one of five small contracts, the same for ours and for yours.

A plugin is an object with one of these methods; it may have several. It is made once, by a factory that
gets its ``parameters`` from the configuration, and called for every request from one thread. It may keep
state of its own; it must not block. A plugin of another package registers its factory as an entry point
(``epp.filters``, ``epp.scorers``, ``epp.pickers``; docs/plugins.md shows one).

What happens when a foreign plugin misbehaves is decided in :mod:`epp.core.scheduling.guarding`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from epp.core.endpoints import Endpoint
from epp.core.rng import SplitMix64
from epp.core.scheduling.context import Candidate, SchedulingContext

NEUTRAL = 0.5
"""The score that takes no side: the same for everyone, so it moves nobody."""


class Scored(NamedTuple):
    """A candidate and its weighted sum."""

    candidate: Candidate
    score: float


@runtime_checkable
class Filter(Protocol):
    """Decides who may serve."""

    def keep(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The candidates that remain, a part of those given. Empty: nobody may, the request is refused."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Says how good each candidate is."""

    def score(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[float]:
        """One number per candidate, in their order: 0 worst, 1 best."""
        ...


@runtime_checkable
class Picker(Protocol):
    """Turns scores into an order."""

    def pick(self, context: SchedulingContext, scored: Sequence[Scored], rng: SplitMix64) -> Sequence[Scored]:
        """The choice first, then fallbacks; at least one, all of those given. ``rng`` is the only
        randomness, so that a decision can be repeated."""
        ...


@runtime_checkable
class Decider(Protocol):
    """Decides whether a request is split over a prefill and a decode worker."""

    def wants_split(self, context: SchedulingContext, decode: Candidate) -> bool:
        """Given the decode worker chosen, whether somebody else should compute the prompt."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A filter or scorer that learns from choices."""

    def chosen(self, context: SchedulingContext, candidate: Candidate) -> None:
        """The pipeline chose this candidate in a profile that uses the plugin."""
        ...


@runtime_checkable
class Stamping(Protocol):
    """A filter or scorer that gives the client something to send back."""

    def response_header(self, endpoint: Endpoint) -> tuple[str, str] | None:
        """A header for the response of a request served by ``endpoint``; None: none."""
        ...


ForeignFactory: TypeAlias = Callable[[Mapping[str, Any]], object]
"""What an entry point names: parameters to plugin. Raising refuses the configuration."""


def min_max(values: Sequence[float | None]) -> list[float]:
    """Least value 1, greatest 0, linear between; all equal: 1. Unknown (None): :func:`fill_unknown`."""
    known = [value for value in values if value is not None]
    if not known:
        return [NEUTRAL] * len(values)
    low, high = min(known), max(known)
    width = high - low
    return fill_unknown(
        [None if value is None else (high - value) / width if width > 0 else 1.0 for value in values]
    )


def fill_unknown(scores: Sequence[float | None]) -> list[float]:
    """Unknown scores as the mean of the known ones; 0.5 when nothing is known.

    A fixed value would either draw the traffic of a busy pool to the one worker whose metrics page is
    broken, or starve it in an idle pool. The mean neither attracts nor repels, and never wins outright.
    """
    known = [score for score in scores if score is not None]
    mean = sum(known) / len(known) if known else NEUTRAL
    return [mean if score is None else score for score in scores]
