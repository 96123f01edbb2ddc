"""A small HTTP server that behaves, and misbehaves, as told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest

from epp.testing.ports import HeldPort

Answer: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]

PAGE = b"""# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1.0
"""


def sized(body: bytes, status: str = "200 OK", close: bool = False) -> bytes:
    connection = b"Connection: close\r\n" if close else b""
    return b"HTTP/1.1 %s\r\n%bContent-Length: %d\r\n\r\n%b" % (status.encode(), connection, len(body), body)


class PageServer:
    """Answers every request with ``answer``; counts connections and requests."""

    def __init__(self) -> None:
        self.answer: Answer = self.page
        self.connections = 0
        self.requests: list[bytes] = []
        self._place: HeldPort | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """The same one after a pause."""
        assert self._place is not None
        return self._place.port

    async def page(self, writer: asyncio.StreamWriter) -> None:
        writer.write(sized(PAGE))

    async def start(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._place = self._place or HeldPort(host)
        self._server = await asyncio.start_server(self._serve, host, self.port, ssl=tls)

    async def close(self) -> None:
        """For good."""
        await self.stop()
        assert self._place is not None
        self._place.close()

    async def stop(self) -> None:
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    def send(self, data: bytes, *, close: bool = False) -> None:
        """From now on answer with exactly these bytes."""

        async def answer(writer: asyncio.StreamWriter) -> None:
            writer.write(data)
            if close:
                writer.close()

        self.answer = answer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head)
                await self.answer(writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[PageServer]:
    one = PageServer()
    await one.start()
    yield one
    await one.close()
