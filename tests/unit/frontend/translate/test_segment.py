import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from epp.core.requests import Api, ChatPrompt, Prompt
from epp.core.tokens import Exactness, Tokenized
from frontend.body import Body
from frontend.config.model import FrontendConfig
from frontend.errors import ApiError
from frontend.http.api import Reply
from frontend.nvext import NvExtRequest
from frontend.pipeline.call import Call
from frontend.translate import reply as reply_module
from frontend.translate.segment import Translate
from tests.unit.frontend.fakes import FakeReply, components
from tests.unit.frontend.translate import said

HELLO = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}
ASK = {"model": "m", "input": "Hello"}
EVENTS = (("content-type", "text/event-stream"),)
JSON = (("content-type", "application/json"), ("content-length", "7"), ("x-worker", "3"))


class Engine:
    """The next segment: answers with what it was given, a byte at a time."""

    name = "engine"

    def __init__(
        self, body: bytes, status: int = 200, headers: Any = JSON, error: ApiError | None = None
    ) -> None:
        self._body = body
        self._status = status
        self._headers = headers
        self._error = error
        self.seen: Call | None = None

    async def handle(self, call: Call, reply: Reply) -> None:
        self.seen = call
        if self._error is not None:
            raise self._error
        reply.start(self._status, self._headers)
        for byte in self._body:
            reply.data(bytes([byte]))
        reply.end()


def a_call(api: Api, body: dict[str, Any], **more: Any) -> Call:
    fields: dict[str, Any] = {
        "api": api,
        "path": "/v1/" + api,
        "headers": {},
        "body": Body.of(body),
        "request_id": "r1",
        "arrived_s": 0.0,
        "model": "m",
        "stream": bool(body.get("stream")),
        "nvext": NvExtRequest(),
    }
    return Call(**(fields | more))


def serve(engine: Engine, call: Call) -> FakeReply:
    reply = FakeReply()
    asyncio.run(Translate(engine, FrontendConfig(), components()).handle(call, reply))
    assert reply.ended
    return reply


WHOLE = said.whole({"content": "Hi"})


def test_messages_leave_as_chat_completions_and_come_back_as_a_message() -> None:
    engine = Engine(WHOLE)
    reply = serve(engine, a_call(Api.MESSAGES, HELLO))
    assert engine.seen is not None
    assert (engine.seen.api, engine.seen.path) == (Api.CHAT, "/v1/chat/completions")
    assert engine.seen.body.get("messages", list[Any]) == HELLO["messages"]
    assert reply.status == 200
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["x-worker"] == "3"
    assert msgspec.json.decode(reply.body)["content"] == [{"type": "text", "text": "Hi"}]


def test_responses_leave_as_chat_completions_and_come_back_as_a_response() -> None:
    reply = serve(Engine(WHOLE), a_call(Api.RESPONSES, ASK))
    assert msgspec.json.decode(reply.body)["object"] == "response"


@pytest.mark.parametrize(
    ("api", "body", "last"),
    [(Api.MESSAGES, HELLO, "message_stop"), (Api.RESPONSES, ASK, "response.completed")],
)
def test_streams_come_back_as_streams(api: Api, body: dict[str, Any], last: str) -> None:
    stream = said.sse(*said.TWO_CALLS)
    reply = serve(Engine(stream, headers=EVENTS), a_call(api, body | {"stream": True}))
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert said.read(reply.body)[-1]["type"] == last


def test_nvext_of_a_stream_is_put_together() -> None:
    first = said.text("a") | {"nvext": {"worker_id": 3, "completion_token_ids": [1, 2]}}
    second = said.end() | {"nvext": {"completion_token_ids": [3], "timing": {"ttft_ms": 1.5}}}
    odd = said.usage() | {"nvext": 7}
    reply = serve(
        Engine(said.sse(first, second, odd), headers=EVENTS), a_call(Api.MESSAGES, HELLO | {"stream": True})
    )
    assert said.read(reply.body)[-2]["nvext"] == {
        "worker_id": 3,
        "completion_token_ids": [1, 2, 3],
        "timing": {"ttft_ms": 1.5},
    }


def test_other_apis_pass_untouched() -> None:
    call = a_call(Api.CHAT, {"model": "m"})
    body = call.body
    engine = Engine(b"anything")
    assert serve(engine, call).body == b"anything"
    assert call.body is body


def test_an_error_of_the_engine_has_anthropics_form() -> None:
    told = b'{"error":{"message":"too long","type":"BadRequestError","code":400}}'
    reply = serve(Engine(told, status=400), a_call(Api.MESSAGES, HELLO))
    assert reply.status == 400
    assert msgspec.json.decode(reply.body) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "too long"},
    }


def test_an_error_of_the_engine_keeps_its_form_for_responses() -> None:
    told = b'{"error":{"message":"too long","type":"BadRequestError","code":400}}'
    reply = serve(Engine(told, status=400), a_call(Api.RESPONSES, ASK))
    assert (reply.status, reply.body) == (400, told)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"choices":[]}', b'{"choices":7}'])
def test_an_answer_that_is_none_is_a_bad_gateway(body: bytes) -> None:
    for api, asked in ((Api.MESSAGES, HELLO), (Api.RESPONSES, ASK)):
        reply = serve(Engine(body), a_call(api, asked))
        assert reply.status == 502
        assert b"could not be understood" in reply.body


def test_an_answer_beyond_the_bound_is_a_bad_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_module, "MAX_WHOLE_BYTES", 10)
    assert serve(Engine(WHOLE), a_call(Api.MESSAGES, HELLO)).status == 502


def test_an_event_beyond_the_bound_fails_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_module, "SseReader", lambda: said.SseReader(100))
    stream = said.sse(said.text("x" * 200), said.end())
    reply = serve(Engine(stream, headers=EVENTS), a_call(Api.MESSAGES, HELLO | {"stream": True}))
    assert said.read(reply.body)[-1]["type"] == "error"


def test_errors_from_below_pass_before_anything_was_answered() -> None:
    reply = FakeReply()
    segment = Translate(Engine(b"", error=ApiError(503, "busy")), FrontendConfig(), components())
    with pytest.raises(ApiError, match="busy"):
        asyncio.run(segment.handle(a_call(Api.MESSAGES, HELLO), reply))
    assert not reply.started


def test_the_key_of_anthropics_clients_becomes_a_bearer() -> None:
    call = a_call(Api.MESSAGES, HELLO, headers={"x-api-key": "k"})
    serve(Engine(WHOLE), call)
    assert call.forward_headers["authorization"] == "Bearer k"
    call = a_call(Api.MESSAGES, HELLO, headers={"x-api-key": "k", "authorization": "Bearer mine"})
    serve(Engine(WHOLE), call)
    assert "authorization" not in call.forward_headers


@pytest.mark.parametrize(("api", "body"), [(Api.MESSAGES, HELLO), (Api.RESPONSES, ASK)])
def test_an_answer_of_nothing_but_nvext_is_complete(api: Api, body: dict[str, Any]) -> None:
    """The answer to a question who would serve a request."""
    delta = {"role": "assistant", "content": None}
    nvext = {"worker_id": {"decode_worker_id": 3}}
    choice = {"index": 0, "delta": delta, "message": delta, "finish_reason": None}
    chunk = {"choices": [choice], "nvext": nvext}
    streamed = serve(Engine(said.sse(chunk), headers=EVENTS), a_call(api, body | {"stream": True}))
    *_, last = [found for found in said.read(streamed.body) if found["type"] != "message_stop"]
    assert last.get("response", last)["nvext"] == nvext
    whole = serve(Engine(msgspec.json.encode(chunk)), a_call(api, body))
    assert msgspec.json.decode(whole.body)["nvext"] == nvext


class Words:
    """Counts the words of a conversation."""

    async def tokenize(self, model: str, prompt: Prompt) -> Tokenized:
        assert isinstance(prompt, ChatPrompt)
        count = sum(len(str(message["content"]).split()) for message in prompt.messages)
        exactness = Exactness.NONE if model == "unknown" else Exactness.EXACT
        return Tokenized(b"", exactness, count)


COUNTED = [
    (
        Api.COUNT_TOKENS,
        "/v1/messages/count_tokens",
        {"system": "Be very kind", "messages": HELLO["messages"]},
    ),
    (Api.RESPONSES, "/v1/responses/input_tokens", {"instructions": "Be very kind", "input": "Hello"}),
]


def count(engine: Engine, call: Call) -> FakeReply:
    reply = FakeReply()
    segment = Translate(engine, FrontendConfig(), replace(components(), tokenizer=Words()))
    asyncio.run(segment.handle(call, reply))
    return reply


@pytest.mark.parametrize(("api", "path", "body"), COUNTED)
def test_tokens_are_counted_here(api: Api, path: str, body: dict[str, Any]) -> None:
    engine = Engine(b"{}")
    reply = count(engine, a_call(api, {"model": "m"} | body, path=path))
    assert msgspec.json.decode(reply.body)["input_tokens"] == 4
    assert engine.seen is None


@pytest.mark.parametrize(("api", "path", "body"), COUNTED)
@pytest.mark.parametrize(
    "more", [{"model": "unknown"}, {"model": "m", "chat_template_kwargs": {"chat_template": "x"}}]
)
def test_what_cannot_be_counted_here_is_asked_of_a_worker(
    api: Api, path: str, body: dict[str, Any], more: dict[str, Any]
) -> None:
    engine = Engine(b'{"input_tokens":9}')
    assert (
        count(engine, a_call(api, body | more, path=path, model=more["model"])).body == b'{"input_tokens":9}'
    )
    assert engine.seen is not None
    assert (engine.seen.api, engine.seen.path) == (Api.COUNT_TOKENS, path)


def test_what_is_no_prompt_is_not_counted() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    with pytest.raises(ApiError, match="web_search"):
        count(Engine(b""), a_call(Api.COUNT_TOKENS, HELLO | {"tools": tools}))
