"""``lora-affinity-scorer``: where the adapter is, or can be soon."""

from collections.abc import Sequence

from epp.core.scheduling.context import Candidate, LoraState, SchedulingContext
from epp.core.scheduling.plugin import fill_unknown

_ACTIVE = 1.0
_ROOM = 0.8
_WAITING = 0.6
_FULL = 0.0


class LoraAffinityScorer:
    """Loaded 1.0, room for it 0.8, about to be loaded 0.6, full 0.0; unknown: the mean of the others.

    A request for the base model scores 1.0 everywhere: no adapter has to be loaded.
    """

    def score(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[float]:
        """How near the adapter is."""
        if not context.lora:
            return [_ACTIVE] * len(candidates)
        return fill_unknown([_nearness(context.lora, one.lora) for one in candidates])


def _nearness(adapter: str, state: LoraState | None) -> float | None:
    if state is None:
        return None
    if adapter in state.active:
        return _ACTIVE
    if state.max_active == 0 or len(state.active) + len(state.waiting) < state.max_active:
        return _ROOM
    return _WAITING if adapter in state.waiting else _FULL
