"""What the picker promised is what the engine found: ``cached_tokens`` of both, request by request."""

import json
import random

import pytest

from .conftest import Engines, StageFor
from .exchange import Asked
from .prompts import blocks, tokens
from .server import BLOCK_TOKENS

EXPECTED_REASONS = {"duplicate", "unknown-hash"}
"""An engine that computes a block twice announces and withdraws each copy."""


def differences(asked: list[Asked]) -> list[tuple[int, int, int]]:
    """(prompt, predicted, reported) tokens where the last two differ."""
    rows = [(one.prompt_tokens, one.predicted, one.reported) for one in asked]
    return [row for row in rows if row[1] != row[2]]


async def test_hits_are_predicted_while_a_small_cache_evicts(
    engines: Engines, stage_for: StageFor, capsys: pytest.CaptureFixture[str]
) -> None:
    """4 shared and up to 11 own blocks each, through 80 blocks."""
    chooser = random.Random(7)
    shared = blocks("shared", 4, tail=0)
    async with stage_for(engines.small) as stage:
        asked: list[Asked] = []
        for _ in range(80):
            prompt = shared + blocks(chooser.randrange(12), chooser.randrange(1, 12))
            asked.append(await stage.complete(prompt))
            await stage.settled("small", prompt)
        assert differences(asked) == []
        own = [one.reported - 4 * BLOCK_TOKENS for one in asked]
        assert any(found > 0 for found in own), "own blocks came back"
        assert any(found < 0 for found in own), "even shared blocks were evicted"
        assert all(one.pick["tokens"] == "exact" for one in asked)
        counts = await stage.applied()
        with capsys.disabled():
            print("\n" + json.dumps({"name": "events_applied", **counts}))  # noqa: T201 -- figures to look at
        assert set(counts["ignored"]) <= EXPECTED_REASONS
        assert (await stage.workers())["small"]["total_blocks"] == engines.small.blocks
        assert (await stage.workers())["small"]["block_tokens"] == BLOCK_TOKENS


async def test_conversations_are_predicted(engines: Engines, stage_for: StageFor) -> None:
    """Chats that grow by what the engine answered, and text prompts between them."""
    questions = [
        "Wie spät ist es?",
        "你好\uff0c世界。",
        "def f(x):\n    return x\n" * 9,
        "🎉 cafe\u0301 " * 20,
        "?",
    ]
    async with stage_for(engines.wide) as stage:
        asked: list[Asked] = []
        for number in range(4):
            chat = [{"role": "system", "content": f"Conversation {number % 2}. Be brief and kind. " * 12}]
            for question in questions[number:] + questions[:number]:
                chat.append({"role": "user", "content": question})
                one = await stage.chat(chat, max_tokens=40, temperature=1.0, return_token_ids=True)
                answer = one.exchange.json
                said = answer["choices"][0]
                # the last token is never computed, and a block that ends with the one before it never stored
                await stage.settled("wide", (answer["prompt_token_ids"] + said["token_ids"])[:-2])
                chat.append({"role": "assistant", "content": said["message"]["content"] or ""})
                text = await stage.complete(f"Text {number % 2}: " + question * 7, return_token_ids=True)
                await stage.settled("wide", text.exchange.json["choices"][0]["prompt_token_ids"])
                asked += [one, text]
        assert differences(asked) == []
        assert sum(one.reported for one in asked) > 1000
        assert all(one.pick["tokens"] == "exact" for one in asked)
        assert all(one.pick["prompt_tokens"] == one.prompt_tokens for one in asked)


async def test_a_salt_is_a_world_of_its_own(engines: Engines, stage_for: StageFor) -> None:
    prompt = blocks("salted", 5)
    async with stage_for(engines.wide) as stage:
        asked = []
        for salt in ("tenantA", None, "tenantB", "tenantA", None):
            more = {} if salt is None else {"cache_salt": salt}
            asked.append(await stage.complete(prompt, **more))
            await stage.settled("wide", prompt, **more)
        assert differences(asked) == []
        assert [one.reported // BLOCK_TOKENS for one in asked] == [0, 0, 0, 5, 5]


async def test_an_adapter_is_a_world_of_its_own(engines: Engines, stage_for: StageFor) -> None:
    prompt = blocks("adapted", 5)
    async with stage_for(engines.wide) as stage:
        asked = []
        for name in ("adapter", "m", "adapter", "m"):
            asked.append(await stage.complete(prompt, model=name))
            await stage.settled("wide", prompt, model=name)
        salted = await stage.complete(prompt, model="adapter", cache_salt="tenantA")
        assert differences([*asked, salted]) == []
        assert [one.reported // BLOCK_TOKENS for one in [*asked, salted]] == [0, 0, 5, 5, 0]


async def test_a_prompt_follows_its_prefix_to_the_engine_that_holds_it(
    engines: Engines, stage_for: StageFor
) -> None:
    """Two engines: who computed a prefix is who gets its continuations, and the promise holds for both."""
    async with stage_for(engines.small, engines.wide) as stage:
        asked: list[Asked] = []
        served: dict[int, set[str]] = {}
        for turn in range(3):
            for number in range(6):
                prompt = blocks(("turns", number), 6)[: (2 + 2 * turn) * BLOCK_TOKENS] + tokens(turn, 7)
                one = await stage.complete(prompt)
                name = one.pick["worker"]["name"]
                await stage.settled(name, prompt)
                served.setdefault(number, set()).add(name)
                asked.append(one)
        assert differences(asked) == []
        assert all(len(names) == 1 for names in served.values()), served
        assert set().union(*served.values()) == {"small", "wide"}


async def test_a_late_picker_knows_what_an_early_one_knows(engines: Engines, stage_for: StageFor) -> None:
    prompts = [blocks(("early", number), 3 + number) for number in range(4)]
    async with stage_for(engines.wide) as stage:
        for prompt in prompts:
            await stage.complete(prompt)
            await stage.settled("wide", prompt)
    async with stage_for(engines.wide) as late:
        asked = [await late.complete(prompt) for prompt in prompts]
        assert differences(asked) == []
        assert [one.reported // BLOCK_TOKENS for one in asked] == [3, 4, 5, 6]
        messages = await late.samples("epp_kv_event_messages_total")
        assert messages['{source="replayed"}'] >= len(prompts)


async def test_a_prompt_of_full_blocks_is_computed_from_its_last_block_on(
    engines: Engines, stage_for: StageFor
) -> None:
    prompt = blocks("full", 4, tail=0)
    async with stage_for(engines.wide) as stage:
        await stage.complete(prompt)
        await stage.settled("wide", prompt)
        again = await stage.complete(prompt)
        assert again.reported == 3 * BLOCK_TOKENS
        assert differences([again]) == []


async def test_a_block_computed_twice_stays_until_both_copies_are_gone(
    engines: Engines, stage_for: StageFor
) -> None:
    """Equal greedy answers leave two copies of each block; the older ones are evicted first."""
    greedy = {"max_tokens": 120, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
    prompt = blocks("copied", 1)
    async with stage_for(engines.small) as stage:
        for _ in range(2):
            answer = await stage.complete(prompt, **greedy)
            whole = prompt + answer.exchange.json["choices"][0]["token_ids"][:-1]
            await stage.settled("small", whole)
        asked = [await stage.complete([*whole, *tokens("next", 3)])]
        for number in range(engines.small.blocks // 2):  # enough to evict all that is not asked for again
            other = blocks(("filler", number), 2)
            await stage.complete(other)
            await stage.settled("small", other)
            if number % 4 == 0:
                asked.append(await stage.complete([*whole, *tokens(number, 3)]))
        assert differences(asked) == []
