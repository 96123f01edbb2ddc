"""Two engines, one picker, several gateways: what a user of the pool sees."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from epp.testing.envoy_config import BodyModeName, Upstream

from .conftest import CHAT, Picker, Stage, ask, cached, chat, prose, staged, text_of, until, usable

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class House:
    stage: Stage
    picker: Picker
    gateways: dict[str, httpx.AsyncClient]

    @property
    def client(self) -> httpx.AsyncClient:
        return self.gateways["duplex"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> AsyncIterator[House]:
    async with staged(tmp_path_factory.mktemp("serving"), model_dir) as stage:
        await stage.engines("engine", 2, "--lora", "tuned")
        picker = await stage.picker("picker", "--trust-client-headers")
        await picker.sees(2)
        endpoints = [f"{e['address']}:{e['port']}" for e in stage.entries["engine"]]
        gateways = {
            "duplex": await stage.gateway([picker]),
            "buffered": await stage.gateway([picker], request_body=BodyModeName.BUFFERED),
            "override": await stage.gateway([picker], upstream=Upstream.OVERRIDE_HOST, endpoints=endpoints),
            "bodies": await stage.gateway([picker], response_body=BodyModeName.FULL_DUPLEX_STREAMED),
        }
        yield House(stage, picker, gateways)


@pytest.mark.parametrize("gateway", ["duplex", "buffered", "override", "bodies"])
async def test_a_repeated_prompt_meets_its_blocks(house: House, gateway: str) -> None:
    client, body = house.gateways[gateway], chat(prose(60, gateway))
    assert cached(await ask(client, body, f"{gateway}-1")) == 0
    await house.picker.knows(body)
    answer = await ask(client, body, f"{gateway}-2")
    first, second = await house.picker.pick(f"{gateway}-1"), await house.picker.pick(f"{gateway}-2")
    assert second["endpoint"] == first["endpoint"]
    assert cached(answer) == usable(second) > 0
    assert answer["usage"]["prompt_tokens"] == second["prompt_tokens"]
    assert second["tokens"] == "exact"


async def test_a_conversation_stays_where_it_began(house: House) -> None:
    turns: list[str] = []
    before = 0
    for number in range(3):
        turns.append(prose(40, f"turn{number}w"))
        body = chat(*turns)
        answer = await ask(house.client, body, f"turn-{number}")
        pick = await house.picker.pick(f"turn-{number}")
        assert cached(answer) == usable(pick)
        assert cached(answer) >= before
        before = answer["usage"]["prompt_tokens"] // 16 * 16 - 16
        turns.append(text_of(answer))
        await house.picker.knows(body, before)
    endpoints = {(await house.picker.pick(f"turn-{n}"))["endpoint"] for n in range(3)}
    assert len(endpoints) == 1


@pytest.mark.parametrize("fields", [{"cache_salt": "acme"}, {"model": "tuned"}])
async def test_tenants_and_adapters_share_nothing(house: House, fields: dict[str, Any]) -> None:
    name = next(iter(fields))
    plain = chat(prose(60, f"alone{name}"))
    apart = plain | fields
    await ask(house.client, apart, f"{name}-1")
    await house.picker.knows(apart)
    for _ in range(2):  # wherever it goes, nothing is there for it
        answer = await ask(house.client, plain, f"{name}-2")
        pick = await house.picker.pick(f"{name}-2")
        assert cached(answer) == usable(pick)
        if cached(answer):
            break
    answer = await ask(house.client, apart, f"{name}-3")
    pick = await house.picker.pick(f"{name}-3")
    assert cached(answer) == usable(pick) > 0


async def test_the_first_token_is_timed_by_events(house: House) -> None:
    body = chat(prose(400, "timed"), max_tokens=4000, ignore_eos=True, stream=True)

    async def known() -> bool:
        return bool((await house.picker.pick("timed"))["ttft_source"])

    headers = {"x-request-id": "timed"}
    async with house.client.stream("POST", CHAT, json=body, headers=headers) as answer:
        assert answer.status_code == 200
        await until(known, "the time to the first token, while the answer goes on")
    await until(house.picker.is_idle, "an idle picker after a client left")
    pick = await house.picker.pick("timed")
    assert pick["ttft_source"] == "events"
    assert 0 < pick["ttft_ms"] <= pick["duration_ms"]


async def test_paths_without_a_body_are_routed_and_not_booked(house: House) -> None:
    answer = await house.client.get("/v1/models")
    assert answer.status_code == 200
    assert answer.json()["data"]
    await until(house.picker.is_idle, "an idle picker")


async def test_bad_bodies_are_refused_with_a_reason(house: House) -> None:
    answer = await house.client.post(CHAT, content=b'{"messages": 5')
    assert answer.status_code == 400
    assert answer.headers["x-llm-d-request-dropped-reason"] == "bad-request"


async def test_pins_of_trusted_clients_are_honoured(house: House) -> None:
    page = await house.picker.page("/debug/workers")
    for worker in page["workers"]:
        pin = {"x-dynamo-worker-instance-id": str(worker["worker_id"])}
        name = f"pin-{worker['worker_id']}"
        answer = await house.client.post(CHAT, json=chat("pinned"), headers={**pin, "x-request-id": name})
        assert answer.status_code == 200
        assert (await house.picker.pick(name))["endpoint"] == worker["endpoint"]


@pytest.mark.parametrize("gateway", ["duplex", "buffered", "bodies"])
@pytest.mark.parametrize("moment", ["before-the-answer", "mid-stream"])
async def test_clients_that_leave_leave_nothing_behind(house: House, gateway: str, moment: str) -> None:
    base = house.gateways[gateway].base_url
    body = chat(prose(1500, gateway[:1] + moment[:1]), stream=True, max_tokens=4000, ignore_eos=True)
    async with httpx.AsyncClient(base_url=base, timeout=60) as client:
        leaving = asyncio.create_task(_read(client, body))
        name = f"{gateway}-{moment}"
        if moment == "mid-stream":
            await asyncio.wait_for(leaving, 60)
        else:

            async def picked() -> bool:
                return not await house.picker.is_idle()

            await until(picked, f"the pick of {name}")
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leaving
    await until(house.picker.is_idle, "an idle picker after a client left")


async def _read(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """Take a few pieces of a stream and close the connection."""
    async with client.stream("POST", CHAT, json=body) as answer:
        assert answer.status_code == 200
        pieces = answer.aiter_raw()
        for _ in range(3):
            assert b"[DONE]" not in await anext(pieces)


async def test_explain_prints_a_table(house: House, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text(httpx.Request("POST", "http://x", json=chat(prose(60, "duplex"))).read().decode())
    argv = (sys.executable, "-m", "epp", "explain", str(request), "--target", house.picker.target)
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    lines = output.decode().splitlines()
    assert process.returncode == 0
    assert lines[0] == "model   sim"
    rows = [line for line in lines if "127.0.0.1:" in line]
    assert len(rows) == 2
    assert sum(row.startswith("→") for row in rows) == 1
    assert await house.picker.is_idle()


async def test_the_metrics_page_is_one_prometheus_reads(house: House) -> None:
    await ask(house.client, chat("count me"), "counted")
    await until(house.picker.is_idle, "an idle picker")
    page = await house.picker.metrics()
    samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
    keys = [(s.name, tuple(sorted(s.labels.items()))) for s in samples]
    assert len(keys) == len(set(keys))
    values: dict[str, float] = {}
    for sample in samples:
        values[sample.name] = values.get(sample.name, 0) + sample.value
    assert values["llm_d_epp_request_running"] == 0
    assert values["llm_d_epp_ready_endpoints"] == 2
    assert values["epp_pick_failures_total"] == 0
    assert values.get("epp_extproc_protocol_errors_total", 0) == 0
    assert values["process_resident_memory_bytes"] > 0
