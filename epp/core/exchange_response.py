"""The response side of an exchange: messages pass as they came, and what they tell is noted.

Only where the request was given another model the body is read, and the client's name of it put back.
"""

from typing import Final

from epp.core.events import (
    Action,
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    BodyMode,
    Modes,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    ServedElsewhere,
    Side,
    StreamBody,
)
from epp.core.exchange_states import RESPONSE_TABLE, ResponseSignal, ResponseState
from epp.core.headers import CONFORMANCE_SERVED, last_entry
from epp.core.outcomes import HeaderPairs, ResponseFacts
from epp.core.restoring import Restored, Restorer
from epp.core.usage import UsageReader

MAX_CHUNK_BYTES: Final = 62_000
"""Longest body piece given back in one message: below the 64 KB some Envoy builds accept, with room for
the message around it; the limit every picker of the protocol keeps."""

ResponseEvent = ResponseHeaders | ResponseBody | ResponseTrailers

_PASS_HEAD: Final = AnswerHeaders(Side.RESPONSE)
_PASS_BODY: Final = AnswerBody(Side.RESPONSE)
_PASS_TRAILERS: Final = AnswerTrailers(Side.RESPONSE)
_UNHEARD: Final = (Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE),)
"""Modes in which bodies neither come nor can be asked for: Envoy hears no wish where a mode is duplex."""
_HEAD_WAITS: Final = frozenset({BodyMode.BUFFERED, BodyMode.BUFFERED_PARTIAL})
"""Modes in which the head goes to the client only after the body's answer."""


def stream_pieces(side: Side, data: bytes, *, end_of_stream: bool) -> list[Action]:
    """A body given back in pieces of at most :data:`MAX_CHUNK_BYTES`; an empty body is one empty piece."""
    if len(data) <= MAX_CHUNK_BYTES:
        return [StreamBody(side, data, end_of_stream)]
    view = memoryview(data)
    starts = range(0, len(data), MAX_CHUNK_BYTES)
    return [
        StreamBody(side, view[at : at + MAX_CHUNK_BYTES], end_of_stream and at + MAX_CHUNK_BYTES >= len(data))
        for at in starts
    ]


class ResponseSide:
    """Answers response messages and remembers status, served endpoint, size and usage."""

    __slots__ = (
        "_bodies_came",
        "_bytes",
        "_conformance",
        "_modes",
        "_observe",
        "_restorer",
        "_served",
        "_status",
        "_unseen",
        "_usage",
        "bodies_announced",
        "duplex",
        "headers_for_client",
        "may_be_left",
        "state",
    )

    def __init__(self, *, observe: bool, conformance: bool) -> None:
        self.state = ResponseState.AWAITED
        self.duplex = True
        """Whether bodies that come are given back, as in the protocol's own mode."""
        self.bodies_announced = False
        """Whether the gateway said that it sends bodies."""
        self.may_be_left = False
        """Whether the stream may be closed before the response is over. A duplex gateway has given away what
        it sent and not got back: closing under it cuts the client's answer short."""
        self.headers_for_client: HeaderPairs = ()
        """What the pick adds to the head of the response."""
        self._observe = observe
        self._conformance = conformance
        self._modes: Modes | None = None
        self._restorer: Restorer | None = None
        self._unseen = False
        self._bodies_came = False
        self._bytes = 0
        self._served: str | None = None
        self._status: int | None = None
        self._usage: UsageReader | None = None

    def take_modes(self, modes: Modes) -> None:
        """What the gateway says it will send."""
        self._modes = modes
        self.duplex = modes.response is BodyMode.FULL_DUPLEX_STREAMED
        self.bodies_announced = modes.response is not BodyMode.NONE
        self.may_be_left = not self.duplex

    def restore(self, restorer: Restorer) -> None:
        """The answer is to name the model as the client did; nobody leaves before that is done."""
        if self._modes in _UNHEARD:
            self._unseen = True
            return
        self._restorer = restorer
        self.may_be_left = False

    @property
    def bodies_expected(self) -> bool:
        """Whether the end of the response will be seen in its body or trailers."""
        return self._bodies_came or self.bodies_announced

    def receive(self, event: ResponseEvent, destination: str | None) -> list[Action] | None:
        """Answers to one message; None: it may not come now."""
        following = RESPONSE_TABLE[self.state].get(_signal(event))
        if following is None:
            return None
        self.state = following
        actions: list[Action] = []
        if not isinstance(event, ResponseTrailers) and event.served:
            actions += self._note_served(event.served, destination)
        return actions + self._answer(event)

    def facts(self) -> ResponseFacts:
        """What has been learnt of the response so far."""
        usage = self._usage.result() if self._usage is not None else None
        return ResponseFacts(
            status=self._status,
            served=self._served,
            prompt_tokens=usage.prompt_tokens if usage else None,
            cached_tokens=usage.cached_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            response_bytes=self._bytes,
            restored=self._restored(),
        )

    def _restored(self) -> Restored | None:
        if self._restorer is not None:
            return self._restorer.outcome
        return Restored.UNSEEN if self._unseen else None

    def _answer(self, event: ResponseEvent) -> list[Action]:
        if isinstance(event, ResponseHeaders):
            return [self._answer_head(event)]
        if isinstance(event, ResponseTrailers):
            return [_PASS_TRAILERS]
        self._bodies_came = True
        self._bytes += len(event.data)
        if self._usage is not None:
            self._usage.feed(event.data)
        if self._restorer is not None:
            return self._answer_body(event, self._restorer.feed(event.data))
        return self._answer_body(event, event.data)

    def _answer_body(self, event: ResponseBody, data: bytes) -> list[Action]:
        """``data``: what the client gets of this piece."""
        if self.duplex:
            if event.data and not (data or event.end_of_stream):
                return []
            return stream_pieces(Side.RESPONSE, data, end_of_stream=event.end_of_stream)
        if data is event.data:
            return [_PASS_BODY]
        drops_length = self._head_waits and len(data) != len(event.data)
        return [AnswerBody(Side.RESPONSE, replacement=data, drops_length=drops_length)]

    def _answer_head(self, event: ResponseHeaders) -> AnswerHeaders:
        status = event.headers.get(":status", "")
        self._status = int(status) if status.isascii() and status.isdigit() and len(status) == 3 else None
        if self._observe:
            self._usage = UsageReader(event.headers.get("content-type", ""))
        shown = self.headers_for_client
        if self._conformance and self._served:
            shown = (*shown, (CONFORMANCE_SERVED, self._served))
        if self._restorer is not None and not event.end_of_stream:
            self._restorer.begin(event.headers)
            if self._restorer.reads:
                return self._changing_head(event, shown)
        return AnswerHeaders(Side.RESPONSE, set_headers=shown) if shown else _PASS_HEAD

    def _changing_head(self, event: ResponseHeaders, shown: HeaderPairs) -> AnswerHeaders:
        """Of an answer whose body is going to be another one."""
        modes = self._modes
        withheld = modes is not None and modes.response is BodyMode.NONE
        return AnswerHeaders(
            Side.RESPONSE,
            set_headers=shown,
            drops_length="content-length" in event.headers and not self._head_waits,
            asks_bodies=Modes(modes.request, BodyMode.STREAMED) if modes and withheld else None,
        )

    @property
    def _head_waits(self) -> bool:
        return self._modes is not None and self._modes.response in _HEAD_WAITS

    def _note_served(self, served: str, destination: str | None) -> list[Action]:
        first = self._served is None
        self._served = last_entry(served)
        if first and destination is not None and self._served != destination:
            return [ServedElsewhere(destination, self._served)]
        return []


def _signal(event: ResponseEvent) -> ResponseSignal:
    if isinstance(event, ResponseTrailers):
        return ResponseSignal.TRAILERS
    if isinstance(event, ResponseHeaders):
        return ResponseSignal.HEAD_LAST if event.end_of_stream else ResponseSignal.HEAD
    return ResponseSignal.BODY_LAST if event.end_of_stream else ResponseSignal.BODY
