"""The request side of an exchange: what was received, what to ask, and how the answers are laid out."""

from typing import Final, TypeAlias

from epp.config.model import ServerConfig
from epp.core.events import (
    Action,
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    BodyMode,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    Side,
    Steering,
)
from epp.core.exchange_response import stream_pieces
from epp.core.exchange_states import Signal, State
from epp.core.headers import CONFORMANCE_SELECTION, REQUEST_ID, is_removable, settable, untrusted
from epp.core.outcomes import Picked, PickInput, Refused
from epp.core.refusal import too_large, unsupported_mode
from epp.core.subset import intersect, parse_subset

RequestEvent: TypeAlias = RequestHeaders | RequestBody | RequestTrailers

_PASS_HEAD: Final = AnswerHeaders(Side.REQUEST)
_PASS_BODY: Final = AnswerBody(Side.REQUEST)
_PASS_TRAILERS: Final = AnswerTrailers(Side.REQUEST)
_HOLDING: Final = (State.COLLECT, State.HOLD, State.PICKING_OPEN)
"""States in which body pieces are kept, and so count against the bound."""


class RequestSide:
    """What is known of one request so far."""

    __slots__ = (
        "_asked_with_body",
        "_body_bytes",
        "_complete",
        "_config",
        "_head",
        "_head_answered",
        "_pieces",
        "_subset",
        "_trailers_came",
        "_untrusted",
        "mode",
        "mode_told",
        "refusal",
    )

    def __init__(self, config: ServerConfig, shed: Refused | None) -> None:
        self.mode = BodyMode.FULL_DUPLEX_STREAMED
        """How request bodies come; the protocol's own mode until told otherwise."""
        self.mode_told = False
        """Whether the gateway named its modes."""
        self.refusal = shed
        """Why the request is refused without asking the engine."""
        self._config = config
        self._head = RequestHeaders({})
        self._untrusted: tuple[str, ...] = ()
        """Names of the head's headers that are hidden from the engine and removed."""
        self._head_answered = False
        self._subset: tuple[str, ...] | None = None
        self._pieces: list[bytes] = []
        self._body_bytes = 0
        self._complete = False
        self._trailers_came = False
        self._asked_with_body = False

    @property
    def has_body(self) -> bool:
        """Whether any body message is held."""
        return bool(self._pieces)

    # --- reading -------------------------------------------------------------------------------------------

    def classify(self, event: RequestEvent, state: State) -> Signal:
        """What a message means in ``state``; keeps what it carries."""
        if event.subset is not None:
            self._subset = event.subset
        if isinstance(event, RequestHeaders):
            return self._classify_head(event, state)
        if isinstance(event, RequestBody):
            return self._classify_body(event, state)
        if self._trailers_came:
            return Signal.AFTER_END
        self._trailers_came = state is not State.START
        return Signal.TRAILERS

    def _classify_head(self, event: RequestHeaders, state: State) -> Signal:
        if state is not State.START:
            return Signal.HEAD_DEFER  # a second head: no other state has a row for it
        self._head = event
        self._untrusted = untrusted(event.headers, trust_client=self._config.trust_client_headers)
        if event.modes is not None:
            self.mode, self.mode_told = event.modes.request, True
        self.refusal = self.refusal or self._objection(event)
        if self.refusal is not None:
            return Signal.HEAD_REFUSED
        self._complete = event.end_of_stream
        if event.end_of_stream or self.mode is BodyMode.NONE:
            return Signal.HEAD_ONLY
        if self.mode is BodyMode.STREAMED or _is_grpc(event):
            return Signal.HEAD_OPEN
        return Signal.HEAD_DEFER if self.mode is BodyMode.FULL_DUPLEX_STREAMED else Signal.HEAD_HOLD

    def _objection(self, event: RequestHeaders) -> Refused | None:
        modes = event.modes
        if modes is not None and BodyMode.GRPC in (modes.request, modes.response):
            return unsupported_mode(BodyMode.GRPC.name)
        length = event.headers.get("content-length", "")
        if _is_grpc(event) or not (length.isascii() and length.isdigit()):
            return None  # a gRPC call passes piece by piece and is never held
        limit = self._config.max_body_bytes
        return too_large(limit) if len(length) > 18 or int(length) > limit else None

    def _classify_body(self, event: RequestBody, state: State) -> Signal:
        if self._complete or self._trailers_came:
            return Signal.AFTER_END
        if state in _HOLDING:
            self._body_bytes += len(event.data)
            if self._body_bytes > self._config.max_body_bytes:
                self.refusal = too_large(self._config.max_body_bytes)
                self._pieces.clear()
                return Signal.BODY_TOO_LARGE
            self._pieces.append(event.data)
        self._complete = event.end_of_stream or (self.mode_told and self.mode is BodyMode.BUFFERED)
        return Signal.BODY_LAST if self._complete else Signal.BODY

    # --- asking --------------------------------------------------------------------------------------------

    def question(self, *, with_body: bool) -> PickInput:
        """What to ask the engine."""
        self._asked_with_body = with_body
        if with_body and len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        headers = self._head.headers
        hidden = self._untrusted
        return PickInput(
            method=headers.get(":method", ""),
            path=headers.get(":path", ""),
            headers={k: v for k, v in headers.items() if k not in hidden} if hidden else headers,
            body=(self._pieces[0] if self._pieces else b"") if with_body else None,
            subset=self._allowed(),
            request_id=headers.get(REQUEST_ID, ""),
        )

    def _allowed(self) -> tuple[str, ...] | None:
        selection = self._head.headers.get(CONFORMANCE_SELECTION) if self._config.conformance else None
        if not selection:
            return self._subset
        selected = parse_subset(selection)
        return selected if self._subset is None else intersect(selected, self._subset)

    # --- answering -----------------------------------------------------------------------------------------

    def allow_head(self) -> list[Action]:
        """The head's answer where the body's answer will carry the destination."""
        self._head_answered = True
        return [_PASS_HEAD]

    def answers(self, picked: Picked) -> list[Action]:
        """Everything that was held back, in the order the gateway wants it."""
        actions: list[Action] = []
        steering: Steering | None = self._steering(picked)
        if not self._head_answered:
            actions.append(AnswerHeaders(Side.REQUEST, steering))
            steering = None
        if self._pieces:
            actions += self._body_answers(steering, picked.body if self._asked_with_body else None)
            steering = None
        if self._trailers_came:
            actions.append(_PASS_TRAILERS if steering is None else AnswerTrailers(Side.REQUEST, steering))
        self._pieces = []
        return actions

    def forward(self, event: RequestEvent) -> list[Action]:
        """The answer to a message that comes after the destination is known."""
        if not isinstance(event, RequestBody):
            return [_PASS_TRAILERS]
        if self.mode is BodyMode.FULL_DUPLEX_STREAMED:
            return stream_pieces(Side.REQUEST, event.data, end_of_stream=event.end_of_stream)
        return [_PASS_BODY]

    def _body_answers(self, steering: Steering | None, replacement: bytes | None) -> list[Action]:
        if self.mode is BodyMode.FULL_DUPLEX_STREAMED:
            data = b"".join(self._pieces) if replacement is None else replacement
            return stream_pieces(Side.REQUEST, data, end_of_stream=self._complete)
        rest: list[Action] = [_PASS_BODY] * (len(self._pieces) - 1)
        if steering is None and replacement is None:
            return [_PASS_BODY, *rest]
        return [AnswerBody(Side.REQUEST, steering, replacement), *rest]

    def _steering(self, picked: Picked) -> Steering:
        set_headers = settable(picked.set_headers)
        remove = {*self._untrusted, *picked.remove_headers} - {name for name, _ in set_headers}
        return Steering(
            destinations=picked.destinations,
            set_headers=set_headers,
            remove_headers=tuple(sorted(name for name in remove if is_removable(name))),
            metadata=tuple(picked.metadata.items()),
        )


def _is_grpc(event: RequestHeaders) -> bool:
    return event.headers.get("content-type", "").startswith("application/grpc")
