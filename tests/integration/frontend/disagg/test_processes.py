"""The same with every engine a process of its own, as ``python -m epp.testing.engine`` starts them."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from epp.core.endpoints import Endpoint
from epp.testing.engine.fleet import EngineAddress
from epp.testing.process import ChildProcess
from frontend.config.model import DisaggConfig
from frontend.pipeline.call import Leg, Route

from .stage import endpoint, fronted

ROLES = ("prefill", "decode", "aggregated")


@asynccontextmanager
async def engines(kind: str, folder: Path) -> AsyncIterator[list[Endpoint]]:
    """One process per role."""
    async with AsyncExitStack() as stack:
        found: list[Endpoint] = []
        for number, role in enumerate(ROLES, 1):
            speed = ("--prefill-tokens-per-s", "1000000", "--decode-tokens-per-s", "1000")
            argv = [sys.executable, "-m", "epp.testing.engine", "--no-kv-events", *speed]
            argv += ["--engine", kind, "--role", role, "--name-prefix", role]
            child = await stack.enter_async_context(ChildProcess(role, argv, folder / f"{role}.log"))
            (entry,) = child.ready["engines"]
            found.append(endpoint(EngineAddress(**entry), number))
        yield found


async def metric(session: aiohttp.ClientSession, of: Endpoint, name: str, **labels: str) -> float:
    async with session.get(of.metrics_url) as response:
        page = await response.text()
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.mark.parametrize("kind", ["vllm", "sglang", "trtllm"])
async def test_a_prompt_moves_between_processes(kind: str, tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "model": "sim",
        "prompt": "a prompt that moves",
        "max_tokens": 16,
        "ignore_eos": True,
    }
    source = "vllm:prompt_tokens_by_source_total"
    async with engines(kind, tmp_path) as (prefill, decode, alone), aiohttp.ClientSession() as session:
        route = Route(worker=Leg(decode), prefill=Leg(prefill))
        async with fronted(route, [prefill, decode], DisaggConfig(prefill_failure="fail")) as front:
            answers = []
            for port in (front.port, alone.port):
                url = f"http://127.0.0.1:{port}/v1/completions"
                async with session.post(url, json=asked) as response:
                    answers.append((await response.json())["choices"])
        assert answers[0] == answers[1]
        prompt = await metric(session, prefill, source, source="local_compute")
        assert await metric(session, prefill, "vllm:generation_tokens_total") == 1
        assert await metric(session, decode, source, source="external_kv_transfer") == prompt - 1 > 1
        assert await metric(session, decode, source, source="local_compute") == 1
