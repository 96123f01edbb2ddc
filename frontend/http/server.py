"""The HTTP/1.1 server: listens, watches deadlines, drains."""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Final

from frontend.http.connection import Handler, ServerConnection, Shared
from frontend.http.limits import ServerLimits
from frontend.http.tlslistener import TlsListener

__all__ = ["Handler", "HttpServer", "ServerLimits"]

_log = logging.getLogger(__name__)

_CANCEL_DEADLINE_S: Final = 5.0
"""For handlers to clean up after a drain ran out of time."""


class HttpServer:
    """Calls ``handler(request, reply)`` in a task per request; a client that leaves cancels its task.

    A handler that returns before ``reply.end()`` is answered for: 500 if nothing was sent, else the
    connection breaks.
    """

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handler = handler
        self._limits = limits or ServerLimits()
        self._clock = clock
        self._shared: Shared | None = None
        self._server: asyncio.Server | TlsListener | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Open connections, those included that have not shaken hands."""
        shaking = len(self._server.shaking) if isinstance(self._server, TlsListener) else 0
        return (len(self._shared.connections) if self._shared else 0) + shaking

    @property
    def body_bytes(self) -> int:
        """Of requests that have not been answered."""
        return self._shared.bodies.held_bytes if self._shared else 0

    @property
    def active(self) -> int:
        """Requests being handled."""
        return len(self._shared.tasks) if self._shared else 0

    async def start(
        self, host: str, port: int, *, ssl_context: ssl.SSLContext | None = None, backlog: int = 4096
    ) -> int:
        """Listen; the port, which the kernel chooses for 0. Raises OSError."""
        loop = asyncio.get_running_loop()
        shared = self._shared = Shared(self._handler, self._limits, self._clock, loop)
        if ssl_context is None:
            made = await loop.create_server(lambda: ServerConnection(shared), host, port, backlog=backlog)
            self._server = made
            bound: int = made.sockets[0].getsockname()[1]
        else:
            listener = self._tls_listener(ssl_context, shared)
            bound = await listener.start(host, port, backlog)
            self._server = listener
        self._timer = loop.call_later(self._limits.sweep_s, self._sweep)
        return bound

    def _tls_listener(self, context: ssl.SSLContext, shared: Shared) -> TlsListener:
        limits = self._limits
        return TlsListener(
            context,
            lambda: ServerConnection(shared),
            lambda: self.connections >= limits.max_connections,
            handshake_s=limits.head_s,
            shutdown_s=limits.linger_s,
        )

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, let requests in progress end, close; what is left after ``timeout_s`` is cut."""
        shared = self._shared
        if shared is None or self._server is None:
            return
        self._server.close()
        shared.draining = True
        for connection in tuple(shared.connections):
            connection.drain()
        shared.count()
        try:
            await asyncio.wait_for(shared.empty.wait(), timeout_s)
        except TimeoutError:
            await _abort(shared)
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        shared = self._shared
        assert shared is not None
        self._timer = shared.loop.call_later(self._limits.sweep_s, self._sweep)
        now_s = self._clock()
        for connection in tuple(shared.connections):
            connection.sweep(now_s)


async def _abort(shared: Shared) -> None:
    for connection in tuple(shared.connections):
        connection.abort()
    for task in shared.tasks:
        if not task.cancelling():  # one that has answered is not cancelled with its connection
            task.cancel()
    try:
        await asyncio.wait_for(shared.empty.wait(), _CANCEL_DEADLINE_S)
    except TimeoutError:
        _log.error("%d requests did not end when they were cancelled", len(shared.tasks))
