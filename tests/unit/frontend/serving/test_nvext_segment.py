import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from epp.core.endpoints import Endpoint
from epp.core.outcomes import HeaderPairs
from epp.core.requests import Api, Prompt
from epp.core.tokens import Exactness, Tokenized
from epp.wire.tokens import flat_tokens
from frontend.body import Body
from frontend.errors import ApiError
from frontend.http.api import Flow, Reply
from frontend.pipeline.call import Call, Leg, Route
from frontend.serving.nvext_answer import Seen, answer_fields, extended, hit_rate
from frontend.serving.nvext_read import read_nvext
from frontend.serving.nvext_segment import NvExtSegment

JSON = (("content-type", "application/json"), ("content-length", "9"))
EVENTS = (("content-type", "text/event-stream; charset=utf-8"),)
ONE, TWO = Endpoint("a", "10.0.0.1", 1, 1), Endpoint("b", "10.0.0.1", 2, 2)


class Answer:
    started = False

    def __init__(self) -> None:
        self.head: tuple[int, dict[str, str]] = (0, {})
        self.body = b""
        self.ended = False

    def start(self, status: int, headers: HeaderPairs) -> None:
        self.head = status, dict(headers)

    def data(self, piece: bytes) -> None:
        self.body += piece

    def end(self) -> None:
        self.ended = True

    def attach(self, source: Flow | None) -> None:
        pass


EXACT = Tokenized(flat_tokens([1, 2]), Exactness.EXACT, 2)


class Tokens:
    def __init__(self, said: Tokenized) -> None:
        self._said = said

    async def tokenize(self, model: str, prompt: Prompt) -> Tokenized:
        return self._said


class Worker:
    """The segments below: what they send."""

    name = "worker"

    def __init__(self, headers: HeaderPairs, *pieces: bytes, status: int = 200) -> None:
        self._headers, self._pieces, self._status = headers, pieces, status
        self.call: Call | None = None
        self.reply: Reply | None = None

    async def handle(self, call: Call, reply: Reply) -> None:
        self.call, self.reply = call, reply
        call.route = Route(Leg(ONE), Leg(TWO, 3))
        reply.start(self._status, self._headers)
        for piece in self._pieces:
            reply.data(piece)
        reply.end()


def call(nvext: dict[str, Any] | None, *, api: Api = Api.CHAT, **more: Any) -> Call:
    body = Body.of(
        {"model": "m", "messages": [{"role": "user", "content": "x"}], **more}
        | ({} if nvext is None else {"nvext": nvext})
    )
    return Call(
        api, "/v1/chat/completions", {}, body, "r", 0.0, "m", bool(more.get("stream")), read_nvext(body)
    )


async def run(worker: Worker, asked: Call, tokens: Tokenized = EXACT) -> Answer:
    answer = Answer()

    async def decode(_: str, ids: list[int]) -> str:
        return f"<{ids}>"

    segment = NvExtSegment(worker, Tokens(tokens), lambda: 2.0, decode=decode, block_tokens=lambda _: 16)
    await segment.handle(asked, answer)
    return answer


@pytest.mark.parametrize(
    "asked", [call(None), call({}), call({"extra_fields": ["timing"]}, api=Api.EMBEDDINGS)]
)
async def test_what_is_not_asked_for_costs_nothing(asked: Call) -> None:
    worker = Worker(JSON, b'{"a":1  }')
    answer = await run(worker, asked)
    assert worker.reply is answer
    assert answer.body == b'{"a":1  }'


async def test_a_whole_answer_in_pieces() -> None:
    answer = await run(Worker(JSON, b'{"a"', b":1  }"), call({"extra_fields": ["worker_id", "timing"]}))
    said = json.loads(answer.body)
    assert said["a"] == 1
    assert said["nvext"]["worker_id"] == {
        "prefill_worker_id": 2,
        "prefill_dp_rank": 3,
        "decode_worker_id": 1,
        "decode_dp_rank": 0,
    }
    assert said["nvext"]["timing"] == {"total_time_ms": 2000.0}
    assert answer.head[1]["content-length"] == str(len(answer.body))


async def test_an_error_passes_as_it_is() -> None:
    worker = Worker(JSON, b'{"bad":1}', status=400)
    answer = await run(worker, call({"extra_fields": ["worker_id"]}))
    assert (answer.head[0], answer.body) == (400, b'{"bad":1}')


async def test_what_the_answer_already_has_is_kept() -> None:
    answer = await run(Worker(JSON, b'{"nvext":{"token_ids":[1]}}'), call({"extra_fields": ["worker_id"]}))
    assert json.loads(answer.body)["nvext"].keys() == {"token_ids", "worker_id"}


async def test_engine_fields_are_taken_where_engines_put_them() -> None:
    fields = ["completion_token_ids", "stop_reason", "prompt_logprobs", "routed_experts"]
    choice = {"finish_reason": "stop", "token_ids": [5], "stop_reason": "END", "routed_experts": "x"}
    said = json.dumps({"choices": [choice], "prompt_logprobs": [None]}).encode()
    worker = Worker(JSON, said)
    answer = await run(worker, call({"extra_fields": fields}))
    assert json.loads(answer.body)["nvext"] == {
        "completion_token_ids": [5],
        "stop_reason": "END",
        "prompt_logprobs": [None],
        "routed_experts": "x",
    }
    assert worker.call is not None
    assert worker.call.body.get("return_token_ids", bool) is True


async def test_sglang_tells_the_stop_elsewhere() -> None:
    said = b'{"choices":[{"finish_reason":"stop","matched_stop":7}]}'
    answer = await run(Worker(JSON, said), call({"extra_fields": ["stop_reason"]}))
    assert json.loads(answer.body)["nvext"] == {"stop_reason": 7}


async def test_a_stream_cut_anywhere() -> None:
    stream = b'data: {"choices":[{"finish_reason":null}]}\n\ndata: {"choices":[{"finish_reason":"stop"}]}\n\n'
    stream += b"event: error\ndata: {}\n\ndata: [DONE]\n\n"
    asked = call({"extra_fields": ["worker_id", "timing"]}, stream=True)
    whole = (await run(Worker(EVENTS, stream), asked)).body
    bytewise = await run(Worker(EVENTS, *(stream[i : i + 1] for i in range(len(stream)))), asked)
    assert bytewise.body == whole
    first, second, error, done = whole.decode().strip().split("\n\n")
    assert json.loads(first[6:])["nvext"].keys() == {"worker_id"}
    assert json.loads(second[6:])["nvext"].keys() == {"worker_id", "timing"}
    assert (error, done) == ("event: error\ndata: {}", "data: [DONE]")


async def test_notes_come_first_and_only_in_streams() -> None:
    nvext = {"annotations": ["token_ids", "request_id", "formatted_prompt"]}
    answer = await run(Worker(EVENTS, b"data: {}\n\n"), call(nvext, stream=True))
    assert answer.body.decode() == (
        'event: request_id\n: "r"\n\n'
        'event: formatted_prompt\n: "<[1, 2]>"\n\n'
        'event: token_ids\n: "[1,2]"\n\n'
        "data: {}\n\n"
    )
    assert (await run(Worker(JSON, b"{}"), call(nvext))).body == b"{}"


@pytest.mark.parametrize("exactness", [Exactness.ESTIMATED, Exactness.NONE])
async def test_estimates_are_no_token_ids(exactness: Exactness) -> None:
    tokens = Tokenized(flat_tokens([1, 2]), exactness, 2)
    nvext = {"annotations": ["token_ids", "formatted_prompt"], "extra_fields": ["token_ids"]}
    answer = await run(Worker(EVENTS, b"data: {}\n\n"), call(nvext, stream=True), tokens)
    assert answer.body == b"data: {}\n\n"
    request = call(nvext)
    request.route = Route(Leg(ONE), tokens=tokens)
    assert "token_ids" not in answer_fields(request, Seen(), 0.0, lambda _: 16, whole=True)
    request.route = Route(Leg(ONE), tokens=replace(tokens, exactness=Exactness.PARTIAL))
    assert answer_fields(request, Seen(), 0.0, lambda _: 16, whole=True)["token_ids"] == [1, 2]


async def test_options_that_change_sampling() -> None:
    worker = Worker(JSON, b"{}")
    await run(worker, call({"greed_sampling": True, "max_thinking_tokens": 9}, top_p=0.5, temperature=1))
    assert worker.call is not None
    body = json.loads(worker.call.body.encode())
    assert body["temperature"] == 0
    assert "top_p" not in body
    assert body["thinking_token_budget"] == 9


def test_blocks_are_rounded_up() -> None:
    asked = call(None)
    asked.route = Route(
        Leg(ONE), tokens=Tokenized(b"", Exactness.EXACT, 69), cached_tokens=64, uncached_tokens=5
    )
    assert hit_rate(asked, lambda _: 16) == 0.8
    assert hit_rate(asked, lambda _: 0) == 64 / 69


@pytest.mark.parametrize("nvext", ['{"bogus":1}', '{"dp_rank":-1}', '{"annotations":"x"}', "3", "[]"])
def test_refused(nvext: str) -> None:
    with pytest.raises(ApiError) as raised:
        read_nvext(Body(b'{"nvext":%b}' % nvext.encode()))
    assert raised.value.status == 400


@given(st.binary(max_size=80))
def test_any_chunk_is_extended_or_left_alone(raw: bytes) -> None:
    asked = call({"extra_fields": ["worker_id", "stop_reason"]})
    asked.route = Route(Leg(ONE))
    assert extended(raw, asked, 0.0, lambda _: 0, whole=False)[:1] == raw[:1]
