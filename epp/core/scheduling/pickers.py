"""Pickers: scores to an order. ``maxNumOfEndpoints`` is how many to list, the choice and its fallbacks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from epp.config.kinds import whole
from epp.config.tree import Fields
from epp.core.rng import SplitMix64
from epp.core.scheduling.context import SchedulingContext
from epp.core.scheduling.plugin import Scored

_LISTED = whole(1, 64)


def _shuffled(scored: Sequence[Scored], rng: SplitMix64) -> list[Scored]:
    """Fisher-Yates, so that the order in equals nothing."""
    shuffled = list(scored)
    for i in range(len(shuffled) - 1, 0, -1):
        j = rng.below(i + 1)
        shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
    return shuffled


@dataclass(frozen=True, slots=True)
class _Listing:
    """What every picker is told: how many to list."""

    listed: int = 1

    @classmethod
    def from_fields(cls, fields: Fields, listed: int) -> Self:
        """Parameter ``maxNumOfEndpoints``; ``listed`` when it is not given."""
        return cls(fields.scalar("maxNumOfEndpoints", _LISTED, listed))


@dataclass(frozen=True, slots=True)
class MaxScorePicker(_Listing):
    """``max-score-picker``: best first, ties in random order."""

    def pick(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        scored: Sequence[Scored],
        rng: SplitMix64,
    ) -> Sequence[Scored]:
        """The best."""
        return sorted(_shuffled(scored, rng), key=lambda one: one.score, reverse=True)[: self.listed]


@dataclass(frozen=True, slots=True)
class RandomPicker(_Listing):
    """``random-picker``: anyone, scores ignored."""

    def pick(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        scored: Sequence[Scored],
        rng: SplitMix64,
    ) -> Sequence[Scored]:
        """Anyone."""
        return _shuffled(scored, rng)[: self.listed]


@dataclass(frozen=True, slots=True)
class WeightedRandomPicker(_Listing):
    """``weighted-random-picker``: drawn with probability proportional to the score.

    A-Res (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006): the greatest keys
    ``u^(1/w)`` win. Compared as ``ln(u) / w``, which orders the same and does not underflow. Scores of
    zero come last, in random order.
    """

    def pick(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        scored: Sequence[Scored],
        rng: SplitMix64,
    ) -> Sequence[Scored]:
        """A weighted draw."""
        keyed = [(_key(one.score, rng.unit()), one) for one in _shuffled(scored, rng)]
        return [one for _, one in sorted(keyed, key=lambda pair: pair[0], reverse=True)][: self.listed]


def _key(weight: float, unit: float) -> float:
    return math.log(1.0 - unit) / weight if weight > 0 else -math.inf
