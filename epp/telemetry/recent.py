"""The last decisions, kept as they were made and rendered only when somebody looks."""

from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import Struct


class Decision(Struct):
    """One pick: what was asked, what was chosen, and how it went since."""

    request_id: str
    at_unix_s: float
    model: str
    policy: str
    endpoint: str
    """``ip:port`` chosen; empty: refused."""
    reason: str
    """One line, the same one the log has."""
    summary: Callable[[], dict[str, Any]]
    """Numbers of the choice, built when read."""
    ttft_ms: float | None = None
    """From the asking of the pick to the first token; None: not known (yet)."""
    ttft_source: str | None = None
    """``events``: the worker's own stream said so. ``predicted``: nothing had to be computed that the
    stream would show, so the estimate made at the pick stands; it is shown and never measured."""
    ended: str | None = None
    """How the stream ended; None: it is still running."""
    duration_ms: float | None = None

    def render(self) -> dict[str, Any]:
        """A JSON-ready object."""
        return {
            "request_id": self.request_id,
            "at_unix_s": round(self.at_unix_s, 3),
            "model": self.model,
            "policy": self.policy,
            "endpoint": self.endpoint,
            "reason": self.reason,
            "ttft_ms": self.ttft_ms,
            "ttft_source": self.ttft_source,
            "ended": self.ended,
            "duration_ms": self.duration_ms,
            **self.summary(),
        }


class RecentDecisions:
    """A ring of the last ``size`` decisions."""

    def __init__(self, size: int) -> None:
        self._ring: deque[Decision] = deque(maxlen=max(1, size))

    def add(self, decision: Decision) -> None:
        """Remember one; the oldest goes."""
        self._ring.append(decision)

    def __len__(self) -> int:
        return len(self._ring)

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """Up to ``limit`` decisions, newest first."""
        picks = list(self._ring)[-limit:] if limit > 0 else []
        return [decision.render() for decision in reversed(picks)]

    def find(self, request_id: str) -> dict[str, Any] | None:
        """The newest decision with this request id."""
        for decision in reversed(self._ring):
            if decision.request_id == request_id:
                return decision.render()
        return None
