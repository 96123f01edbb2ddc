"""The segment over a scripted engine: calls, reasoning, choices, failures."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from epp.core.endpoints import EngineKind
from epp.core.outcomes import Ending
from epp.core.requests import Api, Prompt
from epp.core.tokens import Exactness, Tokenized
from epp.tokenize.decoding import TokenDecoder, make_decoder
from frontend import sse
from frontend.body import Body
from frontend.config.model import FrontendConfig, PipelineConfig
from frontend.errors import ApiError
from frontend.http.api import Reply
from frontend.pipeline.call import Call
from frontend.postprocess.segment import Postprocess
from tests.unit.frontend.fakes import FakeReply, call, components, worker

WORDS = ["<tool_call>", "</tool_call>", "<think>", "</think>", "<end>"]
VOCAB = {chr(code): code for code in range(0x21, 0x7F)} | {"Ġ": 32, "Ċ": 10}
ADDED = [{"id": 200 + at, "content": text, "special": True} for at, text in enumerate(WORDS)]
END = 204
DECODER = make_decoder(
    {"model": {"vocab": VOCAB}, "added_tokens": ADDED, "decoder": {"type": "ByteLevel"}},
    {"eos_token": "<end>"},
    "<think> <tool_call>",
)
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
EVENTS = (("content-type", "text/event-stream"), ("x-served-by", "e0"))


def ids(text: str) -> list[int]:
    found: list[int] = []
    while text:
        special = next((at for at, word in enumerate(WORDS) if text.startswith(word)), None)
        found.append(ord(text[0]) if special is None else 200 + special)
        text = text[1 if special is None else len(WORDS[special]) :]
    return found


class Letters:
    """A tokenizer of letters, and its decoder."""

    def __init__(self, exactness: Exactness = Exactness.EXACT, why: str | None = None) -> None:
        self._exactness, self._why = exactness, why

    async def tokenize(self, model: str, prompt: Prompt) -> Tokenized:
        return Tokenized(bytes([104, 0, 0, 0]) * 3, self._exactness, 3, self._why)

    async def decoder(self, model: str) -> TokenDecoder | None:
        return DECODER if model == "m" else None


def event(tokens: Sequence[int], reason: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "token_ids": list(tokens), "finish_reason": reason} | more
    return sse.event(msgspec.json.encode({"choices": [choice]}))


class Engine:
    """Plays events and ends, or hangs."""

    name = "engine"

    def __init__(self, *pieces: bytes, status: int = 200, hangs: bool = False) -> None:
        self.pieces, self.status, self.hangs = pieces, status, hangs
        self.cancelled = False
        self.seen: Call | None = None
        self.body: Body | None = None
        self.tokens_at_end = 0
        """What whoever booked the request would be told of its output."""

    async def handle(self, call: Call, reply: Reply) -> None:
        self.seen = call
        self.path, self.body = call.path, call.body
        reply.start(self.status, EVENTS)
        for piece in self.pieces:
            reply.data(piece)
        try:
            await asyncio.sleep(30 if self.hangs else 0)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.tokens_at_end = call.facts.output_tokens
        reply.end()


def answered(text: str, reason: str = "stop") -> Engine:
    return Engine(*(event([token]) for token in ids(text)), event([END], reason), sse.DONE)


async def ask(engine: Engine, body: dict[str, Any] | None = None, **more: Any) -> FakeReply:
    pipeline = PipelineConfig(**more.pop("pipeline", {}))
    parts = components(worker(1), tokenizer=more.pop("tokenizer", Letters()))
    reply = FakeReply()
    await Postprocess(engine, FrontendConfig(pipeline=pipeline), parts).handle(call(body, **more), reply)
    return reply


async def message(engine: Engine, body: dict[str, Any] | None = None, **more: Any) -> Any:
    reply = await ask(engine, body, **more)
    assert reply.ended
    return msgspec.json.decode(reply.body)["choices"][0]


async def deltas(engine: Engine, body: dict[str, Any]) -> list[dict[str, Any]]:
    reply = await ask(engine, {**body, "stream": True})
    found = [item.data for item in sse.SseReader().feed(reply.body)]
    assert found[-1] == sse.DONE_DATA
    return [choice for data in found[:-1] for choice in msgspec.json.decode(data)["choices"]]


CALL = '<think>why</think>Hi <tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'


async def test_a_whole_answer_has_reasoning_text_and_calls() -> None:
    choice = await message(answered(CALL), {"tools": TOOLS})
    said = choice["message"]
    assert (said["reasoning_content"], said["content"]) == ("why", "Hi")
    (made,) = said["tool_calls"]
    assert made["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert made["id"].startswith("call_")
    assert choice["finish_reason"] == "tool_calls"


async def test_a_stream_has_the_name_first_and_then_the_arguments() -> None:
    choices = await deltas(answered(CALL), {"tools": TOOLS})
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    calls = [part for choice in choices for part in choice["delta"].get("tool_calls", ())]
    assert calls[0]["type"] == "function"
    assert calls[0]["function"] == {"name": "f", "arguments": ""}
    assert "".join(part["function"]["arguments"] for part in calls) == '{"a": 1}'
    assert all("id" not in part and part["index"] == 0 for part in calls[1:])
    assert "".join(choice["delta"].get("reasoning_content", "") for choice in choices) == "why"
    assert [choice["finish_reason"] for choice in choices][-1] == "tool_calls"
    assert not any(choice["finish_reason"] for choice in choices[:-1])


async def test_without_tools_marks_of_calls_are_hidden_with_other_special_tokens() -> None:
    choice = await message(answered("a<tool_call>b"), {"skip_special_tokens": True})
    assert choice["message"]["content"] == "ab"
    shown = await message(answered("a<tool_call>b"), {"skip_special_tokens": False})
    assert shown["message"]["content"] == "a<tool_call>b"


async def test_reasoning_is_counted_and_its_field_can_be_named() -> None:
    reply = await ask(answered("<think>why</think>so"), pipeline={"reasoning_field_name": "reasoning"})
    answer = msgspec.json.decode(reply.body)
    assert answer["choices"][0]["message"]["reasoning"] == "why"
    assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 4}
    assert answer["usage"]["completion_tokens"] == 8
    assert reply.headers["x-served-by"] == "e0"


async def test_several_choices_come_in_any_order() -> None:
    engine = Engine(event([97], index=1), event([98], "length"), event([99], "length", 1), sse.DONE)
    answer = msgspec.json.decode((await ask(engine, {"n": 2})).body)
    assert [(c["index"], c["message"]["content"]) for c in answer["choices"]] == [(0, "b"), (1, "ac")]


async def test_a_stop_string_stops_the_engine() -> None:
    engine = Engine(*(event([token]) for token in ids("one two")), hangs=True)
    choice = await message(engine, {"stop": "tw"})
    assert (choice["message"]["content"], choice["finish_reason"], choice["stop_reason"]) == (
        "one ",
        "stop",
        "tw",
    )
    assert engine.cancelled
    assert engine.seen is not None
    assert engine.seen.cut is Ending.COMPLETED
    assert engine.tokens_at_end == len("one tw")


async def test_an_answer_of_no_use_stops_the_engine_as_an_error() -> None:
    engine = Engine(b"data: nonsense\n\n", hangs=True)
    with pytest.raises(ApiError) as caught:
        await ask(engine)
    assert caught.value.status == 502
    assert engine.seen is not None
    assert engine.seen.cut is Ending.ERROR


async def test_a_client_that_leaves_stops_the_engine() -> None:
    engine = Engine(event([97]), hangs=True)
    task = asyncio.create_task(ask(engine, {"stream": True}))
    while engine.seen is None:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.cancelled
    assert engine.seen.cut is None


async def test_the_call_is_given_back_with_what_was_seen() -> None:
    engine = answered("abc")
    asked = call({"messages": [{"role": "user", "content": "x"}]})
    body, reply = asked.body, FakeReply()
    segment = Postprocess(engine, FrontendConfig(), components(worker(1), tokenizer=Letters()))
    await segment.handle(asked, reply)
    assert engine.path == "/inference/v1/generate"
    assert (asked.api, asked.path, asked.body, asked.stream) == (
        Api.CHAT,
        "/v1/chat/completions",
        body,
        False,
    )
    assert (asked.facts.prompt_tokens, asked.facts.output_tokens) == (3, 4)


@pytest.mark.parametrize(
    ("engine", "status"),
    [
        (lambda: Engine(event([97])), 502),
        (lambda: Engine(b'data: {"choices": 5}\n\n'), 502),
        (lambda: Engine(b'data: {"error": {"message": "inside"}}\n\n', hangs=True), 500),
    ],
)
async def test_a_broken_stream_is_an_error_that_tells_nothing_of_the_inside(
    engine: Callable[[], Engine], status: int
) -> None:
    with pytest.raises(ApiError) as error:
        await ask(engine())
    assert error.value.status == status
    assert "inside" not in error.value.message


async def ask_sglang(engine: Engine, adapter: str = "") -> None:
    parts = components(
        worker(1, engine=EngineKind.SGLANG), tokenizer=Letters(), adapter=lambda _model: adapter
    )
    await Postprocess(engine, FrontendConfig(), parts).handle(call(), FakeReply())


async def test_what_sglang_finds_wrong_with_a_request_is_told_as_such() -> None:
    refusal = sse.event(b'{"error": {"message": "The input is longer than the context."}}')
    with pytest.raises(ApiError, match="longer than the context") as refused:
        await ask_sglang(Engine(refusal, hangs=True))
    assert refused.value.status == 400
    token = sse.event(b'{"output_ids": [97], "meta_info": {"completion_tokens": 1}}')
    with pytest.raises(ApiError, match="failed while generating") as failed:
        await ask_sglang(Engine(token, refusal, hangs=True))
    assert failed.value.status == 500


async def test_an_adapter_is_named_where_the_form_has_no_model() -> None:
    end = {"output_ids": [97], "meta_info": {"completion_tokens": 1, "finish_reason": {"type": "stop"}}}
    engine = Engine(sse.event(msgspec.json.encode(end)), sse.DONE)
    await ask_sglang(engine, "ad")
    assert engine.body is not None
    assert engine.body.get("lora_path", str) == "ad"


async def test_an_answer_that_is_none_passes_as_it_is() -> None:
    reply = await ask(Engine(b'{"error": "no"}', status=422))
    assert (reply.status, reply.body, reply.ended) == (422, b'{"error": "no"}', True)


async def test_other_apis_pass_through() -> None:
    engine = Engine(b"{}")
    reply = await ask(engine, api=Api.EMBEDDINGS, path="/v1/embeddings")
    assert engine.path == "/v1/embeddings"
    assert reply.body == b"{}"


@pytest.mark.parametrize(
    ("why", "status"), [("tokenizer-loading", 503), ("template-refused", 400), ("multimodal", 400)]
)
async def test_a_prompt_that_cannot_be_tokenized_is_refused(why: str, status: int) -> None:
    with pytest.raises(ApiError) as error:
        await ask(answered("x"), tokenizer=Letters(Exactness.NONE, why))
    assert (error.value.status, why in error.value.message) == (status, True)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"chat_template": "x"},
        {"echo": True},
    ],
)
async def test_what_needs_the_engine_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as error:
        await ask(answered("x"), body)
    assert error.value.status == 400


async def test_a_pool_of_two_engines_is_refused() -> None:
    parts = components(worker(1), worker(2, engine=EngineKind.SGLANG), tokenizer=Letters())
    segment = Postprocess(answered("x"), FrontendConfig(), parts)
    with pytest.raises(ApiError, match="one engine"):
        await segment.handle(call(), FakeReply())


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ({"tool_call_parser": "odd"}, "tool_call_parser must be one of"),
        ({"reasoning_parser": "odd"}, "reasoning_parser must be one of"),
        ({"chat_processor": "odd"}, "chat_processor must be one of"),
        ({"chat_processor": "sglang"}, "needs the package sglang"),
    ],
)
def test_a_wrong_configuration_is_refused_with_a_sentence(pipeline: dict[str, Any], said: str) -> None:
    parts = components(worker(1), tokenizer=Letters())
    with pytest.raises(ValueError, match=said):
        Postprocess(answered("x"), FrontendConfig(pipeline=PipelineConfig(**pipeline)), parts)


def test_a_tokenizer_that_cannot_decode_is_refused() -> None:
    with pytest.raises(ValueError, match="can decode"):
        Postprocess(answered("x"), FrontendConfig(), components(worker(1)))
