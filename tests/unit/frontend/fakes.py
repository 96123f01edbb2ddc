"""In-memory halves of the frontend's seams: model servers, replies, requests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from epp.core.endpoints import Endpoint, PoolSnapshot, Role
from epp.core.outcomes import HeaderPairs
from epp.core.requests import Api, Prompt
from epp.core.tokens import Exactness, Tokenized
from frontend.body import Body
from frontend.http.api import Flow, Sink, UpstreamRequest
from frontend.pipeline.call import Call
from frontend.pipeline.components import Components, EverybodyUsable, WorkerHealth
from frontend.serving.nvext_read import read_nvext


def worker(worker_id: int, role: Role = Role.AGGREGATED, **more: Any) -> Endpoint:
    """A worker at 10.0.0.<id>:8000."""
    fields = {"name": f"w{worker_id}", "address": f"10.0.0.{worker_id}", "port": 8000} | more
    return Endpoint(worker_id=worker_id, role=role, **fields)


PAIRS = (
    worker(1, Role.PREFILL),
    worker(2, Role.PREFILL),
    worker(3, Role.DECODE),
    worker(4, Role.DECODE),
)
"""Two prefill and two decode workers."""


class FakeReply:
    """Remembers what was said, and how."""

    def __init__(self) -> None:
        self.started = False
        self.ended = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.source: Flow | None = None

    def start(self, status: int, headers: HeaderPairs) -> None:
        assert not self.started
        self.started, self.status, self.headers = True, status, dict(headers)

    def data(self, piece: bytes) -> None:
        assert self.started
        assert not self.ended
        assert piece
        self.pieces.append(piece)

    def attach(self, source: Flow | None) -> None:
        self.source = source

    def end(self) -> None:
        assert self.started
        assert not self.ended
        self.ended = True

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


class FakeResponse:
    """A response whose pieces are known beforehand; ``error`` comes after them."""

    def __init__(
        self,
        status: int = 200,
        pieces: tuple[bytes, ...] = (b"{}",),
        headers: Mapping[str, str] | None = None,
        error: BaseException | None = None,
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = headers or {"content-type": "application/json"}
        self.closed = False
        self._pieces = pieces
        self._error = error

    async def read(self, max_bytes: int) -> bytes:
        if self._error is not None:
            raise self._error
        return b"".join(self._pieces)[:max_bytes]

    async def pipe(self, sink: Sink) -> None:
        for piece in self._pieces:
            sink.data(piece)
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeUpstream:
    """Answers by the address that is called; remembers what it was sent."""

    answers: Callable[[UpstreamRequest], FakeResponse | BaseException] = field(
        default=lambda _request: FakeResponse()
    )
    sent: list[UpstreamRequest] = field(default_factory=list)

    async def send(self, request: UpstreamRequest) -> FakeResponse:
        self.sent.append(request)
        answer = self.answers(request)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class NoTokenizer:
    """Knows no tokens."""

    async def tokenize(self, model: str, prompt: Prompt) -> Tokenized:
        return Tokenized(b"", Exactness.NONE, 0, "no-tokenizer")


def components(
    *endpoints: Endpoint,
    upstream: FakeUpstream | None = None,
    health: WorkerHealth | None = None,
    **more: Any,
) -> Components:
    """Parts around a fixed pool, without a picker unless one is given."""
    snapshot = PoolSnapshot.of(endpoints)
    defaults: dict[str, Any] = {
        "snapshot": lambda: snapshot,
        "picker": None,
        "tokenizer": NoTokenizer(),
        "clock": lambda: 100.0,
    }
    return Components(
        upstream=upstream or FakeUpstream(), health=health or EverybodyUsable(), **(defaults | more)
    )


def call(body: dict[str, Any] | None = None, headers: Mapping[str, str] | None = None, **more: Any) -> Call:
    """A chat request."""
    whole = {"model": "m", "messages": [{"role": "user", "content": "hello"}]} | (body or {})
    parsed = Body.of(whole)
    defaults: dict[str, Any] = {
        "api": Api.CHAT,
        "path": "/v1/chat/completions",
        "request_id": "r1",
        "arrived_s": 100.0,
        "model": "m",
        "stream": bool(whole.get("stream")),
        "nvext": read_nvext(parsed),
    }
    return Call(body=parsed, headers=dict(headers or {}), **(defaults | more))
