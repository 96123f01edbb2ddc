"""Invariants: whatever bytes come, in whatever pieces, the server's reader raises nothing but a refusal and
the client's connection nothing at all; what is taken for a message does not depend on the pieces.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from frontend.http.api import Limits, Reply, Request, UpstreamError, whole
from frontend.http.heads import HeadError, request_head, response_head
from frontend.http.limits import PoolLimits, ServerLimits
from frontend.http.link import UpstreamConnection
from frontend.http.reader import Incoming, RefusedError, RequestReader
from tests.unit.frontend.http.memory import Clock, MemoryTransport, serve, settle

LIMITS = ServerLimits(max_head_bytes=300, max_body_bytes=100, max_headers=10)
starts = st.sampled_from(
    [
        *(b"GET / HTTP/1.1\r\n", b"POST /a?b HTTP/1.1\r\n", b"PUT http://h/ HTTP/1.0\r\n"),
        *(b"CONNECT h:1 HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        *(b"HTTP/1.1 101 S\r\n", b"HTTP/1.0 204 N\r\n"),
    ]
)
fields = st.sampled_from(
    [
        *(
            b"host: h\r\n",
            b"content-length: 3\r\n",
            b"Content-Length: 0\r\n",
            b"transfer-encoding: chunked\r\n",
        ),
        *(b"connection: close\r\n", b"connection: upgrade\r\n", b"upgrade: h2c\r\n"),
        *(b"expect: 100-continue\r\n", b" folded\r\n", b"x: "),
    ]
)
bodies = st.sampled_from(
    [b"", b"abc", b"3\r\nabc\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"f" * 16]
)
messages = st.tuples(
    starts, st.just(b"host: h\r\n"), st.lists(fields, max_size=3).map(b"".join), st.just(b"\r\n"), bodies
).map(b"".join)
noise = starts | fields | bodies | st.binary(max_size=40) | st.sampled_from([b"\r\n", b"\n", b"\0"])
streams = st.lists(messages | noise, max_size=8).map(b"".join)
cuts = st.lists(st.integers(1, 60), max_size=20)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    made, start = [], 0
    for size in sizes:
        made.append(data[start : start + size])
        start += size
    return [piece for piece in (*made, data[start:]) if piece]


class Heard:
    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    def head_read(self, incoming: Incoming) -> None:
        assert incoming.head_bytes <= LIMITS.max_head_bytes

    def request_read(self, incoming: Incoming) -> None:
        body = b"".join(incoming.body)
        assert len(body) == incoming.body_bytes <= LIMITS.max_body_bytes
        self.requests.append((incoming.method, incoming.target, incoming.headers, body))


def read(parts: list[bytes]) -> tuple[list[Any], int]:
    heard = Heard()
    reader = RequestReader(LIMITS, heard)
    try:
        for part in parts:
            reader.feed(part)
    except RefusedError as refused:
        return heard.requests, refused.status
    return heard.requests, 0


@given(streams, cuts)
def test_requests(data: bytes, sizes: list[int]) -> None:
    at_once, _ = read([data])
    in_pieces, refused = read(pieces(data, sizes))
    if refused != 431:  # bytes without a callback count by the piece
        assert in_pieces == at_once


def run(work: Coroutine[Any, Any, None]) -> None:
    """On a loop of its own, by hand: a runner would be slower than the test."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(work, 60))
    finally:
        loop.close()


@given(streams, cuts)
def test_a_server_connection(data: bytes, sizes: list[int]) -> None:
    async def echo(request: Request, reply: Reply) -> None:
        whole(reply, 200, (), request.body)

    async def talk() -> None:
        client, shared, _ = serve(echo, LIMITS)
        for part in pieces(data, sizes):
            if client.closed:
                break
            client.receive(part)
            await settle(steps=3)
        await settle(lambda: not shared.tasks, steps=500)
        assert not shared.tasks
        if not client.closed:
            client.lose()
        await settle(lambda: not shared.connections, steps=10)
        assert not shared.connections

    run(talk())


@given(streams, cuts, st.sampled_from(["GET", "HEAD"]))
def test_a_client_connection(data: bytes, sizes: list[int], method: str) -> None:
    async def listen(parts: list[bytes]) -> tuple[int, dict[str, str], bytes] | str:
        link = UpstreamConnection(
            "h:1", PoolLimits(max_head_bytes=300), Clock(), lambda _: None, lambda _: None
        )
        wire = MemoryTransport(link)
        exchange = link.begin(method, b"", b"", Limits())
        for part in parts:
            if not wire.closed:
                wire.receive(part)
        if not wire.closed:
            wire.lose()
        await settle(steps=3)
        try:
            await exchange.answered()
            return exchange.status, exchange.headers, await exchange.read(200)
        except UpstreamError as error:
            return error.failure

    async def compare() -> None:
        at_once = await listen([data])
        in_pieces = await listen(pieces(data, sizes))
        if isinstance(at_once, tuple) and isinstance(in_pieces, tuple):
            assert at_once == in_pieces

    run(compare())


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_written_heads_hold_what_was_meant(name: str, value: str, target: str) -> None:
    """Nothing a caller puts in a header or a target becomes another line."""
    for make in (
        lambda: response_head(200, ((name, value),), "", ""),
        lambda: request_head("GET", f"/{target}", "h", ((name, value),), 0),
    ):
        try:
            head = make()
        except HeadError:
            continue
        assert head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r") <= 4
        assert head.index(b"\r\n\r\n") == len(head) - 4
