"""The segment behind a real HTTP server, before an engine that says what the test wants."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from epp.wire.openai.paths import api_of
from frontend.app.problems import answer
from frontend.body import Body
from frontend.config.model import FrontendConfig
from frontend.errors import ApiError
from frontend.http.api import Reply, Request, whole
from frontend.http.server import HttpServer
from frontend.nvext import NvExtRequest
from frontend.pipeline.call import Call
from frontend.translate.segment import Translate
from tests.unit.frontend.fakes import components
from tests.unit.frontend.translate import said


@dataclass
class ScriptedEngine:
    """The next segment: a chat engine whose answers are set beforehand."""

    name = "engine"
    chunks: tuple[dict[str, Any], ...] = ()
    """Of the next stream."""
    message: dict[str, Any] = field(default_factory=dict)
    reason: str = "stop"
    """Of the next whole answer."""
    error: ApiError | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Chat bodies received."""
    base_url: str = ""

    async def handle(self, call: Call, reply: Reply) -> None:
        body = {name: call.body.get(name, object) for name in call.body.names()}
        self.bodies.append(body)
        if self.error is not None:
            raise self.error
        if not call.stream:
            whole(reply, 200, (("content-type", "application/json"),), said.whole(self.message, self.reason))
            return
        stream = said.sse(*self.chunks)
        reply.start(200, (("content-type", "text/event-stream"),))
        for at in range(0, len(stream), 37):  # cut where no event ends
            reply.data(stream[at : at + 37])
        reply.end()


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    engine = ScriptedEngine()
    segment = Translate(engine, FrontendConfig(), components())

    async def handle(request: Request, reply: Reply) -> None:
        api = api_of(request.path)
        try:
            await segment.handle(_call(request), reply)
        except ApiError as error:
            answer(reply, error, api)

    server = HttpServer(handle)
    port = await server.start("127.0.0.1", 0)
    engine.base_url = f"http://127.0.0.1:{port}"
    yield engine
    await server.drain(1.0)


def _call(request: Request) -> Call:
    body = Body(request.body)
    return Call(
        api=api_of(request.path),
        path=request.path,
        headers=request.headers,
        body=body,
        request_id="r1",
        arrived_s=time.monotonic(),
        arrived_ms=request.wall_ms,
        model=body.get("model", str) or "",
        stream=body.get("stream", bool) or False,
        nvext=NvExtRequest(),
    )
