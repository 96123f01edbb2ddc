import asyncio
import json
import logging

import pytest

from frontend.errors import error_value
from frontend.http.api import Reply, Request, whole
from frontend.http.limits import ServerLimits
from frontend.http.responder import ReplyError, Responder
from tests.unit.frontend.http.memory import MemoryTransport, serve, settle, sweep

GET = b"GET /%d HTTP/1.1\r\nhost: h\r\n\r\n"
TEXT = (("content-type", "text/plain"),)


async def echo(request: Request, reply: Reply) -> None:
    whole(reply, 200, TEXT, request.path.encode() + request.body)


async def drip(request: Request, reply: Reply) -> None:
    reply.start(200, TEXT)
    await asyncio.sleep(0)
    reply.data(b"one")
    reply.data(b"twelve bytes")
    reply.end()


def body_of(written: bytes) -> bytes:
    return written.partition(b"\r\n\r\n")[2]


def status_of(written: bytes) -> int:
    return int(written.split(b" ")[1])


async def test_a_whole_reply_is_one_write() -> None:
    client, shared, _ = serve(echo)
    client.receive(GET % 1)
    await settle()
    (write,) = client.writes
    head, _, body = write.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert head.endswith(b"\r\ncontent-length: 2\r\ncontent-type: text/plain")
    assert body == b"/1"
    assert not client.closed
    assert not shared.tasks


async def test_the_request_as_handlers_see_it() -> None:
    seen: list[Request] = []

    async def keep(request: Request, reply: Reply) -> None:
        seen.append(request)
        whole(reply, 204, (), b"")

    client, _, clock = serve(keep)
    clock.now_s = 12.5
    client.receive(b"PUT /a%20b?x=1?2 HTTP/1.1\r\nHost: h\r\ncontent-length: 3\r\n\r\nabc")
    await settle()
    (request,) = seen
    assert (request.method, request.path, request.query) == ("PUT", "/a%20b", "x=1?2")
    assert (request.body, request.peer, request.received_s) == (b"abc", "192.0.2.1:5000", 12.5)
    assert request.headers["host"] == "h"
    assert request.wall_ms > 1_500_000_000_000
    assert client.written.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"content-length" not in client.written


async def test_streams_are_chunked() -> None:
    client, _, _ = serve(drip)
    client.receive(GET % 1)
    await settle()
    assert client.written.split(b"\r\n\r\n", 1)[0].endswith(
        b"transfer-encoding: chunked\r\ncontent-type: text/plain"
    )
    assert body_of(client.written) == b"3\r\none\r\nc\r\ntwelve bytes\r\n0\r\n\r\n"


async def test_a_head_leaves_before_the_first_piece_is_there() -> None:
    go_on = asyncio.Event()

    async def later(_: Request, reply: Reply) -> None:
        reply.start(200, TEXT)
        await go_on.wait()
        reply.data(b"x")
        reply.end()

    client, _, _ = serve(later)
    client.receive(GET % 1)
    await settle()
    assert client.written.endswith(b"text/plain\r\n\r\n")
    go_on.set()
    await settle()
    assert client.written.endswith(b"\r\n\r\n1\r\nx\r\n0\r\n\r\n")


async def test_http_1_0_bodies_end_with_the_connection() -> None:
    client, _, _ = serve(drip)
    client.receive(b"GET / HTTP/1.0\r\n\r\n")
    await settle()
    assert b"chunked" not in client.written
    assert b"\r\nconnection: close\r\n" in client.written
    assert body_of(client.written) == b"onetwelve bytes"
    assert client.closed
    assert not client.aborted


@pytest.mark.parametrize("handler", [echo, drip])
async def test_head_has_no_body(handler: object) -> None:
    client, _, _ = serve(handler)  # type: ignore[arg-type]  # mypy sees object through parametrize
    client.receive(b"HEAD /1 HTTP/1.1\r\nhost: h\r\n\r\n" + GET % 2)
    await settle()
    assert client.written.count(b"HTTP/1.1 200 OK") == 2
    assert body_of(client.written).startswith(b"HTTP/1.1 200 OK")


async def test_connection_close_is_answered_and_done() -> None:
    client, _, _ = serve(echo)
    client.receive(b"GET /1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n" + GET % 2)
    await settle()
    assert b"\r\nconnection: close\r\n" in client.written
    assert body_of(client.written) == b"/1"
    assert client.closed


async def test_pipelined_requests_one_after_the_other() -> None:
    running = 0

    async def slow(request: Request, reply: Reply) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        await echo(request, reply)
        await asyncio.sleep(0)
        running -= 1

    client, _, _ = serve(slow)
    client.receive(b"".join(GET % number for number in range(5)))
    assert not client.reading, "what is not begun has a bound"
    await settle(steps=60)
    assert [part[-2:] for part in client.written.split(b"HTTP/1.1 200 OK")[1:]] == [
        b"/%d" % n for n in range(5)
    ]
    assert client.reading


async def test_garbage_behind_a_request_is_refused_in_turn() -> None:
    client, _, _ = serve(echo)
    client.receive(GET % 1 + b"garbage\r\n\r\n")
    await settle()
    first, second = client.written.split(b"HTTP/1.1 ")[1:]
    assert (first[:3], second[:3]) == (b"200", b"400")
    assert json.loads(body_of(second))["type"] == "Bad Request"
    assert client.wrote_eof


async def test_a_refusal_lingers_then_ends() -> None:
    client, shared, clock = serve(echo, ServerLimits(max_body_bytes=10, linger_s=2))
    client.receive(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 11\r\n\r\n")
    assert status_of(client.written) == 413
    assert json.loads(body_of(client.written)) == error_value(413, "The body is larger than 10 bytes.")
    client.receive(GET % 1)
    assert client.written.count(b"HTTP/1.1") == 1
    clock.now_s = 2.5
    sweep(shared)
    assert client.closed


async def test_tls_refusals_just_close() -> None:
    client, _, _ = serve(echo, half_close=False)
    client.receive(b"garbage\r\n\r\n")
    assert status_of(client.written) == 400
    assert client.closed


async def test_expect_is_answered_when_it_is_its_turn() -> None:
    go_on = asyncio.Event()

    async def gated(request: Request, reply: Reply) -> None:
        if request.path == "/1":
            await go_on.wait()
        await echo(request, reply)

    client, _, _ = serve(gated)
    client.receive(
        GET % 1 + b"PUT /2 HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    )
    await settle()
    assert client.written == b""
    go_on.set()
    await settle()
    assert client.written.endswith(b"/1HTTP/1.1 100 Continue\r\n\r\n")
    client.receive(b"ab")
    await settle()
    assert client.written.endswith(b"/2ab")


async def test_a_body_that_came_along_needs_no_continue() -> None:
    client, _, _ = serve(echo)
    client.receive(b"PUT /2 HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert client.written == b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_a_client_that_leaves_cancels_its_request() -> None:
    endings: list[str] = []

    async def wait(_: Request, reply: Reply) -> None:
        reply.start(200, ())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            endings.append("cancelled")
            reply.data(b"into the void")
            raise

    client, shared, _ = serve(wait)
    client.receive(GET % 1 + GET % 2)
    await settle()
    assert len(shared.tasks) == 1
    client.lose()
    await settle()
    assert endings == ["cancelled"]
    assert not shared.tasks
    assert not shared.connections


async def test_a_client_that_leaves_at_once() -> None:
    client, shared, _ = serve(echo)
    client.receive(GET % 1)
    client.lose()
    await settle()
    assert not shared.tasks
    assert client.written == b""


async def test_half_a_close_counts_as_leaving() -> None:
    client, shared, _ = serve(lambda _request, _reply: asyncio.Event().wait())  # type: ignore[arg-type, return-value]  # never ends
    client.receive(GET % 1)
    await settle()
    next(iter(shared.connections)).eof_received()
    await settle()
    assert client.aborted
    assert not shared.tasks


async def test_leaving_after_the_answer_lets_the_handler_finish() -> None:
    go_on, endings = asyncio.Event(), []

    async def books(request: Request, reply: Reply) -> None:
        await echo(request, reply)
        await go_on.wait()
        endings.append("booked")

    client, _, _ = serve(books)
    client.receive(GET % 1)
    await settle()
    client.lose()
    go_on.set()
    await settle()
    assert endings == ["booked"]


async def test_a_failing_handler_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Request, __: Reply) -> None:
        raise ValueError("a secret")

    client, _, _ = serve(fail)
    client.receive(GET % 1)
    await settle()
    assert status_of(client.written) == 500
    assert json.loads(body_of(client.written))["code"] == 500
    assert b"secret" not in client.written
    assert "GET /1 failed" in caplog.text
    assert not client.closed
    caplog.clear()


async def test_an_unanswered_request_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    async def nothing(_: Request, __: Reply) -> None:
        return

    client, _, _ = serve(nothing)
    client.receive(GET % 1)
    await settle()
    assert status_of(client.written) == 500


@pytest.mark.parametrize("headers", [(), (("content-length", "4"),)])
@pytest.mark.parametrize("raises", [True, False])
async def test_a_reply_that_stays_open_breaks_the_connection(
    headers: tuple[tuple[str, str], ...], raises: bool
) -> None:
    async def stop(_: Request, reply: Reply) -> None:
        reply.start(200, headers)
        reply.data(b"abc")
        if raises:
            raise ValueError

    client, _, _ = serve(stop)
    client.receive(GET % 1)
    await settle()
    assert client.aborted
    assert b"0\r\n\r\n" not in client.written


def responder(**options: object) -> tuple[Responder, MemoryTransport]:
    client, shared, _ = serve(echo)
    return Responder(client, shared.loop, shared.dates, **options), client  # type: ignore[arg-type]  # options of the test


async def test_misuse_raises() -> None:
    reply, _ = responder()
    with pytest.raises(ReplyError):
        reply.data(b"before start")
    with pytest.raises(ReplyError):
        reply.end()
    reply.start(200, ())
    with pytest.raises(ReplyError):
        reply.start(200, ())
    reply.end()
    with pytest.raises(ReplyError):
        reply.data(b"after end")
    with pytest.raises(ReplyError):
        reply.end()


async def test_a_length_is_a_promise() -> None:
    reply, client = responder()
    reply.start(200, (("content-length", "3"),))
    with pytest.raises(ReplyError):
        reply.data(b"four")
    assert client.aborted
    reply, client = responder()
    reply.start(200, (("content-length", "3"),))
    reply.data(b"no")
    with pytest.raises(ReplyError):
        reply.end()
    assert client.aborted


async def test_abort_breaks() -> None:
    reply, client = responder()
    reply.start(200, ())
    reply.data(b"x")
    reply.abort()
    reply.abort()
    assert client.aborted
    with pytest.raises(ReplyError):
        reply.data(b"y")


class Source:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")


async def test_a_full_client_pauses_the_source() -> None:
    first, second, go_on = Source(), Source(), asyncio.Event()

    async def stream(_: Request, reply: Reply) -> None:
        reply.start(200, ())
        reply.attach(first)
        await go_on.wait()
        reply.attach(None)
        reply.attach(second)
        reply.end()

    client, shared, _ = serve(stream)
    client.receive(GET % 1)
    await settle()
    (connection,) = shared.connections
    connection.pause_writing()
    connection.resume_writing()
    connection.pause_writing()
    assert first.calls == ["pause", "resume", "pause"]
    go_on.set()
    await settle()
    assert second.calls == ["pause"], "one that comes to a full client waits at once"
    connection.resume_writing()
    assert first.calls == ["pause", "resume", "pause"]
    assert second.calls == ["pause"], "its reply has ended"


LIMITS = ServerLimits(head_s=10, body_s=20, idle_s=30, write_s=40, linger_s=1)


@pytest.mark.parametrize(
    ("sent", "deadline_s", "told"),
    [
        (b"", 10, b""),
        (b"\r\n", 10, b""),
        (b"GET /", 10, b"HTTP/1.1 408 Request Timeout\r\n"),
        (b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\na", 20, b"HTTP/1.1 408 Request Timeout\r\n"),
    ],
)
async def test_deadlines_of_reading(sent: bytes, deadline_s: float, told: bytes) -> None:
    client, shared, clock = serve(echo, LIMITS)
    client.receive(sent)
    clock.now_s = deadline_s
    client.receive(b"")
    sweep(shared)
    assert client.written == b""
    clock.now_s = deadline_s + 0.1
    sweep(shared)
    assert client.written.startswith(told)
    clock.now_s += 1.1
    sweep(shared)
    assert client.closed


async def test_deadline_between_requests() -> None:
    client, shared, clock = serve(echo, LIMITS)
    clock.now_s = 5
    client.receive(GET % 1)
    await settle()
    clock.now_s = 35
    sweep(shared)
    assert not client.closed
    clock.now_s = 35.1
    sweep(shared)
    assert client.closed
    assert client.written.count(b"HTTP/1.1") == 1


async def test_handling_has_no_deadline_here_and_the_next_head_has_its_own() -> None:
    go_on = asyncio.Event()

    async def gated(request: Request, reply: Reply) -> None:
        await go_on.wait()
        await echo(request, reply)

    client, shared, clock = serve(gated, LIMITS)
    client.receive(GET % 1 + b"GET /2 HT")
    await settle()
    clock.now_s = 1000
    sweep(shared)
    assert not client.closed
    go_on.set()
    await settle()
    clock.now_s = 1010.1
    sweep(shared)
    assert b"HTTP/1.1 408 " in client.written


async def test_a_client_that_takes_nothing_is_cut() -> None:
    client, shared, clock = serve(lambda _request, _reply: asyncio.Event().wait(), LIMITS)  # type: ignore[arg-type, return-value]  # never ends
    client.receive(GET % 1)
    await settle()
    for now_s, stuck_bytes in ((0, 100), (39, 100), (41, 99), (80, 99)):
        clock.now_s, client.stuck_bytes = now_s, stuck_bytes
        sweep(shared)
        assert not client.closed
    clock.now_s = 81.1
    sweep(shared)
    assert client.aborted
    await settle()
    assert not shared.tasks


async def test_comments_for_a_client_that_takes_nothing_do_not_keep_it() -> None:
    client, shared, clock = serve(lambda _request, _reply: asyncio.Event().wait(), LIMITS)  # type: ignore[arg-type, return-value]  # never ends
    client.receive(GET % 1)
    await settle()
    for now_s in (0, 15, 30):
        clock.now_s, client.stuck_bytes = now_s, 100 + now_s
        sweep(shared)
    assert not client.closed
    clock.now_s = 40.1
    sweep(shared)
    assert client.aborted


async def test_too_many_connections() -> None:
    client, shared, _ = serve(echo, ServerLimits(max_connections=0))
    assert status_of(client.written) == 503
    assert b"\r\nconnection: close\r\n" in client.written
    assert client.wrote_eof
    client.receive(GET % 1)
    await settle()
    assert client.written.count(b"HTTP/1.1") == 1
    assert len(shared.connections) == 1


async def test_after_headers_that_cannot_be_sent_a_500_is_whole(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    async def splits(_: Request, reply: Reply) -> None:
        reply.start(200, (("x", "a\r\nb: c"),))

    client, _, _ = serve(splits)
    client.receive(GET % 1)
    await settle()
    assert status_of(client.written) == 500
    assert b"chunked" not in client.written
    assert json.loads(body_of(client.written))["code"] == 500


async def test_the_last_of_a_pipeline_is_cancelled_when_its_client_leaves() -> None:
    async def first_only(request: Request, reply: Reply) -> None:
        if request.path == "/2":
            await asyncio.Event().wait()
        await echo(request, reply)

    client, shared, _ = serve(first_only)
    client.receive(GET % 1 + GET % 2)
    assert not client.reading
    await settle()
    assert client.reading, "or the end would not be seen"
    client.lose()
    await settle()
    assert not shared.tasks


POST = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"


async def test_a_body_is_held_until_its_request_is_answered() -> None:
    go_on = asyncio.Event()

    async def later(_: Request, reply: Reply) -> None:
        await go_on.wait()
        whole(reply, 200, TEXT, b"")

    client, shared, _ = serve(later)
    client.receive(POST % 3 + b"abc" + POST % 5 + b"de")
    await settle()
    assert shared.bodies.held_bytes == 5, "one is being answered, one is being read"
    go_on.set()
    await settle()
    assert shared.bodies.held_bytes == 2
    client.receive(b"fgh")
    await settle()
    assert shared.bodies.held_bytes == 0


@pytest.mark.parametrize("steps", [0, 3])
async def test_a_client_that_leaves_takes_its_bodies_along(steps: int) -> None:
    async def never(_: Request, __: Reply) -> None:
        await asyncio.Event().wait()

    client, shared, _ = serve(never)
    client.receive(POST % 3 + b"abc" + POST % 4 + b"defg" + POST % 9 + b"hi")
    assert shared.bodies.held_bytes == 9
    for _ in range(steps):
        await asyncio.sleep(0)
    client.lose()
    await settle()
    assert (shared.bodies.held_bytes, shared.tasks) == (0, set())


async def test_bodies_beyond_the_bound_of_all_are_refused() -> None:
    client, shared, _ = serve(echo, ServerLimits(max_bodies_bytes=4))
    client.receive(POST % 8 + b"abcde")
    await settle()
    assert (status_of(client.written), shared.bodies.held_bytes) == (503, 0)
    client.receive(b"fgh")
