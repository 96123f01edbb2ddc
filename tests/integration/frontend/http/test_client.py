"""The client with real sockets: keeping, retrying, failing, leaving."""

import asyncio
import contextlib
import socket

import pytest

from frontend.http.api import Failure, Limits, Reply, Request, UpstreamError, UpstreamRequest
from frontend.http.client import UpstreamClient
from frontend.http.limits import PoolLimits

from .conftest import DEADLINE_S, calling, echo, scripted, serving, until

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def to(address: str, path: str = "/", body: bytes = b"", **limits: float) -> UpstreamRequest:
    return UpstreamRequest(address, "POST", path, (("x-a", "1"),), body, Limits(**limits))


async def call(client: UpstreamClient, request: UpstreamRequest) -> bytes:
    return await (await client.send(request)).read(1 << 20)


async def test_one_connection_for_one_request_after_the_other() -> None:
    async with serving(echo) as (_, port), calling() as client:
        for path in ("/a?b", "/stream", "/c"):
            body = await call(client, to(f"127.0.0.1:{port}", path, b"x" * 100_000))
            assert body.startswith(b"data: 0" if path == "/stream" else b"POST ")
        assert (client.opened, client.idle, client.active) == (1, 1, 0)


async def test_as_many_connections_as_requests_at_once() -> None:
    async with serving(echo) as (server, port), calling(PoolLimits(max_idle_per_host=2)) as client:
        await asyncio.gather(*(call(client, to(f"127.0.0.1:{port}")) for _ in range(5)))
        assert (client.opened, client.idle) == (5, 2)
        await until(lambda: server.connections == 2)


async def test_idle_connections_age() -> None:
    async with serving(echo) as (server, port), calling(PoolLimits(idle_s=0.05, sweep_s=0.01)) as client:
        await call(client, to(f"127.0.0.1:{port}"))
        await until(lambda: client.idle == 0)
        await until(lambda: server.connections == 0)


async def test_a_connection_the_engine_closed_is_forgotten() -> None:
    async with calling() as client:
        async with serving(echo) as (_, port):
            await call(client, to(f"127.0.0.1:{port}"))
            assert client.idle == 1
        await until(lambda: client.idle == 0)
        with pytest.raises(UpstreamError) as caught:
            await call(client, to(f"127.0.0.1:{port}"))
        assert caught.value.failure is Failure.CONNECT


class Fickle:
    """Serves a connection's first request; its second gets ``answer``, then the end."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (OK, self.answer):
            if not await self._request(reader):
                break
            writer.write(answer)

    async def _request(self, reader: asyncio.StreamReader) -> bool:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            return True
        return False


async def test_a_kept_connection_that_turns_out_dead_is_no_failure() -> None:
    engine = Fickle(b"")
    async with scripted(engine.serve) as address, calling() as client:
        for _ in range(3):
            assert await call(client, to(address)) == b"ok"
        assert (client.opened, client.retried, engine.requests) == (3, 2, 5)


@pytest.mark.parametrize("answer", [b"H", b"HTTP/1.1 200 OK\r\n"])
async def test_a_request_that_was_answered_to_is_not_repeated(answer: bytes) -> None:
    engine = Fickle(answer)
    async with scripted(engine.serve) as address, calling() as client:
        await call(client, to(address))
        with pytest.raises(UpstreamError) as caught:
            await call(client, to(address))
        assert (caught.value.failure, caught.value.answered) == (Failure.RESET, False)
        assert (client.retried, engine.requests) == (0, 2)


async def test_a_fresh_connection_that_breaks_is_a_failure() -> None:
    async def leave(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        return

    async with scripted(leave) as address, calling() as client:
        with pytest.raises(UpstreamError) as caught:
            await call(client, to(address))
        assert (caught.value.failure, client.retried, client.opened) == (Failure.RESET, 0, 1)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "127.0.0.1:x", "[::1]:1", "..:1"])
async def test_no_connection(address: str) -> None:
    async with calling() as client:
        with pytest.raises(UpstreamError) as caught:
            await call(client, to(address))
        assert (caught.value.failure, caught.value.answered) == (Failure.CONNECT, False)


async def test_no_connection_in_time() -> None:
    async with serving(echo) as (_, port), calling() as client:
        with pytest.raises(UpstreamError) as caught:
            await call(client, to(f"127.0.0.1:{port}", connect_s=0.0))
        assert caught.value.failure is Failure.CONNECT


@pytest.mark.parametrize(
    ("head", "patience"),
    [
        (b"", {"head_s": 0.1}),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", {"head_s": 60.0, "idle_s": 0.1}),
    ],
)
async def test_a_silent_engine(head: bytes, patience: dict[str, float]) -> None:
    left = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        left.set()

    async with scripted(mute) as address, calling(PoolLimits(sweep_s=0.01)) as client:
        with pytest.raises(UpstreamError) as caught:
            await call(client, to(address, **patience))
        assert (caught.value.failure, caught.value.answered) == (Failure.TIMEOUT, bool(head))
        async with asyncio.timeout(DEADLINE_S):
            await left.wait()


@pytest.mark.parametrize("started", [True, False])
async def test_cancelling_is_seen_by_the_engine(started: bool) -> None:
    async def forever(_: Request, reply: Reply) -> None:
        if started:
            reply.start(200, ())
        await asyncio.Event().wait()

    async with serving(forever) as (server, port), calling() as client:
        waiting = asyncio.create_task(call(client, to(f"127.0.0.1:{port}")))
        await until(lambda: server.active == 1)
        assert client.active == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: server.active == 0)
        await until(lambda: client.active == 0)


async def test_closing_ends_exchanges() -> None:
    async with (
        serving(lambda _request, _reply: asyncio.Event().wait()) as (server, port),
        calling() as client,
    ):  # type: ignore[arg-type, return-value]  # never ends
        waiting = asyncio.create_task(call(client, to(f"127.0.0.1:{port}")))
        await until(lambda: server.active == 1)
        await client.close()
        with pytest.raises(UpstreamError):
            await waiting


async def test_a_repeat_after_closing_is_not_kept() -> None:
    async with serving(echo) as (_, port), calling() as client:
        await client.close()
        assert (await call(client, to(f"127.0.0.1:{port}"))).startswith(b"POST /")
        assert client.idle == 0


async def test_nodelay_is_set() -> None:
    async with serving(echo) as (_, port), calling() as client:
        await call(client, to(f"127.0.0.1:{port}"))
        connection = client._pool.take(f"127.0.0.1:{port}", 0.0)
        assert connection
        assert connection._transport
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.close()
