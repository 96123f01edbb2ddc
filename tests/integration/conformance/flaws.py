"""Pickers that break one rule each, the cases that have to notice, and what they have to say.

``CAUGHT`` is the proof that the cases test something: each row was made by breaking :class:`TinyPicker` in
one place.
"""

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from .tiny import BUFFERED, DESTINATION, DUPLEX, ENDPOINTS, STREAMED, Seen, TinyPicker


class NoHeader(TinyPicker):
    def common(self, _seen: Seen, destination: str) -> Any:
        return pb.CommonResponse()


class NoMetadata(TinyPicker):
    def with_metadata(self, message: Any, destination: str) -> Any:
        return message


class OtherMetadata(TinyPicker):
    def with_metadata(self, message: Any, destination: str) -> Any:
        return super().with_metadata(message, destination + ",10.0.0.1:1")


class NoPort(TinyPicker):
    def destination(self, seen: Seen) -> str | None:
        found = super().destination(seen)
        return found and found.rpartition(":")[0]


class Twice(TinyPicker):
    def destination(self, seen: Seen) -> str | None:
        found = super().destination(seen)
        return found and f"{found},{found}"


class Outsider(TinyPicker):
    def destination(self, seen: Seen) -> str | None:
        found = super().destination(seen)
        return found and f"{found},10.0.0.1:1"


class BodiesOnly(TinyPicker):
    """Waits for a body after a head that ended the request."""

    async def request_head(self, seen: Seen, message: Any) -> list[Any]:
        message.request_headers.end_of_stream = False
        return await super().request_head(seen, message)


class BelievesClients(TinyPicker):
    def destination(self, seen: Seen) -> str | None:
        return seen.headers.get(DESTINATION) or super().destination(seen)


class AddsToClients(TinyPicker):
    def set_header(self, common: Any, name: str, value: str) -> None:
        super().set_header(common, name, value)
        common.header_mutation.set_headers[-1].append.value = True


class InferencePathsOnly(TinyPicker):
    def verdict(self, seen: Seen) -> int | None:
        return 500 if seen.headers[":path"].startswith("/some") else None


class HoldsBufferedHeads(TinyPicker):
    async def request_head(self, seen: Seen, message: Any) -> list[Any]:
        answers = await super().request_head(seen, message)
        return [] if seen.head_answered else answers


class TakesUntoldForBuffered(TinyPicker):
    async def request_head(self, seen: Seen, message: Any) -> list[Any]:
        if not message.HasField("protocol_config"):
            seen.request_mode = BUFFERED
        return await super().request_head(seen, message)


class NoSubset(TinyPicker):
    def read_hint(self, value: Any) -> Any:
        return None


class NoSubsetForHeads(TinyPicker):
    async def answers(self, seen: Seen, *, body: bool, ended: bool, trailers: bool) -> list[Any]:
        if not body:
            seen.subset = None
        return await super().answers(seen, body=body, ended=ended, trailers=trailers)


class AddressesOnly(TinyPicker):
    def matches(self, endpoint: str, hint: Sequence[str]) -> bool:
        return endpoint.rpartition(":")[0] in {entry.rpartition(":")[0] for entry in hint}


class ListsOnly(TinyPicker):
    def read_hint(self, value: Any) -> tuple[str, ...]:
        return () if value.WhichOneof("kind") == "string_value" else super().read_hint(value)


class RefusesWith500(TinyPicker):
    def refusal_status(self, _seen: Seen) -> int:
        return 500


class SteersRefusals(TinyPicker):
    def immediate(self, status: int) -> Any:
        return self.with_metadata(super().immediate(status), ENDPOINTS[0])


class AnswersPlainly(TinyPicker):
    """What the light reference picker did up to its version 1.6.0."""

    def piece(self, data: bytes, *, ended: bool) -> Any:
        return pb.CommonResponse()


class LosesTheLastByte(TinyPicker):
    def pieces(self, data: bytes, *, ended: bool) -> list[Any]:
        return super().pieces(data[:-1], ended=ended)


class NeverEnds(TinyPicker):
    def piece(self, data: bytes, *, ended: bool) -> Any:
        return super().piece(data, ended=False)


class EndsEveryPiece(TinyPicker):
    def piece(self, data: bytes, *, ended: bool) -> Any:
        return super().piece(data, ended=True)


class OnePiece(TinyPicker):
    def pieces(self, data: bytes, *, ended: bool) -> list[Any]:
        return [self.piece(data, ended=ended)]


class Reencodes(TinyPicker):
    def pieces(self, data: bytes, *, ended: bool) -> list[Any]:
        return super().pieces(data.replace(b": ", b":").strip(), ended=ended)


class LastFrameOnly(TinyPicker):
    async def request_body(self, seen: Seen, message: Any) -> list[Any]:
        seen.body.clear()
        return await super().request_body(seen, message)


class NeedsContent(TinyPicker):
    """Overlooks ends that come without a body."""

    async def request_body(self, seen: Seen, message: Any) -> list[Any]:
        if not message.request_body.body:
            return []
        return await super().request_body(seen, message)


class RefusesTinyBodies(TinyPicker):
    def verdict(self, seen: Seen) -> int | None:
        return 500 if bytes(seen.body) == b"1" else None


class AnswersSecondEnds(TinyPicker):
    async def request_body(self, seen: Seen, message: Any) -> list[Any]:
        seen.answered = False
        return await super().request_body(seen, message)


class ClosesAtSecondEnds(TinyPicker):
    async def received(self, seen: Seen, kind: str, message: Any) -> list[Any]:
        if kind == "request_body" and seen.answered:
            raise asyncio.CancelledError
        return await super().received(seen, kind, message)


class NoTrailers(TinyPicker):
    async def request_trailers(self, seen: Seen) -> list[Any]:
        return []


class StreamsBuffered(TinyPicker):
    def buffered_body(self, seen: Seen, steered: Any) -> Any:
        steered.body_mutation.streamed_response.body = bytes(seen.body)
        return steered


class CutsBuffered(TinyPicker):
    def buffered_body(self, seen: Seen, steered: Any) -> Any:
        steered.body_mutation.body = bytes(seen.body[:100])
        return steered


class _SetsMore(TinyPicker):
    more: Mapping[str, str] = MappingProxyType({})

    def common(self, seen: Seen, destination: str) -> Any:
        common = super().common(seen, destination)
        for name, value in self.more.items():
            self.set_header(common, name, value)
        return common


class SetsLength(_SetsMore):
    more = MappingProxyType({"content-length": "7"})


class SetsEncoding(_SetsMore):
    more = MappingProxyType({"transfer-encoding": "chunked"})


class SetsPath(_SetsMore):
    more = MappingProxyType({":path": "/elsewhere"})


class SetsLineBreaks(_SetsMore):
    more = MappingProxyType({"x-note": "two\r\nlines: 1"})


class RemovesHost(TinyPicker):
    def common(self, seen: Seen, destination: str) -> Any:
        common = super().common(seen, destination)
        common.header_mutation.remove_headers.append("host")
        return common


class BothForms(TinyPicker):
    def set_header(self, common: Any, name: str, value: str) -> None:
        super().set_header(common, name, value)
        common.header_mutation.set_headers[-1].header.value = value


class Echoes(TinyPicker):
    def common(self, seen: Seen, destination: str) -> Any:
        common = super().common(seen, destination)
        for name, value in seen.headers.items():
            self.set_header(common, name, value)
        return common


class EchoesResponses(TinyPicker):
    def response_head(self, seen: Seen, message: Any) -> list[Any]:
        (answer,) = super().response_head(seen, message)
        for header in message.response_headers.headers.headers:
            self.set_header(answer.response_headers.response, header.key, header.raw_value.decode())
        return [answer]


class SetsStatus(TinyPicker):
    def response_head(self, seen: Seen, message: Any) -> list[Any]:
        (answer,) = super().response_head(seen, message)
        self.set_header(answer.response_headers.response, ":status", "201")
        return [answer]


class SetsResponseLength(TinyPicker):
    def response_head(self, seen: Seen, message: Any) -> list[Any]:
        (answer,) = super().response_head(seen, message)
        self.set_header(answer.response_headers.response, "content-length", "1")
        return [answer]


class NoResponseHeads(TinyPicker):
    def response_head(self, seen: Seen, message: Any) -> list[Any]:
        return []


class NoHeadsWithoutBody(TinyPicker):
    def response_head(self, seen: Seen, message: Any) -> list[Any]:
        return [] if message.response_headers.end_of_stream else super().response_head(seen, message)


class NoHeadsWithoutBodies(TinyPicker):
    def response_head(self, seen: Seen, message: Any) -> list[Any]:
        return [] if seen.response_mode != DUPLEX else super().response_head(seen, message)


class FailsOnStrangers(TinyPicker):
    def response_head(self, seen: Seen, message: Any) -> list[Any]:
        served = message.metadata_context.filter_metadata["envoy.lb"].fields
        if served["x-gateway-destination-endpoint-served"].string_value not in ENDPOINTS:
            raise KeyError("served by a stranger")
        return super().response_head(seen, message)


class HoldsResponses(TinyPicker):
    def response_body(self, seen: Seen, message: Any) -> list[Any]:
        seen.body += message.response_body.body
        if not message.response_body.end_of_stream:
            return []
        message.response_body.body = bytes(seen.body)
        return super().response_body(seen, message)


class PlainResponseBodies(TinyPicker):
    def response_body(self, seen: Seen, message: Any) -> list[Any]:
        return [pb.ProcessingResponse(response_body={})]


class StreamedResponseBodies(TinyPicker):
    def response_body(self, seen: Seen, message: Any) -> list[Any]:
        seen.response_mode = DUPLEX
        return super().response_body(seen, message)


class HoldsStreamedBodies(TinyPicker):
    def response_body(self, seen: Seen, message: Any) -> list[Any]:
        held = seen.response_mode == STREAMED and not message.response_body.end_of_stream
        return [] if held else super().response_body(seen, message)


class HeadAfterBody(TinyPicker):
    async def answers(self, seen: Seen, *, body: bool, ended: bool, trailers: bool) -> list[Any]:
        messages = await super().answers(seen, body=body, ended=ended, trailers=trailers)
        return [*messages[1:], *messages[:1]]


class CutsResponses(TinyPicker):
    def response_body(self, seen: Seen, message: Any) -> list[Any]:
        del seen.body[:]
        message.response_body.body = message.response_body.body[:10]
        return super().response_body(seen, message)


class NoEmptyResponseEnds(TinyPicker):
    def response_body(self, seen: Seen, message: Any) -> list[Any]:
        return super().response_body(seen, message) if message.response_body.body else []


class NoResponseTrailers(TinyPicker):
    async def received(self, seen: Seen, kind: str, message: Any) -> list[Any]:
        return [] if kind == "response_trailers" else await super().received(seen, kind, message)


class _RefusesBodies(TinyPicker):
    """Cannot take bodies that hold ``sign``."""

    sign = b""

    async def think(self, seen: Seen) -> None:
        if self.sign in seen.body:
            raise ValueError("a body like this")


class DropsBrokenJson(_RefusesBodies):
    def verdict(self, seen: Seen) -> int | None:
        return None

    async def think(self, seen: Seen) -> None:
        if bytes(seen.body) == b'{"model": "':
            raise ValueError("not JSON")


class DropsNoModel(_RefusesBodies):
    async def think(self, seen: Seen) -> None:
        if seen.body and b'"model"' not in seen.body and seen.body != b"1":
            raise KeyError("model")


class DropsUnknownModel(_RefusesBodies):
    sign = b"no/such-model"


class DropsWrongTypes(_RefusesBodies):
    sign = b"null"


class DropsNoText(_RefusesBodies):
    sign = b"\xff"


class DropsDeep(_RefusesBodies):
    sign = b"[[[["


class DropsLarge(TinyPicker):
    async def think(self, seen: Seen) -> None:
        if len(seen.body) > 4 << 20:
            raise ValueError("too large")


class _Fragile(TinyPicker):
    """Serves nobody any more once it broke."""

    broken = False

    def refusal(self) -> bool:
        return self.broken

    def verdict(self, _seen: Seen) -> int | None:
        return 500 if self.refusal() else None


class CountsOpenStreams(_Fragile):
    """Gives up when eight streams were not ended by a response: what a leak comes to in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.open = 0

    def refusal(self) -> bool:
        return self.open > 8

    async def received(self, seen: Seen, kind: str, message: Any) -> list[Any]:
        self.open += kind == "request_headers"
        return await super().received(seen, kind, message)


class BreaksOnGarbage(_Fragile):
    async def process(self, requests: object, context: Any) -> None:
        heads = 0

        async def read() -> Any:
            nonlocal heads
            data = await original()
            if isinstance(data, bytes):
                message = _parsed(data)
                kind = message and message.WhichOneof("request")
                heads += kind == "request_headers"
                self.broken |= kind is None or heads != 1
            return data

        original = context.read
        context = _Reading(context, read)
        await super().process(requests, context)


class BreaksOnEarlyResponses(_Fragile):
    async def received(self, seen: Seen, kind: str, message: Any) -> list[Any]:
        self.broken |= kind == "response_headers" and not seen.answered
        return await super().received(seen, kind, message)


class SharesBodies(TinyPicker):
    """One buffer for all streams."""

    def __init__(self) -> None:
        super().__init__()
        self.last = b""

    async def think(self, seen: Seen) -> None:
        self.last = bytes(seen.body)
        await asyncio.sleep(0.2)
        seen.body[:] = self.last


class OneAtATime(TinyPicker):
    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def process(self, requests: object, context: Any) -> None:
        async with self.lock:
            await super().process(requests, context)


class TwentyRequests(TinyPicker):
    """Ends with its twelfth."""

    def verdict(self, _seen: Seen) -> int | None:
        return 500 if next(self.turn) > 24 else None


class Slow(TinyPicker):
    async def think(self, _seen: Seen) -> None:
        await asyncio.sleep(0.25 if next(self.turn) % 9 == 8 else 0)


class NoHealth(TinyPicker):
    health_names = ()


class HealthForAll(TinyPicker):
    health_names = (*TinyPicker.health_names, "no.such.Service")


class NoSelection(TinyPicker):
    def selection(self, seen: Seen) -> list[str] | None:
        return None


class BelievesSelection(TinyPicker):
    def destination(self, seen: Seen) -> str | None:
        return seen.headers.get("test-epp-endpoint-selection") or super().destination(seen)


class FirstPortOnly(TinyPicker):
    def destination(self, seen: Seen) -> str | None:
        allowed = self.allowed(seen)
        return allowed[0] if allowed else None


class NoServedHeader(TinyPicker):
    def response_head(self, seen: Seen, message: Any) -> list[Any]:
        return [pb.ProcessingResponse(response_headers={})]


class _Reading:
    """A call whose messages are looked at."""

    def __init__(self, context: Any, read: Any) -> None:
        self.read = read
        self.write = context.write


def _parsed(data: bytes) -> Any:
    try:
        return pb.ProcessingRequest.FromString(data)
    except Exception:  # noqa: BLE001 -- whatever the parser of this version raises
        return None


_SPURIOUS: Final = "ends such a request with 500"
_SILENT: Final = "nothing came for"
_NEXT: Final = "the next request"
_DROPPED: Final = "dropped"

CAUGHT: Final[dict[type[TinyPicker], dict[str, str]]] = {
    NoHeader: {"destination.header": "no such header"},
    NoMetadata: {"destination.metadata": "no x-gateway-destination-endpoint"},
    OtherMetadata: {"destination.same": "the metadata"},
    NoPort: {"destination.syntax": "is not ip:port"},
    Twice: {"destination.syntax": "twice"},
    Outsider: {"destination.known": "10.0.0.1:1 is not among"},
    BodiesOnly: {"destination.head-only": _SILENT, "transport.h2c": _SILENT},
    BelievesClients: {"destination.client-header": "which the client had asked for"},
    AddsToClients: {"destination.client-header": "instead of replacing"},
    InferencePathsOnly: {"destination.other-paths": "500"},
    HoldsBufferedHeads: {"destination.buffered": "the head of the request unanswered"},
    TakesUntoldForBuffered: {"destination.modes-untold": _SPURIOUS},
    NoSubset: {
        "subset.one": "is not among",
        "subset.several": "is not among",
        "subset.empty": "it was sent to",
        "subset.unknown": "it was sent to",
    },
    NoSubsetForHeads: {"subset.head-only": "is not among", "subset.head-only-unknown": "it was sent to"},
    AddressesOnly: {"subset.port": "it was sent to", "subset.one": "is not among"},
    ListsOnly: {"subset.text": "503"},
    RefusesWith500: {"subset.empty": "500", "subset.unknown": "500"},
    SteersRefusals: {"subset.refusal-form": "as the destination"},
    AnswersPlainly: {"body.small": _SPURIOUS, "response.body": _SPURIOUS},
    LosesTheLastByte: {"body.small": "something else", "body.small-frames": "something else"},
    NeverEnds: {"body.small": "the end of the request's body missing"},
    EndsEveryPiece: {"body.over-a-piece": "something else", "body.large": "something else"},
    OnePiece: {"body.pieces": "a piece of 1048576 bytes"},
    Reencodes: {"body.bytes": "others"},
    LastFrameOnly: {"body.large": "something else", "body.small-frames": "something else"},
    NeedsContent: {"body.empty": _SILENT, "body.empty-end": _SILENT},
    RefusesTinyBodies: {"body.one-byte": "500"},
    AnswersSecondEnds: {"body.second-end": _SPURIOUS},
    ClosesAtSecondEnds: {"body.second-end": ""},
    NoTrailers: {"body.trailers": _SILENT},
    StreamsBuffered: {"body.buffered": _SPURIOUS},
    CutsBuffered: {"body.buffered-large": "something else"},
    SetsLength: {"mutation.framing": "content-length 7"},
    SetsEncoding: {"mutation.framing": "transfer-encoding"},
    SetsPath: {"mutation.routing": "sets :path"},
    SetsLineBreaks: {"mutation.form": "is no header"},
    RemovesHost: {"mutation.routing": "removes host"},
    BothForms: {"mutation.form": "both value and raw_value"},
    Echoes: {"mutation.lean": ":authority", "mutation.hop-by-hop": "transfer-encoding"},
    EchoesResponses: {"response.hop-by-hop": "transfer-encoding"},
    SetsStatus: {"response.head": "sets :status 201"},
    SetsResponseLength: {"response.mutation": "content-length 1"},
    NoResponseHeads: {"response.head": _SILENT},
    NoHeadsWithoutBody: {"response.head-ends": _SILENT},
    NoHeadsWithoutBodies: {"response.no-bodies": _SILENT},
    FailsOnStrangers: {"response.served": _DROPPED},
    HoldsResponses: {"response.events": "missing after 0 bytes"},
    PlainResponseBodies: {"response.body": _SPURIOUS, "response.error": _SPURIOUS},
    StreamedResponseBodies: {"response.buffered": _SPURIOUS},
    HoldsStreamedBodies: {"response.streamed": "body messages of the response unanswered"},
    HeadAfterBody: {"body.small": _SPURIOUS},
    CutsResponses: {"response.body": "something else", "response.large": "something else"},
    NoEmptyResponseEnds: {"response.empty-end": _SILENT},
    NoResponseTrailers: {"response.trailers": _SILENT},
    DropsBrokenJson: {"refusal.not-json": _DROPPED},
    DropsNoModel: {"refusal.no-model": _DROPPED},
    DropsUnknownModel: {"refusal.unknown-model": _DROPPED},
    DropsWrongTypes: {"refusal.wrong-types": _DROPPED},
    DropsNoText: {"refusal.not-text": _DROPPED},
    DropsDeep: {"refusal.deep": _DROPPED},
    DropsLarge: {"refusal.oversize": _DROPPED},
    BreaksOnGarbage: {"resilience.garbage": _NEXT},
    BreaksOnEarlyResponses: {"resilience.early-response": _NEXT},
    SharesBodies: {"resilience.concurrent": "another's body"},
    OneAtATime: {"resilience.interleaved": _NEXT},
    TwentyRequests: {"transport.many-on-one": "500"},
    Slow: {"timing.small": "at most", "timing.large": "at most"},
    NoHealth: {
        "health.overall": "NOT_SERVING",
        "health.ext-proc": "NOT_FOUND",
        "health.liveness": "NOT_FOUND",
        "health.readiness": "NOT_FOUND",
        "health.suite": "NOT_FOUND",
    },
    HealthForAll: {"health.unknown": "SERVING"},
    NoSelection: {
        "suite.select-endpoint": "is not among",
        "suite.select-address": "is not among",
        "suite.select-list": "is not among",
        "suite.select-head-only": "is not among",
    },
    BelievesSelection: {"suite.select-unknown": "sent to"},
    FirstPortOnly: {"suite.target-ports": "never went to"},
    NoServedHeader: {"suite.served": "no such header"},
}
"""Broken picker → case that must fail → words of what it must have seen."""

WAITED_FOR: Final = frozenset({
    BodiesOnly, ClosesAtSecondEnds, HoldsBufferedHeads, HoldsResponses, HoldsStreamedBodies, NeedsContent,
    NeverEnds, NoEmptyResponseEnds, NoHeadsWithoutBodies, NoHeadsWithoutBody, NoResponseHeads,
    NoResponseTrailers, NoTrailers, OneAtATime,
})  # fmt: skip
"""Those that are noticed by an answer that never comes."""

BROKEN_BY: Final = {
    "body-first": "resilience.body-first",
    "trailers-first": "resilience.trailers-first",
    "two-heads": "resilience.two-heads",
    "response-first": "resilience.response-first",
    "nothing": "resilience.nothing",
}
"""Each of these disturbances alone breaks :class:`BreaksOnGarbage`."""

LEAKS: Final = (
    "resilience.cancelled-head",
    "resilience.cancelled-body",
    "resilience.cancelled-pick",
    "resilience.cancelled-picked",
    "resilience.cancelled-response",
    "resilience.half-closed",
)
"""Each of these alone makes :class:`CountsOpenStreams` refuse."""

__all__ = ["BROKEN_BY", "CAUGHT", "LEAKS", "WAITED_FOR", "BreaksOnGarbage", "CountsOpenStreams"]
