"""What a door asks of the engine and what it gets back.

Expected endings are values: a refused request is an answer, not an exception.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct, field

from epp.core.restoring import Restored

HeaderPairs: TypeAlias = tuple[tuple[str, str], ...]


class PickInput(Struct, frozen=True):
    """One request as a door received it."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case; the last of repeated values wins."""
    body: bytes | None
    """The whole body; None: the request has none (end of stream on the headers)."""
    subset: tuple[str, ...] | None = None
    """Endpoints the gateway allows (``ip:port`` or bare ip); None: no hint; empty: none allowed."""
    request_id: str = ""
    """Empty: the engine mints one."""
    client_model: str | None = None
    """The client's name of the model, where the door has put another into the body already; then the pool's
    rules rename nothing. None: the body names what the client named."""


class Picked(Struct, frozen=True):
    """A destination, and what to change on the way there."""

    destinations: tuple[str, ...]
    """``ip:port``, the choice first, then fallbacks in order (normally none)."""
    request_id: str
    set_headers: HeaderPairs = ()
    """Request headers to set, besides the destination, which the door adds itself."""
    remove_headers: tuple[str, ...] = ()
    body: bytes | None = None
    """A replacement; None: forward the body as it came."""
    booking: int | None = None
    """The ledger entry that must be ended exactly once with ``finish``; None: nothing booked."""
    reason: str = ""
    """One line: why this endpoint."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """More ``envoy.lb`` dynamic metadata."""
    response_headers: HeaderPairs = ()
    """For the client, with the head of the response."""
    client_model: str | None = None
    """The client's name of its model, to be put back into the answer; None: the answer's own is right."""


class DropReason(StrEnum):
    """Why a request was refused: the value of ``x-llm-d-request-dropped-reason`` and a metric label."""

    NO_ENDPOINTS = "rejected-no-endpoints"
    SATURATED = "rejected-saturated"
    SHUTTING_DOWN = "rejected-shutting-down"
    BAD_REQUEST = "bad-request"
    TOO_LARGE = "too-large"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class Refused(Struct, frozen=True):
    """An answer the door gives itself, as an immediate response."""

    status: int
    message: str
    """One sentence for the client."""
    reason: DropReason
    headers: HeaderPairs = ()
    """For example ``retry-after``."""


PickOutcome: TypeAlias = Picked | Refused


class Ending(StrEnum):
    """How a stream ended."""

    COMPLETED = "completed"
    CLIENT_GONE = "client-gone"
    ERROR = "error"
    DETACHED = "detached"
    """The door closed the stream after the pick (``--skip-response``); events and leases end the booking."""


class ResponseFacts(Struct, frozen=True):
    """What a door learnt of the response, all optional."""

    status: int | None = None
    served: str | None = None
    """``ip:port`` that really served, as the gateway reports it."""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    response_bytes: int = 0
    """Only counted when response bodies come to the picker."""
    restored: Restored | None = None
    """What became of the model's name in the answer; None: it was to stay, or no answer came."""
