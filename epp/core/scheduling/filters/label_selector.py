"""``label-selector-filter``: a Kubernetes label selector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from epp.config.kinds import TEXT, choice
from epp.config.tree import Fields
from epp.core.scheduling.context import Candidate, SchedulingContext

_OPERATORS = choice("In", "NotIn", "Exists", "DoesNotExist")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One ``matchExpressions`` entry."""

    key: str
    operator: str
    values: frozenset[str]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Kubernetes' rules: NotIn also matches where the label is missing."""
        match self.operator:
            case "In":
                return self.key in labels and labels[self.key] in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class LabelSelectorFilter:
    """Keeps endpoints whose labels meet every requirement."""

    requirements: tuple[Requirement, ...]

    @classmethod
    def from_fields(cls, fields: Fields) -> "LabelSelectorFilter":
        """Parameters ``matchLabels`` and ``matchExpressions``."""
        equal = fields.mapping("matchLabels", TEXT)
        return cls(
            (
                *(Requirement(key, "In", frozenset({value})) for key, value in equal.items()),
                *(_read_requirement(entry) for entry in fields.each("matchExpressions")),
            )
        )

    def keep(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[Candidate]:
        """Those that match."""
        return [
            candidate
            for candidate in candidates
            if all(requirement.matches(candidate.endpoint.labels) for requirement in self.requirements)
        ]


def _read_requirement(entry: Fields) -> Requirement:
    key: str = entry.required("key", TEXT)
    operator: str = entry.required("operator", _OPERATORS)
    values: tuple[str, ...] = entry.scalars("values", TEXT)
    entry.end()
    if bool(values) != operator.endswith("In"):
        raise entry.error("values", f"must {'not be empty' if not values else 'be empty'} for {operator}")
    return Requirement(key, operator, frozenset(values))
