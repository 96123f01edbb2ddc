"""A transport without a socket, a connection on it, and a clock that is set."""

import asyncio
from collections.abc import Callable
from typing import Any

from frontend.http.connection import Handler, ServerConnection, Shared
from frontend.http.limits import ServerLimits


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class MemoryTransport(asyncio.Transport):
    """Keeps what is written; ``stuck`` counts it as unsent."""

    def __init__(self, protocol: asyncio.Protocol, *, half_close: bool = True) -> None:
        super().__init__({"peername": ("192.0.2.1", 5000)})
        self.writes: list[bytes] = []
        self.stuck_bytes = 0
        self.reading = True
        self.wrote_eof = False
        self.closed = False
        self.aborted = False
        self._half_close = half_close
        self._protocol = protocol
        protocol.connection_made(self)

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def receive(self, data: bytes) -> None:
        """What the peer sent."""
        assert not self.closed
        self._protocol.data_received(data)

    def lose(self, error: Exception | None = None) -> None:
        """The peer is gone."""
        self.closed = True
        self._protocol.connection_lost(error)

    def write(self, data: Any) -> None:
        if not self.closed:
            self.writes.append(bytes(data))

    def write_eof(self) -> None:
        self.wrote_eof = True

    def can_write_eof(self) -> bool:
        return self._half_close

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None

    def get_write_buffer_size(self) -> int:
        return self.stuck_bytes

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()


def serve(
    handler: Handler, limits: ServerLimits | None = None, *, half_close: bool = True
) -> tuple[MemoryTransport, Shared, Clock]:
    """One connection to a server that is not there."""
    clock = Clock()
    shared = Shared(handler, limits or ServerLimits(), clock, asyncio.get_running_loop())
    return MemoryTransport(ServerConnection(shared), half_close=half_close), shared, clock


def sweep(shared: Shared) -> None:
    for connection in tuple(shared.connections):
        connection.sweep(shared.clock())


async def settle(done: Callable[[], bool] = lambda: False, steps: int = 20) -> None:
    """Let the loop turn until ``done``, or for a few steps."""
    for _ in range(steps):
        if done():
            return
        await asyncio.sleep(0)
