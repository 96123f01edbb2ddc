"""``active-request-scorer``: requests this picker sent there that have not ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from epp.config.kinds import TEXT, real, whole
from epp.config.tree import Fields
from epp.core.scheduling.context import Candidate, SchedulingContext


@dataclass(frozen=True, slots=True)
class ActiveRequestScorer:
    """Idle 1; busy: (greatest - count) / greatest, scaled to ``max_busy_score``."""

    idle_threshold: int = 0
    """Up to this many requests a worker is idle."""
    max_busy_score: float = 1.0

    @classmethod
    def from_fields(cls, fields: Fields) -> "ActiveRequestScorer":
        """Parameters ``idleThreshold`` and ``maxBusyScore``; ``requestTimeout`` is history."""
        fields.scalar("requestTimeout", TEXT)
        fields.scalar("inFlightLoadProducerName", TEXT)
        return cls(
            fields.scalar("idleThreshold", whole(0, 2**31 - 1), 0),
            fields.scalar("maxBusyScore", real(0.0, 1.0), 1.0),
        )

    def score(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[float]:
        """Fewer is better; known exactly, as this picker counts them."""
        counts = [one.terms.active_requests for one in candidates]
        most = max(counts, default=0)
        return [
            1.0 if count <= self.idle_threshold else (most - count) / most * self.max_busy_score
            for count in counts
        ]
