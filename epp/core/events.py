"""What an ext_proc stream tells the exchange, and what the exchange asks its door to do.

Both directions are plain values, so that the protocol can be driven by a test, a fuzzer, grpc.aio or any
other transport. Names follow Envoy's ``external_processor.proto``: the *request* is the client's HTTP
request, the *response* is the model server's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TypeAlias

from epp.core.outcomes import Ending, HeaderPairs, Picked, PickInput, PickOutcome, ResponseFacts


class BodyMode(IntEnum):
    """How the gateway sends bodies (``ProcessingMode.BodySendMode``, numbers as on the wire)."""

    NONE = 0
    STREAMED = 1
    BUFFERED = 2
    BUFFERED_PARTIAL = 3
    FULL_DUPLEX_STREAMED = 4
    GRPC = 5


@dataclass(frozen=True, slots=True)
class Modes:
    """``ProtocolConfiguration``: what the gateway says of itself on the first message."""

    request: BodyMode
    response: BodyMode


# --- events: the gateway speaks ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """The head of the request."""

    headers: Mapping[str, str]
    """Names in lower case; the last of repeated values wins."""
    end_of_stream: bool = False
    """True: the request has neither body nor trailers."""
    modes: Modes | None = None
    """None: the gateway did not say."""
    subset: tuple[str, ...] | None = None
    """Endpoints the gateway allows; None: no hint on this message."""


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A piece of the request body; the whole of it in BUFFERED mode."""

    data: bytes
    end_of_stream: bool = False
    subset: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RequestTrailers:
    """The request's trailers: the body before them is over."""

    subset: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ResponseHeaders:
    """The head of the response."""

    headers: Mapping[str, str]
    end_of_stream: bool = False
    served: str | None = None
    """``x-gateway-destination-endpoint-served`` as the gateway wrote it; None: not given."""


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """A piece of the response body, where the gateway sends those."""

    data: bytes
    end_of_stream: bool = False
    served: str | None = None


@dataclass(frozen=True, slots=True)
class ResponseTrailers:
    """The response's trailers: the response is over."""


# --- events: the door speaks ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PickReturned:
    """The engine answered the question of :class:`Pick`."""

    outcome: PickOutcome


@dataclass(frozen=True, slots=True)
class BodyLate:
    """Nothing followed the request's head for the door's grace period (see ``Exchange.undecided``)."""


@dataclass(frozen=True, slots=True)
class DetachWanted:
    """The door is closing for good: let go of the stream now if the request takes no harm."""


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The gateway ended the stream."""

    clean: bool
    """True: it half-closed. False: reset, lost connection or a cancelled call."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that is no ``ProcessingRequest``, or one without a kind this picker knows."""


Event: TypeAlias = (
    RequestHeaders
    | RequestBody
    | RequestTrailers
    | ResponseHeaders
    | ResponseBody
    | ResponseTrailers
    | PickReturned
    | BodyLate
    | DetachWanted
    | StreamEnded
    | Unreadable
)


# --- actions ----------------------------------------------------------------------------------------------


class Side(StrEnum):
    """Which half of the HTTP exchange an answer is about."""

    REQUEST = "request"
    RESPONSE = "response"


@dataclass(frozen=True, slots=True)
class Steering:
    """Where the request goes and what changes on the way: the substance of one pick."""

    destinations: tuple[str, ...]
    """``ip:port`` in order of preference; written to the header and to ``envoy.lb`` metadata."""
    set_headers: HeaderPairs = ()
    remove_headers: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    """More ``envoy.lb`` dynamic metadata."""


@dataclass(frozen=True, slots=True)
class AnswerHeaders:
    """Answers the head of one side; empty: let it pass unchanged."""

    side: Side
    steering: Steering | None = None
    set_headers: HeaderPairs = ()
    """Response side only: headers for the client."""
    drops_length: bool = False
    """Response side only: take ``content-length`` away, for the body will have another one."""
    asks_bodies: Modes | None = None
    """Response side only: the modes wanted from here on (``mode_override``); gateways may ignore it."""


@dataclass(frozen=True, slots=True)
class AnswerBody:
    """Answers the body of one side in BUFFERED, BUFFERED_PARTIAL and STREAMED mode."""

    side: Side
    steering: Steering | None = None
    replacement: bytes | None = None
    """None: the body passes as it came."""
    drops_length: bool = False
    """Without steering: take ``content-length`` away from the head, which waits for the body's answer."""


@dataclass(frozen=True, slots=True)
class StreamBody:
    """Gives a piece of a body back in FULL_DUPLEX_STREAMED mode, where it passes only if given back."""

    side: Side
    data: bytes | memoryview
    end_of_stream: bool


@dataclass(frozen=True, slots=True)
class AnswerTrailers:
    """Answers the trailers of one side; the steering here can only be metadata."""

    side: Side
    steering: Steering | None = None


@dataclass(frozen=True, slots=True)
class Immediate:
    """Answers the client instead of the model server."""

    status: int
    headers: HeaderPairs
    body: bytes
    reason: str
    """For counting: the value of the drop-reason header."""


@dataclass(frozen=True, slots=True)
class Pick:
    """Ask the engine; give its answer back as :class:`PickReturned`."""

    request: PickInput


@dataclass(frozen=True, slots=True)
class CancelPick:
    """The question is moot; if the engine answers all the same, still give the answer back."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Tell the engine how it ended: exactly once for every :class:`Picked` that came back."""

    picked: Picked
    ending: Ending
    facts: ResponseFacts


@dataclass(frozen=True, slots=True)
class Fault:
    """The gateway did something no legal stream does; for counting."""

    kind: str
    """A short lower-case hyphenated word from a fixed set."""


@dataclass(frozen=True, slots=True)
class ServedElsewhere:
    """Another endpoint than the picked one served the request; for counting."""

    picked: str
    served: str


@dataclass(frozen=True, slots=True)
class Close:
    """Nothing more will be said; end the stream with status OK."""


Answer: TypeAlias = AnswerHeaders | AnswerBody | StreamBody | AnswerTrailers | Immediate
Action: TypeAlias = Answer | Pick | CancelPick | Finish | Fault | ServedElsewhere | Close
