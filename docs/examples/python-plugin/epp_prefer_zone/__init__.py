"""A scorer: endpoints in one zone score 1, in a listed neighbour 0.5, elsewhere 0.

Crossing zones costs money and latency, but an idle server far away may still be the better choice: so this
is a scorer with a weight, not a filter.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

_LABEL = "topology.kubernetes.io/zone"


class _Endpoint(Protocol):
    labels: Mapping[str, str]


class _Candidate(Protocol):
    endpoint: _Endpoint


class PreferZone:
    """Scores by the zone label of an endpoint."""

    def __init__(self, zone: str, neighbours: Sequence[str]) -> None:
        self._scores = {**dict.fromkeys(neighbours, 0.5), zone: 1.0}

    def score(self, context: object, candidates: Sequence[_Candidate]) -> Sequence[float]:  # noqa: ARG002
        """One number per candidate, in their order."""
        return [self._scores.get(one.endpoint.labels.get(_LABEL, ""), 0.0) for one in candidates]


def make(parameters: Mapping[str, Any]) -> PreferZone:
    """The entry point: called once at start. Raising refuses the configuration, with the text shown."""
    unknown = set(parameters) - {"zone", "neighbours"}
    if unknown or "zone" not in parameters:
        raise ValueError("parameters are zone and, optionally, neighbours")
    return PreferZone(parameters["zone"], parameters.get("neighbours", ()))
