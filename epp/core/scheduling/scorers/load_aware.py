"""``load-aware-scorer``: requests waiting, on a fixed scale."""

from collections.abc import Sequence
from dataclasses import dataclass

from epp.config.kinds import whole
from epp.config.tree import Fields
from epp.core.scheduling.context import Candidate, SchedulingContext
from epp.core.scheduling.plugin import fill_unknown


@dataclass(frozen=True, slots=True)
class LoadAwareScorer:
    """0.5 x (1 - waiting / threshold), at least 0; unknown load: the mean of the others.

    Half of the scale, as in llm-d: an empty queue says nothing of spare capacity.
    """

    threshold: int = 128
    """Waiting requests at which the score is 0."""

    @classmethod
    def from_fields(cls, fields: Fields) -> "LoadAwareScorer":
        """Parameter ``threshold``."""
        return cls(fields.scalar("threshold", whole(1, 2**31 - 1), 128))

    def score(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[float]:
        """How far the queue is from the threshold."""
        return fill_unknown(
            [
                None if one.load is None else 0.5 * max(0.0, 1.0 - one.load.waiting_requests / self.threshold)
                for one in candidates
            ]
        )
