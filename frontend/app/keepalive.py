"""Comment lines in a quiet stream, so that proxies do not close it.

The clock runs from the request on: a long prompt is computed before the first chunk, and a proxy that gives
up after a minute of silence must see something. That commits the answer to a stream with status 200; an
error the model server reports afterwards reaches the client as an error event.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from epp.core.outcomes import HeaderPairs
from frontend.http.api import Flow, Reply
from frontend.outgoing import Outgoing
from frontend.sse import DONE, event

COMMENT: Final = b":\n\n"
_STREAM_HEADERS: Final[HeaderPairs] = (("content-type", "text/event-stream"), ("cache-control", "no-cache"))
_MAX_ERROR_BYTES: Final = 1 << 20


class KeepAlive:
    """Implements :class:`frontend.http.api.Reply` over ``inner``; ``close`` ends the timer."""

    def __init__(self, inner: Reply, out: Outgoing, interval_s: float, clock: Callable[[], float]) -> None:
        """``out`` lies at the bottom of ``inner``: comments go there, and what it has seen decides."""
        self._inner = inner
        self._out = out
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._quiet_since_s = clock()
        self._early = False
        """The head was sent before there was an answer."""
        self._refusal: bytearray | None = None
        """The body of an error that came after an early head."""
        self.started = False
        self._timer = self._loop.call_later(interval_s, self._tick)

    def start(self, status: int, headers: HeaderPairs) -> None:
        """See :class:`Reply`."""
        self.started = True
        if not self._early:
            self._inner.start(status, headers)
        elif status >= HTTPStatus.BAD_REQUEST:
            self._refusal = bytearray()

    def data(self, piece: bytes) -> None:
        """See :class:`Sink`."""
        if self._refusal is not None:
            self._refusal += piece[: _MAX_ERROR_BYTES - len(self._refusal)]
            return
        self._quiet_since_s = self._clock()
        self._inner.data(piece)

    def end(self) -> None:
        """See :class:`Reply`."""
        self.close()
        if self._refusal is not None:
            self._out.data(event(bytes(self._refusal)) + DONE)
        self._inner.end()

    def attach(self, source: Flow | None) -> None:
        """See :class:`Sink`."""
        self._inner.attach(source)

    def close(self) -> None:
        """Send no more comments (idempotent)."""
        self._timer.cancel()

    def _tick(self) -> None:
        left_s = self._quiet_since_s + self._interval_s - self._clock()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._tick)
            return
        self._quiet_since_s = self._clock()
        self._timer = self._loop.call_later(self._interval_s, self._tick)
        if not self._out.started:
            self._early = True
            self._out.start(200, _STREAM_HEADERS)
        if self._out.is_events and self._out.between_events:
            self._out.data(COMMENT)
