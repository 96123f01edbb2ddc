"""A profile: filters in order, scorers with weights, one picker; and one run of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from epp.core.endpoints import Endpoint
from epp.core.rng import SplitMix64
from epp.core.router import Phase
from epp.core.scheduling.context import Candidate, SchedulingContext
from epp.core.scheduling.explanation import Column, ProfileExplanation
from epp.core.scheduling.plugin import Filter, Picker, Remembering, Scored, Scorer, Stamping


class NamedFilter(NamedTuple):
    """A filter and what the configuration calls it."""

    name: str
    filter: Filter


class WeightedScorer(NamedTuple):
    """A scorer, what the configuration calls it, and its weight in the sum."""

    name: str
    weight: float
    scorer: Scorer


@dataclass(frozen=True, slots=True)
class ProfileResult:
    """One run."""

    picked: tuple[Scored, ...]
    """The choice first, then fallbacks; empty: the filters left nobody."""
    explanation: ProfileExplanation


class Profile:
    """One ``schedulingProfiles`` entry, its plugins made."""

    def __init__(
        self,
        name: str,
        filters: Sequence[NamedFilter],
        scorers: Sequence[WeightedScorer],
        picker_name: str,
        picker: Picker,
    ) -> None:
        self.name = name
        self.filters = tuple(filters)
        self.scorers = tuple(scorers)
        self.picker_name = picker_name
        self.picker = picker
        plugins = [*(entry.filter for entry in filters), *(entry.scorer for entry in scorers)]
        once = list({id(plugin): plugin for plugin in plugins}.values())
        self._remembering = [plugin for plugin in once if isinstance(plugin, Remembering)]
        self._stamping = [plugin for plugin in once if isinstance(plugin, Stamping)]

    def run(
        self, context: SchedulingContext, candidates: Sequence[Candidate], phase: Phase, rng: SplitMix64
    ) -> ProfileResult:
        """Choose among ``candidates``; nothing is remembered yet (:meth:`remember`)."""
        kept, dropped = self._filter(context, candidates)
        columns = tuple(
            Column(name, weight, scorer.score(context, kept) if kept else ())
            for name, weight, scorer in self.scorers
        )
        totals = [sum(column.weight * column.scores[i] for column in columns) for i in range(len(kept))]
        scored = [Scored(one, total) for one, total in zip(kept, totals, strict=True)]
        picked = tuple(self.picker.pick(context, scored, rng)) if scored else ()
        return ProfileResult(
            picked,
            ProfileExplanation(self.name, phase, self.picker_name, kept, columns, totals, dropped),
        )

    def remember(self, context: SchedulingContext, candidate: Candidate) -> None:
        """Tell the plugins that learn from choices."""
        for plugin in self._remembering:
            plugin.chosen(context, candidate)

    def response_headers(self, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        """What the plugins want on the response of a request served by ``endpoint``."""
        found = [plugin.response_header(endpoint) for plugin in self._stamping]
        return tuple(dict.fromkeys(header for header in found if header is not None))

    def _filter(
        self, context: SchedulingContext, candidates: Sequence[Candidate]
    ) -> tuple[Sequence[Candidate], tuple[tuple[Candidate, str], ...]]:
        """Those who remain, and those left out with the filter that did it."""
        dropped: list[tuple[Candidate, str]] = []
        for name, plugin in self.filters:
            kept = plugin.keep(context, candidates)
            left = {id(one) for one in kept}
            dropped += [(one, name) for one in candidates if id(one) not in left]
            candidates = kept
        return candidates, tuple(dropped)
