"""One request on its way through the segments, and what they learn of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec import Struct

from epp.core.endpoints import Endpoint
from epp.core.intent import ANY_RANK
from epp.core.outcomes import Ending, HeaderPairs, Picked, ResponseFacts
from epp.core.requests import Api
from epp.core.tokens import Tokenized
from frontend.body import Body
from frontend.http.api import Reply
from frontend.nvext import NvExtRequest


class Leg(Struct, frozen=True):
    """One worker's part in a request."""

    endpoint: Endpoint
    rank: int = 0
    """Data-parallel rank; ``ANY_RANK``: nobody named one and the engine chooses."""

    @property
    def told_rank(self) -> int | None:
        """The rank the engine has to be told; None: it has one only, or chooses itself."""
        return self.known_rank if self.endpoint.dp_size > 1 else None

    @property
    def known_rank(self) -> int | None:
        """The rank that serves; None: the engine chooses it and does not say."""
        return None if self.rank == ANY_RANK else self.rank


class Route(Struct, frozen=True):
    """Who serves a request."""

    worker: Leg
    """Decodes, or does everything."""
    prefill: Leg | None = None
    """Computes the prompt first; None: the worker does."""
    reason: str = ""
    """One line: why these."""
    picked: Picked | None = None
    """What a discovering router booked, and must be told the end of."""
    tokens: Tokenized | None = None
    """The prompt's ids, when routing needed them."""
    uncached_tokens: int | None = None
    """Prompt tokens the chosen worker has to compute, as predicted; None: nobody looked."""
    cached_tokens: int | None = None
    """Prompt tokens the chosen worker holds already, as predicted; None: nobody looked."""
    response_headers: HeaderPairs = ()
    """For the client, with the head of the answer."""


@dataclass(slots=True)
class Facts:
    """What was seen of an answer, for metrics, the log line and the response's ``nvext``."""

    dispatched_s: float | None = None
    """When the request left for its first worker, monotonic."""
    first_token_s: float | None = None
    last_token_s: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int = 0
    """Counted only where the answer is read anyway (usage, or frontend postprocessing)."""
    chunks: int = 0
    status: int | None = None
    """The worker's, of its last answer."""
    migrations: int = 0
    prefill_s: float | None = None
    """How long the prefill leg took."""
    queued_s: float = 0.0
    fallback: str = ""
    """Why a request that should have been split over two workers was not."""


@dataclass(slots=True)
class Call:
    """One request. Segments change it in place; it never outlives its reply."""

    api: Api
    """Of ``path`` as it will be sent to a worker."""
    path: str
    """At the worker."""
    headers: Mapping[str, str]
    """The client's, names in lower case."""
    body: Body
    request_id: str
    arrived_s: float
    """Monotonic."""
    model: str
    """Who is to answer."""
    stream: bool
    nvext: NvExtRequest
    arrived_ms: int = 0
    """The same moment, unix milliseconds."""
    client_model: str | None = None
    """Who the client asked, where another is to answer; its name stands in the answer."""
    route: Route | None = None
    excluded: set[int] = field(default_factory=set[int])
    """Worker ids that failed this request; routers pass them over."""
    facts: Facts = field(default_factory=Facts)
    forward_headers: dict[str, str] = field(default_factory=dict[str, str])
    """More headers for workers (tracing, request id), lower-case names."""
    cut: Ending | None = None
    """What it counts as that the segments below are cancelled while their client is there: COMPLETED when
    nothing more is needed of the worker, ERROR when its answer is of no use. None: the client left."""
    wait_in_line: Callable[[], Awaitable[None]] | None = None
    """Of a waiting queue above: returns when this request may ask the router (again). Raises ApiError (the
    overload status) when that takes too long."""
    on_routed: Callable[[], None] | None = None
    """Told once a router found its workers: whoever waits behind may ask."""
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    """What one segment leaves for another under the writer's name; typed accessors live with the writer."""

    @property
    def asked_model(self) -> str:
        """The model as the client named it: what is counted, logged and told."""
        return self.model if self.client_model is None else self.client_model


class Segment(Protocol):
    """One step. It answers by pushing into ``reply`` itself or through the next segment, and raises
    :class:`frontend.errors.ApiError` for what a client is to be told. Cancelled when the client left."""

    name: str
    """One hyphenated word, for the picture and for traces."""

    async def handle(self, call: Call, reply: Reply) -> None:
        """Serve one request; when it returns, ``reply.end`` was called."""
        ...


class Router(Protocol):
    """Finds the workers of a request."""

    name: str

    async def route(self, call: Call) -> Route:
        """Who serves ``call``, never one of ``call.excluded``. Raises ApiError: 4xx for what the request
        itself names wrongly, 503 when nobody is there, the overload status when everybody is busy."""
        ...

    def finish(self, route: Route, ending: Ending, facts: ResponseFacts) -> None:
        """The request, or this attempt at it, is over: exactly once per route."""
        ...
