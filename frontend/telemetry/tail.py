"""A reply that is counted while it is being answered, and the usage at its end. Pieces cost nothing here."""

from collections.abc import Sequence
from typing import Final

from epp.core.outcomes import HeaderPairs
from epp.core.usage import Usage, find_usage
from epp.telemetry.families import Gauge
from frontend.http.api import Reply

_MAX_READ_BYTES: Final = 64 * 1024
"""Usage stands at the end of an answer; more than this of it is not looked at."""


class ActiveReply:
    """Implements :class:`Reply` over another one; what is not counted is the other one's own."""

    __slots__ = ("_active", "_inner", "attach", "data", "end", "started")

    def __init__(self, inner: Reply, active: Gauge) -> None:
        """``active`` counts replies that have begun; whoever ends this one takes it off again."""
        self._inner = inner
        self._active = active
        self.data = inner.data
        self.attach = inner.attach
        self.end = inner.end
        self.started = False

    def start(self, status: int, headers: HeaderPairs) -> None:
        """See :class:`Reply`."""
        self._inner.start(status, headers)
        if not self.started:
            self.started = True
            self._active.inc()


def usage_of(last: Sequence[bytes]) -> Usage:
    """What the last pieces of an answer say of tokens."""
    return find_usage(b"".join(last)[-_MAX_READ_BYTES:]) or Usage()
