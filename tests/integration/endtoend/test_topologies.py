"""Ranks behind one address, and prompts computed elsewhere than they are continued."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from epp.testing.backend import EchoBackend

from .conftest import CHAT, DRAWS, Picker, Stage, ask, cached, chat, prose, staged, until, usable

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Ranks:
    picker: Picker
    client: httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ranks(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> AsyncIterator[Ranks]:
    async with staged(tmp_path_factory.mktemp("ranks"), model_dir) as stage:
        await stage.engines("engine", 1, "--dp-size", "3")
        picker = await stage.picker("picker")
        await picker.sees(3)
        yield Ranks(picker, await stage.gateway([picker]))


async def test_the_rank_that_holds_a_prompt_gets_it(ranks: Ranks) -> None:
    used: set[int] = set()
    for number in range(DRAWS):
        if len(used) > 1:
            break
        body = chat(prose(60, f"r{number}w"))
        await ask(ranks.client, body, f"rank-{number}")
        await ranks.picker.knows(body)
        answer = await ask(ranks.client, body, f"rank-{number}-again")
        first = await ranks.picker.pick(f"rank-{number}")
        again = await ranks.picker.pick(f"rank-{number}-again")
        assert again["worker"] == first["worker"]
        assert cached(answer) == usable(again) > 0  # its cache alone has it: the engine honoured the rank
        used.add(again["worker"]["rank"])
    assert len(used) > 1, "one rank got everything"


@dataclass
class Split:
    stage: Stage
    picker: Picker
    client: httpx.AsyncClient
    decode: EchoBackend
    """Stands where an engine with a prefill-aware frontend would; keeps what it was sent."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def split(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> AsyncIterator[Split]:
    async with staged(tmp_path_factory.mktemp("split"), model_dir) as stage:
        await stage.engines("prefill", 1, "--role", "prefill")
        decode = await stage.stack.enter_async_context(EchoBackend())
        entry = {"name": "decode-0", "address": "127.0.0.1", "port": str(decode.port), "role": "decode"}
        stage.entries["decode"] = [entry]
        stage.publish()
        picker = await stage.picker("picker")
        await picker.sees(1)
        yield Split(stage, picker, await stage.gateway([picker]), decode)


async def test_a_split_request_names_its_pair(split: Split) -> None:
    body = chat(prose(60, "pair"))
    answer = await split.client.post(CHAT, json=body, headers={"x-request-id": "pair"})
    assert answer.status_code == 200
    headers = split.decode.received[-1].headers
    (prefill,) = split.stage.entries["prefill"]
    pick = await split.picker.pick("pair")
    assert headers["x-prefiller-host-port"] == f"127.0.0.1:{prefill['port']}"
    assert headers["x-dynamo-routing-mode"] == "disaggregated"
    assert headers["x-dynamo-prefill-instance-id"] == str(pick["prefill_worker"]["worker_id"])
    assert headers["x-dynamo-worker-instance-id"] == str(pick["worker"]["worker_id"])
    assert pick["worker"]["name"] == "decode-0"
    await until(split.picker.is_idle, "an idle picker")


async def test_a_client_cannot_name_the_pair(split: Split) -> None:
    forged = {"x-prefiller-host-port": "10.9.9.9:1", "x-dynamo-prefill-instance-id": "9"}
    answer = await split.client.post(CHAT, json=chat(prose(60, "forged")), headers=forged)
    assert answer.status_code == 200
    headers = split.decode.received[-1].headers
    assert headers["x-prefiller-host-port"] != "10.9.9.9:1"
    assert headers["x-dynamo-prefill-instance-id"] != "9"
