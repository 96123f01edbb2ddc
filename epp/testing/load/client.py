"""HTTP/1.1 connections for measuring: one request at a time each, kept alive, nothing copied twice."""

import asyncio
from collections.abc import Mapping
from typing import cast

from epp.testing.load.http1 import ResponseError
from epp.testing.load.meter import StreamMeter


class _Connection(asyncio.Protocol):
    """Feeds whatever arrives to the meter of the request in progress."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._meter: StreamMeter | None = None
        self._over: asyncio.Future[None] | None = None
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done when the connection is closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        if self._meter is None:
            self.close()  # nobody asked: this connection cannot be trusted with a request
            return
        try:
            self._meter.feed(data, self._loop.time())
        except ResponseError as error:
            self._end(error)
            return
        if self._meter.done:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.gone.set_result(None)
        if self._meter is None:
            return
        try:
            self._meter.response.closed()
        except ResponseError as error:
            self._end(exc or error)
        else:
            self._end(None)

    @property
    def usable(self) -> bool:
        """Whether a request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes, meter: StreamMeter) -> None:
        """Send a request and wait for the end of its response. Raises OSError, ResponseError."""
        assert self._transport is not None
        self._meter, self._over = meter, self._loop.create_future()
        self._transport.write(request)
        try:
            await self._over
        finally:
            self._meter = self._over = None

    def close(self) -> None:
        """Close at once, whatever is still unsent."""
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: Exception | None) -> None:
        if self._over is None or self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)


class HttpClient:
    """Requests to one server. Connections grow with the requests in flight and are reused."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    def request(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
        """The bytes of a POST with a JSON body."""
        fields = {
            "host": f"{self._host}:{self._port}",
            "content-type": "application/json",
            "content-length": str(len(body)),
            **(headers or {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body

    async def post(self, request: bytes, meter: StreamMeter) -> None:
        """Send ``request`` and feed its response to ``meter``. Raises OSError, ResponseError."""
        connection = await self._connection()
        try:
            await connection.exchange(request, meter)
        finally:
            if meter.response.keep_alive and connection.usable:
                self._idle.append(connection)
            else:
                connection.close()

    async def close(self) -> None:
        """Close every connection; requests in progress fail."""
        for connection in self._open:
            connection.close()
        await asyncio.gather(*(connection.gone for connection in self._open))

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(loop), self._host, self._port)
        self._open.add(connection)
        connection.gone.add_done_callback(lambda _: self._open.discard(connection))
        return connection
