"""Our postprocessing over real sockets to simulated engines, beside the same engines' own OpenAI paths."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import msgspec
import pytest

from epp.config.model import Config, ModelConfig, TokenizeConfig
from epp.core.endpoints import Endpoint, EngineKind, PoolSnapshot, Role
from epp.core.requests import Api
from epp.testing.engine import EngineConfig
from epp.testing.engine.fleet import EngineSpec, Fleet
from epp.testing.engine.tokenizer import load_tokenizer
from epp.testing.vocab import cached_model_dir
from epp.tokenize import NullMetrics, TokenizerService
from frontend import sse
from frontend.body import Body
from frontend.config.model import FrontendConfig, PipelineConfig
from frontend.errors import ApiError
from frontend.http.api import Reply, Request, whole
from frontend.http.client import UpstreamClient
from frontend.http.server import HttpServer
from frontend.orchestrate.segment import Orchestrator
from frontend.pipeline.call import Call, Leg, Route, Segment
from frontend.pipeline.components import Components
from frontend.postprocess.segment import Postprocess
from frontend.relay.forward import Forward
from frontend.serving.nvext_read import read_nvext

MODEL = "m"
CONFIG = EngineConfig(
    model=MODEL,
    block_tokens=4,
    total_blocks=1200,
    max_model_len=2000,
    prefill_tokens_per_s=1e6,
    decode_tokens_per_s=2000.0,
)
PATHS = {"/v1/chat/completions": Api.CHAT, "/v1/completions": Api.COMPLETIONS}


class _Routed:
    """Stands for the route segment: there is one worker, and perhaps one that prefills."""

    name = "route"

    def __init__(self, next_: Segment, endpoints: list[Endpoint], seen: list[Call]) -> None:
        self.next, self._seen = next_, seen
        self._legs = [Leg(endpoint) for endpoint in endpoints]

    async def handle(self, call: Call, reply: Reply) -> None:
        self._seen.append(replace(call))
        call.route = Route(*self._legs)
        await self.next.handle(call, reply)


@dataclass
class Site:
    """One engine, reached through us (``ours``) and directly (``theirs``)."""

    ours: str
    theirs: str
    fleet: Fleet
    session: aiohttp.ClientSession
    sent: list[Call]
    """Requests as they left the segment."""

    async def post(self, path: str, body: dict[str, Any], base: str | None = None) -> tuple[int, bytes]:
        async with self.session.post((base or self.ours) + path, json={"model": MODEL, **body}) as answer:
            return answer.status, await answer.read()

    async def json(self, path: str, body: dict[str, Any], base: str | None = None) -> dict[str, Any]:
        status, raw = await self.post(path, body, base)
        assert status == 200, raw
        return msgspec.json.decode(raw, type=dict[str, Any])

    async def events(self, path: str, body: dict[str, Any], base: str | None = None) -> list[dict[str, Any]]:
        status, raw = await self.post(path, {**body, "stream": True}, base)
        assert status == 200, raw
        events = sse.SseReader().feed(raw)
        assert events[-1].data == sse.DONE_DATA
        return [msgspec.json.decode(event.data) for event in events[:-1]]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached_model_dir(tmp_path_factory.mktemp("models"), "tiny")


@asynccontextmanager
async def opened(model_dir: Path, engine: str = "vllm", *, split: bool = False) -> AsyncIterator[Site]:
    picker = Config(tokenize=TokenizeConfig(models=(ModelConfig(MODEL, str(model_dir)),)))
    settings = FrontendConfig(pipeline=PipelineConfig(postprocess="frontend"), picker=picker)
    tokenizer = TokenizerService(picker.tokenize, NullMetrics())
    roles = ("decode", "prefill") if split else ("aggregated",)
    specs = [EngineSpec(role, CONFIG, engine=engine, role=role) for role in roles]
    async with Fleet(specs, load_tokenizer(model_dir)) as fleet:
        address = fleet.addresses[0]
        kind = EngineKind(engine)
        endpoints = [
            Endpoint(
                *(one.name, "127.0.0.1", one.port, at),
                role=Role(one.role),
                engine=kind,
                bootstrap=one.host_port,
            )
            for at, one in enumerate(fleet.addresses, 1)
        ]
        await tokenizer.start()
        await tokenizer.tried()
        upstream = UpstreamClient()
        snapshot = PoolSnapshot.of(endpoints)
        parts = Components(upstream, lambda: snapshot, None, tokenizer, monotonic)
        sent: list[Call] = []
        below = Orchestrator(Forward(settings, parts), settings.disagg, parts)
        segment = Postprocess(_Routed(below, endpoints, sent), settings, parts)
        server = HttpServer(_handler(segment))
        port = await server.start("127.0.0.1", 0)
        try:
            async with aiohttp.ClientSession() as session:
                yield Site(f"http://127.0.0.1:{port}", f"http://{address.host_port}", fleet, session, sent)
        finally:
            await server.drain(1.0)
            await below.close()
            await upstream.close()
            await tokenizer.close()


def _handler(segment: Postprocess) -> Any:
    async def handle(request: Request, reply: Reply) -> None:
        try:
            body = Body(request.body)
            call = Call(
                PATHS[request.path],
                request.path,
                request.headers,
                body,
                "r1",
                monotonic(),
                body.get("model", str) or "",
                body.get("stream", bool) or False,
                read_nvext(body),
            )
            await segment.handle(call, reply)
        except ApiError as error:
            said = msgspec.json.encode({"message": error.message, "code": error.status})
            if reply.started:
                reply.data(sse.event(said, "error"))
                reply.end()
            else:
                whole(reply, error.status, (("content-type", "application/json"),), said)

    return handle


@pytest.fixture
async def stage(model_dir: Path) -> AsyncIterator[Site]:
    async with opened(model_dir) as made:
        yield made
