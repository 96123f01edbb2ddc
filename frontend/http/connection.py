"""One client's connection: requests in, one task each, replies out in order."""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias, cast

import msgspec

from frontend.errors import error_value
from frontend.http.api import Reply, Request, whole
from frontend.http.bodies import BodyBudget
from frontend.http.heads import CONTINUE, Dates
from frontend.http.limits import ServerLimits
from frontend.http.reader import Incoming, RefusedError, RequestReader
from frontend.http.responder import Responder

Handler: TypeAlias = Callable[[Request, Reply], Awaitable[None]]
_JSON: Final = (("content-type", "application/json"),)
_MAX_REFUSING: Final = 64
"""So many connections over the limit are told so; the others are cut without a word."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Shared:
    """What all connections of a server have in common."""

    handler: Handler
    limits: ServerLimits
    clock: Callable[[], float]
    loop: asyncio.AbstractEventLoop
    dates: Dates = field(default_factory=Dates)
    bodies: BodyBudget = field(init=False)
    connections: set["ServerConnection"] = field(default_factory=set["ServerConnection"])
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    """Of the requests being handled; some outlive their connection, to clean up."""
    draining: bool = False
    empty: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there are neither connections nor tasks; kept only while draining."""

    def __post_init__(self) -> None:
        """The budget is the limits'."""
        self.bodies = BodyBudget(self.limits.max_bodies_bytes)

    def answered(self, body_bytes: int, _task: asyncio.Task[None]) -> None:
        """A request is over, and its body held no longer."""
        self.bodies.give(body_bytes)

    def count(self) -> None:
        """Keep ``empty`` true."""
        if self.draining and not self.connections and not self.tasks:
            self.empty.set()


class ServerConnection(asyncio.Protocol):
    """Deadlines are a number that :meth:`sweep` looks at: no timer per request."""

    __slots__ = (
        *(
            "_deadline_s",
            "_drop_all",
            "_expects",
            "_full",
            "_owed_bytes",
            "_owed_since_s",
            "_paused",
            "_peer",
        ),
        *("_queue", "_reader", "_reply", "_shared", "_task", "_transport"),
    )

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._reader = RequestReader(shared.limits, self, shared.bodies)
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._reply: Responder | None = None
        self._task: asyncio.Task[None] | None = None
        self._queue: deque[tuple[Request, Incoming] | RefusedError] = deque()
        """Read, not begun. Reading stops while something is here, so one read's worth of bytes bounds it."""
        self._full = False
        self._paused = False
        self._expects = False
        self._drop_all = False
        self._deadline_s = math.inf
        self._owed_bytes = 0
        self._owed_since_s = 0.0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here; refused when there are too many."""
        shared = self._shared
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one only by its methods
        self._transport.set_write_buffer_limits(shared.limits.write_buffer_bytes)
        peer = transport.get_extra_info("peername")
        self._peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        shared.connections.add(self)
        self._deadline_s = shared.clock() + shared.limits.head_s
        surplus = len(shared.connections) - shared.limits.max_connections
        if surplus > _MAX_REFUSING:
            self._cut()
        elif surplus > 0 or shared.draining:
            self._refuse(RefusedError(503, "There are too many connections."))

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._drop_all:
            return
        reader = self._reader
        was_idle = reader.idle
        try:
            reader.feed(data)
        except RefusedError as refused:
            self._drop_all = True
            self._queue.append(refused)
            self._next()
            return
        if was_idle and self._task is None and not reader.idle and not reader.in_body:
            self._deadline_s = self._shared.clock() + self._shared.limits.head_s

    def eof_received(self) -> None:
        """The client sends no more; one that only closed its sending half is taken for gone, too."""
        if self._task is not None:
            self._cut()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio.Protocol
        """The client is gone: so is its request."""
        self._transport = None
        self._cancel()
        self._forget_unbegun()
        shared = self._shared
        shared.connections.discard(self)
        shared.count()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._full = True
        if self._reply is not None:
            self._reply.hold()

    def resume_writing(self) -> None:
        """The client caught up."""
        self._full = False
        if self._reply is not None:
            self._reply.release()

    # frontend.http.reader.Listener

    def head_read(self, incoming: Incoming) -> None:
        """A body may follow: its deadline begins."""
        if self._task is None:
            self._deadline_s = self._shared.clock() + self._shared.limits.body_s
        self._expects = incoming.expects
        self._answer_expectation()

    def request_read(self, incoming: Incoming) -> None:
        """Begin it, or line it up behind the one in progress."""
        self._expects = False
        self._queue.append((self._request(incoming), incoming))
        self._next()

    # the server

    def sweep(self, now_s: float) -> None:
        """Enforce the deadlines."""
        transport = self._transport
        if transport is None:
            return
        owed_bytes, before_bytes = transport.get_write_buffer_size(), self._owed_bytes
        self._owed_bytes = owed_bytes
        if owed_bytes < before_bytes or not (owed_bytes and before_bytes):  # it took some, or all
            self._owed_since_s = now_s
        elif now_s - self._owed_since_s > self._shared.limits.write_s:
            self._cut()
            return
        if now_s > self._deadline_s:
            self._expire()

    def drain(self) -> None:
        """No request after the one in progress."""
        if self._reply is not None:
            self._reply.keep_alive = False
        elif not self._queue and self._reader.idle:
            self._close()

    def abort(self) -> None:
        """End at once; a request in progress is cancelled."""
        self._cut()

    # one request after the other

    def _request(self, incoming: Incoming) -> Request:
        path, _, query = incoming.target.partition("?")
        body = incoming.body
        return Request(
            incoming.method,
            path,
            query,
            incoming.headers,
            bytes(body[0]) if len(body) == 1 else b"".join(body),
            self._shared.clock(),
            self._peer,
            time.time_ns() // 1_000_000,
        )

    def _next(self) -> None:
        """Begin what is first in line, if nothing is in progress."""
        if self._transport is None:
            return
        if self._task is not None:
            self._paused = True
            self._transport.pause_reading()
            return
        first = self._queue.popleft()
        if self._paused and not self._queue:
            self._paused = False
            self._transport.resume_reading()  # a client that leaves is only seen by reading
        if isinstance(first, RefusedError):
            self._refuse(first)
            return
        request, incoming = first
        shared = self._shared
        self._deadline_s = math.inf
        reply = self._reply = Responder(
            self._transport,
            shared.loop,
            shared.dates,
            method=incoming.method,
            version=incoming.version,
            keep_alive=incoming.keep_alive and not shared.draining,
            full=self._full,
        )
        self._task = shared.loop.create_task(self._serve(request, reply))
        if incoming.body_bytes:  # a task cancelled before its first step runs no code of its own
            self._task.add_done_callback(partial(shared.answered, incoming.body_bytes))

    async def _serve(self, request: Request, reply: Responder) -> None:
        task, tasks = self._task, self._shared.tasks
        assert task is not None, "it runs no sooner than the loop turns"
        tasks.add(task)
        try:
            await self._shared.handler(request, reply)
            if not reply.ended:
                _log.error("%s %s was not answered to its end", request.method, request.path)
        except Exception:  # noqa: BLE001 -- whatever a handler dies of, its client is told, the others go on
            _log.exception("%s %s failed", request.method, request.path)
        finally:
            tasks.discard(task)
            self._task = None
            self._reply = None
            self._finish(reply)
            self._shared.count()

    def _finish(self, reply: Responder) -> None:
        if self._transport is None:
            return
        if not reply.ended:
            if reply.started:
                reply.abort()
                return
            whole(reply, 500, _JSON, error_body(500, "The server failed to answer."))
        if not reply.keep_alive:
            self._close()
        elif self._queue:
            self._next()
        else:
            self._wait()

    def _wait(self) -> None:
        """Nothing in progress: for the rest of a request, or for another."""
        shared = self._shared
        limits = shared.limits
        if self._reader.idle:
            self._deadline_s = shared.clock() + limits.idle_s
            if shared.draining:
                self._close()
            return
        self._deadline_s = shared.clock() + (limits.body_s if self._reader.in_body else limits.head_s)
        self._answer_expectation()

    def _answer_expectation(self) -> None:
        """``100 Continue``, once it is this request's turn to be answered."""
        if self._expects and self._task is None and self._transport is not None:
            self._transport.write(CONTINUE)
            self._expects = False

    # endings

    def _expire(self) -> None:
        if self._drop_all or self._reader.idle:
            self._cut()
            return
        self._drop_all = True
        self._refuse(RefusedError(408, "The request took too long to arrive."))

    def _refuse(self, refused: RefusedError) -> None:
        """Answer, then read on for a while: closing over unread bytes would take the answer back."""
        transport = self._transport
        assert transport is not None
        self._drop_all = True
        self._reader.abandon()
        self._deadline_s = self._shared.clock() + self._shared.limits.linger_s
        reply = Responder(transport, self._shared.loop, self._shared.dates, keep_alive=False)
        whole(reply, refused.status, _JSON, error_body(refused.status, refused.message))
        if transport.can_write_eof():
            transport.resume_reading()
            transport.write_eof()
        else:
            transport.close()

    def _forget_unbegun(self) -> None:
        """Nobody will serve what was read and not begun."""
        self._reader.abandon()
        while self._queue:
            waiting = self._queue.popleft()
            if not isinstance(waiting, RefusedError):
                self._shared.bodies.give(waiting[1].body_bytes)

    def _close(self) -> None:
        """After what was written has been sent."""
        if self._transport is not None:
            self._drop_all = True
            self._transport.close()

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._cancel()

    def _cancel(self) -> None:
        """Once: a second time would disturb the handler's cleaning up."""
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.lose()
            if self._task is not None and not reply.ended:
                self._task.cancel()


def error_body(status: int, message: str) -> bytes:
    """The JSON every error has."""
    return msgspec.json.encode(error_value(status, message))
