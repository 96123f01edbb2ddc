"""``running-requests-size-scorer``: requests running, relative to the others."""

from collections.abc import Sequence

from epp.core.scheduling.context import Candidate, SchedulingContext
from epp.core.scheduling.plugin import min_max


class RunningRequestsScorer:
    """Fewest running 1, most 0; unknown load: the mean of the others."""

    def score(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[float]:
        """Min-max of the running requests."""
        return min_max([None if one.load is None else one.load.running_requests for one in candidates])
