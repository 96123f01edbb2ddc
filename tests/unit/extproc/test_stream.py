"""The asyncio driver of one stream: whatever is cancelled when, every pick is finished exactly once."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from epp.config.model import ServerConfig
from epp.core.events import BodyMode, Modes
from epp.core.outcomes import DropReason, PickInput, PickOutcome, Refused
from epp.extproc.aio import stream as stream_module
from epp.extproc.aio.stream import Stream
from epp.extproc.metrics import NullMetrics
from epp.testing.calls import END, ScriptedCall, request_body, request_headers, response_headers
from epp.testing.picks import ScriptedEngine, always

HEAD = request_headers({":path": "/"}, modes=Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE))
BODY = request_body(b"{}", end_of_stream=True)
LONG_BODY = request_body(b"x" * 200_000, end_of_stream=True)
UNTOLD = request_headers({":path": "/"})


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grace periods are for real gateways; here every order is scripted."""
    for name in ("RESET_GRACE_S", "HEAD_GRACE_S", "WATCH_AFTER_S"):
        monkeypatch.setattr(stream_module, name, 0)


def stream(call: ScriptedCall, engine: ScriptedEngine) -> Stream:
    return Stream(call, engine, ServerConfig(), NullMetrics())


async def until(true: Callable[[], bool]) -> None:
    """Let other tasks run until a condition holds; fails after many turns of the loop."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never came true")


async def served(
    *script: object, engine: ScriptedEngine | None = None
) -> tuple[ScriptedCall, ScriptedEngine]:
    engine = engine or ScriptedEngine(always("10.0.0.1:80"))
    call = ScriptedCall([*script, END])
    await stream(call, engine).run()
    return call, engine


async def test_a_request_is_answered_in_order() -> None:
    call, engine = await served(HEAD, LONG_BODY, response_headers())
    kinds = [message.WhichOneof("response") for message in call.written]
    assert kinds == ["request_headers", *["request_body"] * 4, "response_headers"]
    assert [str(f.ending) for f in engine.finished] == ["completed"]


async def test_every_cancellation_leaves_nothing_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is cancelled after 0, 1, 2… turns of the loop, wherever it then is."""
    monkeypatch.setattr(stream_module, "WATCH_AFTER_S", 60)  # the script's response is for after the pick
    endings: set[str] = set()
    for turns in range(60):
        engine = ScriptedEngine(always("10.0.0.1:80"))
        engine.gate = asyncio.Event()
        call = ScriptedCall([HEAD, LONG_BODY, response_headers()])
        task = asyncio.create_task(stream(call, engine).run())
        for turn in range(turns):
            await asyncio.sleep(0)
            if turn == 8:
                engine.gate.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert engine.unfinished == 0
        assert len(engine.finished) + engine.cancelled <= 1
        endings |= {str(finished.ending) for finished in engine.finished} or {f"none {engine.cancelled}"}
    assert endings == {"none 0", "none 1", "client-gone", "completed"}


class StubbornEngine(ScriptedEngine):
    """Answers although it is cancelled."""

    async def pick(self, request: PickInput) -> PickOutcome:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        return await super().pick(request)


async def test_an_engine_that_answers_in_spite_of_cancellation_is_finished() -> None:
    engine = StubbornEngine(always("10.0.0.1:80"))
    _, engine_after = await served(HEAD, BODY, engine=engine)
    assert engine_after.unfinished == 0
    assert [str(f.ending) for f in engine.finished] == ["detached"]


async def test_a_half_close_during_the_pick_cancels_it() -> None:
    engine = ScriptedEngine(always("10.0.0.1:80"), gate=asyncio.Event())
    call, _ = await served(HEAD, BODY, engine=engine)
    assert (engine.cancelled, call.written) == (1, [])


async def test_messages_during_the_pick_are_kept() -> None:
    """A gRPC body flows while the engine thinks; a second end of the body is harmless."""
    engine = ScriptedEngine(always("10.0.0.1:80"), gate=asyncio.Event())
    grpc_head = request_headers(
        {":path": "/", "content-type": "application/grpc"},
        modes=Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE),
    )
    gate = engine.gate
    assert gate is not None
    pieces = [request_body(b"a"), request_body(b"b"), BODY, BODY]
    call = ScriptedCall([grpc_head, *pieces, response_headers()], lambda n: gate.set() if n == 6 else None)
    task = asyncio.create_task(stream(call, engine).run())
    await until(lambda: len(call.written) == 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    pieces_back = [m.request_body.response.body_mutation.streamed_response for m in call.written[1:4]]
    assert [(piece.body, piece.end_of_stream) for piece in pieces_back] == [
        (b"a", False),
        (b"b", False),
        (b"{}", True),
    ]
    assert call.written[4].WhichOneof("response") == "response_headers"
    assert engine.unfinished == 0


async def test_many_messages_during_the_pick_are_held_back() -> None:
    engine = ScriptedEngine(always("10.0.0.1:80"), gate=asyncio.Event())
    reads: list[int] = []
    call = ScriptedCall([HEAD, BODY, *[BODY] * 100], reads.append)
    task = asyncio.create_task(stream(call, engine).run())
    for _ in range(500):
        await asyncio.sleep(0)
    assert len(reads) == 2 + 16
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_gateway_that_waits_for_the_heads_answer_gets_it() -> None:
    engine = ScriptedEngine(always("10.0.0.1:80"))
    release = asyncio.Event()

    class WaitingCall(ScriptedCall):
        async def read(self) -> object:
            message = await super().read()
            if message is BODY:
                await release.wait()
            return message

        async def write(self, message: bytes) -> None:
            await super().write(message)
            release.set()

    call = WaitingCall([UNTOLD, BODY, END])
    await stream(call, engine).run()
    assert [message.WhichOneof("response") for message in call.written] == ["request_headers", "request_body"]
    mutation = call.written[1].request_body.response.header_mutation.set_headers[0].header
    assert (mutation.key, mutation.raw_value) == ("x-gateway-destination-endpoint", b"10.0.0.1:80")


async def test_a_body_that_comes_at_once_keeps_an_untold_gateway_in_duplex() -> None:
    call, _ = await served(UNTOLD, BODY)
    assert call.written[0].request_headers.response.header_mutation.set_headers


def failing(error: Exception) -> Callable[[PickInput], PickOutcome]:
    def answer(_request: PickInput) -> PickOutcome:
        raise error

    return answer


async def test_a_defect_in_the_engine_becomes_a_500() -> None:
    call, _ = await served(HEAD, BODY, engine=ScriptedEngine(failing(RuntimeError("a defect"))))
    assert call.written[0].immediate_response.status.code == 500


async def test_a_refusal_ends_the_stream() -> None:
    refused = Refused(429, "busy", DropReason.SATURATED)
    call, _ = await served(HEAD, BODY, engine=ScriptedEngine(lambda _request: refused))
    assert [message.WhichOneof("response") for message in call.written] == ["immediate_response"]


async def test_a_broken_transport_releases_the_pick() -> None:
    class BrokenCall(ScriptedCall):
        async def write(self, message: bytes) -> None:
            raise ConnectionError(message[:0])

    engine = ScriptedEngine(always("10.0.0.1:80"))
    await stream(BrokenCall([HEAD, BODY]), engine).run()
    assert [str(f.ending) for f in engine.finished] == ["client-gone"]


async def test_a_defect_in_finish_does_not_stop_the_stream() -> None:
    class Careless(ScriptedEngine):
        def finish(self, *_arguments: object) -> None:
            raise RuntimeError("a defect")

    call, _ = await served(
        HEAD, BODY, response_headers(end_of_stream=True), engine=Careless(always("10.0.0.1:80"))
    )
    assert call.written[-1].WhichOneof("response") == "response_headers"


async def test_detach_lets_go_only_while_waiting() -> None:
    engine = ScriptedEngine(always("10.0.0.1:80"), gate=asyncio.Event())
    assert engine.gate is not None
    call = ScriptedCall([HEAD, BODY])
    running = stream(call, engine)
    running.detach()
    task = asyncio.create_task(running.run())
    await until(lambda: len(engine.requests) == 1)
    running.detach()
    engine.gate.set()
    await until(lambda: len(call.written) == 2)
    for _ in range(5):
        await asyncio.sleep(0)
    running.detach()
    running.detach()
    await task
    assert [str(f.ending) for f in engine.finished] == ["detached"]


def test_nothing_is_counted_by_null_metrics() -> None:
    metrics = NullMetrics()
    metrics.stream_opened()
    metrics.stream_closed()
    metrics.request_finished("completed")
    metrics.immediate_response(503, "x")
    metrics.protocol_error("x")
    metrics.served_elsewhere()
    metrics.pick_failed()
