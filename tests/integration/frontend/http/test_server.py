"""The server with real sockets: what is refused, what is cut, how it drains."""

import asyncio
import contextlib
import socket
import struct

import pytest

from frontend.http.api import Reply, Request
from frontend.http.limits import ServerLimits
from frontend.http.server import HttpServer

from .conftest import DEADLINE_S, echo, exchange, serving, until

CLOSE = b"GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"


async def forever(_: Request, reply: Reply) -> None:
    reply.start(200, ())
    await asyncio.Event().wait()


async def test_pipelined_requests() -> None:
    async with serving(echo) as (_, port):
        many = b"".join(b"GET /%d HTTP/1.1\r\nhost: h\r\n\r\n" % number for number in range(2000))
        answers = await exchange(port, many + CLOSE)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 2001
    assert answers.index(b"GET /1999?") < answers.index(b"GET /last?")


async def test_expect_over_a_socket() -> None:
    async with serving(echo) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PUT /x HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc" + CLOSE)
        answer = await reader.read()
        writer.close()
    assert b"PUT /x? None abc" in answer


async def test_a_refusal_arrives_though_the_body_was_on_its_way() -> None:
    async with serving(echo, ServerLimits(max_body_bytes=1000)) as (server, port):
        head = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4000000\r\n\r\n"
        assert (await exchange(port, head + b"x" * 4_000_000)).startswith(b"HTTP/1.1 413 ")
        await until(lambda: server.connections == 0)


@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_leaves_cancels_at_once(reset: bool) -> None:
    async with serving(forever) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        await until(lambda: server.active == 1)
        if reset:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        await until(lambda: server.active == 0)
        await until(lambda: server.connections == 0)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"])
async def test_silent_clients_are_closed(sent: bytes) -> None:
    async with serving(echo, ServerLimits(head_s=0.5, idle_s=0.1, linger_s=0.1, sweep_s=0.02)) as (
        server,
        port,
    ):
        answer = await exchange(port, sent)
        assert (b" 408 " in answer) == (sent == b"GET / HT")
        await until(lambda: server.connections == 0)


async def test_nodelay_is_set() -> None:
    async with serving(echo) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: server.connections == 1)
        assert server._shared
        (connection,) = server._shared.connections
        assert connection._transport
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()


async def test_too_many_connections_are_told_so() -> None:
    async with serving(echo, ServerLimits(max_connections=1)) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: server.connections == 1)
        assert (await exchange(port, b"")).startswith(b"HTTP/1.1 503 ")
        writer.close()
        await until(lambda: server.connections == 0)
        assert (await exchange(port, CLOSE)).startswith(b"HTTP/1.1 200 ")


async def test_nothing_to_drain() -> None:
    server = HttpServer(echo)
    assert (server.connections, server.active) == (0, 0)
    await server.drain(DEADLINE_S)
    await server.start("127.0.0.1", 0)
    await server.drain(DEADLINE_S)
    await server.drain(DEADLINE_S)


async def test_draining_lets_requests_end() -> None:
    go_on = asyncio.Event()

    async def gated(request: Request, reply: Reply) -> None:
        await go_on.wait()
        await echo(request, reply)

    async with serving(gated) as (server, port):
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        busy = asyncio.create_task(exchange(port, b"GET /1 HTTP/1.1\r\nhost: h\r\n\r\n"))
        await until(lambda: server.active == 1 and server.connections == 2)
        draining = asyncio.create_task(server.drain(DEADLINE_S))
        assert await idle_reader.read() == b""
        idle_writer.close()
        with pytest.raises(OSError, match=r"refused|Connect"):
            await exchange(port, CLOSE)
        go_on.set()
        answer = await busy
        assert b"\r\nconnection: close\r\n" in answer
        assert answer.endswith(b"GET /1? None ")
        await draining
        assert server.connections == 0


async def test_draining_cuts_what_does_not_end() -> None:
    endings: list[str] = []

    async def stubborn(request: Request, reply: Reply) -> None:
        try:
            await forever(request, reply)
        finally:
            await asyncio.sleep(0)
            endings.append("cleaned up")

    async with serving(stubborn) as (server, port):
        busy = asyncio.create_task(exchange(port, b"GET /1 HTTP/1.1\r\nhost: h\r\n\r\n"))
        await until(lambda: server.active == 1)
        await server.drain(0.05)
        assert endings == ["cleaned up"]
        with contextlib.suppress(ConnectionResetError):  # or a plain end, as the kernels' timing has it
            assert b"0\r\n\r\n" not in await busy, "a broken answer never looks whole"
        await until(lambda: server.connections == 0)


@pytest.mark.parametrize("ends", [True, False])
async def test_draining_waits_for_what_follows_an_answer(ends: bool) -> None:
    go_on = asyncio.Event()
    endings: list[str] = []

    async def books(request: Request, reply: Reply) -> None:
        await echo(request, reply)
        try:
            await go_on.wait()
            endings.append("booked")
        except asyncio.CancelledError:
            endings.append("cancelled")
            raise

    async with serving(books) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        await until(lambda: server.active == 1)
        writer.close()
        await until(lambda: server.connections == 0)
        draining = asyncio.create_task(server.drain(DEADLINE_S if ends else 0.01))
        if ends:
            go_on.set()
        await draining
        assert endings == ["booked" if ends else "cancelled"]
        assert server.active == 0
