"""What the owners of a pool say of its requests: which objective has which priority, and which model name
stands for which others."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType
from typing import Final

_NONE: Final[Mapping[str, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class WeightedModels:
    """Model names of which one takes a request, each as often as its share of all weights."""

    models: tuple[str, ...]
    """At least one."""
    weights: tuple[int, ...]
    """One for each model, 1 or more."""

    def draw(self, seed: int) -> str:
        """One of the names; ``seed`` is uniform over many times the sum of the weights, 0 or more."""
        ends = tuple(accumulate(self.weights))
        return self.models[bisect_right(ends, seed % ends[-1])]


@dataclass(frozen=True, slots=True)
class Rewrites:
    """Which model names stand for others."""

    by_model: Mapping[str, WeightedModels] = field(default_factory=dict[str, WeightedModels])
    others: WeightedModels | None = None
    """For names that are not in ``by_model``; None: they stand for themselves."""

    def targets(self, model: str) -> WeightedModels | None:
        """What a name stands for; None: itself."""
        return self.by_model.get(model, self.others)


class PoolRules:
    """The rules as they are now: whoever watches them replaces them whole, on the loop that reads them."""

    __slots__ = ("priorities", "rewrites")

    def __init__(self) -> None:
        self.priorities: Mapping[str, int] = _NONE
        """By the name of an objective; higher is more important."""
        self.rewrites = Rewrites()

    def priority_of(self, objective: str | None) -> int | None:
        """The priority of an objective; None: nobody has said."""
        return None if objective is None else self.priorities.get(objective)
