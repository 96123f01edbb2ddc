"""``prefill-filter``, ``decode-filter``, ``encode-filter``: by the part of a request a worker does.

A worker says it by the label ``llm-d.ai/role`` (one role, or several joined by dashes; ``both`` is the old
name of prefill-decode), else by its role in the endpoints file. Aggregated workers decode and prefill.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from epp.core.endpoints import Endpoint, Role
from epp.core.scheduling.context import Candidate, SchedulingContext

ROLE_LABEL = "llm-d.ai/role"
_BOTH = "prefill-decode"


@dataclass(frozen=True, slots=True)
class RoleFilter:
    """Keeps workers that do one part."""

    role: Role

    def keep(
        self,
        context: SchedulingContext,  # noqa: ARG002 -- the contract's argument
        candidates: Sequence[Candidate],
    ) -> Sequence[Candidate]:
        """Those that do it."""
        return [candidate for candidate in candidates if self.role in roles_of(candidate.endpoint)]


def roles_of(endpoint: Endpoint) -> frozenset[str]:
    """Every part a worker does."""
    label = endpoint.labels.get(ROLE_LABEL)
    if label is not None:
        return frozenset((_BOTH if label == "both" else label).split("-"))
    if endpoint.role is Role.AGGREGATED:
        return frozenset((Role.PREFILL, Role.DECODE))
    return frozenset((endpoint.role,))
