"""A client's reply as the app hands it to the pipeline: it remembers what the app must know at the end."""

from typing import Final

from epp.core.outcomes import HeaderPairs
from frontend.http.api import Flow, Reply

REQUEST_ID: Final = "x-request-id"
_EVENT_STREAM: Final = "text/event-stream"
_KEPT_PIECES: Final = 3
"""The usage chunk, the end marker, and one that was cut between them."""


class Outgoing:
    """Implements :class:`frontend.http.api.Reply` over another one."""

    __slots__ = ("_inner", "_request_id", "_write", "ended", "is_events", "last", "started", "status")

    def __init__(self, inner: Reply, request_id: str | None = None) -> None:
        """``request_id`` is given back in the head; None: the client sent none."""
        self._inner = inner
        self._write = inner.data
        self._request_id = request_id
        self.last: list[bytes] = []
        """The last few pieces, for whoever wants to know how an answer ended."""
        self.started = False
        self.ended = False
        self.status = 0
        """0: not started."""
        self.is_events = False
        """The answer is a stream of server-sent events, and open to more of them: no length was promised."""

    def start(self, status: int, headers: HeaderPairs) -> None:
        """See :class:`Reply`."""
        if self._request_id is not None:
            headers = (*(p for p in headers if p[0] != REQUEST_ID), (REQUEST_ID, self._request_id))
        self._inner.start(status, headers)
        self.started = True
        self.status = status
        kind = next((value for name, value in headers if name == "content-type"), "")
        self.is_events = kind.startswith(_EVENT_STREAM) and all(n != "content-length" for n, _ in headers)

    def data(self, piece: bytes) -> None:
        """See :class:`Sink`."""
        last = self.last
        if len(last) == _KEPT_PIECES:
            del last[0]
        last.append(piece)
        self._write(piece)

    def end(self) -> None:
        """See :class:`Reply`."""
        self._inner.end()
        self.ended = True

    def attach(self, source: Flow | None) -> None:
        """See :class:`Sink`."""
        self._inner.attach(source)

    @property
    def between_events(self) -> bool:
        """An event may begin here: nothing was sent, or the last piece closed one."""
        return not self.last or self.last[-1].endswith((b"\n\n", b"\r\n\r\n"))
