"""``header-label-affinity-scorer``: prefers endpoints whose label equals a request header."""

from collections.abc import Sequence
from dataclasses import dataclass

from epp.config.kinds import TEXT
from epp.config.tree import Fields
from epp.core.scheduling.context import Candidate, SchedulingContext


@dataclass(frozen=True, slots=True)
class HeaderLabelAffinityScorer:
    """1 where the label equals the header, else 0."""

    header: str
    label: str

    @classmethod
    def from_fields(cls, fields: Fields) -> "HeaderLabelAffinityScorer":
        """Parameters ``headerName`` and ``labelKey``."""
        return cls(fields.required("headerName", TEXT).lower(), fields.required("labelKey", TEXT))

    def score(self, context: SchedulingContext, candidates: Sequence[Candidate]) -> Sequence[float]:
        """Whether the label is the one asked for."""
        wanted = context.headers.get(self.header)
        return [
            float(wanted is not None and one.endpoint.labels.get(self.label) == wanted) for one in candidates
        ]
