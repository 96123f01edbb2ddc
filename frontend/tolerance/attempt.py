"""One attempt's reply: holds back what may have to be replaced, passes on what a client can use."""

from collections.abc import Callable
from typing import Final, Protocol

from epp.core.outcomes import HeaderPairs
from frontend.errors import OVERLOADED_STATUS
from frontend.http.api import Flow, Reply
from frontend.sse import SseReader

_BUSY: Final = frozenset({503, OVERLOADED_STATUS})
"""A worker's own "not now": another worker may say otherwise."""
_MAX_HELD_BYTES: Final = 64 * 1024 * 1024
"""Of an answer that comes whole; a larger one is passed on as it comes and can no longer be replaced."""


class EventReader(Protocol):
    """The part of a :class:`~frontend.tolerance.resumption.Resumption` that reads."""

    done: bool
    failed: bool

    def event(self, data: bytes) -> bytes:
        """One event's data as the client gets it, framed; empty: nothing."""
        ...


class AttemptReply:
    """Implements :class:`Reply`. It never ends the client's reply; :meth:`settle` does."""

    def __init__(
        self, client: Reply, reader: EventReader, *, began: Callable[[], None] = lambda: None
    ) -> None:
        """``began`` is called when the worker begins to answer."""
        self._client = client
        self._began = began
        self._reader = reader
        self._events: SseReader | None = None
        self._status = 0
        self._headers: HeaderPairs = ()
        self._held: list[bytes] | None = []
        self._held_bytes = 0
        self.started = False
        self.ended = False
        """The worker's answer came to its end."""

    @property
    def broken(self) -> bool:
        """Something is wrong with the answer so far, though its connection may be well."""
        if self._events is not None:
            return self._reader.failed or (self.ended and not self._reader.done)
        return self.ended and self._status in _BUSY and self._held is not None

    def start(self, status: int, headers: HeaderPairs) -> None:
        """See Reply: a stream's head is passed on at once, but for the one the client has already."""
        self.started = True
        self._began()
        self._status, self._headers = status, headers
        kind = next((value for name, value in headers if name == "content-type"), "")
        if not kind.startswith("text/event-stream") or status >= 400:
            return
        self._events, self._held = SseReader(), None
        if not self._client.started:
            self._client.start(status, headers)

    def data(self, piece: bytes) -> None:
        """See Sink."""
        if self._events is not None:
            self._pass_events(self._events, piece)
            return
        if self._held is None:
            self._client.data(piece)
            return
        self._held.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes > _MAX_HELD_BYTES:
            self._release()

    def attach(self, source: Flow | None) -> None:
        """See Sink."""
        self._client.attach(source)

    def end(self) -> None:
        """See Reply: noted, not passed on."""
        self.ended = True

    def settle(self) -> None:
        """The answer is accepted: the client gets what was held back, and the end."""
        self._release()
        self._client.end()

    @property
    def complete(self) -> bool:
        """A whole answer is held back: better than none, whatever it says."""
        return self.ended and self._held is not None

    @property
    def replaceable(self) -> bool:
        """Nothing of an answer that comes whole has reached the client."""
        return self._events is not None or self._held is not None

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        self._client.start(self._status, self._headers)
        for piece in held:
            self._client.data(piece)

    def _pass_events(self, events: SseReader, piece: bytes) -> None:
        if self._reader.failed:
            return  # whatever follows a fault is not passed on, and must not pile up
        said = b""
        try:
            for one in events.feed(piece):
                said += b"" if self._reader.failed else self._reader.event(one.data)
        except ValueError:  # an event beyond every bound
            self._reader.failed = True
        if said:
            self._client.data(said)
