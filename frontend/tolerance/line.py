"""The waiting line, without a clock or a loop: who is next, and how many may wait."""

import bisect
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class LinePolicy(StrEnum):
    """Who of equal tier goes first."""

    FCFS = "fcfs"
    """First come, first served; a priority counts like seconds of having come earlier."""
    LCFS = "lcfs"
    """Last come, first served: under lasting overload somebody is served in time."""
    WSPT = "wspt"
    """Least prompt tokens per weight first: the best mean time to first token."""


class Full(StrEnum):
    """Which bound keeps a request out of the line: a metric label."""

    REQUESTS = "request_limit"
    TOKENS = "raw_isl_token_limit"


@dataclass(frozen=True, slots=True)
class Waiter:
    """One request in line."""

    number: int
    """In order of arrival."""
    arrived_s: float
    prompt_tokens: int
    priority: int = 0
    """Higher is more important."""
    strict_priority: int = 0
    """Tier; a higher one is always served first."""


_KEYS: Final[dict[LinePolicy, Callable[[Waiter], float]]] = {
    LinePolicy.FCFS: lambda w: w.arrived_s - w.priority,
    LinePolicy.LCFS: lambda w: -w.arrived_s - w.priority,
    LinePolicy.WSPT: lambda w: w.prompt_tokens / (1.0 + max(0, w.priority)),
}


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    tier: int
    key: float
    number: int
    waiter: Waiter = field(compare=False)


class Line:
    """Waiters in order."""

    def __init__(self, policy: LinePolicy, *, max_requests: int, max_tokens: int | None) -> None:
        self._key = _KEYS[policy]
        self._max_requests = max_requests
        self._max_tokens = max_tokens
        self._places: list[_Place] = []
        self.tokens = 0
        """Prompt tokens in line."""

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, waiter: Waiter) -> Full | None:
        """Take a place; or the bound that forbids it. An empty line takes any one request."""
        if full := self._full(waiter):
            return full
        self.enter_again(waiter)
        return None

    def enter_again(self, waiter: Waiter) -> None:
        """Take the place of before, whoever has come since: it was granted once."""
        bisect.insort(self._places, self._place(waiter))
        self.tokens += waiter.prompt_tokens

    def leave(self, waiter: Waiter) -> None:
        """Give a place back (idempotent)."""
        place = self._place(waiter)
        at = bisect.bisect_left(self._places, place)
        if at < len(self._places) and self._places[at].number == waiter.number:
            del self._places[at]
            self.tokens -= waiter.prompt_tokens

    @property
    def head(self) -> Waiter | None:
        """Who is next."""
        return self._places[0].waiter if self._places else None

    def _full(self, waiter: Waiter) -> Full | None:
        if len(self._places) >= self._max_requests:
            return Full.REQUESTS
        tokens = self.tokens + waiter.prompt_tokens
        if self._max_tokens is not None and self._places and tokens > self._max_tokens:
            return Full.TOKENS
        return None

    def _place(self, waiter: Waiter) -> _Place:
        return _Place(-waiter.strict_priority, self._key(waiter), waiter.number, waiter)
