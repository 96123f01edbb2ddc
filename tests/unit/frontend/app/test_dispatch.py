import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from epp.core.outcomes import HeaderPairs
from frontend.app.dispatch import Dispatcher, PageAnswer
from frontend.app.routes import Routes
from frontend.config.model import HttpConfig
from frontend.errors import ApiError
from frontend.http.api import Flow, Reply, Request, whole
from frontend.pipeline.call import Call
from frontend.visit import Visit

CHAT = "/v1/chat/completions"
JSON = (("content-type", "application/json"),)
EVENTS = (("content-type", "text/event-stream"),)


class Answer:
    def __init__(self) -> None:
        self.started = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False

    def start(self, status: int, headers: HeaderPairs) -> None:
        self.started, self.status, self.headers = True, status, dict(headers)

    def data(self, piece: bytes) -> None:
        self.body += piece

    def end(self) -> None:
        self.ended = True

    def attach(self, source: Flow | None) -> None:
        pass


class Watcher:
    def __init__(self) -> None:
        self.begins: list[Visit] = []
        self.ends: list[Visit] = []

    def begun(self, visit: Visit, reply: Reply) -> Reply:
        self.begins.append(visit)
        return reply

    def ended(self, visit: Visit) -> None:
        self.ends.append(visit)

    def page(self) -> bytes:
        return b""


class Door:
    async def admit(self, call: Call) -> None:
        if call.model == "zz":
            raise ApiError(404, "Model not found")


class Stage:
    """A dispatcher over a scripted pipeline."""

    def __init__(self, pipeline: Callable[[Call, Reply], Awaitable[None]], **config: Any) -> None:
        self.watcher = Watcher()
        pages = {"live": self._live, "docs": self._broken}
        self._dispatcher = Dispatcher(
            HttpConfig(**config),
            Routes(anthropic=True),
            pages,
            Door(),  # type: ignore[arg-type] # all of Admission that is called
            pipeline,
            self.watcher,
            clock=lambda: 9.0,
        )

    async def _live(self, _: Request, __: str) -> PageAnswer:
        return PageAnswer(b"live")

    async def _broken(self, _: Request, __: str) -> PageAnswer:
        raise KeyError("secret")

    async def ask(
        self, body: dict[str, Any] | None = None, path: str = CHAT, method: str = "POST", **headers: str
    ) -> Answer:
        whole_body = {"model": "m", "messages": [{}], "max_tokens": 1, **(body or {})}
        sent = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        answer = Answer()
        await self._dispatcher(Request(method, path, "", sent, json.dumps(whole_body).encode(), 5.0), answer)
        return answer

    @property
    def seen(self) -> Visit:
        (visit,) = self.watcher.ends
        return visit


async def ok(call: Call, reply: Reply) -> None:
    whole(reply, 200, JSON, call.request_id.encode())


async def test_a_call_is_understood() -> None:
    calls: list[Call] = []

    async def pipeline(call: Call, reply: Reply) -> None:
        calls.append(call)
        await ok(call, reply)

    stage = Stage(pipeline)
    answer = await stage.ask({"stream": True, "nvext": {"dp_rank": 1}}, x_request_id="r")
    assert answer.body == b"r"
    assert answer.headers["x-request-id"] == "r"
    (call,) = calls
    assert (call.model, call.stream, call.path, call.arrived_s) == ("m", True, CHAT, 5.0)
    assert call.nvext.routing.dp_rank == 1
    assert call.forward_headers == {"x-request-id": "r"}
    seen = stage.seen
    assert (seen.endpoint, seen.status, seen.error_type, seen.ended_s) == ("chat_completions", 200, "", 9.0)
    assert stage.watcher.begins == [seen]


async def test_an_id_is_made_and_kept_to_ourselves() -> None:
    answer = await Stage(ok).ask()
    assert len(answer.body) == 36
    assert "x-request-id" not in answer.headers


async def test_a_refused_call_never_begins() -> None:
    stage = Stage(ok)
    assert (await stage.ask({"model": "zz"})).status == 404
    assert stage.watcher.begins == []
    assert (stage.seen.status, stage.seen.error_type) == (404, "not_found")


@pytest.mark.parametrize(
    ("error", "label"),
    [
        (ApiError(400, "x"), "validation"),
        (ApiError(503, "x"), "unavailable"),
        (ApiError(529, "x"), "overload"),
        (ApiError(504, "x"), "response_timeout"),
        (ApiError(501, "x"), "not_implemented"),
        (ApiError(500, "x"), "internal"),
        (ApiError(502, "x", cause="lost"), "lost"),
    ],
)
async def test_errors_of_the_pipeline(error: ApiError, label: str) -> None:
    async def pipeline(_: Call, __: Reply) -> None:
        raise error

    stage = Stage(pipeline)
    answer = await stage.ask()
    assert answer.status == error.status
    assert json.loads(answer.body)["message"] == "x"
    assert stage.seen.error_type == label
    assert ("retry-after" in answer.headers) is (error.status == 529)


async def test_retry_after_is_not_repeated_and_can_be_off() -> None:
    async def told(_: Call, __: Reply) -> None:
        raise ApiError(529, "x", headers=(("retry-after", "9"),))

    async def untold(_: Call, __: Reply) -> None:
        raise ApiError(529, "x")

    assert (await Stage(told).ask()).headers["retry-after"] == "9"
    assert "retry-after" not in (await Stage(untold, retry_after_s=0).ask()).headers
    assert "retry-after" in (await Stage(untold, retry_after_s=2).ask()).headers


async def test_a_defect_is_a_plain_500(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(ok)
    answer = await stage.ask(path="/docs", method="GET")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "secret" in caplog.text
    assert stage.seen.error_type == "internal"


def broken_after(*pieces: bytes, headers: HeaderPairs = EVENTS) -> Callable[[Call, Reply], Awaitable[None]]:
    async def pipeline(_: Call, reply: Reply) -> None:
        reply.start(200, headers)
        for piece in pieces:
            reply.data(piece)
        raise ApiError(502, "lost")

    return pipeline


async def test_a_stream_ends_with_an_error_event() -> None:
    stage = Stage(broken_after(b"data: 1\n\n"))
    answer = await stage.ask({"stream": True})
    first, error, done = answer.body.decode().split("\n\n")[:3]
    assert first == "data: 1"
    assert json.loads(error.removeprefix("data: "))["error"]["message"] == "lost"
    assert done == "data: [DONE]"
    assert answer.ended
    assert (stage.seen.status, stage.seen.error_type) == (502, "internal")


async def test_an_error_event_in_anthropics_form() -> None:
    answer = await Stage(broken_after()).ask({"stream": True}, path="/v1/messages")
    assert answer.body.startswith(b'event: error\ndata: {"type":"error"')


async def test_half_an_event_is_never_continued() -> None:
    answer = await Stage(broken_after(b'data: {"half')).ask({"stream": True})
    assert answer.body == b'data: {"half'
    assert not answer.ended


async def test_half_a_whole_answer_is_never_ended() -> None:
    answer = await Stage(broken_after(b"{", headers=JSON)).ask()
    assert not answer.ended


async def test_a_client_that_left() -> None:
    async def pipeline(_: Call, __: Reply) -> None:
        raise asyncio.CancelledError

    stage = Stage(pipeline)
    with pytest.raises(asyncio.CancelledError):
        await stage.ask()
    assert (stage.seen.status, stage.seen.error_type) == (499, "cancelled")


async def test_pages_are_visits_too() -> None:
    stage = Stage(ok)
    assert (await stage.ask(path="/live", method="GET")).body == b"live"
    assert (stage.seen.endpoint, stage.seen.api, stage.seen.call) == ("live", None, None)
    assert stage.watcher.begins == []
