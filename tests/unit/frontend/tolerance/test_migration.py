"""Answers made by several workers read as one."""

import random
from typing import Any

import msgspec
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoints import EngineKind
from epp.core.requests import Api
from frontend.body import Body
from frontend.config.model import ToleranceConfig
from frontend.errors import ApiError
from frontend.http.api import Failure, Reply
from frontend.pipeline.call import Call, Leg, Route
from frontend.pipeline.components import EverybodyUsable, WorkerHealth
from frontend.pipeline.lost import WorkerFaultError, WorkerLostError
from frontend.sse import DONE, DONE_DATA, SseReader, event
from frontend.tolerance.continuing import Counts
from frontend.tolerance.migration import TOO_LONG, Migration
from tests.unit.frontend.fakes import FakeReply, call, components, worker

PROMPT = [5, 6, 7]
WORKERS = tuple(worker(number) for number in range(1, 5))
WORDS = (" a", " b", " ce", " déjà", " e", " f")


def follow(tokens: list[int]) -> int:
    """The next token of an autoregressive engine."""
    return xxhash.xxh3_64_intdigest(str(tokens).encode()) % len(WORDS)


_ABORTED = b'{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"abort","token_ids":[]}]}'


class Engine:
    """Segments below migration: every attempt goes to the next worker and breaks off where it is told to."""

    name = "engine"

    def __init__(self, *breaks: int | Exception | str, seed: int = 0) -> None:
        self.breaks = list(breaks)
        self.asked: list[tuple[Api, str, Body]] = []
        self.seed = seed

    async def handle(self, call: Call, reply: Reply) -> None:
        number = len(self.asked)
        self.asked.append((call.api, call.path, call.body))
        free = [one for one in WORKERS if one.worker_id not in call.excluded]
        if not free:
            raise ApiError(503, "nobody is left")
        call.route = Route(Leg(free[0]))
        broken = self.breaks[number] if number < len(self.breaks) else None
        if isinstance(broken, Exception):
            raise broken
        if broken == "fault answered":
            raise WorkerFaultError(free[0].worker_id)
        if broken == "busy":
            reply.start(503, (("content-type", "application/json"),))
            reply.data(b'{"message":"later"}')
            reply.end()
            return
        if not call.stream:
            self._whole(call, reply, broken is not None)
            return
        reply.start(200, (("content-type", "text/event-stream"),))
        data = b"".join(self._events(call, broken if isinstance(broken, int) else None))
        if broken == "abort":
            data = b"".join(self._events(call, 5)) + event(_ABORTED) + DONE
        if broken == "fault":
            data = event(b'{"error":{"message":"engine core died","code":500}}') + DONE
        for piece in _cut(data, self.seed + number):
            reply.data(piece)
        if isinstance(broken, int):
            raise WorkerLostError(Failure.RESET, free[0].worker_id)
        reply.end()

    def _whole(self, call: Call, reply: Reply, broken: bool) -> None:
        reply.start(200, (("content-type", "application/json"), ("content-length", "4")))
        reply.data(b"{")
        if broken:
            assert call.route is not None
            raise WorkerLostError(Failure.RESET, call.route.worker.endpoint.worker_id)
        reply.data(b'"a')
        reply.data(b"}")
        reply.end()

    def _events(self, call: Call, count: int | None) -> list[bytes]:
        body, chat = call.body, call.api is Api.CHAT
        tokens = list(PROMPT if chat or isinstance(body.get("prompt", Any), str) else body.get("prompt", Any))
        prompt, limit = len(tokens), body.get("max_tokens", int) or 40
        base = {"id": f"id-{len(self.asked)}", "created": len(self.asked), "model": "m"}
        told = tokens[:prompt]
        made: list[bytes] = []

        def chunk(**fields: Any) -> None:
            made.append(event(msgspec.json.encode(base | fields)))

        if chat:
            chunk(
                object="chat.completion.chunk",
                prompt_token_ids=told,
                choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}],
            )
        for number in range(limit):
            tokens.append(follow(tokens))
            text = WORDS[tokens[-1]]
            half = tokens[-1] == 3  # its text comes with the next token
            if len(tokens) > prompt + 1 and tokens[-2] == 3:
                text = WORDS[3] + ("" if half else text)
            text = "" if half and number + 1 < limit else text
            last = "length" if number + 1 == limit else None
            choice: dict[str, Any] = {"index": 0, "finish_reason": last, "token_ids": tokens[-1:]}
            choice |= {"delta": {"content": text}} if chat else {"text": text}
            if not chat and not number:
                choice["prompt_token_ids"] = told
            chunk(object="chat.completion.chunk" if chat else "text_completion", choices=[choice])
        usage = {"prompt_tokens": prompt, "completion_tokens": limit, "total_tokens": prompt + limit}
        chunk(object="chat.completion.chunk", choices=[], usage=usage)
        made.append(DONE)
        role = 1 if chat else 0
        return made if count is None else made[: role + count]


def _cut(data: bytes, seed: int) -> list[bytes]:
    draw, pieces = random.Random(seed), list[bytes]()
    while data:
        size = draw.randint(1, 90)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def migration(engine: Engine, limit: int = 3, **more: Any) -> Migration:
    settings: dict[str, Any] = {"migration_limit": limit}
    settings |= {name: more.pop(name) for name in list(more) if name.startswith(("migration", "queue"))}
    return Migration(
        engine, ToleranceConfig(**settings), components(*WORKERS, **more), window=lambda _m: 1000
    )


async def served(engine: Engine, one: Call, **more: Any) -> FakeReply:
    reply = FakeReply()
    await migration(engine, **more).handle(one, reply)
    assert reply.ended
    return reply


def chunks(reply: FakeReply) -> list[dict[str, Any]]:
    events = SseReader().feed(reply.body)
    assert events[-1].data == DONE_DATA
    return [msgspec.json.decode(one.data) for one in events[:-1]]


def said(reply: FakeReply) -> str:
    choices = [choice for chunk in chunks(reply) for choice in chunk["choices"]]
    return "".join(c.get("text") or c.get("delta", {}).get("content") or "" for c in choices)


def streamed(chat: bool, **body: Any) -> Call:
    body = {"stream": True, "max_tokens": 30, "stream_options": {"include_usage": True}, **body}
    if chat:
        return call(body)
    return call({"prompt": "abc", **body}, api=Api.COMPLETIONS, path="/v1/completions")


@pytest.mark.parametrize("chat", [True, False])
@given(breaks=st.lists(st.integers(0, 29), max_size=3), seed=st.integers(0, 99))
async def test_no_token_is_lost_or_doubled(chat: bool, breaks: list[int], seed: int) -> None:
    calm = await served(Engine(), streamed(chat))
    engine = Engine(*breaks, seed=seed)
    reply = await served(engine, one := streamed(chat))
    assert said(reply) == said(calm)
    assert one.facts.migrations == len(engine.asked) - 1
    first = chunks(reply)[0]
    assert {(c["id"], c["created"]) for c in chunks(reply)} == {(first["id"], first["created"])}
    assert b"token_ids" not in reply.body
    usage = chunks(reply)[-1]["usage"]
    assert usage == {"prompt_tokens": 3, "completion_tokens": 30, "total_tokens": 33}


async def test_a_chat_keeps_its_shape_and_has_one_role() -> None:
    reply = await served(Engine(4, 3), streamed(chat=True))
    choices = [choice for chunk in chunks(reply) for choice in chunk["choices"]]
    assert all("delta" in choice and "text" not in choice for choice in choices)
    assert sum("role" in choice["delta"] for choice in choices) == 1
    assert {chunk["object"] for chunk in chunks(reply)} == {"chat.completion.chunk"}


async def test_clients_that_want_ids_get_them() -> None:
    reply = await served(Engine(4), streamed(chat=True, return_token_ids=True))
    ids = [t for chunk in chunks(reply) for choice in chunk["choices"] for t in choice.get("token_ids", [])]
    tokens = list(PROMPT)
    while len(tokens) < 33:
        tokens.append(follow(tokens))
    assert ids == tokens[3:]


async def test_the_rest_is_asked_for_with_smaller_bounds_at_another_worker() -> None:
    engine = Engine(10)
    one = streamed(chat=True, temperature=0.5, min_tokens=12, tools=None)
    await served(engine, one)
    api, path, body = engine.asked[1]
    assert (api, path) == (Api.COMPLETIONS, "/v1/completions")
    generated = len(body.get("prompt", list[int]) or []) - len(PROMPT)
    assert generated in (9, 10), "a token whose text was held back is generated again"
    assert body.get("max_tokens", int) == 30 - generated
    assert body.get("min_tokens", int) == 12 - generated
    assert body.get("temperature", float) == 0.5
    assert "messages" not in body
    assert one.excluded == {1}


async def test_whole_answers_are_begun_anew() -> None:
    engine = Engine(1, 1)
    reply = await served(engine, call())
    assert (reply.status, reply.body, len(engine.asked)) == (200, b'{"a}', 3)


async def test_a_busy_worker_is_passed_over_and_believed_in_the_end() -> None:
    assert (await served(Engine("busy"), streamed(chat=True))).status == 200
    reply = await served(Engine("busy", "busy"), streamed(chat=True), limit=1)
    assert (reply.status, reply.body) == (503, b'{"message":"later"}')


async def test_an_engine_that_dies_politely_is_lost_all_the_same() -> None:
    calm = await served(Engine(), streamed(chat=True))
    for way in ("fault", "abort", "fault answered"):
        engine = Engine(way)
        assert said(await served(engine, streamed(chat=True))) == said(calm)
        assert len(engine.asked) == 2, way


async def test_the_call_is_left_as_it_came_for_whoever_asks_again() -> None:
    one = streamed(chat=True)
    asked = (one.api, one.path, one.body)
    overloaded = ApiError(529, "busy", cause="overload")
    with pytest.raises(ApiError, match="busy"):
        await served(Engine(overloaded), one)
    assert (one.api, one.path, one.body) == asked
    await served(Engine(3), one)
    assert (one.api, one.path, one.body) == asked


async def test_whoever_lost_a_worker_waits_for_the_next_within_the_time_for_it() -> None:
    calm = await served(Engine(), streamed(chat=True))
    nobody = ApiError(503, "nobody is left")
    busy = ApiError(529, "busy", cause="overload")
    unreachable = WorkerLostError(Failure.CONNECT, 2)
    one = streamed(chat=True)
    reply = await served(Engine(7, nobody, busy, unreachable), one, limit=1)
    assert said(reply) == said(calm)
    assert one.facts.migrations == 1
    with pytest.raises(ApiError, match="nobody"):
        await served(Engine(7, nobody), streamed(chat=True), queue_timeout_s=0.0)


class Dead(EverybodyUsable):
    """Workers that have proved to be out of reach; ``alive`` are not."""

    def __init__(self, *alive: int) -> None:
        self.alive = alive

    def usable(self, worker_id: int) -> bool:
        return worker_id in self.alive

    def all_usable(self) -> bool:
        return False


UNREACHABLE = WorkerLostError(Failure.CONNECT, 1)


async def test_a_request_that_nobody_has_begun_is_refused_at_once_when_all_are_out_of_reach() -> None:
    told, engine = Told(), Engine(UNREACHABLE)
    config = ToleranceConfig(migration_limit=3, queue_timeout_s=1e9)
    parts = components(*WORKERS, health=Dead())
    with pytest.raises(WorkerLostError):
        await Migration(engine, config, parts, counters=told).handle(streamed(chat=True), FakeReply())
    assert (len(engine.asked), told.why) == (1, ["unreachable"])


async def test_nobody_at_all_is_not_everybody_out_of_reach() -> None:
    nobody, parts = ApiError(503, "nobody is left"), components(health=Dead())
    engine, reply = Engine(UNREACHABLE, nobody), FakeReply()
    await Migration(engine, ToleranceConfig(migration_limit=1), parts).handle(streamed(chat=True), reply)
    assert (reply.ended, len(engine.asked)) == (True, 3)


@pytest.mark.parametrize("health", [Dead(4), EverybodyUsable()])
async def test_while_somebody_is_not_out_of_reach_it_goes_on(health: WorkerHealth) -> None:
    nobody = ApiError(503, "nobody is left")
    engine = Engine(UNREACHABLE, nobody)
    parts = components(*WORKERS, health=health)
    reply = FakeReply()
    await Migration(engine, ToleranceConfig(migration_limit=1), parts).handle(streamed(chat=True), reply)
    assert (reply.ended, len(engine.asked)) == (True, 3)


async def test_a_worker_of_other_models_is_no_hope() -> None:
    one = streamed(chat=True)
    one.excluded.add(4)
    parts = components(*WORKERS, health=Dead(4))
    with pytest.raises(WorkerLostError):
        await Migration(Engine(UNREACHABLE), ToleranceConfig(migration_limit=3), parts).handle(
            one, FakeReply()
        )


async def test_a_request_that_was_begun_is_owed_its_rest_and_waits_for_whoever_comes_back() -> None:
    calm = await served(Engine(), streamed(chat=True))
    engine, reply = Engine(7, UNREACHABLE, ApiError(503, "nobody is left")), FakeReply()
    parts = components(*WORKERS, health=Dead())
    await Migration(engine, ToleranceConfig(migration_limit=1), parts, window=lambda _m: 1000).handle(
        streamed(chat=True), reply
    )
    assert said(reply) == said(calm)


async def test_whoever_does_not_serve_the_model_is_never_tried() -> None:
    one = streamed(chat=True)
    one.excluded.add(1)
    engine = Engine(1, 1, 1)
    await served(engine, one)
    assert len(engine.asked) == 5, "workers 2, 3, 4, nobody, and one of them again"
    assert one.excluded == {1}


async def test_cached_tokens_stay_within_the_clients_prompt() -> None:
    counts = Counts()
    counts.moved(5)
    usage = b'{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":8}}'
    assert msgspec.json.decode(counts.adjusted(msgspec.Raw(usage))) == {
        "prompt_tokens": 4,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4},
    }


async def test_a_lost_end_is_made_up() -> None:
    reply = await served(Engine(30), streamed(chat=True))
    counts = {"prompt_tokens": 3, "completion_tokens": 30, "total_tokens": 33}
    assert chunks(reply)[-1]["usage"] == counts


async def test_the_limit_is_kept() -> None:
    with pytest.raises(WorkerLostError):
        await served(Engine(1, 1), streamed(chat=True), limit=1)


class Told:
    def __init__(self) -> None:
        self.why: list[str] = []

    def migrated(self, model: str, *, begun: bool) -> None: ...
    def resumed(self, model: str, seconds: float) -> None: ...
    def given_up(self, model: str, *, begun: bool, why: str) -> None:
        self.why.append(why)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"n": 2}, "several-choices"),
        ({"stop": ["x"]}, "stop-strings"),
        ({"response_format": {"type": "json_object"}}, "structured-output"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "multimodal"),
    ],
)
async def test_what_cannot_be_taken_up_says_why(body: dict[str, Any], why: str) -> None:
    told = Told()
    config = ToleranceConfig(migration_limit=3)
    segment = Migration(Engine(8), config, components(*WORKERS), window=lambda _m: 1000, counters=told)
    with pytest.raises(WorkerLostError):
        await segment.handle(streamed(chat=True, **body), FakeReply())
    assert told.why == [why]


async def test_before_the_first_token_anything_can_be_begun_anew() -> None:
    reply = await served(Engine(0), streamed(chat=True, stop=["x"]))
    assert len(said(reply)) > 10


async def test_long_sequences_are_no_longer_moved() -> None:
    told = Told()
    config = ToleranceConfig(migration_limit=3, migration_max_seq_len=5)
    segment = Migration(Engine(8), config, components(*WORKERS), window=lambda _m: 1000, counters=told)
    with pytest.raises(WorkerLostError):
        await segment.handle(streamed(chat=True), FakeReply())
    assert told.why == [TOO_LONG]


async def test_engines_that_tell_no_ids_are_asked_again_only_from_the_beginning() -> None:
    others = tuple(worker(number, engine=EngineKind.TRTLLM) for number in range(1, 5))
    engine = Engine(WorkerLostError(Failure.CONNECT, 1))
    reply = FakeReply()
    segment = Migration(engine, ToleranceConfig(migration_limit=1), components(*others))
    await segment.handle(streamed(chat=True), reply)
    assert "return_token_ids" not in engine.asked[0][2]
    engine = Engine(3)
    with pytest.raises(WorkerLostError):
        await Migration(engine, ToleranceConfig(migration_limit=1), components(*others)).handle(
            streamed(chat=True), FakeReply()
        )


async def test_errors_of_the_request_are_not_retried() -> None:
    engine = Engine(ApiError(400, "wrong"))
    with pytest.raises(ApiError, match="wrong"):
        await served(engine, streamed(chat=True))
    assert len(engine.asked) == 1
