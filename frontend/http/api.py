"""What the rest of the frontend knows of HTTP: a request, a reply to push into, an upstream to call.

Bodies are pushed, not pulled: a piece that arrives from a model server is written to the client in the same
callback, so a streamed chunk costs no task switch. Back-pressure goes the other way through :class:`Flow`:
when a client's socket is full its reply pauses the source, and the source stops reading its socket.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from epp.core.outcomes import HeaderPairs

CONNECTION_HEADERS: Final = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers that mean one connection, not the message (RFC 9110, section 7.6.1)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, its body at hand."""

    method: str
    path: str
    """Percent-encoded as sent, without the query."""
    query: str
    headers: Mapping[str, str]
    """Names in lower case; repeated values are one list (:func:`frontend.http.heads.joined_in_request`)."""
    body: bytes
    received_s: float
    """When its head was read, monotonic."""
    peer: str = ""
    """``ip:port`` of the client."""
    wall_ms: int = 0
    """The same moment, unix milliseconds."""


class Flow(Protocol):
    """A source of body pieces that can be told to wait."""

    def pause(self) -> None:
        """Stop producing (idempotent)."""
        ...

    def resume(self) -> None:
        """Go on (idempotent)."""
        ...


class Sink(Protocol):
    """Takes body pieces in order."""

    def data(self, piece: bytes) -> None:
        """The next piece; never empty."""
        ...

    def attach(self, source: Flow | None) -> None:
        """Whom to pause while pieces cannot be passed on; None: the source is done. A sink that is full
        already pauses a new source at once."""
        ...


class Reply(Sink, Protocol):
    """One answer: ``start`` → ``data``* → ``end``. Segments wrap replies to change what goes through."""

    started: bool
    """``start`` was called; an error can no longer change the status."""

    def start(self, status: int, headers: HeaderPairs) -> None:
        """Begin. With a ``content-length`` the body has that many bytes; without one it is chunked."""
        ...

    def end(self) -> None:
        """The body is complete."""
        ...


def whole(reply: Reply, status: int, headers: HeaderPairs, body: bytes) -> None:
    """Answer in one go."""
    reply.start(status, (*headers, ("content-length", str(len(body)))))
    if body:
        reply.data(body)
    reply.end()


class Failure(StrEnum):
    """Why a model server gave no (whole) response: a metric label."""

    CONNECT = "connect"
    """No connection; the request was certainly not begun."""
    RESET = "reset"
    """The connection broke before the response was whole."""
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    """The peer does not speak HTTP/1.1."""
    TOO_LARGE = "too-large"


class UpstreamError(Exception):
    """A model server that could not be reached, broke off, or took too long."""

    def __init__(self, failure: Failure, message: str, *, answered: bool = False) -> None:
        super().__init__(message)
        self.failure = failure
        self.answered = answered
        """Whether the response's head had been read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines of one call to a model server, in seconds."""

    connect_s: float = 3.0
    head_s: float = 600.0
    """From the request to the head of the response: a prompt's computation lies within."""
    idle_s: float = 300.0
    """Longest silence inside a body."""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What is sent to a model server."""

    host_port: str
    """``ip:port``, IPv6 in brackets."""
    method: str
    path: str
    headers: HeaderPairs = ()
    """``host``, ``content-length`` and ``connection`` are the client's own business."""
    body: bytes = b""
    limits: Limits = field(default_factory=Limits)


class UpstreamResponse(Protocol):
    """A response whose head was read. Exactly one of ``read``, ``pipe`` or ``close`` follows."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case; repeated values are joined by commas, those of ``set-cookie`` by line feeds
        (:func:`frontend.http.heads.lines_of`)."""
        ...

    async def read(self, max_bytes: int) -> bytes:
        """The whole body. Raises UpstreamError."""
        ...

    async def pipe(self, sink: Sink) -> None:
        """Push the body into ``sink`` until it is complete. Raises UpstreamError when it is cut short;
        cancelled, it closes the connection, which stops the engine."""
        ...

    def close(self) -> None:
        """Give up what has not been read (idempotent)."""
        ...


class Upstream(Protocol):
    """The client side; keeps connections open between calls."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send and read the response's head. Raises UpstreamError; cancelled, it closes the connection."""
        ...
