"""``by-label``: one label with one of a few values (the older form of the selector)."""

from collections.abc import Sequence
from dataclasses import dataclass

from epp.config.kinds import BOOLEAN, TEXT
from epp.config.tree import Fields
from epp.core.scheduling.context import Candidate, SchedulingContext


@dataclass(frozen=True, slots=True)
class ByLabelFilter:
    """Keeps endpoints whose label has one of the values."""

    label: str
    values: frozenset[str]
    allows_no_label: bool = False

    @classmethod
    def from_fields(cls, fields: Fields) -> "ByLabelFilter":
        """Parameters ``label``, ``validValues`` and ``allowsNoLabel``."""
        label: str = fields.required("label", TEXT)
        values: tuple[str, ...] = fields.scalars("validValues", TEXT)
        allows: bool = fields.scalar("allowsNoLabel", BOOLEAN, False)
        if not values and not allows:
            raise fields.error("validValues", "must not be empty unless allowsNoLabel is true")
        return cls(label, frozenset(values), allows)

    def keep(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[Candidate]:
        """Those with a valid value, and those without the label if allowed."""
        return [candidate for candidate in candidates if self._matches(candidate)]

    def _matches(self, candidate: Candidate) -> bool:
        value = candidate.endpoint.labels.get(self.label)
        return self.allows_no_label if value is None else value in self.values
