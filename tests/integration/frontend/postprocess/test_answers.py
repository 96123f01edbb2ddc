"""Answers made here from token ids equal the engine's own."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.integration.frontend.postprocess.conftest import Site, opened

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
MESSAGES = [{"role": "user", "content": "Tell me of the sea and of ships"}]
LIMITS = [{"max_tokens": 1}, {"max_tokens": 40}, {"max_tokens": 300}]


def said(answer: dict[str, Any]) -> tuple[str, str]:
    choice = answer["choices"][0]
    return choice["message"]["content"] if "message" in choice else choice["text"], choice["finish_reason"]


def streamed(events: list[dict[str, Any]]) -> tuple[str, str]:
    choices = [choice for event in events for choice in event["choices"]]
    text = "".join(
        choice["delta"].get("content", "") if "delta" in choice else choice["text"] for choice in choices
    )
    reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"] is not None]
    assert len(reasons) == 1
    return text, reasons[0]


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
@pytest.mark.parametrize("limit", LIMITS)
async def test_chats_and_completions_equal_the_engines_own(
    model_dir: Path, engine: str, limit: dict[str, Any]
) -> None:
    async with opened(model_dir, engine) as stage:
        for path, body in ((CHAT, {"messages": MESSAGES}), (TEXT, {"prompt": "Once upon a time"})):
            asked = {**body, **limit}
            theirs = await stage.json(path, asked, stage.theirs)
            ours = await stage.json(path, asked)
            assert said(ours) == said(theirs)
            assert streamed(await stage.events(path, asked)) == said(theirs)
            assert ours["object"] == theirs["object"]
            assert ours["usage"]["prompt_tokens"] == theirs["usage"]["prompt_tokens"]
            assert ours["usage"]["completion_tokens"] == theirs["usage"]["completion_tokens"]


async def test_the_second_turn_of_a_chat_finds_the_first_in_the_cache(stage: Site) -> None:
    first = await stage.json(CHAT, {"messages": MESSAGES, "max_tokens": 60})
    turn = {"role": "assistant", "content": said(first)[0]}
    second = await stage.json(CHAT, {"messages": [*MESSAGES, turn, *MESSAGES], "max_tokens": 5})
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached >= first["usage"]["prompt_tokens"]


async def test_a_stop_string_ends_the_answer_and_the_engine(stage: Site) -> None:
    body = {"messages": MESSAGES, "max_tokens": 1500, "ignore_eos": True}
    text, _ = said(await stage.json(CHAT, {**body, "max_tokens": 60}))
    stop = text[40:52]
    ours = await stage.json(CHAT, {**body, "stop": [stop, "never said"]})
    assert said(ours) == (text[: text.index(stop)], "stop")
    assert ours["choices"][0]["stop_reason"] == stop
    assert streamed(await stage.events(CHAT, {**body, "stop": stop})) == said(ours)
    included = await stage.json(CHAT, {**body, "stop": stop, "include_stop_str_in_output": True})
    assert said(included)[0] == text[: text.index(stop) + len(stop)]
    async with asyncio.timeout(60):
        while stage.fleet.runners[0].load() != (0, 0):
            await asyncio.sleep(0.01)
    assert stage.fleet.runners[0].rank(0).engine.counters.generated < 1500


async def test_token_ids_and_logprobs_are_given_for_every_token(stage: Site) -> None:
    asked = {
        "messages": MESSAGES,
        "max_tokens": 9,
        "return_token_ids": True,
        "logprobs": True,
        "top_logprobs": 2,
    }
    ours = await stage.json(CHAT, asked)
    choice = ours["choices"][0]
    entries = choice["logprobs"]["content"]
    assert len(choice["token_ids"]) == len(entries) == 9
    assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)
    events = await stage.events(CHAT, asked)
    assert events[0]["prompt_token_ids"] == ours["prompt_token_ids"]
    choices = [choice for event in events for choice in event["choices"]]
    assert [token for part in choices for token in part.get("token_ids", ())] == choice["token_ids"]
    assert [entry for part in choices if part["logprobs"] for entry in part["logprobs"]["content"]] == entries


async def test_a_completions_logprobs_echo_and_usage_chunk(stage: Site) -> None:
    found = (await stage.json(TEXT, {"prompt": "Once", "max_tokens": 4, "logprobs": 1}))["choices"][0]
    assert "".join(found["logprobs"]["tokens"]) == found["text"]
    assert found["logprobs"]["text_offset"][0] == 0
    echoed = await stage.json(TEXT, {"prompt": "Once", "max_tokens": 4, "echo": True})
    assert echoed["choices"][0]["text"] == "Once" + found["text"]
    options = {"prompt": "Once", "max_tokens": 4, "stream_options": {"include_usage": True}}
    last = (await stage.events(TEXT, options))[-1]
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + 4


async def test_what_the_engine_refuses_passes_as_it_is(stage: Site) -> None:
    asked = {"messages": MESSAGES, "max_tokens": 100_000}
    status, raw = await stage.post(CHAT, asked)
    assert status == 400
    assert b"maximum context length" in raw


async def test_the_body_sent_below_holds_ids_and_the_call_comes_back_as_it_was(stage: Site) -> None:
    await stage.json(CHAT, {"messages": MESSAGES, "max_tokens": 3, "temperature": 0.5, "cache_salt": "s"})
    (sent,) = stage.sent
    assert sent.path == "/inference/v1/generate"
    assert sent.stream
    assert sent.body.get("sampling_params", dict) == {
        "temperature": 0.5,
        "max_tokens": 3,
        "detokenize": False,
    }
    assert sent.body.get("cache_salt", str) == "s"


@pytest.mark.parametrize("max_tokens", [1, 30])
async def test_a_split_request_gives_the_same_answer(model_dir: Path, max_tokens: int) -> None:
    asked = {"messages": MESSAGES, "max_tokens": max_tokens}
    async with opened(model_dir, split=True) as stage:
        theirs = await stage.json(CHAT, asked, stage.theirs)
        assert said(await stage.json(CHAT, asked)) == said(theirs)
        assert streamed(await stage.events(CHAT, asked)) == said(theirs)
        assert stage.fleet.runners[1].rank(0).engine.counters.generated == 2


@pytest.mark.parametrize("engine", ["sglang", "trtllm"])
async def test_pairs_of_other_engines_say_the_same(model_dir: Path, engine: str) -> None:
    asked = {"messages": MESSAGES, "max_tokens": 30}
    async with opened(model_dir) as alone:
        theirs = said(await alone.json(CHAT, asked))
    async with opened(model_dir, engine, split=True) as stage:
        assert said(await stage.json(CHAT, asked)) == theirs
        assert streamed(await stage.events(CHAT, asked)) == theirs
        assert stage.fleet.runners[1].rank(0).engine.counters.generated == 2, "the prefill's"
