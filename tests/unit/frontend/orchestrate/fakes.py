"""Stand-ins for the parts around the orchestrator; nothing here opens a socket."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from epp.core.endpoints import Endpoint, EngineKind, PoolSnapshot, Role
from epp.core.outcomes import HeaderPairs
from epp.core.requests import Api, Prompt
from epp.core.tokens import Exactness, Tokenized
from frontend.body import Body
from frontend.http.api import Flow, Reply, Sink, UpstreamRequest
from frontend.nvext import NvExtRequest
from frontend.orchestrate.failures import Reason
from frontend.pipeline.call import Call, Leg, Route
from frontend.pipeline.components import Components


@dataclass
class Recorded:
    """A Reply that keeps what it is told."""

    started: bool = False
    status: int = 0
    headers: HeaderPairs = ()
    body: bytes = b""
    ended: bool = False

    def start(self, status: int, headers: HeaderPairs) -> None:
        self.started, self.status, self.headers = True, status, headers

    def attach(self, source: Flow | None) -> None: ...

    def data(self, piece: bytes) -> None:
        self.body += piece

    def end(self) -> None:
        self.ended = True


@dataclass
class Response:
    """An UpstreamResponse at hand."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    async def read(self, max_bytes: int) -> bytes:
        assert len(self.body) <= max_bytes
        return self.body

    async def pipe(self, sink: Sink) -> None:
        sink.data(self.body)

    def close(self) -> None: ...


Answer = Callable[[UpstreamRequest], Awaitable[Response]]


@dataclass
class FakeUpstream:
    """Answers by a function; ``sent`` holds the requests."""

    answer: Answer
    sent: list[UpstreamRequest] = field(default_factory=list)

    async def send(self, request: UpstreamRequest) -> Response:
        self.sent.append(request)
        return await self.answer(request)


@dataclass
class Below:
    """The segment below: does what a test says."""

    does: Callable[[Call, Reply], Awaitable[None]]
    bodies: list[bytes] = field(default_factory=list)
    name: str = "below"

    async def handle(self, call: Call, reply: Reply) -> None:
        self.bodies.append(call.body.encode())
        await self.does(call, reply)


@dataclass
class Health:
    """A WorkerHealth that keeps what it is told."""

    told: list[tuple[str, int]] = field(default_factory=list)

    def usable(self, worker_id: int) -> bool:
        return True

    def all_usable(self) -> bool:
        return True

    def sent(self, worker_id: int) -> None:
        self.told.append(("sent", worker_id))

    def succeeded(self, worker_id: int) -> None:
        self.told.append(("succeeded", worker_id))

    def failed(self, worker_id: int) -> None:
        self.told.append(("failed", worker_id))


@dataclass
class Counts:
    """OrchestratorCounters as a list of words."""

    told: list[str] = field(default_factory=list)

    def prefill_done(self, seconds: float) -> None:
        self.told.append("done")

    def prefill_failed(self, reason: Reason) -> None:
        self.told.append(f"failed {reason}")

    def fallback(self, reason: Reason) -> None:
        self.told.append(f"fallback {reason}")

    def bypassed(self, reason: Reason) -> None:
        self.told.append(f"bypassed {reason}")

    def terminal(self) -> None:
        self.told.append("terminal")


class NoTokenizer:
    async def tokenize(self, model: str, prompt: Prompt) -> Tokenized:
        return Tokenized(b"", Exactness.NONE, 0)


def parts(upstream: FakeUpstream, health: Health | None = None) -> Components:
    """Components of fakes; the clock stands still."""
    snapshot = PoolSnapshot.of([])
    return Components(upstream, lambda: snapshot, None, NoTokenizer(), lambda: 0.0, health or Health())


def pair(engine: EngineKind, decode_role: Role = Role.DECODE) -> Route:
    """Prefill worker 1 and decode worker 2."""
    prefill = Endpoint("p", "10.0.0.1", 8000, 1, role=Role.PREFILL, engine=engine)
    decode = Endpoint("d", "10.0.0.2", 8000, 2, role=decode_role, engine=engine)
    return Route(Leg(decode), Leg(prefill))


def call(route: Route | None, api: Api = Api.CHAT, **body: Any) -> Call:
    """A request under way."""
    headers = {"authorization": "Bearer k", "x-request-id": "r", "connection": "close"}
    asked = Body.of({"messages": [], **body})
    path = "/v1/chat/completions"
    stream = bool(body.get("stream"))
    return Call(api, path, headers, asked, "r", 0.0, "m", stream, NvExtRequest(), route=route)


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)
