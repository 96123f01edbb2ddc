import asyncio

import pytest

from frontend.http.api import Failure, Flow, Limits, UpstreamError
from frontend.http.exchange import Exchange
from frontend.http.limits import PoolLimits
from frontend.http.link import UpstreamConnection
from tests.unit.frontend.http.memory import Clock, MemoryTransport, settle

LIMITS = Limits(head_s=10, idle_s=5)
SIZED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx: trailer\r\n\r\n"
)
HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Peer:
    """A connection and what became of it."""

    def __init__(self, limits: PoolLimits | None = None) -> None:
        self.freed = self.lost = 0
        self.clock = Clock()
        self.link = UpstreamConnection("h:1", limits or PoolLimits(), self.clock, self._free, self._lose)
        self.wire = MemoryTransport(self.link)

    def ask(self, method: str = "GET", body: bytes = b"") -> Exchange:
        return self.link.begin(method, b"head\r\n\r\n", body, LIMITS)

    def _free(self, _: UpstreamConnection) -> None:
        self.freed += 1

    def _lose(self, _: UpstreamConnection) -> None:
        self.lost += 1


class Sink:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.sources: list[Flow | None] = []

    def data(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def attach(self, source: Flow | None) -> None:
        self.sources.append(source)


async def failure_of(waiting: "asyncio.Task[object]") -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await waiting
    return caught.value


@pytest.mark.parametrize("response", [SIZED, CHUNKED])
@pytest.mark.parametrize("piece_bytes", [1, 3, 1000])
async def test_responses_in_pieces_of_any_size(response: bytes, piece_bytes: int) -> None:
    peer = Peer()
    for _ in range(2):
        exchange = peer.ask()
        for start in range(0, len(response), piece_bytes):
            peer.wire.receive(response[start : start + piece_bytes])
        assert (await exchange.answered()).status == 200
        assert await exchange.read(5) in (b"hello", b"abcde")
        assert "x" not in exchange.headers
    assert peer.freed == 2
    assert not peer.wire.closed


async def test_small_bodies_leave_with_their_head_and_large_ones_are_not_copied() -> None:
    peer = Peer()
    peer.ask("POST", b"body")
    assert peer.wire.writes == [b"head\r\n\r\nbody"]
    peer = Peer()
    peer.ask("POST", b"b" * 20_000)
    assert peer.wire.writes == [b"head\r\n\r\n", b"b" * 20_000]


async def test_pieces_are_pushed_as_they_come() -> None:
    peer = Peer()
    exchange, sink = peer.ask(), Sink()
    peer.wire.receive(HEAD + b"1\r\na\r\n")
    await exchange.answered()
    piping = asyncio.create_task(exchange.pipe(sink))
    await settle()
    assert sink.pieces == [b"a"]
    peer.wire.receive(b"2\r\nbc\r\n1\r\nd\r\n")
    assert sink.pieces == [b"a", b"bcd"], "in the same callback, one read as one piece"
    peer.wire.receive(b"0\r\n\r\n")
    await piping
    assert sink.sources == [exchange, None]
    assert peer.freed == 1


async def test_interim_responses_are_skipped() -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.receive(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + SIZED)
    await exchange.answered()
    assert exchange.status == 200
    assert "link" not in exchange.headers
    assert await exchange.read(100) == b"hello"
    assert peer.freed == 1


@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
    ],
)
async def test_responses_without_a_body(method: str, response: bytes) -> None:
    peer = Peer()
    exchange = peer.ask(method)
    peer.wire.receive(response)
    await exchange.answered()
    assert await exchange.read(0) == b""
    assert peer.wire.closed == (method == "HEAD")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
    ],
)
async def test_a_body_without_a_length_ends_with_the_connection(head: bytes) -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.receive(head + b"abc")
    await exchange.answered()
    reading = asyncio.create_task(exchange.read(100))
    await settle()
    peer.wire.receive(b"def")
    peer.wire.lose()
    assert await reading == b"abcdef"
    assert (peer.freed, peer.lost) == (0, 1)


@pytest.mark.parametrize("response", [SIZED[:-1], CHUNKED[:-2], HEAD, b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_a_body_cut_short_is_a_reset(response: bytes) -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.receive(response)
    await exchange.answered()
    reading = asyncio.create_task(exchange.read(100))
    await settle()
    peer.wire.lose(ConnectionResetError())
    error = await failure_of(reading)
    assert (error.failure, error.answered) == (Failure.RESET, True)


async def test_cut_short_before_anybody_reads() -> None:
    peer = Peer()
    exchange, sink = peer.ask(), Sink()
    peer.wire.receive(SIZED[:-1])
    peer.wire.lose()
    await exchange.answered()
    with pytest.raises(UpstreamError):
        await exchange.pipe(sink)
    assert sink.pieces == [b"hell"]


@pytest.mark.parametrize("heard", [b"", b"HTTP/1.1 2"])
async def test_cut_off_before_the_head_is_whole(heard: bytes) -> None:
    peer = Peer()
    exchange = peer.ask()
    if heard:
        peer.wire.receive(heard)
    peer.wire.lose()
    error = await failure_of(asyncio.create_task(exchange.answered()))
    assert (error.failure, error.answered, exchange.heard) == (Failure.RESET, False, bool(heard))


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
    ],
)
async def test_what_is_not_http(response: bytes) -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.receive(response)
    error = await failure_of(asyncio.create_task(exchange.answered()))
    assert (error.failure, error.answered) == (Failure.PROTOCOL, False)
    assert peer.wire.aborted


async def test_a_body_that_breaks_the_protocol() -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.receive(HEAD + b"1\r\na\r\nzz\r\n")
    await exchange.answered()
    error = await failure_of(asyncio.create_task(exchange.read(100)))
    assert (error.failure, error.answered) == (Failure.PROTOCOL, True)


@pytest.mark.parametrize("piece_bytes", [1, 100])
@pytest.mark.parametrize("line", [b"x" * 300, b"x: " + b"y" * 300, b"x: 12345678\r\n" * 30])
async def test_endless_heads(line: bytes, piece_bytes: int) -> None:
    peer = Peer(PoolLimits(max_head_bytes=200))
    exchange = peer.ask()
    data = b"HTTP/1.1 200 OK\r\n" + line
    for start in range(0, len(data), piece_bytes):
        if not peer.wire.closed:
            peer.wire.receive(data[start : start + piece_bytes])
    error = await failure_of(asyncio.create_task(exchange.answered()))
    assert error.failure is Failure.TOO_LARGE
    assert peer.wire.aborted


async def test_endless_trailers() -> None:
    peer = Peer(PoolLimits(max_head_bytes=200))
    exchange = peer.ask()
    peer.wire.receive(HEAD + b"0\r\n")
    await exchange.answered()
    peer.wire.receive(b"x" * 300)
    error = await failure_of(asyncio.create_task(exchange.read(100)))
    assert (error.failure, error.answered) == (Failure.TOO_LARGE, True)


async def test_reading_more_than_wanted() -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.receive(HEAD + b"3\r\nabc\r\n")
    await exchange.answered()
    reading = asyncio.create_task(exchange.read(4))
    await settle()
    peer.wire.receive(b"2\r\nde\r\n")
    error = await failure_of(reading)
    assert error.failure is Failure.TOO_LARGE
    assert peer.wire.aborted


async def test_what_a_sink_raises_ends_the_exchange() -> None:
    class Refuses(Sink):
        def data(self, piece: bytes) -> None:
            raise KeyError(piece)

    for ahead in (True, False):
        peer = Peer()
        exchange = peer.ask()
        peer.wire.receive(HEAD + (b"1\r\na\r\n" if ahead else b""))
        await exchange.answered()
        piping = asyncio.create_task(exchange.pipe(Refuses()))
        await settle()
        if not ahead:
            peer.wire.receive(b"1\r\na\r\n")
        with pytest.raises(KeyError):
            await piping
        assert peer.wire.aborted


async def test_a_full_sink_stops_the_reading() -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.receive(HEAD)
    await exchange.answered()
    sink = Sink()
    piping = asyncio.create_task(exchange.pipe(sink))
    await settle()
    exchange.pause()
    exchange.pause()
    assert not peer.wire.reading
    peer.clock.now_s = 1000
    peer.link.sweep(1000)
    assert not peer.wire.closed, "the silence is ours"
    exchange.resume()
    assert peer.wire.reading
    peer.link.sweep(1004)
    assert not peer.wire.closed
    exchange.pause()
    peer.wire.receive(b"0\r\n\r\n")
    await piping
    assert peer.wire.reading, "free again, and heard when it closes"
    exchange.pause()
    exchange.resume()
    assert peer.wire.reading


async def test_what_nobody_asked_for_yet_is_bounded() -> None:
    peer = Peer(PoolLimits(ahead_bytes=4))
    exchange = peer.ask()
    peer.wire.receive(HEAD + b"5\r\nabcde\r\n")
    assert not peer.wire.reading
    await exchange.answered()
    reading = asyncio.create_task(exchange.read(100))
    await settle()
    assert peer.wire.reading
    peer.wire.receive(b"0\r\n\r\n")
    assert await reading == b"abcde"


async def test_silence_before_the_head() -> None:
    peer = Peer()
    exchange = peer.ask()
    waiting = asyncio.create_task(exchange.answered())
    await settle()
    peer.clock.now_s = 9
    peer.wire.receive(b"HTTP/1.1 200 OK\r\n")
    peer.link.sweep(10)
    assert not waiting.done()
    peer.link.sweep(10.1)
    error = await failure_of(waiting)
    assert (error.failure, error.answered) == (Failure.TIMEOUT, False)
    assert peer.wire.aborted


async def test_silence_within_the_body() -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.receive(HEAD)
    await exchange.answered()
    reading = asyncio.create_task(exchange.read(100))
    await settle()
    peer.clock.now_s = 4
    peer.wire.receive(b"1\r\na\r\n")
    peer.link.sweep(9)
    assert not peer.wire.closed
    peer.link.sweep(9.1)
    error = await failure_of(reading)
    assert (error.failure, error.answered) == (Failure.TIMEOUT, True)


@pytest.mark.parametrize("answered", [True, False])
async def test_cancelling_closes_the_connection(answered: bool) -> None:
    peer = Peer()
    exchange = peer.ask()
    if answered:
        peer.wire.receive(HEAD)
        waiting: asyncio.Task[object] = asyncio.create_task(exchange.pipe(Sink()))
    else:
        waiting = asyncio.create_task(exchange.answered())
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert peer.wire.aborted
    await settle()
    assert (peer.freed, peer.lost) == (0, 1)


async def test_giving_up_closes_unless_all_is_there() -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.receive(SIZED)
    exchange.close()
    assert not peer.wire.closed
    exchange = peer.ask()
    peer.wire.receive(HEAD)
    exchange.close()
    exchange.close()
    assert peer.wire.aborted


@pytest.mark.parametrize(
    "response",
    [
        SIZED + b"HTTP/1.1 200 OK\r\n",
        SIZED.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
        SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
async def test_connections_that_cannot_be_used_again(response: bytes) -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.receive(response)
    await exchange.answered()
    assert await exchange.read(100) == b"hello"
    assert (peer.freed, peer.wire.aborted) == (0, True)


async def test_a_response_before_the_request_is_sent_whole() -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.stuck_bytes = 1
    peer.wire.receive(SIZED)
    assert (await exchange.answered()).status == 200
    assert (peer.freed, peer.wire.aborted) == (0, True)


async def test_unasked_bytes_end_an_idle_connection() -> None:
    peer = Peer()
    peer.wire.receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert peer.wire.aborted
    assert not peer.link.usable


async def test_headers_that_come_twice() -> None:
    peer = Peer()
    exchange = peer.ask()
    peer.wire.receive(
        b"HTTP/1.1 200 OK\r\nvary: a\r\nset-cookie: x=1\r\nVary: b\r\nSet-Cookie: y=2\r\n"
        b"content-length: 0\r\n\r\n"
    )
    response = await exchange.answered()
    assert (response.headers["vary"], response.headers["set-cookie"]) == ("a, b", "x=1\ny=2")
