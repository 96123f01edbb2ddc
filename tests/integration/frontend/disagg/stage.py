"""A frontend of orchestrator and forwarder over real sockets, between aiohttp and simulated engines."""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import aiohttp
import msgspec

from epp.core.endpoints import Endpoint, EngineKind, PoolSnapshot, Role
from epp.core.requests import Api, Prompt
from epp.core.tokens import Exactness, Tokenized
from epp.testing.engine import EngineConfig
from epp.testing.engine.fleet import EngineAddress, EngineSpec, Fleet
from epp.testing.engine.ids import TokenIds, ids
from epp.testing.engine.sim import EngineCounters
from epp.testing.engine.tokenizer import EngineTokenizer
from frontend import sse
from frontend.body import Body
from frontend.config.model import DisaggConfig, FrontendConfig
from frontend.errors import ApiError
from frontend.http.api import Reply, Request, whole
from frontend.http.client import UpstreamClient
from frontend.http.server import HttpServer
from frontend.nvext import NvExtRequest
from frontend.orchestrate.failures import Reason
from frontend.orchestrate.segment import Orchestrator
from frontend.pipeline.call import Call, Leg, Route
from frontend.pipeline.components import Components
from frontend.relay.forward import Forward

CONFIG = EngineConfig(
    model="m",
    block_tokens=4,
    total_blocks=600,
    max_model_len=2000,
    prefill_tokens_per_s=1e6,
    decode_tokens_per_s=2000.0,
)
STUCK = replace(CONFIG, prefill_tokens_per_s=0.1)
"""Never computes a prompt within a test."""
PATHS = {
    "/v1/chat/completions": Api.CHAT,
    "/v1/completions": Api.COMPLETIONS,
    "/inference/v1/generate": Api.VLLM_GENERATE,
    "/generate": Api.SGLANG_GENERATE,
}


@dataclass
class Counted:
    """Implements OrchestratorCounters."""

    done: list[float] = field(default_factory=list)
    failed: list[Reason] = field(default_factory=list)
    fallbacks: list[Reason] = field(default_factory=list)
    bypasses: list[Reason] = field(default_factory=list)
    terminals: int = 0

    def prefill_done(self, seconds: float) -> None:
        self.done.append(seconds)

    def prefill_failed(self, reason: Reason) -> None:
        self.failed.append(reason)

    def fallback(self, reason: Reason) -> None:
        self.fallbacks.append(reason)

    def bypassed(self, reason: Reason) -> None:
        self.bypasses.append(reason)

    def terminal(self) -> None:
        self.terminals += 1


class NoTokenizer:
    async def tokenize(self, model: str, prompt: Prompt) -> Tokenized:
        return Tokenized(b"", Exactness.NONE, 0)


class Words:
    """An EngineTokenizer of whole words, so that an answer can be one token long."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def encode(self, text: str, *, special: bool) -> TokenIds:
        return ids(self._ids.setdefault(word, len(self._ids)) for word in re.findall(r"\s*\S+", text))

    def chat(self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
        return "".join(f"<{message['role']}> {message['content']} " for message in messages)

    def text(self, token: int) -> str:
        return list(self._ids)[token]


@dataclass
class Answered:
    """What the client saw."""

    status: int
    text: str
    raw: bytes
    finish_reason: str | None
    usage: dict[str, Any] | None

    @property
    def tokens(self) -> list[int]:
        """Ids of an answer in ids, streamed or not."""
        events = [event.data for event in sse.SseReader().feed(self.raw)] or [self.raw]
        found = [msgspec.json.decode(data) for data in events if data != sse.DONE_DATA]
        if "output_ids" in found[-1]:  # SGLang repeats what it said
            return list(found[-1]["output_ids"])
        return [token for chunk in found for choice in chunk["choices"] for token in choice["token_ids"]]

    @property
    def error(self) -> str:
        return str(msgspec.json.decode(self.raw)["message"])


class Stage:
    """What a test drives and reads."""

    def __init__(self, fleet: Fleet, port: int, session: aiohttp.ClientSession, counted: Counted) -> None:
        self.fleet = fleet
        self.counted = counted
        self.calls: list[Call] = []
        self.url = f"http://127.0.0.1:{port}"
        self._session = session

    def computed(self, name: str, rank: int = 0) -> EngineCounters:
        """What an engine did."""
        names = [address.name for address in self.fleet.addresses]
        return self.fleet.runners[names.index(name)].rank(rank).engine.counters

    def shelf(self, name: str) -> tuple[int, int]:
        """KV parked at and taken from an engine."""
        names = [address.name for address in self.fleet.addresses]
        shelf = self.fleet.docks[names.index(name)].shelf
        return shelf.parked, shelf.taken

    async def ask(self, path: str, body: dict[str, Any], url: str | None = None) -> Answered:
        """One request, through the frontend unless another ``url`` is given."""
        async with self._session.post((url or self.url) + path, json=body) as response:
            raw = await response.read()
            if "generate" in path:
                return Answered(response.status, "", raw, None, None)
            if response.content_type != "text/event-stream":
                return _whole(response.status, raw)
            return _streamed(response.status, raw)

    async def alone(self, path: str, body: dict[str, Any]) -> Answered:
        """What one aggregated vLLM answers."""
        address = next(a for a in self.fleet.addresses if a.name == "alone")
        return await self.ask(path, body, f"http://{address.host_port}")

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """A request as a context manager, to be left early."""
        return self._session.post(self.url + path, json=body)


def _whole(status: int, raw: bytes) -> Answered:
    answer = msgspec.json.decode(raw)
    if status != 200 or "choices" not in answer:
        return Answered(status, "", raw, None, None)
    choice = answer["choices"][0]
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    return Answered(status, text, raw, choice["finish_reason"], answer["usage"])


def _streamed(status: int, raw: bytes) -> Answered:
    events = [event.data for event in sse.SseReader().feed(raw)]
    assert events[-1] == sse.DONE_DATA
    chunks = [msgspec.json.decode(data) for data in events[:-1]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    text = "".join(c["delta"].get("content", "") if "delta" in c else c["text"] for c in choices)
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    return Answered(status, text, raw, choices[-1]["finish_reason"], usages[-1] if usages else None)


def endpoint(address: EngineAddress, worker_id: int) -> Endpoint:
    """A started engine as discovery would show it."""
    entry = address.entry()
    return Endpoint(
        name=address.name,
        address="127.0.0.1",
        port=address.port,
        worker_id=worker_id,
        role=Role(address.role),
        engine=EngineKind(address.engine),
        dp_size=address.dp_size,
        bootstrap=entry.get("bootstrap"),
    )


def specs(kind: str, *, prefill: EngineConfig = CONFIG, decode: EngineConfig = CONFIG) -> list[EngineSpec]:
    """A prefill engine, a decode engine, and one aggregated engine to compare with."""
    return [
        EngineSpec("prefill", prefill, role="prefill", engine=kind, kv_events=False),
        EngineSpec("decode", decode, role="decode", engine=kind, kv_events=False),
        EngineSpec("alone", CONFIG, kv_events=False),
    ]


@asynccontextmanager
async def staged(
    kind: str,
    *,
    disagg: DisaggConfig | None = None,
    route: Callable[[Route], Route] = lambda route: route,
    prefill: EngineConfig = CONFIG,
    decode: EngineConfig = CONFIG,
    tokenizer: EngineTokenizer | None = None,
) -> AsyncIterator[Stage]:
    """Engines of ``kind`` and a frontend that sends every request to the pair; ``route`` may change it."""
    async with (
        Fleet(specs(kind, prefill=prefill, decode=decode), tokenizer) as fleet,
        aiohttp.ClientSession() as session,
    ):
        endpoints = [endpoint(address, number) for number, address in enumerate(fleet.addresses, 1)]
        pair = route(Route(worker=Leg(endpoints[1]), prefill=Leg(endpoints[0])))
        async with fronted(pair, endpoints, disagg or DisaggConfig()) as front:
            stage = Stage(fleet, front.port, session, front.counted)
            stage.calls = front.calls
            yield stage


@dataclass
class Front:
    """A running frontend."""

    port: int
    counted: Counted
    calls: list[Call]


@asynccontextmanager
async def fronted(pair: Route, endpoints: Sequence[Endpoint], disagg: DisaggConfig) -> AsyncIterator[Front]:
    """A frontend that sends every request to ``pair``."""
    upstream = UpstreamClient()
    snapshot = PoolSnapshot.of(endpoints)
    parts = Components(upstream, lambda: snapshot, None, NoTokenizer(), monotonic)
    front = Front(0, Counted(), [])
    config = FrontendConfig(disagg=disagg)
    segment = Orchestrator(Forward(config, parts), config.disagg, parts, front.counted)
    server = HttpServer(_handler(segment, pair, front.calls))
    front.port = await server.start("127.0.0.1", 0)
    try:
        yield front
    finally:
        await server.drain(1.0)
        await segment.close()
        await upstream.close()


def _handler(segment: Orchestrator, route: Route, calls: list[Call]) -> Any:
    async def handle(request: Request, reply: Reply) -> None:
        body = Body(request.body)
        call = Call(
            api=PATHS[request.path],
            path=request.path,
            headers=request.headers,
            body=body,
            request_id="r",
            arrived_s=monotonic(),
            model="m",
            stream=bool(body.get("stream", bool)),
            nvext=NvExtRequest(),
            route=route,
        )
        calls.append(call)
        try:
            await segment.handle(call, reply)
        except ApiError as error:
            told = {"message": error.message, "type": error.type, "code": error.status}
            assert not reply.started, told
            whole(reply, error.status, (("content-type", "application/json"),), msgspec.json.encode(told))

    return handle
