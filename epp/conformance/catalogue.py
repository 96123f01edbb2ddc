"""All cases, in the order in which they are tried and shown."""

from typing import Final

from epp.conformance.cases import (
    bodies,
    destination,
    health,
    mutation,
    refusals,
    resilience,
    response,
    subset,
    suite,
    timing,
    transport,
)
from epp.conformance.model import Case, Profile

AREAS: Final = {
    "transport": "the connection",
    "destination": "where a request is sent",
    "subset": "the gateway's subset hint",
    "body": "request bodies",
    "mutation": "what is done to heads",
    "response": "responses",
    "refusal": "requests that make no sense",
    "resilience": "leaving clients, erring gateways, many at a time",
    "timing": "time",
    "health": "health",
    "suite": "the picker's part of the gateway conformance suite",
}
"""Area → what its cases are about."""

CASES: Final[tuple[Case, ...]] = (
    *transport.CASES,
    *destination.CASES,
    *subset.CASES,
    *bodies.CASES,
    *mutation.CASES,
    *response.CASES,
    *refusals.CASES,
    *resilience.CASES,
    *timing.CASES,
    *health.CASES,
    *suite.CASES,
)

NOT_TESTABLE: Final = (
    "graceful shutdown: only who runs the picker can stop it",
    "429 under load: what is too much load is the picker's own affair",
    "whether a choice is a good one",
)
"""What no test from outside can tell, said in every report."""


def chosen(profile: Profile, patterns: tuple[str, ...] = ()) -> tuple[Case, ...]:
    """The cases of a profile whose id begins with, or holds, one of the patterns; no patterns: all."""
    return tuple(
        case
        for case in CASES
        if profile in (case.profile, Profile.GATEWAY)
        and (not patterns or any(pattern in case.id for pattern in patterns))
    )
