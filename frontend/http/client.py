"""The client side: requests to model servers over connections that are kept open."""

import asyncio
import functools
import time
from collections.abc import Callable

from frontend.http.api import Failure, UpstreamError, UpstreamRequest
from frontend.http.exchange import Exchange
from frontend.http.heads import request_head
from frontend.http.limits import PoolLimits
from frontend.http.link import UpstreamConnection
from frontend.http.pool import Pool


class UpstreamClient:
    """Implements :class:`frontend.http.api.Upstream`."""

    def __init__(
        self, limits: PoolLimits | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits or PoolLimits()
        self._clock = clock
        self._pool: Pool[UpstreamConnection] = Pool(self._limits)
        self._busy: set[UpstreamConnection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.opened = 0
        """Connections opened so far."""
        self.retried = 0
        """Requests repeated because a kept connection turned out to be dead."""

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._pool)

    @property
    def active(self) -> int:
        """Connections with a request."""
        return len(self._busy)

    async def send(self, request: UpstreamRequest) -> Exchange:
        """See :class:`~frontend.http.api.Upstream`. Raises HeadError for headers that cannot be sent.

        A kept connection that dies before the first byte of an answer is a keep-alive that ran out on the
        other side: the request is sent once more, on a fresh connection.
        """
        head = request_head(
            request.method, request.path, request.host_port, request.headers, len(request.body)
        )
        kept = self._take(request.host_port)
        if kept is not None:
            exchange = self._begin(kept, request, head)
            try:
                return await exchange.answered()
            except UpstreamError as error:
                if error.failure is not Failure.RESET or exchange.heard:
                    raise
            self.retried += 1
        fresh = await self._connect(request.host_port, request.limits.connect_s)
        return await self._begin(fresh, request, head).answered()

    async def close(self) -> None:
        """Close every connection; exchanges in progress fail with RESET."""
        self._closed = True
        self._pool.close()
        for connection in tuple(self._busy):
            connection.close()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.sleep(0)  # the loop tells the connections that they are lost

    def _begin(self, connection: UpstreamConnection, request: UpstreamRequest, head: bytes) -> Exchange:
        self._busy.add(connection)
        return connection.begin(request.method, head, request.body, request.limits)

    def _take(self, host_port: str) -> UpstreamConnection | None:
        now_s = self._clock()
        while (connection := self._pool.take(host_port, now_s)) is not None:
            if connection.usable:
                return connection
        return None

    async def _connect(self, host_port: str, timeout_s: float) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        make = functools.partial(
            UpstreamConnection, host_port, self._limits, self._clock, self._freed, self._lost
        )
        try:
            host, port = _split(host_port)
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(make, host, port)
        except TimeoutError:
            raise UpstreamError(
                Failure.CONNECT, f"no connection to {host_port} within {timeout_s:g} s"
            ) from None
        except (OSError, ValueError) as error:  # ValueError: no port, or a name that cannot be looked up
            raise UpstreamError(Failure.CONNECT, f"no connection to {host_port}: {error}") from error
        if not connection.usable:
            raise UpstreamError(Failure.CONNECT, f"{host_port} closed the connection at once")
        self.opened += 1
        if self._timer is None:
            self._timer = loop.call_later(self._limits.sweep_s, self._sweep)
        return connection

    def _freed(self, connection: UpstreamConnection) -> None:
        self._busy.discard(connection)
        if self._closed:
            connection.close()
        else:
            self._pool.give(connection.host_port, connection, self._clock())

    def _lost(self, connection: UpstreamConnection) -> None:
        self._busy.discard(connection)
        self._pool.forget(connection.host_port, connection)

    def _sweep(self) -> None:
        now_s = self._clock()
        self._pool.sweep(now_s)
        for connection in tuple(self._busy):
            connection.sweep(now_s)
        self._timer = None
        if self._busy or self._pool:
            self._timer = asyncio.get_running_loop().call_later(self._limits.sweep_s, self._sweep)


def _split(host_port: str) -> tuple[str, int]:
    host, _, port = host_port.rpartition(":")
    return host.strip("[]"), int(port)
