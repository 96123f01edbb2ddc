"""Every contract against engines that refuse what is not theirs: the answer is what one engine alone says,
and the engines' counters tell who computed what."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from epp.testing.engine import EngineConfig
from epp.testing.engine.text import AnswerBook
from frontend.config.model import DisaggConfig
from frontend.orchestrate.failures import Reason
from frontend.pipeline.call import Leg, Route

from .stage import CONFIG, Words, staged

CHAT = ("/v1/chat/completions", {"messages": [{"role": "user", "content": "tell me of blocks, at length"}]})
TEXT = ("/v1/completions", {"prompt": "once upon a time there was a block of tokens"})
KINDS = pytest.mark.parametrize("kind", ["vllm", "sglang", "trtllm"])


def asked(body: dict[str, Any], *, stream: bool, **more: Any) -> dict[str, Any]:
    options = {"stream_options": {"include_usage": True}} if stream else {}
    return {"model": "m", "max_tokens": 20, "ignore_eos": True, "stream": stream, **options, **body, **more}


@KINDS
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("request_", [CHAT, TEXT], ids=["chat", "completions"])
async def test_a_pair_says_what_one_engine_says(
    kind: str, stream: bool, request_: tuple[str, dict[str, Any]]
) -> None:
    path, body = request_
    async with staged(kind) as stage:
        wanted = asked(body, stream=stream)
        answer = await stage.ask(path, wanted)
        alone = await stage.alone(path, wanted)
        assert answer.status == 200
        assert (answer.text, answer.finish_reason) == (alone.text, "length")
        assert answer.usage == alone.usage
        assert answer.usage is not None
        prompt = answer.usage["prompt_tokens"]
        prefill, decode = stage.computed("prefill"), stage.computed("decode")
        assert (prefill.computed_prompt, prefill.generated) == (prompt, 1)
        assert (decode.computed_prompt, decode.external_hits, decode.generated) == (1, prompt - 1, 20)
        assert stage.shelf("prefill") == (1, 1)
        assert len(stage.counted.done) == 1
        assert not stage.counted.failed
        (call,) = stage.calls
        assert call.facts.fallback == ""
        assert call.facts.prefill_s is not None
        assert call.body.names() == wanted.keys()


@KINDS
async def test_many_at_once_meet_their_own_prompts(kind: str) -> None:
    async with staged(kind) as stage:
        bodies = [asked({"prompt": f"request number {n}, " * 5}, stream=bool(n % 2)) for n in range(24)]
        answers = await asyncio.gather(*(stage.ask("/v1/completions", body) for body in bodies))
        for body, answer in zip(bodies, answers, strict=True):
            assert answer.text == (await stage.alone("/v1/completions", body)).text
        assert stage.shelf("prefill") == (24, 24)


@pytest.mark.parametrize(
    ("kind", "path", "prompt", "limit"),
    [
        ("vllm", "/inference/v1/generate", "token_ids", "max_tokens"),
        ("sglang", "/generate", "input_ids", "max_new_tokens"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("count", [20, 1])
async def test_a_pair_says_what_one_engine_says_in_ids(
    kind: str, path: str, prompt: str, limit: str, stream: bool, count: int
) -> None:
    async with staged(kind) as stage:
        sampling = {limit: count, "ignore_eos": True}
        body = {"model": "m", prompt: list(range(50, 90)), "sampling_params": sampling, "stream": stream}
        answer = await stage.ask(path, body)
        assert answer.status == 200
        assert answer.tokens == (await stage.alone(path, body)).tokens
        assert len(answer.tokens) == count
        terminal = kind == "vllm" and count == 1
        assert stage.computed("prefill").generated == 1
        assert stage.computed("decode").generated == (0 if terminal else count)
        assert stage.computed("decode").external_hits == (0 if terminal else 39)


async def test_the_prefill_keeps_what_shapes_the_prompt_and_the_first_token() -> None:
    async with staged("vllm") as stage:
        body = asked(TEXT[1], stream=True, min_tokens=5, max_tokens=9, cache_salt="tenant")
        answer = await stage.ask("/v1/completions", body)
        assert answer.text == (await stage.alone("/v1/completions", body)).text
        assert stage.computed("prefill").generated == 1


async def test_one_token_wanted_is_the_prefill_workers_answer() -> None:
    async with staged("vllm") as stage:
        for stream in (False, True):
            body = asked(CHAT[1], stream=stream, max_tokens=1)
            answer = await stage.ask(CHAT[0], body)
            alone = await stage.alone(CHAT[0], body)
            assert (answer.text, answer.finish_reason) == (alone.text, "length")
            assert answer.usage is not None
            assert answer.usage["completion_tokens"] == 1
        assert stage.computed("decode").generated == 0
        assert stage.shelf("prefill") == (0, 0)
        assert stage.counted.terminals == 2


def one_word_prompt(words: Words) -> str:
    """A prompt whose whole answer is one token."""
    book = AnswerBook(lambda text: words.encode(text, special=False), CONFIG.seed)
    return next(
        text
        for text in (f"question {n}" for n in range(10_000))
        if book.answer(words.encode(text, special=True), 1).finish_reason == "stop"
    )


@pytest.mark.parametrize("kind", ["vllm", "trtllm"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_prefill_that_ends_the_request_is_the_answer(kind: str, stream: bool) -> None:
    words = Words()
    async with staged(kind, tokenizer=words) as stage:
        body = asked({"prompt": one_word_prompt(words)}, stream=stream, ignore_eos=False)
        answer = await stage.ask("/v1/completions", body)
        alone = await stage.alone("/v1/completions", body)
        assert (answer.text, answer.finish_reason, answer.usage) == (alone.text, "stop", alone.usage)
        assert b"ctx_request_id" not in answer.raw
        assert b"remote_request_id" not in answer.raw
        assert stage.computed("decode").generated == 0
        assert stage.counted.terminals == 1


@pytest.mark.parametrize("rank", [0, 1, 2])
async def test_an_sglang_room_leads_to_the_rank_chosen(rank: int) -> None:
    ranks: EngineConfig = replace(CONFIG, dp_size=3)

    def ranked(route: Route) -> Route:
        assert route.prefill is not None
        return structs.replace(
            route, prefill=Leg(route.prefill.endpoint, rank), worker=Leg(route.worker.endpoint, 1)
        )

    async with staged("sglang", prefill=ranks, decode=ranks, route=ranked) as stage:
        answer = await stage.ask("/v1/completions", asked(TEXT[1], stream=False))
        assert answer.status == 200
        assert stage.computed("prefill", rank).generated == 1
        assert stage.computed("decode", 1).generated == 20


@pytest.mark.parametrize("kind", ["vllm", "trtllm"])
@pytest.mark.parametrize(
    ("config", "uncached", "reason"),
    [
        (DisaggConfig(min_uncached_tokens=50), 49, Reason.UNCACHED_BELOW),
        (DisaggConfig(min_uncached_tokens=50), 50, None),
        (DisaggConfig(min_uncached_tokens=50), None, None),
    ],
)
async def test_thresholds_keep_short_work_whole(
    kind: str, config: DisaggConfig, uncached: int | None, reason: Reason | None
) -> None:
    def predicted(route: Route) -> Route:
        return structs.replace(route, uncached_tokens=uncached)

    async with staged(kind, disagg=config, route=predicted) as stage:
        answer = await stage.ask("/v1/completions", asked(TEXT[1], stream=False))
        assert answer.status == 200
        assert stage.computed("prefill").generated == (0 if reason else 1)
        assert stage.counted.bypasses == ([reason] if reason else [])
        assert stage.counted.fallbacks == []


async def test_a_decode_worker_alone_is_none_of_our_business() -> None:
    async with staged("vllm", route=lambda route: structs.replace(route, prefill=None)) as stage:
        answer = await stage.ask("/v1/completions", asked(TEXT[1], stream=True))
        assert answer.text == (await stage.alone("/v1/completions", asked(TEXT[1], stream=True))).text
        assert stage.computed("prefill").generated == 0
