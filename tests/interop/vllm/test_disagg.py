"""Prefill on one real vLLM, decode on another, KV over NIXL (UCX on loopback TCP), through our orchestrator.

Both engines draw the same dummy weights, so a third request to the prefill engine alone says what the pair
has to say. Needs ``nixl`` beside vLLM; skipped without it. See docs/disaggregation.md for what to install.
"""

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from epp.core.endpoints import Endpoint, PoolSnapshot, Role
from epp.core.requests import Api, Prompt
from epp.core.tokens import Exactness, Tokenized
from frontend.body import Body
from frontend.config.model import DisaggConfig, FrontendConfig
from frontend.http.api import Reply, Request
from frontend.http.client import UpstreamClient
from frontend.http.server import HttpServer
from frontend.nvext import NvExtRequest
from frontend.orchestrate.segment import Orchestrator
from frontend.pipeline.call import Call, Leg, Route
from frontend.pipeline.components import Components
from frontend.relay.forward import Forward

from .server import VllmServer, vllm_python

_GENERATE = "/inference/v1/generate"
_PATHS = {
    "/v1/chat/completions": Api.CHAT,
    "/v1/completions": Api.COMPLETIONS,
    _GENERATE: Api.VLLM_GENERATE,
}
_TOKENS = 12
_TRICKLE_S = 0.05
_LEASE_S = 240
"""Longer than the first pull takes on two busy cores (seen: 74 s); vLLM's own 30 s would expire under it."""
_TEXT = "A block of tokens that is computed once can be read many times. " * 12


@dataclass(frozen=True)
class Pair:
    prefill: VllmServer
    decode: VllmServer


@pytest.fixture(scope="module")
def pair(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if subprocess.run([vllm_python(), "-c", "import nixl"], capture_output=True, check=False).returncode:
        pytest.skip("nixl is not installed beside vLLM; see docs/disaggregation.md")
    folder = tmp_path_factory.mktemp("pair")
    servers = Pair(_server("p", "kv_producer", model, folder), _server("d", "kv_consumer", model, folder))
    both = (servers.prefill, servers.decode)
    try:
        for server in both:
            server.start()
        for server in both:
            server.healthy()
        yield servers
    finally:
        for server in both:
            server.stop()


def _server(name: str, role: str, model: Path, folder: Path) -> VllmServer:
    transfer = {
        "kv_connector": "NixlConnector",
        "kv_role": role,
        "kv_buffer_device": "cpu",
        "kv_connector_extra_config": {"kv_lease_duration": _LEASE_S},
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return VllmServer(
        name,
        model,
        folder / f"{name}.log",
        blocks=200,
        context=2048,
        extra=("--kv-transfer-config", json.dumps(transfer), "--enable-scale-out"),
        environment={
            "UCX_TLS": "tcp,self,sm",
            "UCX_NET_DEVICES": "lo",
            "VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1",
            "VLLM_NIXL_SIDE_CHANNEL_PORT": str(port),
        },
    )


class _NoTokenizer:
    async def tokenize(self, model: str, prompt: Prompt) -> Tokenized:
        return Tokenized(b"", Exactness.NONE, 0)


@asynccontextmanager
async def frontend(pair: Pair) -> AsyncIterator[str]:
    """The URL of an orchestrator and a forwarder that send everything to the pair."""
    legs = [
        Leg(Endpoint(server.name, "127.0.0.1", server.ports.http, number, role=role))
        for number, (server, role) in enumerate([(pair.prefill, Role.PREFILL), (pair.decode, Role.DECODE)])
    ]
    route = Route(worker=legs[1], prefill=legs[0])
    snapshot = PoolSnapshot.of(leg.endpoint for leg in legs)
    upstream = UpstreamClient()
    parts = Components(upstream, lambda: snapshot, None, _NoTokenizer(), monotonic)
    orchestrator = Orchestrator(Forward(FrontendConfig(), parts), DisaggConfig(prefill_failure="fail"), parts)

    async def handle(request: Request, reply: Reply) -> None:
        body = Body(request.body)
        api, stream = _PATHS[request.path], bool(body.get("stream", bool))
        call = Call(api, request.path, request.headers, body, "r", monotonic(), "m", stream, NvExtRequest())
        call.route = route
        await orchestrator.handle(call, reply)

    server = HttpServer(handle)
    port = await server.start("127.0.0.1", 0)
    stepping = asyncio.create_task(_keep_stepping(pair.prefill), name="stepping")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stepping.cancel()
        await asyncio.wait([stepping])
        await server.drain(5.0)
        await orchestrator.close()
        await upstream.close()


async def _keep_stepping(server: VllmServer) -> None:
    """A trickle of other requests: without NIXL's progress thread an engine that has nothing to compute does
    not answer pulls either."""
    body = {"model": "m", "prompt": [5], "max_tokens": 1}
    while True:
        await _post(server.url, "/v1/completions", body)
        await asyncio.sleep(_TRICKLE_S)


async def _post(url: str, path: str, body: dict[str, Any]) -> Any:
    async with aiohttp.ClientSession() as session, session.post(url + path, json=body) as response:
        raw = await response.read()
        assert response.status == 200, raw
        if response.content_type != "text/event-stream":
            return json.loads(raw)
        lines = [line.removeprefix(b"data: ") for line in raw.split(b"\n") if line.startswith(b"data: ")]
        assert lines[-1] == b"[DONE]"
        return [json.loads(line) for line in lines[:-1]]


async def _transferred(server: VllmServer) -> float:
    """Prompt tokens whose KV came from elsewhere."""
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as response:
        page = await response.text()
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "vllm:prompt_tokens_by_source_total"
        and sample.labels["source"] == "external_kv_transfer"
    )


def _completion(salt: str, **more: Any) -> dict[str, Any]:
    shared = {"model": "m", "max_tokens": _TOKENS, "temperature": 0, "ignore_eos": True, "logprobs": 1}
    return {**shared, "prompt": f"{salt} {_TEXT}", **more}


async def test_a_pair_of_engines_says_what_one_says(pair: Pair) -> None:
    async with frontend(pair) as url:
        before = await _transferred(pair.decode)
        answer = await _post(url, "/v1/completions", _completion("whole"))
        moved = await _transferred(pair.decode) - before
        alone = await _post(pair.prefill.url, "/v1/completions", _completion("whole"))
    assert answer["choices"][0]["text"] == alone["choices"][0]["text"]
    ours, theirs = (a["choices"][0]["logprobs"]["token_logprobs"] for a in (answer, alone))
    assert ours == pytest.approx(theirs, abs=0.05)  # bf16, and other shapes of batches
    assert answer["usage"]["completion_tokens"] == _TOKENS
    assert moved == answer["usage"]["prompt_tokens"]


async def test_a_streamed_chat_over_a_pair(pair: Pair) -> None:
    messages = [{"role": "user", "content": _TEXT}]
    body = {"model": "m", "messages": messages, "max_tokens": _TOKENS, "temperature": 0, "ignore_eos": True}
    async with frontend(pair) as url:
        before = await _transferred(pair.decode)
        chunks = await _post(url, "/v1/chat/completions", {**body, "stream": True})
        moved = await _transferred(pair.decode) - before
        alone = await _post(pair.prefill.url, "/v1/chat/completions", body)
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert text == alone["choices"][0]["message"]["content"]
    assert moved == alone["usage"]["prompt_tokens"]


async def test_one_token_is_not_handed_over(pair: Pair) -> None:
    async with frontend(pair) as url:
        before = await _transferred(pair.decode)
        answer = await _post(url, "/v1/completions", _completion("one", max_tokens=1))
        assert await _transferred(pair.decode) == before
    assert answer["usage"]["completion_tokens"] == 1
    assert answer["kv_transfer_params"] is None


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_ids_in_ids_out_over_a_pair(pair: Pair, stream: bool) -> None:
    ids = [1000 + 7 * n + stream for n in range(150)]
    sampling = {"max_tokens": _TOKENS, "temperature": 0, "ignore_eos": True}
    body = {"model": "m", "token_ids": ids, "sampling_params": sampling}
    async with frontend(pair) as url:
        before = await _transferred(pair.decode)
        answer = await _post(url, _GENERATE, {**body, "stream": stream})
        moved = await _transferred(pair.decode) - before
        alone = await _post(pair.prefill.url, _GENERATE, body)
    chunks = answer if stream else [answer]
    told = [token for chunk in chunks for choice in chunk["choices"] for token in choice["token_ids"]]
    assert told == alone["choices"][0]["token_ids"]
    assert moved == len(ids)


async def test_what_is_not_split_a_decode_engine_does_alone(pair: Pair) -> None:
    async with frontend(pair) as url:
        before = await _transferred(pair.decode)
        answer = await _post(url, "/v1/completions", _completion("several", n=2, temperature=1))
        assert await _transferred(pair.decode) == before
    assert len(answer["choices"]) == 2
