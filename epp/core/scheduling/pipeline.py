"""The ``scorers`` policy: one profile, or a decode and a prefill profile with a decider between.

:meth:`ScorerPolicy.choose` is asked once per request. It books nothing: the caller takes the first
(worker, rank) of each phase to the router as pins, so that choice and booking stay one call there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from epp.core.endpoints import WorkerRank
from epp.core.rng import SplitMix64
from epp.core.router import Phase
from epp.core.scheduling.context import Candidate, SchedulingContext, of_phase
from epp.core.scheduling.explanation import ProfileExplanation
from epp.core.scheduling.guarding import Meter, PluginReading
from epp.core.scheduling.plugin import Decider, Scored
from epp.core.scheduling.profile import Profile, ProfileResult


class Ranked(NamedTuple):
    """One place in an answer."""

    worker: WorkerRank
    score: float


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """An answer."""

    primary: tuple[Ranked, ...]
    """Where the request goes (the decode worker when split), best first; empty: filters left nobody."""
    prefill: tuple[Ranked, ...]
    """Who computes the prompt, best first; empty: the primary does."""
    explanation: tuple[ProfileExplanation, ...]
    """One per profile that ran."""
    response_headers: tuple[tuple[str, str], ...] = ()
    """For the client, with the response: session tokens."""


@dataclass(frozen=True, slots=True)
class Split:
    """How a prefill worker is chosen."""

    profile: Profile
    decider: Decider


class ScorerPolicy:
    """Profiles and the plugins they share."""

    def __init__(self, primary: Profile, split: Split | None = None, meters: Sequence[Meter] = ()) -> None:
        """``split`` None: requests are never split. ``meters`` are those of the foreign plugins."""
        self._primary = primary
        self._split = split
        self._meters = tuple(meters)

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Every profile that may run."""
        return (self._primary,) if self._split is None else (self._primary, self._split.profile)

    def choose(self, context: SchedulingContext, rng: SplitMix64, *, remember: bool = True) -> PolicyChoice:
        """Who serves this request. ``remember`` tells the plugins that learn from choices; False: the
        question is only asked, nothing will be sent."""
        phase = Phase.AGGREGATED if self._split is None else Phase.DECODE
        primary = self._primary.run(context, of_phase(context.candidates, Phase.DECODE), phase, rng)
        if not primary.picked:
            return PolicyChoice((), (), (primary.explanation,))
        chosen = primary.picked[0].candidate
        prefill = self._run_prefill(context, chosen, rng)
        if remember:
            self._remember(context, primary, prefill)
        headers = self._primary.response_headers(chosen.endpoint)
        if prefill is None:
            return PolicyChoice(_ranked(primary.picked), (), (primary.explanation,), headers)
        explanation = (primary.explanation, prefill.explanation)
        return PolicyChoice(_ranked(primary.picked), _ranked(prefill.picked), explanation, headers)

    def readings(self) -> tuple[PluginReading, ...]:
        """What the foreign plugins did since the start."""
        return tuple(meter.reading() for meter in self._meters)

    def _run_prefill(
        self, context: SchedulingContext, decode: Candidate, rng: SplitMix64
    ) -> ProfileResult | None:
        """The prefill profile's run; None when the request is not split."""
        split = self._split
        if split is None or not split.decider.wants_split(context, decode):
            return None
        others = [one for one in of_phase(context.candidates, Phase.PREFILL) if one.worker != decode.worker]
        return split.profile.run(context, others, Phase.PREFILL, rng)

    def _remember(
        self, context: SchedulingContext, primary: ProfileResult, prefill: ProfileResult | None
    ) -> None:
        self._primary.remember(context, primary.picked[0].candidate)
        if self._split is not None and prefill is not None and prefill.picked:
            self._split.profile.remember(context, prefill.picked[0].candidate)


def _ranked(picked: Sequence[Scored]) -> tuple[Ranked, ...]:
    return tuple(Ranked(one.candidate.worker, one.score) for one in picked)
