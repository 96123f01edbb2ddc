"""InferenceModelRewrite from the API server to the client's screen: a picker behind two real Envoys and a
frontend, over one simulated engine that knows only the target."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from epp.testing.envoy import EnvoyProcess
from epp.testing.envoy_config import BodyModeName, EnvoyOptions
from epp.testing.process import ChildProcess
from epp.wire.kubernetes.objectives import LLM_D
from tests.integration.kubernetes.conftest import DEADLINE_S, Space
from tests.integration.kubernetes.test_objectives import Rules, allow

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1500)]

ASKED, TARGET = "the-clients-model", "small"
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": f'"model": "{TARGET}"'}], "max_tokens": 8}
MODES = (BodyModeName.FULL_DUPLEX_STREAMED, BodyModeName.BUFFERED)
ENGINE = ("epp.testing.engine", f"--model-name={TARGET}", "--decode-tokens-per-s=400", "--no-kv-events")
PICKER = (
    "epp",
    "serve",
    "--grpc-port=0",
    "--grpc-health-port=0",
    "--metrics-port=0",
    "--secure-serving=false",
)
FRONTEND = ("frontend", "--http-host=127.0.0.1", "--http-port=0", "--discovery-backend=kubernetes")


async def _child(stack: AsyncExitStack, folder: Path, *argv: str) -> ChildProcess:
    log = folder / f"{argv[0]}.log"
    return await stack.enter_async_context(ChildProcess(argv[0], [sys.executable, "-m", *argv], log))


async def _client(stack: AsyncExitStack, port: int) -> httpx.AsyncClient:
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60)
    return await stack.enter_async_context(client)


@pytest_asyncio.fixture(loop_scope="session")
async def doors(space: Space, tmp_path: Path) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """Clients of what serves the pool, by what it is, and of the pages of those that choose."""
    allow(space)
    async with AsyncExitStack() as stack:
        engine = await _child(stack, tmp_path, *ENGINE)
        space.add_pool("a", engine.ready["engines"][0]["port"])
        space.add("w", "127.0.0.1")
        rule = {"matches": [{"model": {"value": ASKED}}], "targets": [{"modelRewrite": TARGET}]}
        Rules(space, LLM_D).add("InferenceModelRewrite", "r", {"rules": [rule]})
        kubeconfig = space.server.kubeconfig(space.name, {"token": "picker-token"})
        pool = ("--pool-name=pool", f"--pool-namespace={space.name}", f"--kubeconfig={kubeconfig}")
        picker = await _child(stack, tmp_path, *PICKER, *pool)
        frontend = await _child(stack, tmp_path, *FRONTEND, *pool)
        found = {"frontend": await _client(stack, frontend.ready["http_port"])}
        for mode in MODES:
            options = EnvoyOptions([picker.ready["grpc_port"]], request_body=mode, response_body=mode)
            envoy = await stack.enter_async_context(EnvoyProcess(options))
            found[mode.value] = await _client(stack, envoy.port)
        found["picker's pages"] = await _client(stack, picker.ready["metrics_port"])
        yield found


async def _asked(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    """The answer, as soon as the rule is known."""
    async with asyncio.timeout(DEADLINE_S):
        while (
            answer := await client.post("/v1/chat/completions", json={"model": ASKED, **CHAT, **more})
        ).is_error:
            await asyncio.sleep(0.02)
    return answer


async def test_the_client_sees_the_model_it_asked_for(doors: dict[str, httpx.AsyncClient]) -> None:
    for name in (*MODES, "frontend"):
        whole = await _asked(doors[name])
        assert whole.json()["model"] == ASKED, name
        assert whole.headers["x-llm-d-model-name-rewrite"] == TARGET
        stream = await _asked(doors[name], stream=True)
        data = [line.removeprefix("data: ") for line in stream.text.splitlines() if line]
        assert data[-1] == "[DONE]"
        assert {json.loads(event)["model"] for event in data[:-1]} == {ASKED}, name
        assert len(data) > CHAT["max_tokens"]
    await _counts(doors["picker's pages"], 4)
    await _counts(doors["frontend"], 2)


async def _counts(pages: httpx.AsyncClient, answers: int) -> None:
    """A stream is counted when it ends, which its client may see before."""
    line = f'epp_model_names_restored_total{{outcome="restored"}} {answers}.0'
    async with asyncio.timeout(DEADLINE_S):
        while line not in (await pages.get("/metrics")).text:
            await asyncio.sleep(0.02)
