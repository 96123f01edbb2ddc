"""Servers, clients and raw peers on loopback, on both event loops."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from frontend.http.api import Reply, Request, UpstreamRequest, whole
from frontend.http.client import UpstreamClient
from frontend.http.connection import Handler
from frontend.http.limits import PoolLimits, ServerLimits
from frontend.http.server import HttpServer

DEADLINE_S = 60


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


async def echo(request: Request, reply: Reply) -> None:
    """Streams for ``/stream``, else answers at once."""
    if request.path == "/stream":
        reply.start(200, (("content-type", "text/event-stream"),))
        for number in range(3):
            reply.data(b"data: %d\n\n" % number)
            await asyncio.sleep(0)
        reply.end()
        return
    text = f"{request.method} {request.path}?{request.query} {request.headers.get('x-a')} ".encode()
    whole(reply, 200, (("content-type", "text/plain"),), text + request.body)


@asynccontextmanager
async def serving(
    handler: Handler, limits: ServerLimits | None = None
) -> AsyncIterator[tuple[HttpServer, int]]:
    server = HttpServer(handler, limits)
    port = await server.start("127.0.0.1", 0)
    try:
        yield server, port
    finally:
        await server.drain(0)


@asynccontextmanager
async def calling(limits: PoolLimits | None = None) -> AsyncIterator[UpstreamClient]:
    client = UpstreamClient(limits)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def relaying(
    engine_port: int, limits: ServerLimits | None = None
) -> AsyncIterator[tuple[HttpServer, int]]:
    """What the frontend does at least."""
    async with calling() as client:

        async def relay(request: Request, reply: Reply) -> None:
            headers = tuple(request.headers.items())
            target = f"{request.path}?{request.query}" if request.query else request.path
            response = await client.send(
                UpstreamRequest(f"127.0.0.1:{engine_port}", request.method, target, headers, request.body)
            )
            reply.start(response.status, tuple(response.headers.items()))
            await response.pipe(reply)
            reply.end()

        async with serving(relay, limits) as server:
            yield server


@asynccontextmanager
async def scripted(
    peer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A peer that does what a test says on every connection, then closes it; its address."""
    tasks: set[asyncio.Task[object]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        await peer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(play, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*tasks)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def exchange(port: int, data: bytes) -> bytes:
    """Send, and read until the server closes. What fits is sent before the server has seen the connection."""
    connection = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
    connection.setblocking(False)
    sent = connection.send(data) if data else 0
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        writer.write(data[sent:])
        async with asyncio.timeout(DEADLINE_S):
            return await reader.read()
    finally:
        writer.close()
