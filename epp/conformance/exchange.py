"""One ext_proc stream, played from the gateway's side: one request, and its response if the case wants it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

import grpc

from epp.conformance import messages
from epp.conformance.answers import Answer, Mutation, SetHeader, read_answer
from epp.conformance.contract import Direction
from epp.conformance.messages import DUPLEX, Mode, Modes
from epp.conformance.model import FailedError, SkippedError
from epp.conformance.names import DESTINATION

_CHAT_HEADERS: Final = {
    ":method": "POST",
    ":path": "/v1/chat/completions",
    ":scheme": "http",
    ":authority": "gateway.test",
    "content-type": "application/json",
    "user-agent": "epp-conformance",
}
_GET_HEADERS: Final = {**_CHAT_HEADERS, ":method": "GET", ":path": "/v1/models"}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sends, and how the gateway cuts it."""

    pieces: Sequence[bytes] = ()
    """The body's messages; none: the head ends the request."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Beside the usual ones."""
    subset: Sequence[str] | str | None = None
    trailers: bool = False
    modes: Modes = DUPLEX
    announced: bool = True
    """Whether the first message names the modes."""

    def head(self) -> dict[str, str]:
        """Its header fields, ``content-length`` among them as HTTP clients write it; an empty value in
        ``headers`` leaves a field out."""
        fields = {**_GET_HEADERS, **self.headers}
        if self.pieces:
            length = str(sum(map(len, self.pieces)))
            fields = {**_CHAT_HEADERS, "content-length": length, **self.headers}
        return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the picker made of a request."""

    status: int | None
    """Of its immediate response; None: it let the request pass."""
    header: str | None
    """The destination it set as a header."""
    metadata: str | None
    """The destination it set as dynamic metadata."""
    mutation: Mutation
    body: bytes
    """The body as the model server would get it."""
    pieces: tuple[int, ...]
    """Lengths of the pieces it came back in."""
    duration_s: float
    """From the last thing sent to the last answer read."""


class Exchange:
    """A stream; cancelled when its block ends, as Envoy ends the streams of answered requests."""

    def __init__(self, call: Any, request: Request, timeout_s: float) -> None:
        """``call``: a grpc.aio stream-stream call of bytes; ``timeout_s`` bounds the wait for each answer."""
        self.call = call
        self.request = request
        self.requests = Direction("request", request.modes.request)
        self.responses = Direction("response", request.modes.response)
        self.response_mutation = Mutation()
        """What the picker does to the head of the response."""
        self.closed = False
        """Whether the picker ended the stream, in good order."""
        self._timeout_s = timeout_s
        self._status: int | None = None
        self._metadata: str | None = None
        self._set: list[SetHeader] = []
        self._removed: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call.cancel()

    # --- the request ---------------------------------------------------------------------------------------

    async def ask(self) -> Reply:
        """Plays the whole request. Raises FailedError where a gateway on Envoy would give up."""
        started_s = monotonic()
        head, *bodies = self._request_messages()
        self.requests.sent_head()
        if self.requests.mode is Mode.FULL_DUPLEX_STREAMED:
            self._note_bodies(len(bodies))
            await self._play([head, *bodies], self._request_is_over)
        else:
            await self._play([head], lambda: not self.requests.head_open or self._status is not None)
            if self._status is None and not self.closed and bodies:
                self._note_bodies(len(bodies))
                await self._play(bodies, self._request_is_over)
        return self._reply(monotonic() - started_s)

    def _request_messages(self) -> list[bytes]:
        request = self.request
        last = len(request.pieces) - 1
        modes = request.modes if request.announced else None
        head = messages.request_head(
            request.head(), end_of_stream=not request.pieces, modes=modes, subset=request.subset
        )
        bodies = [
            messages.request_body(
                piece, end_of_stream=at == last and not request.trailers, subset=request.subset
            )
            for at, piece in enumerate(request.pieces)
        ]
        trailers = [messages.request_trailers({"x-checksum": "0"})] if request.trailers else []
        return [head, *bodies, *trailers]

    def _note_bodies(self, count: int) -> None:
        for _ in range(count - self.request.trailers):
            self.requests.sent_body()
        if self.request.trailers:
            self.requests.sent_trailers()

    def _request_is_over(self) -> bool:
        side = self.requests
        if self._status is not None:
            return True
        if side.head_open or side.bodies_open or side.trailers_open:
            return False
        streamed = self.request.pieces and side.mode is Mode.FULL_DUPLEX_STREAMED
        return bool(not streamed or side.ended or side.trailers_sent)

    def _reply(self, duration_s: float) -> Reply:
        side = self.requests
        untouched = side.mode is not Mode.FULL_DUPLEX_STREAMED and not side.pieces
        mutation = Mutation(tuple(self._set), tuple(self._removed))
        return Reply(
            status=self._status,
            header=mutation.value(DESTINATION),
            metadata=self._metadata,
            mutation=mutation,
            body=b"".join(self.request.pieces) if untouched else bytes(side.given_back),
            pieces=tuple(side.pieces),
            duration_s=duration_s,
        )

    # --- the response --------------------------------------------------------------------------------------

    async def respond_head(
        self, headers: Mapping[str, str], served: str | None, *, end_of_stream: bool = False
    ) -> None:
        """Plays the head of the response. Raises SkippedError when the picker wants no responses."""
        if self.closed:
            raise _no_responses()
        self.responses.sent_head()
        message = messages.response_head(headers, served, end_of_stream=end_of_stream)
        await self._play([message], lambda: not self.responses.head_open)
        if self.responses.head_open:
            raise _no_responses()

    async def respond_body(self, pieces: Sequence[bytes], served: str | None, *, ends: bool = True) -> None:
        """Plays pieces of a response's body until they are given back."""
        side = self.responses
        sent = self._response_bodies(pieces, served, ends=ends)
        wanted = len(side.given_back) + sum(map(len, pieces))
        if side.mode is not Mode.FULL_DUPLEX_STREAMED:
            await self._play(sent, lambda: not side.bodies_open)
        elif ends:
            await self._play(sent, lambda: side.ended)
        else:
            await self._play(sent, lambda: len(side.given_back) >= wanted)
        if self.closed:
            raise FailedError("the picker closed the stream under the response's body, which cuts it short")

    async def respond_trailers(self, pieces: Sequence[bytes], served: str | None) -> None:
        """Plays a response's body and the trailers that end it."""
        sent = self._response_bodies(pieces, served, ends=False)
        self.responses.sent_trailers()
        sent.append(messages.response_trailers({"grpc-status": "0"}))
        await self._play(sent, lambda: not self.responses.trailers_open)
        if self.closed:
            raise FailedError("the picker closed the stream before it answered the trailers")

    def _response_bodies(self, pieces: Sequence[bytes], served: str | None, *, ends: bool) -> list[bytes]:
        for _ in pieces:
            self.responses.sent_body()
        last = len(pieces) - 1
        return [
            messages.response_body(piece, served, end_of_stream=ends and at == last)
            for at, piece in enumerate(pieces)
        ]

    # --- the stream ----------------------------------------------------------------------------------------

    async def send(self, *outgoing: bytes) -> None:
        """Sends messages as they are; a stream that the picker ended takes none, and reading tells why."""
        for message in outgoing:
            try:
                await self.call.write(message)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return

    async def read(self) -> Answer | None:
        """The next answer; None after a good end. Raises FailedError for silence and for dropped streams."""
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await self.call.read()
        except TimeoutError:
            raise FailedError(f"nothing came for {self._timeout_s:g} s, {self._missing()}") from None
        except grpc.aio.AioRpcError as error:
            text = f"the stream was dropped: {error.code().name} {error.details() or ''}"
            raise FailedError(text.rstrip()) from error
        return read_answer(message) if isinstance(message, bytes) else None

    async def _play(self, outgoing: Sequence[bytes], over: Callable[[], bool]) -> None:
        """Sends and reads side by side, since a picker may give back what it has before all has come."""
        sending = asyncio.ensure_future(self.send(*outgoing))
        try:
            while not (self.closed or over()):
                self._take(await self.read())
            async with asyncio.timeout(self._timeout_s):
                await sending
        except TimeoutError:
            raise FailedError(f"the picker stopped reading for {self._timeout_s:g} s") from None
        finally:
            sending.cancel()
            await asyncio.wait({sending})

    def _take(self, answer: Answer | None) -> None:
        if answer is None:
            self._take_end()
        elif answer.kind == "immediate_response":
            self._status, self._metadata = answer.status, answer.destination
            self._note(answer.mutation)
        elif answer.kind == "nothing":
            raise FailedError("a message without an answer in it")
        elif answer.kind.startswith("request_"):
            self.requests.take(answer)
            self._metadata = answer.destination or self._metadata
            if answer.kind == "request_headers" or self.requests.mode is Mode.BUFFERED:
                self._note(answer.mutation)
        else:
            self.responses.take(answer)
            if answer.kind == "response_headers":
                self.response_mutation = answer.mutation

    def _take_end(self) -> None:
        """A good end is one after the request was answered; before it, the client gets nothing."""
        self.closed = True
        if not self._request_is_over():
            raise FailedError(f"the picker ended the stream, {self._missing()}")

    def _note(self, mutation: Mutation) -> None:
        self._set += mutation.set_headers
        self._removed += mutation.removed

    def _missing(self) -> str:
        for side in (self.responses, self.requests):
            if side.head_open:
                return f"the head of the {side.side} unanswered"
            if side.bodies_open:
                return f"{side.bodies_open} body messages of the {side.side} unanswered"
            if side.trailers_open:
                return f"the trailers of the {side.side} unanswered"
        side = self.responses if self._request_is_over() else self.requests
        return f"the end of the {side.side}'s body missing after {len(side.given_back)} bytes"


def _no_responses() -> SkippedError:
    return SkippedError("the picker closes the stream after its pick: gateways then send it no response")
