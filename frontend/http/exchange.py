"""One request to a model server and its response: the state of it, and the body on its way to a sink."""

import asyncio
from typing import Protocol

from frontend.http.api import Failure, Limits, Sink, UpstreamError


class Link(Protocol):
    """The connection underneath."""

    def close(self) -> None:
        """Drop it: the exchange cannot be finished."""
        ...

    def pause(self) -> None:
        """Read no more (idempotent)."""
        ...

    def resume(self) -> None:
        """Read on (idempotent)."""
        ...

    def now_s(self) -> float:
        """The clock."""
        ...


class Exchange:
    """Implements ``UpstreamResponse`` of :mod:`frontend.http.api`, and ``Flow`` for the sink.

    The connection calls ``begin_body`` … ``fail``, from its callbacks.
    """

    __slots__ = (
        *(
            "_ahead",
            "_ahead_bytes",
            "_done",
            "_error",
            "_head",
            "_limits",
            "_link",
            "_max_ahead_bytes",
            "_sink",
        ),
        *("complete", "deadline_s", "head_bytes", "headers", "heard", "held", "method", "started", "status"),
        "until_eof",
    )

    def __init__(self, link: Link, method: str, limits: Limits, max_ahead_bytes: int) -> None:
        self._link = link
        self._limits = limits
        self._max_ahead_bytes = max_ahead_bytes
        self._head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._sink: Sink | None = None
        self._ahead: list[bytes] = []
        self._ahead_bytes = 0
        self.method = method
        self.status = 0
        self.headers: dict[str, str] = {}
        self.head_bytes = 0
        self.heard = False
        """A byte of the response arrived: the request must not be repeated."""
        self.started = False
        """The response's head was read."""
        self.complete = False
        self.until_eof = False
        """The body's end is the connection's."""
        self.held = False
        """The sink is full: silence is our own doing."""
        self.deadline_s = link.now_s() + limits.head_s

    # for the caller: UpstreamResponse

    async def answered(self) -> "Exchange":
        """Wait for the head. Raises UpstreamError; cancelled, it closes the connection."""
        try:
            await self._head
        except BaseException:
            self._link.close()
            raise
        return self

    async def read(self, max_bytes: int) -> bytes:
        """See :class:`~frontend.http.api.UpstreamResponse`."""
        collector = _Collector(max_bytes)
        await self.pipe(collector)
        return b"".join(collector.pieces)

    async def pipe(self, sink: Sink) -> None:
        """See :class:`~frontend.http.api.UpstreamResponse`. What the sink raises ends the exchange, too."""
        try:
            self._pour(sink)
            if not self.complete:
                await self._flow_into(sink)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See :class:`~frontend.http.api.UpstreamResponse`."""
        if not self.complete:
            self.complete = True
            self._sink = None
            self._link.close()

    # for the sink: Flow

    def pause(self) -> None:
        """The sink is full."""
        if not self.complete:
            self.held = True
            self._link.pause()

    def resume(self) -> None:
        """The sink takes more."""
        if self.held and not self.complete:
            self.held = False
            self.deadline_s = self._link.now_s() + self._limits.idle_s
            self._link.resume()

    # for the connection

    def begin_body(self) -> None:
        """The head is whole."""
        self.started = True
        self.touch()
        if not self._head.done():
            self._head.set_result(None)

    def touch(self) -> None:
        """Something arrived."""
        self.deadline_s = self._link.now_s() + self._limits.idle_s

    def push(self, piece: bytes) -> None:
        """A piece of the body: to the sink, or aside until there is one. Raises what the sink raises."""
        if self.complete:
            return  # given up
        if self._sink is not None:
            self._sink.data(piece)
            return
        self._ahead.append(piece)
        self._ahead_bytes += len(piece)
        if self._ahead_bytes > self._max_ahead_bytes:
            self._link.pause()

    def finish(self) -> None:
        """The body is whole."""
        if self.complete:
            return  # given up
        self.complete = True
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def fail(self, error: Exception) -> None:
        """There will be no more of it; the first reason counts."""
        if self.complete or self._error is not None:
            return
        self._error = error
        waiter = self._done if self.started else self._head
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def expire(self, now_s: float) -> None:
        """Fail when the peer was silent for too long."""
        if now_s <= self.deadline_s or self.held or self.complete:
            return
        limit_s = self._limits.idle_s if self.started else self._limits.head_s
        self.fail(
            UpstreamError(Failure.TIMEOUT, f"silent for more than {limit_s:g} s", answered=self.started)
        )
        self._link.close()

    def _pour(self, sink: Sink) -> None:
        """Hand over what came before there was a sink."""
        while self._ahead:
            pieces, self._ahead = self._ahead, []
            for piece in pieces:
                sink.data(piece)

    async def _flow_into(self, sink: Sink) -> None:
        if self._error is not None:
            raise self._error
        self._done = asyncio.get_running_loop().create_future()
        self._sink = sink
        self._link.resume()
        sink.attach(self)
        try:
            await self._done
        finally:
            self._sink = None
            sink.attach(None)


class _Collector:
    """A sink that keeps everything."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self.pieces: list[bytes] = []

    def data(self, piece: bytes) -> None:
        """Raises UpstreamError when it is too much."""
        self._left -= len(piece)
        if self._left < 0:
            raise UpstreamError(Failure.TOO_LARGE, "the response is too large", answered=True)
        self.pieces.append(piece)

    def attach(self, source: object) -> None:
        """Never full."""
