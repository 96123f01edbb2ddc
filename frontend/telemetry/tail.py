"""A reply that remembers the end of what passes, for the usage in it, and costs next to nothing a piece."""

from typing import Final

from prometheus_client import Gauge

from epp.core.outcomes import HeaderPairs
from epp.core.usage import Usage, find_usage
from frontend.http.api import Flow, Reply

_MAX_READ_BYTES: Final = 64 * 1024
"""Usage stands at the end of an answer; more than this of it is not looked at."""
_PIECES: Final = 3
"""The usage chunk, the end marker, and one that was cut between them."""


class TailReply:
    """Implements :class:`Reply` over another one."""

    __slots__ = ("_active", "_inner", "_pieces", "started")

    def __init__(self, inner: Reply, active: Gauge) -> None:
        """``active`` counts replies that have begun; whoever ends this one takes it off again."""
        self._inner = inner
        self._active = active
        self._pieces: list[bytes] = []
        self.started = False

    def start(self, status: int, headers: HeaderPairs) -> None:
        """See :class:`Reply`."""
        self._inner.start(status, headers)
        if not self.started:
            self.started = True
            self._active.inc()

    def data(self, piece: bytes) -> None:
        """See :class:`frontend.http.api.Sink`."""
        pieces = self._pieces
        if len(pieces) == _PIECES:
            del pieces[0]
        pieces.append(piece)
        self._inner.data(piece)

    def attach(self, source: Flow | None) -> None:
        """See :class:`frontend.http.api.Sink`."""
        self._inner.attach(source)

    def end(self) -> None:
        """See :class:`Reply`."""
        self._inner.end()

    def usage(self) -> Usage:
        """What the end of the answer says of tokens; read once, after the end."""
        return find_usage(b"".join(self._pieces)[-_MAX_READ_BYTES:]) or Usage()
