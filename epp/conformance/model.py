"""What a case is and what comes of it."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from epp.conformance.bench import Bench


class Level(StrEnum):
    """How much a case weighs. Only a required one decides the exit status."""

    REQUIRED = "required"
    """A rule of the protocol, or one without which a gateway breaks."""
    RECOMMENDED = "recommended"
    """Some gateways or clients suffer without it."""
    OPTIONAL = "optional"
    """Good to know."""


class Profile(StrEnum):
    """Which cases are run."""

    EPP = "epp"
    """The Endpoint Picker Protocol."""
    GATEWAY = "gateway"
    """That, and the picker's part of the inference-extension's conformance suite for gateways."""


class Need(StrEnum):
    """What a case cannot do without; missing, it is skipped."""

    PICK = "pick"
    """A plain request gets a destination."""
    ENDPOINT = "endpoint"
    """At least one known endpoint."""
    ENDPOINTS = "endpoints"
    """At least two known endpoints."""
    DUPLEX = "duplex"
    """FULL_DUPLEX_STREAMED bodies are to be tested."""
    BUFFERED = "buffered"
    """BUFFERED bodies are to be tested."""
    TLS = "tls"
    """The picker serves TLS."""
    PLAINTEXT = "plaintext"
    """The picker serves HTTP/2 in plaintext."""


class Verdict(StrEnum):
    """How a case ended."""

    PASS = "PASS"  # noqa: S105 -- a verdict, no password
    FAIL = "FAIL"
    SKIP = "SKIP"


class FailedError(Exception):
    """The picker broke the case's rule; the text says what came instead."""


class SkippedError(Exception):
    """The case could not be tried; the text says why."""


Trial: TypeAlias = "Callable[[Bench], Awaitable[str]]"
"""Tries one rule; returns what came. Raises :class:`FailedError` or :class:`SkippedError`."""


@dataclass(frozen=True, slots=True)
class Case:
    """One rule and how it is tried."""

    id: str
    """Stable name, ``area.rule``; a report's consumers may rely on it."""
    level: Level
    source: str
    """Where the rule is written."""
    expected: str
    """The rule as one sentence."""
    trial: Trial
    needs: frozenset[Need]
    profile: Profile

    @property
    def area(self) -> str:
        """The group it is shown in."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Result:
    """One case and how it ended."""

    case: Case
    verdict: Verdict
    seen: str
    """What came, or why the case was skipped."""
    duration_s: float

    @property
    def decides(self) -> bool:
        """Whether this result alone makes the picker fail."""
        return self.verdict is Verdict.FAIL and self.case.level is Level.REQUIRED


def case(
    name: str,
    level: Level,
    source: str,
    *needs: Need,
    pick: bool = True,
    profile: Profile = Profile.EPP,
) -> Callable[[Trial], Case]:
    """Makes a case of a trial, whose docstring is the rule. Nearly every case needs a picker that sends a
    plain request somewhere; ``pick`` False: this one is tried all the same.
    """
    wanted = {*needs, Need.PICK} if pick else set(needs)

    def made(trial: Trial) -> Case:
        expected = " ".join((inspect.getdoc(trial) or "").split())
        return Case(name, level, source, expected, trial, frozenset(wanted), profile)

    return made
