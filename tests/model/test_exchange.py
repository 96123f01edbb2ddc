"""The exchange under arbitrary orders of events: what must hold whatever a gateway does.

The model knows only the promises: one ``Finish`` per ``Picked``; at most one pick and one immediate
response; answers in the order head, body, trailers on each side; a streamed body comes back byte for
byte, but for the name of a model that was rewritten; nothing is said after ``Close``.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from epp.config.model import ServerConfig
from epp.core.events import (
    Action,
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    BodyLate,
    BodyMode,
    CancelPick,
    Close,
    DetachWanted,
    Event,
    Fault,
    Finish,
    Immediate,
    Modes,
    Pick,
    PickReturned,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Side,
    StreamBody,
    StreamEnded,
    Unreadable,
)
from epp.core.exchange import Exchange
from epp.core.exchange_response import MAX_CHUNK_BYTES
from epp.core.exchange_states import State
from epp.core.outcomes import DropReason, Picked, Refused
from epp.wire.renaming import ModelRestorer

MAX_BODY_BYTES = 100_000
UNHEARD = (Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE),)
"""Bodies are not to come and cannot be asked for: the exchange does not look out for them."""
RANK = {AnswerHeaders: 0, AnswerBody: 1, StreamBody: 1, AnswerTrailers: 2}
modes = st.one_of(st.none(), st.builds(Modes, st.sampled_from(BodyMode), st.sampled_from(BodyMode)))
content_types = st.sampled_from(["application/json", "application/grpc", ""])
data = st.one_of(st.binary(max_size=10), st.sampled_from([1, 61_999, 62_001, 70_000]).map(bytes))
said = st.one_of(
    data, st.sampled_from([b'{"model":"t', b'iny"', b'data: {"model":"tiny"}\n\n', b'{"model":"t"}'])
)
response_types = st.sampled_from(["application/json", "text/event-stream", "text/plain"])


class ExchangeMachine(RuleBasedStateMachine):
    """Feeds events in any order and checks the promises after each."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange = Exchange(ServerConfig(max_body_bytes=MAX_BODY_BYTES), restorer_of=ModelRestorer)
        self.restorer: ModelRestorer | None = None
        self.modes: Modes | None = None
        self.asked = self.given = self.finished = self.immediates = 0
        self.closed = False
        self.said = {Side.REQUEST: -1, Side.RESPONSE: -1}
        self.sent_body = b""
        self.echoed_body = b""
        self.echo_ended = False

    def feed(self, event: Event) -> list[Action]:
        actions = self.exchange.receive(event)
        answers = [action for action in actions if not isinstance(action, Finish)]
        assert not (self.closed and answers), "said something after Close"
        for action in actions:
            self.note(action)
        return actions

    def note(self, action: Action) -> None:
        if isinstance(action, Pick):
            self.asked += 1
        elif isinstance(action, Finish):
            self.finished += 1
        elif isinstance(action, Immediate):
            self.immediates += 1
        elif isinstance(action, Close):
            self.closed = True
        elif isinstance(action, AnswerHeaders | AnswerBody | StreamBody | AnswerTrailers):
            rank = RANK[type(action)]
            assert rank >= self.said[action.side]
            assert rank != self.said[action.side] or rank == 1, "answered twice"
            self.said[action.side] = rank
            if isinstance(action, StreamBody):
                self.note_piece(action)
        else:
            assert not isinstance(action, CancelPick) or self.asked == 1

    def note_piece(self, piece: StreamBody) -> None:
        assert len(piece.data) <= MAX_CHUNK_BYTES
        if piece.side is Side.REQUEST:
            assert not self.echo_ended
            self.echo_ended = piece.end_of_stream
            self.echoed_body += bytes(piece.data)

    @rule(modes=modes, content_type=content_types, end=st.booleans())
    def request_headers(self, modes: Modes | None, content_type: str, end: bool) -> None:
        if self.exchange.state is State.START:
            self.modes = modes
        self.feed(RequestHeaders({":path": "/", "content-type": content_type}, end, modes))

    @rule(data=data, end=st.booleans())
    def request_body(self, data: bytes, end: bool) -> None:
        self.sent_body += data
        self.feed(RequestBody(data, end))

    @rule()
    def request_trailers(self) -> None:
        self.feed(RequestTrailers())

    @precondition(lambda self: self.asked == 1 and self.given == 0)
    @rule(client_model=st.sampled_from([None, "", "the-clients"]))
    def picked(self, client_model: str | None) -> None:
        self.given = 1
        steered = self.exchange.state in (State.PICKING, State.PICKING_OPEN)
        self.feed(PickReturned(Picked(("10.0.0.1:80",), "", client_model=client_model)))
        if client_model is not None and steered and self.modes not in UNHEARD:
            self.restorer = ModelRestorer(client_model)

    @precondition(lambda self: self.asked == 1 and self.given == 0)
    @rule()
    def refused(self) -> None:
        self.given = 2
        self.feed(PickReturned(Refused(503, "", DropReason.NO_ENDPOINTS)))

    @rule(content_type=response_types, end=st.booleans())
    def response_headers(self, content_type: str, end: bool) -> None:
        headers = {":status": "200", "content-type": content_type}
        actions = self.feed(ResponseHeaders(headers, end))
        if self.restorer is not None and not end and any(isinstance(a, AnswerHeaders) for a in actions):
            self.restorer.begin(headers)

    @rule(data=said, end=st.booleans())
    def response_body(self, data: bytes, end: bool) -> None:
        open_before = self.exchange.state is not State.CLOSED
        actions = self.feed(ResponseBody(data, end))
        if not open_before or any(isinstance(action, Fault) for action in actions):
            return
        shown = data if self.restorer is None else self.restorer.feed(data)
        assert given_back(actions, data) == shown

    @rule(event=st.sampled_from([ResponseTrailers(), BodyLate(), DetachWanted(), Unreadable()]))
    def something_else(self, event: Event) -> None:
        self.feed(event)

    @invariant()
    def promises(self) -> None:
        assert self.asked <= 1
        assert self.immediates <= 1
        assert self.finished <= (self.given == 1)
        assert self.sent_body.startswith(self.echoed_body) or self.exchange.state is State.CLOSED
        assert not self.closed or self.exchange.state is State.CLOSED

    def teardown(self) -> None:
        self.feed(StreamEnded(clean=True))
        assert self.exchange.state is State.CLOSED
        if self.asked and not self.given:
            self.given = 1
            self.feed(PickReturned(Picked(("10.0.0.1:80",), "")))
        assert self.finished == (self.given == 1)


def given_back(actions: list[Action], data: bytes) -> bytes:
    """What the client gets of a piece ``data``."""
    for action in actions:
        if isinstance(action, AnswerBody):
            return data if action.replacement is None else action.replacement
    return b"".join(bytes(action.data) for action in actions if isinstance(action, StreamBody))


TestExchange = ExchangeMachine.TestCase
TestExchange.settings = settings(max_examples=150, stateful_step_count=14, deadline=None)
