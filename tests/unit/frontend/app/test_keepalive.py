import json

import pytest

from epp.core.outcomes import HeaderPairs
from frontend.app.keepalive import COMMENT, KeepAlive
from frontend.http.api import Flow
from frontend.outgoing import Outgoing

EVENTS = (("content-type", "text/event-stream"),)
JSON = (("content-type", "application/json"),)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Answer:
    started = False

    def __init__(self) -> None:
        self.said: list[object] = []

    def start(self, status: int, headers: HeaderPairs) -> None:
        self.said.append((status, dict(headers)["content-type"]))

    def data(self, piece: bytes) -> None:
        self.said.append(piece)

    def end(self) -> None:
        self.said.append("end")

    def attach(self, source: Flow | None) -> None:
        self.said.append(source)


class Stage:
    def __init__(self) -> None:
        self.clock = Clock()
        self.answer = Answer()
        out = Outgoing(self.answer)
        self.kept = KeepAlive(out, out, 10.0, self.clock)

    def later(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.kept._tick()


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_quiet_from_the_start(stage: Stage) -> None:
    stage.later(10)
    stage.later(10)
    stage.kept.start(200, EVENTS)
    stage.kept.data(b"data: 1\n\n")
    stage.kept.end()
    head = (200, "text/event-stream")
    assert stage.answer.said == [head, COMMENT, COMMENT, b"data: 1\n\n", "end"]
    assert stage.kept._timer.cancelled()


async def test_pieces_push_the_comment_back(stage: Stage) -> None:
    stage.kept.start(200, EVENTS)
    stage.clock.now_s = 6
    stage.kept.data(b"data: 1\n\n")
    stage.later(4)
    assert COMMENT not in stage.answer.said
    stage.later(6)
    assert stage.answer.said[-1] == COMMENT


async def test_never_within_an_event(stage: Stage) -> None:
    stage.kept.start(200, EVENTS)
    stage.kept.data(b"data: {")
    stage.later(10)
    assert COMMENT not in stage.answer.said
    stage.kept.data(b"}\n\n")
    stage.later(10)
    assert stage.answer.said[-1] == COMMENT


async def test_never_in_an_answer_of_another_kind(stage: Stage) -> None:
    stage.kept.start(400, JSON)
    stage.later(10)
    assert stage.answer.said == [(400, "application/json")]


async def test_never_in_a_stream_whose_length_was_promised(stage: Stage) -> None:
    stage.kept.start(200, (*EVENTS, ("content-length", "20")))
    stage.later(10)
    assert COMMENT not in stage.answer.said


async def test_a_refusal_after_an_early_head_is_an_event(stage: Stage) -> None:
    stage.later(10)
    stage.kept.start(400, JSON)
    stage.kept.data(b'{"message":')
    stage.kept.data(b'"x"}')
    stage.kept.end()
    event, done = stage.answer.said[2].split(b"\n\n")[:2]  # type: ignore[attr-defined] # bytes, by then
    assert json.loads(event.removeprefix(b"data: ")) == {"message": "x"}
    assert done == b"data: [DONE]"
    assert stage.answer.said[-1] == "end"
