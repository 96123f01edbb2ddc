"""Server and client together, as a relay: what passes through, what is held back, who is told."""

import asyncio
import os
import resource
import socket

import pytest

from frontend.http.api import Reply, Request
from frontend.http.limits import ServerLimits

from .conftest import DEADLINE_S, echo, exchange, relaying, serving, until

GET = b"GET %b HTTP/1.1\r\nhost: h\r\n\r\n"
STREAMS = 5000
SPARE_FILES = 500


async def test_answers_pass_unchanged() -> None:
    async with serving(echo) as (_, engine), relaying(engine) as (_, port):
        last = b"POST /b?c HTTP/1.1\r\nhost: h\r\nx-a: 7\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi"
        answers = await exchange(port, GET % b"/stream" + last)
    stream, _, whole = answers.partition(b"\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert [stream.count(b"data: %d\n\n" % number) for number in range(3)] == [1, 1, 1]
    assert whole.endswith(b"POST /b?c 7 hi")


@pytest.mark.parametrize("answering", [True, False])
async def test_a_client_that_leaves_frees_the_engine(answering: bool) -> None:
    async def forever(_: Request, reply: Reply) -> None:
        if answering:
            reply.start(200, ())
            reply.data(b"x")
        await asyncio.Event().wait()

    async with serving(forever) as (engine, engine_port), relaying(engine_port) as (relay, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET % b"/")
        await until(lambda: engine.active == 1)
        writer.close()
        await until(lambda: engine.active == 0)
        await until(lambda: relay.active == 0)


async def test_an_engine_that_breaks_off_is_seen_by_the_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")

    async def breaks(_: Request, reply: Reply) -> None:
        reply.start(200, ())
        reply.data(b"x")
        await asyncio.sleep(0.01)

    async with serving(breaks) as (_, engine), relaying(engine) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET % b"/")
        assert (await reader.readuntil(b"1\r\nx\r\n")).startswith(b"HTTP/1.1 200")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readuntil(b"0\r\n\r\n")
        writer.close()


class Fountain:
    """An engine that answers with as much as it can get rid of, up to a total."""

    PIECE = b"x" * 65536
    PIECES = 2000

    def __init__(self) -> None:
        self.sent = 0
        self.ready = asyncio.Event()
        self.ready.set()

    def pause(self) -> None:
        self.ready.clear()

    def resume(self) -> None:
        self.ready.set()

    async def handle(self, _: Request, reply: Reply) -> None:
        reply.start(200, ())
        reply.attach(self)
        while self.sent < self.PIECES:
            await self.ready.wait()
            reply.data(self.PIECE)
            self.sent += 1
            await asyncio.sleep(0)
        reply.end()


async def test_a_slow_client_holds_the_engine_back() -> None:
    fountain, buffer_bytes = Fountain(), 100_000
    limits = ServerLimits(write_buffer_bytes=buffer_bytes)
    async with serving(fountain.handle) as (_, engine), relaying(engine, limits) as (relay, port):
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(slow, ("127.0.0.1", port))
        slow.send(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        await until(lambda: not fountain.ready.is_set())
        assert relay._shared
        (connection,) = relay._shared.connections
        assert connection._transport
        held_bytes = connection._transport.get_write_buffer_size()
        assert buffer_bytes < held_bytes < buffer_bytes + 1_000_000, "one read more than the limit"
        assert fountain.sent < fountain.PIECES / 2, "the rest is the kernels' buffers"
        reader, writer = await asyncio.open_connection(sock=slow)
        received = 0
        async with asyncio.timeout(DEADLINE_S):
            while piece := await reader.read(1 << 20):
                received += len(piece)
        writer.close()
    assert received > fountain.PIECES * len(fountain.PIECE)


async def test_a_client_that_reads_nothing_is_cut() -> None:
    fountain = Fountain()
    limits = ServerLimits(write_s=0.2, sweep_s=0.05)
    async with (
        serving(fountain.handle) as (engine, engine_port),
        relaying(engine_port, limits) as (relay, port),
    ):
        stuck = socket.socket()
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        stuck.setblocking(False)
        await asyncio.get_running_loop().sock_connect(stuck, ("127.0.0.1", port))
        stuck.send(GET % b"/")
        await until(lambda: relay.active == 1)
        await until(lambda: relay.active == 0 and relay.connections == 0)
        await until(lambda: engine.active == 0)
        stuck.close()


class Listener(asyncio.Protocol):
    """A raw client."""

    def __init__(self) -> None:
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport) or hasattr(transport, "write")
        transport.write(GET % b"/")  # type: ignore[attr-defined]  # uvloop's is no asyncio.Transport

    def data_received(self, data: bytes) -> None:
        self.data += data


async def test_thousands_of_streams_at_once() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * STREAMS + SPARE_FILES:
        refuse = pytest.fail if os.environ.get("EPP_REQUIRE_ALL") else pytest.skip
        refuse(f"{STREAMS} streams need {2 * STREAMS + SPARE_FILES} files, {hard} are allowed")
    replies: list[Reply] = []

    async def hold(_: Request, reply: Reply) -> None:
        reply.start(200, ())
        reply.data(b"first")
        replies.append(reply)
        await ended.wait()
        reply.end()

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with serving(hold) as (server, port):
        opened = []
        for _ in range(STREAMS // 100):  # a few at a time: the backlog has a bound
            opened += await asyncio.gather(
                *(loop.create_connection(Listener, "127.0.0.1", port) for _ in range(100))
            )
        await until(lambda: len(replies) == STREAMS)
        assert (server.connections, server.active) == (STREAMS, STREAMS)
        for reply in replies:
            reply.data(b"second")
        await until(lambda: all(listener.data.endswith(b"6\r\nsecond\r\n") for _, listener in opened))
        ended.set()
        await until(lambda: all(listener.data.endswith(b"0\r\n\r\n") for _, listener in opened))
        assert server.active == 0
        for transport, _ in opened:
            transport.close()
        await until(lambda: server.connections == 0)


@pytest.fixture(autouse=True)
def _files() -> None:
    """As many as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
