"""``queue-scorer``: requests waiting, relative to the others."""

from collections.abc import Sequence

from epp.core.scheduling.context import Candidate, SchedulingContext
from epp.core.scheduling.plugin import min_max


class QueueScorer:
    """Shortest queue 1, longest 0; unknown load: the mean of the others."""

    def score(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[float]:
        """Min-max of the waiting requests."""
        return min_max([None if one.load is None else one.load.waiting_requests for one in candidates])
