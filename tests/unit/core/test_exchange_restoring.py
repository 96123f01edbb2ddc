"""Answers to rewritten requests: the client's name of its model, in every mode a gateway may have."""

import pytest

from epp.config.model import ServerConfig
from epp.core.events import (
    Action,
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    BodyMode,
    Close,
    DetachWanted,
    Finish,
    Modes,
    PickReturned,
    RequestBody,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Side,
    StreamBody,
    StreamEnded,
)
from epp.core.exchange import Exchange
from epp.core.outcomes import Ending, Picked
from epp.core.restoring import Restored
from epp.wire.renaming import ModelRestorer

RESPONSE = Side.RESPONSE
DUPLEX, NONE = BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE
BUFFERED = BodyMode.BUFFERED
HEAD = {":status": "200", "content-type": "application/json", "content-length": "16"}
OK = ResponseHeaders(HEAD)
SAID, SHOWN = b'{"model":"tiny"}', b'{"model":"the-clients"}'
SAME_LENGTH = b'{"model":"the-target!"}'


def steered(
    response: BodyMode | None,
    request: BodyMode = DUPLEX,
    *,
    client_model: str | None = "the-clients",
    config: ServerConfig | None = None,
) -> tuple[Exchange, list[Action]]:
    """An exchange whose request went out, and what it said last."""
    exchange = Exchange(config or ServerConfig(), restorer_of=ModelRestorer)
    modes = Modes(request, response) if response is not None else None
    exchange.receive(RequestHeaders({":path": "/"}, modes=modes))
    exchange.receive(RequestBody(b"{}", end_of_stream=True))
    return exchange, exchange.receive(PickReturned(Picked(("10.0.0.1:80",), "r", client_model=client_model)))


def outcome(actions: list[Action]) -> Restored | None:
    (finish,) = (action for action in actions if isinstance(action, Finish))
    assert finish.ending is Ending.COMPLETED
    return finish.facts.restored


@pytest.mark.parametrize("mode", [DUPLEX, None])
def test_in_duplex_mode_the_changed_body_is_given_back(mode: BodyMode | None) -> None:
    exchange, _ = steered(mode)
    assert exchange.receive(OK) == [AnswerHeaders(RESPONSE, drops_length=True)]
    actions = exchange.receive(ResponseBody(SAID, end_of_stream=True))
    assert actions[0] == StreamBody(RESPONSE, SHOWN, end_of_stream=True)
    assert outcome(actions) is Restored.RESTORED


def test_a_piece_of_which_nothing_is_left_is_no_message() -> None:
    exchange, _ = steered(DUPLEX)
    exchange.receive(OK)
    said = [exchange.receive(ResponseBody(piece)) for piece in (b'{"model":"t', b"in", b"y", b'"')]
    pieces = [StreamBody(RESPONSE, b'{"model":"the-clients', end_of_stream=False)]
    assert said == [pieces, [], [], [StreamBody(RESPONSE, b'"', end_of_stream=False)]]
    assert exchange.receive(ResponseTrailers())[0] == AnswerTrailers(RESPONSE)


def test_an_end_is_told_even_if_nothing_is_left() -> None:
    exchange, _ = steered(DUPLEX)
    exchange.receive(OK)
    exchange.receive(ResponseBody(b'{"model":"t'))
    actions = exchange.receive(ResponseBody(b"in", end_of_stream=True))
    assert actions[0] == StreamBody(RESPONSE, b"", end_of_stream=True)


def test_streamed_pieces_are_replaced_only_where_they_change() -> None:
    exchange, _ = steered(BodyMode.STREAMED)
    assert exchange.receive(OK) == [AnswerHeaders(RESPONSE, drops_length=True)]
    pieces = (b'{"id":1,', b'"model":"t', b"iny", b'","x":2', b"}")
    said = [exchange.receive(ResponseBody(piece))[0] for piece in pieces]
    changed = [AnswerBody(RESPONSE, replacement=piece) for piece in (b'"model":"the-clients', b"")]
    assert said == [AnswerBody(RESPONSE), *changed, AnswerBody(RESPONSE), AnswerBody(RESPONSE)]


@pytest.mark.parametrize("mode", [BUFFERED, BodyMode.BUFFERED_PARTIAL])
def test_a_buffered_body_takes_its_length_along(mode: BodyMode) -> None:
    exchange, _ = steered(mode)
    assert exchange.receive(OK) == [AnswerHeaders(RESPONSE)]
    actions = exchange.receive(ResponseBody(SAID, end_of_stream=True))
    assert actions[0] == AnswerBody(RESPONSE, replacement=SHOWN, drops_length=True)


def test_a_length_that_is_right_still_stays() -> None:
    exchange, _ = steered(BUFFERED)
    exchange.receive(OK)
    actions = exchange.receive(ResponseBody(SAME_LENGTH, end_of_stream=True))
    assert actions[0] == AnswerBody(RESPONSE, replacement=SHOWN)


def test_bodies_that_do_not_come_are_asked_for() -> None:
    exchange, _ = steered(NONE, BUFFERED)
    wanted = Modes(BUFFERED, BodyMode.STREAMED)
    assert exchange.receive(OK) == [AnswerHeaders(RESPONSE, drops_length=True, asks_bodies=wanted)]
    actions = exchange.receive(ResponseBody(SAID, end_of_stream=True))
    assert actions[0] == AnswerBody(RESPONSE, replacement=SHOWN)
    assert outcome(actions) is Restored.RESTORED


def test_a_gateway_that_does_not_listen_completes_unseen() -> None:
    exchange, _ = steered(NONE, BUFFERED)
    exchange.receive(OK)
    assert outcome(exchange.receive(StreamEnded(clean=False))) is Restored.UNSEEN


def test_beside_a_duplex_request_nothing_is_asked() -> None:
    exchange, _ = steered(NONE)
    assert exchange.receive(OK) == [AnswerHeaders(RESPONSE)]
    assert outcome(exchange.receive(StreamEnded(clean=False))) is Restored.UNSEEN


def test_beside_a_duplex_request_whoever_wants_may_leave() -> None:
    exchange, _ = steered(NONE)
    (finish, close) = exchange.receive(DetachWanted())
    assert isinstance(finish, Finish)
    assert (finish.ending, finish.facts.restored, close) == (Ending.DETACHED, Restored.UNSEEN, Close())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"content-encoding": "gzip"}, Restored.ENCODED),
        ({"content-type": "audio/mpeg"}, Restored.OTHER_TYPE),
    ],
)
@pytest.mark.parametrize("mode", [DUPLEX, BUFFERED])
def test_what_cannot_be_read_passes_with_its_length(
    header: dict[str, str], expected: Restored, mode: BodyMode
) -> None:
    exchange, _ = steered(mode)
    assert exchange.receive(ResponseHeaders(HEAD | header)) == [AnswerHeaders(RESPONSE)]
    actions = exchange.receive(ResponseBody(SAID, end_of_stream=True))
    assert actions[0] in (StreamBody(RESPONSE, SAID, end_of_stream=True), AnswerBody(RESPONSE))
    assert outcome(actions) is expected


def test_an_answer_without_a_body_is_left_alone() -> None:
    exchange, _ = steered(NONE, BUFFERED)
    actions = exchange.receive(ResponseHeaders(HEAD, end_of_stream=True))
    assert actions[0] == AnswerHeaders(RESPONSE)
    assert outcome(actions) is None


def test_a_body_whose_head_was_not_sent_passes() -> None:
    exchange, _ = steered(DUPLEX)
    actions = exchange.receive(ResponseBody(SAID, end_of_stream=True))
    assert actions[0] == StreamBody(RESPONSE, SAID, end_of_stream=True)
    assert outcome(actions) is None


@pytest.mark.parametrize("mode", [NONE, DUPLEX, BUFFERED, BodyMode.STREAMED])
def test_requests_that_were_not_rewritten_are_left_alone(mode: BodyMode) -> None:
    exchange, _ = steered(mode, BUFFERED, client_model=None)
    assert exchange.receive(OK) == [AnswerHeaders(RESPONSE)]
    actions = exchange.receive(ResponseBody(SAID, end_of_stream=True))
    assert actions[0] in (StreamBody(RESPONSE, SAID, end_of_stream=True), AnswerBody(RESPONSE))
    assert outcome(actions) is None


@pytest.mark.parametrize("mode", [NONE, BUFFERED, BodyMode.STREAMED])
def test_nobody_leaves_before_the_name_is_back(mode: BodyMode) -> None:
    exchange, said = steered(mode, BUFFERED, config=ServerConfig(skip_response=True))
    assert Close() not in said
    exchange.receive(OK)
    assert exchange.receive(DetachWanted()) == []
    _, said = steered(mode, BUFFERED, client_model=None, config=ServerConfig(skip_response=True))
    assert Close() in said
