"""The states of one ext_proc exchange and every legal step between them, as data.

Theory of operation
-------------------
Each side of the HTTP exchange has a small machine of its own, because the sides overlap: a gateway may
answer a request itself while its body still arrives, and a gRPC call talks both ways at once.

The **request side** decides when enough is known to ask the engine, and holds back answers until then:

* FULL_DUPLEX_STREAMED, the protocol's own mode: the head's answer is *deferred* while the body is
  collected. Then one question, then head, body and trailers are answered in that order.
* BUFFERED and BUFFERED_PARTIAL: the gateway sends the body only once the head is answered, so the head
  passes unchanged and the answer to the *body* carries the destination.
* Everything where the body cannot steer is asked about *from the head alone*: requests without a
  body, gRPC calls, and STREAMED mode, in which a gateway takes no header change once the body flows.

The **response side** lets everything pass and takes notes.

A message is first classified into a :class:`Signal` (mode, size and end of stream are considered there), and
then the table says which step to take and which state follows. A pair that is not in the table is a fault of
the gateway: it is counted and the exchange ends in order. CLOSED takes anything and does nothing,
but for an engine's answer that comes too late, which must still be ended.
"""

from enum import StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """Where the request side is."""

    START = "start"
    """Nothing has come."""
    COLLECT = "collect"
    """The head is here and unanswered; the body arrives."""
    HOLD = "hold"
    """The head is answered; the one body message is awaited."""
    PICKING = "picking"
    """The engine was asked; the gateway has nothing more to send before it is answered."""
    PICKING_OPEN = "picking-open"
    """The engine was asked from the head alone; the body may still arrive."""
    FLOWING = "flowing"
    """Steered; the body passes piece by piece."""
    STEERED = "steered"
    """Steered, and the request is answered whole."""
    ABANDONED = "abandoned"
    """The gateway answered the client without us; its response still passes."""
    CLOSED = "closed"
    """Over."""


class ResponseState(StrEnum):
    """Where the response side is."""

    AWAITED = "awaited"
    OPEN = "open"
    DONE = "done"


class Signal(StrEnum):
    """What an event means for the request side."""

    HEAD_DEFER = "head, body will be streamed"
    HEAD_HOLD = "head, body will be buffered"
    HEAD_OPEN = "head, body cannot steer"
    HEAD_ONLY = "head, no body to come"
    HEAD_REFUSED = "head, refused at sight"
    BODY = "body"
    BODY_LAST = "body, complete"
    BODY_TOO_LARGE = "body, too large"
    AFTER_END = "body or trailers after the end"
    TRAILERS = "trailers"
    LATE = "body late, mode unknown"
    PICKED = "picked"
    REFUSED = "refused"
    RESPONSE = "any response message"
    ENDED = "stream ended"
    DETACH = "detach wanted"
    IDLE = "nothing to do"


class ResponseSignal(StrEnum):
    """What an event means for the response side."""

    HEAD = "head"
    HEAD_LAST = "head, complete"
    BODY = "body"
    BODY_LAST = "body, complete"
    TRAILERS = "trailers"


class Step(StrEnum):
    """What is done on the way; each is one method of the exchange."""

    IGNORE = "ignore"
    KEEP = "keep"
    ALLOW_HEAD = "allow-head"
    ASK = "ask"
    ASK_FROM_HEAD = "ask-from-head"
    STEER = "steer"
    FORWARD = "forward"
    REFUSE = "refuse"
    CANCEL = "cancel"
    FINISH_LATE = "finish-late"
    END = "end"
    DETACH = "detach"


class Transition(NamedTuple):
    """One row's outcome."""

    step: Step
    to: State


def _row(**cells: tuple[Step, State]) -> dict[Signal, Transition]:
    return {Signal[name]: Transition(*cell) for name, cell in cells.items()}


REQUEST_TABLE: Final[dict[State, dict[Signal, Transition]]] = {
    State.START: _row(
        HEAD_DEFER=(Step.KEEP, State.COLLECT),
        HEAD_HOLD=(Step.ALLOW_HEAD, State.HOLD),
        HEAD_OPEN=(Step.ASK_FROM_HEAD, State.PICKING_OPEN),
        HEAD_ONLY=(Step.ASK_FROM_HEAD, State.PICKING),
        HEAD_REFUSED=(Step.REFUSE, State.CLOSED),
        RESPONSE=(Step.IGNORE, State.ABANDONED),
        ENDED=(Step.END, State.CLOSED),
        DETACH=(Step.IGNORE, State.START),
        IDLE=(Step.IGNORE, State.START),
    ),
    State.COLLECT: _row(
        BODY=(Step.KEEP, State.COLLECT),
        BODY_LAST=(Step.ASK, State.PICKING),
        BODY_TOO_LARGE=(Step.REFUSE, State.CLOSED),
        TRAILERS=(Step.ASK, State.PICKING),
        LATE=(Step.ALLOW_HEAD, State.HOLD),
        RESPONSE=(Step.IGNORE, State.ABANDONED),
        ENDED=(Step.END, State.CLOSED),
        DETACH=(Step.IGNORE, State.COLLECT),
        IDLE=(Step.IGNORE, State.COLLECT),
    ),
    State.HOLD: _row(
        BODY=(Step.ASK_FROM_HEAD, State.PICKING_OPEN),
        BODY_LAST=(Step.ASK, State.PICKING),
        BODY_TOO_LARGE=(Step.REFUSE, State.CLOSED),
        TRAILERS=(Step.ASK, State.PICKING),
        RESPONSE=(Step.IGNORE, State.ABANDONED),
        ENDED=(Step.END, State.CLOSED),
        DETACH=(Step.IGNORE, State.HOLD),
        IDLE=(Step.IGNORE, State.HOLD),
    ),
    State.PICKING: _row(
        AFTER_END=(Step.IGNORE, State.PICKING),
        TRAILERS=(Step.KEEP, State.PICKING),
        PICKED=(Step.STEER, State.STEERED),
        REFUSED=(Step.REFUSE, State.CLOSED),
        RESPONSE=(Step.CANCEL, State.ABANDONED),
        ENDED=(Step.CANCEL, State.CLOSED),
        DETACH=(Step.IGNORE, State.PICKING),
        IDLE=(Step.IGNORE, State.PICKING),
    ),
    State.PICKING_OPEN: _row(
        BODY=(Step.KEEP, State.PICKING_OPEN),
        BODY_LAST=(Step.KEEP, State.PICKING),
        BODY_TOO_LARGE=(Step.REFUSE, State.CLOSED),
        TRAILERS=(Step.KEEP, State.PICKING),
        PICKED=(Step.STEER, State.FLOWING),
        REFUSED=(Step.REFUSE, State.CLOSED),
        RESPONSE=(Step.CANCEL, State.ABANDONED),
        ENDED=(Step.CANCEL, State.CLOSED),
        DETACH=(Step.IGNORE, State.PICKING_OPEN),
        IDLE=(Step.IGNORE, State.PICKING_OPEN),
    ),
    State.FLOWING: _row(
        BODY=(Step.FORWARD, State.FLOWING),
        BODY_LAST=(Step.FORWARD, State.STEERED),
        TRAILERS=(Step.FORWARD, State.STEERED),
        RESPONSE=(Step.IGNORE, State.FLOWING),
        ENDED=(Step.END, State.CLOSED),
        DETACH=(Step.IGNORE, State.FLOWING),
        IDLE=(Step.IGNORE, State.FLOWING),
    ),
    State.STEERED: _row(
        AFTER_END=(Step.IGNORE, State.STEERED),
        TRAILERS=(Step.FORWARD, State.STEERED),
        RESPONSE=(Step.IGNORE, State.STEERED),
        ENDED=(Step.END, State.CLOSED),
        DETACH=(Step.DETACH, State.CLOSED),
        IDLE=(Step.IGNORE, State.STEERED),
    ),
    State.ABANDONED: _row(
        BODY=(Step.IGNORE, State.ABANDONED),
        BODY_LAST=(Step.IGNORE, State.ABANDONED),
        BODY_TOO_LARGE=(Step.IGNORE, State.ABANDONED),
        AFTER_END=(Step.IGNORE, State.ABANDONED),
        TRAILERS=(Step.IGNORE, State.ABANDONED),
        PICKED=(Step.FINISH_LATE, State.ABANDONED),
        REFUSED=(Step.IGNORE, State.ABANDONED),
        RESPONSE=(Step.IGNORE, State.ABANDONED),
        ENDED=(Step.END, State.CLOSED),
        DETACH=(Step.IGNORE, State.ABANDONED),
        IDLE=(Step.IGNORE, State.ABANDONED),
    ),
    State.CLOSED: {signal: Transition(Step.IGNORE, State.CLOSED) for signal in Signal}
    | _row(PICKED=(Step.FINISH_LATE, State.CLOSED)),
}
"""(state, signal) → (step, next state). What is missing is a fault."""

RESPONSE_TABLE: Final[dict[ResponseState, dict[ResponseSignal, ResponseState]]] = {
    ResponseState.AWAITED: {
        ResponseSignal.HEAD: ResponseState.OPEN,
        ResponseSignal.HEAD_LAST: ResponseState.DONE,
        ResponseSignal.BODY: ResponseState.OPEN,
        ResponseSignal.BODY_LAST: ResponseState.DONE,
        ResponseSignal.TRAILERS: ResponseState.DONE,
    },
    ResponseState.OPEN: {
        ResponseSignal.BODY: ResponseState.OPEN,
        ResponseSignal.BODY_LAST: ResponseState.DONE,
        ResponseSignal.TRAILERS: ResponseState.DONE,
    },
    ResponseState.DONE: {},
}
"""Every step of this side answers the message as it came. A gateway may be told to skip the head, so any
message may be the first. At DONE the exchange closes."""
