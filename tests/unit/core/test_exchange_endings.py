"""The response side, and how exchanges end."""

import dataclasses

import pytest

from epp.config.model import ServerConfig
from epp.core.events import (
    Action,
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    BodyMode,
    CancelPick,
    Close,
    DetachWanted,
    Event,
    Fault,
    Finish,
    Immediate,
    Modes,
    PickReturned,
    RequestBody,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    ServedElsewhere,
    Side,
    StreamBody,
    StreamEnded,
    Unreadable,
)
from epp.core.exchange import Exchange
from epp.core.exchange_states import State
from epp.core.outcomes import DropReason, Ending, Picked, Refused

RESPONSE = Side.RESPONSE
PICK = Picked(("10.0.0.1:8000",), "r1", booking=4)
DUPLEX = BodyMode.FULL_DUPLEX_STREAMED
OK = ResponseHeaders({":status": "200", "content-type": "application/json"})
RESET, HALF_CLOSE = StreamEnded(clean=False), StreamEnded(clean=True)


def steered(response: BodyMode | None = BodyMode.NONE, config: ServerConfig | None = None) -> Exchange:
    exchange = Exchange(config or ServerConfig())
    modes = Modes(DUPLEX, response) if response is not None else None
    exchange.receive(RequestHeaders({":path": "/"}, modes=modes))
    exchange.receive(RequestBody(b"{}", end_of_stream=True))
    exchange.receive(PickReturned(PICK))
    return exchange


def ending(actions: list[Action]) -> Ending | None:
    finishes = [action for action in actions if isinstance(action, Finish)]
    assert len(finishes) <= 1
    return finishes[0].ending if finishes else None


# --- answers ----------------------------------------------------------------------------------------------


def test_a_head_that_ends_the_response_ends_the_exchange() -> None:
    actions = steered().receive(dataclasses.replace(OK, end_of_stream=True))
    assert actions[0] == AnswerHeaders(RESPONSE)
    assert ending(actions) is Ending.COMPLETED
    assert actions[-1] == Close()


def test_bodies_are_given_back_in_duplex_mode() -> None:
    exchange = steered(DUPLEX)
    assert exchange.receive(OK) == [AnswerHeaders(RESPONSE)]
    assert exchange.receive(ResponseBody(b"ab")) == [StreamBody(RESPONSE, b"ab", end_of_stream=False)]
    actions = exchange.receive(ResponseBody(b"", end_of_stream=True))
    assert actions[0] == StreamBody(RESPONSE, b"", end_of_stream=True)
    assert ending(actions) is Ending.COMPLETED


def test_long_pieces_are_cut() -> None:
    exchange = steered(DUPLEX)
    exchange.receive(OK)
    first, second, *_ = exchange.receive(ResponseBody(b"x" * 70_000, end_of_stream=True))
    assert isinstance(first, StreamBody)
    assert isinstance(second, StreamBody)
    assert (len(first.data), first.end_of_stream) == (62_000, False)
    assert (len(second.data), second.end_of_stream) == (8000, True)


@pytest.mark.parametrize("mode", [BodyMode.BUFFERED, BodyMode.STREAMED, BodyMode.BUFFERED_PARTIAL])
def test_bodies_are_let_pass_in_other_modes(mode: BodyMode) -> None:
    exchange = steered(mode)
    exchange.receive(OK)
    assert exchange.receive(ResponseBody(b"ab"))[0] == AnswerBody(RESPONSE)


def test_trailers_end_the_response() -> None:
    exchange = steered(DUPLEX)
    exchange.receive(OK)
    exchange.receive(ResponseBody(b"ab"))
    actions = exchange.receive(ResponseTrailers())
    assert actions[0] == AnswerTrailers(RESPONSE)
    assert ending(actions) is Ending.COMPLETED


def test_a_body_whose_head_was_not_sent_still_passes() -> None:
    assert steered(DUPLEX).receive(ResponseBody(b"a"))[0] == StreamBody(RESPONSE, b"a", end_of_stream=False)


def test_two_heads_are_a_fault() -> None:
    exchange = steered(DUPLEX)
    exchange.receive(OK)
    actions = exchange.receive(OK)
    assert actions[0] == Fault("out-of-order")
    assert ending(actions) is Ending.ERROR
    assert not [action for action in actions if isinstance(action, Immediate)]


# --- facts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [1, 7, 1000])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream; charset=utf-8"])
def test_usage_is_read_wherever_the_body_is_cut(kind: str, split: int) -> None:
    usage = '{"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}'
    text = f'{{"choices": [{{"text": "\\"usage\\": 1"}}], "usage": {usage}}}'
    body = (f"data: {text}\n\ndata: [DONE]\n\n" if "event" in kind else text).encode()
    exchange = steered(DUPLEX, ServerConfig(observe_response=True))
    exchange.receive(ResponseHeaders({":status": "200", "content-type": kind}))
    for at in range(0, len(body), split):
        actions = exchange.receive(ResponseBody(body[at : at + split], end_of_stream=at + split >= len(body)))
    facts = next(action.facts for action in actions if isinstance(action, Finish))
    assert (facts.prompt_tokens, facts.cached_tokens, facts.completion_tokens) == (9, 4, 3)
    assert (facts.status, facts.response_bytes) == (200, len(body))


@pytest.mark.parametrize("status", ["", "abc", "20", "2000", "\N{SUPERSCRIPT TWO}00"])
def test_a_strange_status_is_no_status(status: str) -> None:
    actions = steered().receive(ResponseHeaders({":status": status}, end_of_stream=True))
    assert next(action.facts for action in actions if isinstance(action, Finish)).status is None


def test_who_served_is_noted_once() -> None:
    exchange = steered(DUPLEX, ServerConfig(conformance=True))
    served = "10.0.0.9:80,10.0.0.2:8000"
    actions = exchange.receive(dataclasses.replace(OK, served=served))
    assert actions == [
        ServedElsewhere("10.0.0.1:8000", "10.0.0.2:8000"),
        AnswerHeaders(RESPONSE, set_headers=(("x-conformance-test-served-endpoint", "10.0.0.2:8000"),)),
    ]
    actions = exchange.receive(ResponseBody(b"", end_of_stream=True, served=served))
    assert not [action for action in actions if isinstance(action, ServedElsewhere)]
    assert next(action.facts for action in actions if isinstance(action, Finish)).served == "10.0.0.2:8000"


def test_the_picked_endpoint_serving_is_no_news() -> None:
    assert steered().receive(dataclasses.replace(OK, served="10.0.0.1:8000")) == [AnswerHeaders(RESPONSE)]


# --- endings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "events", "expected"),
    [
        (BodyMode.NONE, [RESET], Ending.CLIENT_GONE),
        (BodyMode.NONE, [HALF_CLOSE], Ending.DETACHED),  # a gateway without response messages
        (BodyMode.NONE, [OK, RESET], Ending.COMPLETED),  # how Envoy ends streams without response bodies
        (BodyMode.NONE, [OK, HALF_CLOSE], Ending.COMPLETED),
        (DUPLEX, [OK, RESET], Ending.CLIENT_GONE),
        (DUPLEX, [OK, ResponseBody(b"a"), HALF_CLOSE], Ending.CLIENT_GONE),
        (None, [OK, RESET], Ending.COMPLETED),
        (None, [OK, ResponseBody(b"a"), RESET], Ending.CLIENT_GONE),
    ],
)
def test_what_the_end_of_the_stream_means(
    mode: BodyMode | None, events: list[Event], expected: Ending
) -> None:
    exchange = steered(mode)
    *_, last = [exchange.receive(event) for event in events]
    assert ending(last) is expected
    assert exchange.state is State.CLOSED
    assert exchange.receive(RESET) == []


@pytest.mark.parametrize("events", [[], [OK]])
def test_a_closing_door_lets_go_where_nothing_passes_through_it(events: list[Event]) -> None:
    exchange = steered()
    for event in events:
        exchange.receive(event)
    actions = exchange.receive(DetachWanted())
    assert ending(actions) is Ending.DETACHED
    assert actions[-1] == Close()


def test_a_closing_door_does_not_let_go_of_bodies() -> None:
    exchange = steered(DUPLEX)
    exchange.receive(OK)
    assert exchange.receive(DetachWanted()) == []
    assert Exchange(ServerConfig()).receive(DetachWanted()) == []
    assert steered(DUPLEX).receive(DetachWanted()) == []


@pytest.mark.parametrize("mode", [BodyMode.NONE, BodyMode.STREAMED, BodyMode.BUFFERED])
def test_skip_response_lets_go_with_the_last_answer(mode: BodyMode) -> None:
    exchange = Exchange(ServerConfig(skip_response=True))
    exchange.receive(RequestHeaders({}, end_of_stream=True, modes=Modes(DUPLEX, mode)))
    answer, finish, close = exchange.receive(PickReturned(PICK))
    assert isinstance(answer, AnswerHeaders)
    assert ending([finish]) is Ending.DETACHED
    assert close == Close()


@pytest.mark.parametrize("modes", [None, Modes(DUPLEX, DUPLEX)])
def test_skip_response_does_not_cut_bodies_short(modes: Modes | None) -> None:
    exchange = Exchange(ServerConfig(skip_response=True))
    exchange.receive(RequestHeaders({}, end_of_stream=True, modes=modes))
    assert len(exchange.receive(PickReturned(PICK))) == 1
    assert exchange.receive(OK) == [AnswerHeaders(RESPONSE)]


@pytest.mark.parametrize("outcome", [PICK, Refused(503, "", DropReason.NO_ENDPOINTS)])
@pytest.mark.parametrize(("event", "expected"), [(RESET, Ending.CLIENT_GONE), (OK, Ending.ERROR)])
def test_a_pick_that_answers_too_late_is_still_ended(
    outcome: Picked | Refused, event: Event, expected: Ending
) -> None:
    exchange = Exchange(ServerConfig())
    exchange.receive(RequestHeaders({}, end_of_stream=True))
    assert exchange.receive(event)[0] == CancelPick()
    late = exchange.receive(PickReturned(outcome))
    assert ending(late) is (expected if outcome is PICK else None)


def test_the_gateway_may_answer_the_client_itself() -> None:
    exchange = Exchange(ServerConfig())
    exchange.receive(RequestHeaders({}, modes=Modes(DUPLEX, DUPLEX)))
    assert exchange.receive(ResponseHeaders({":status": "408"})) == [AnswerHeaders(RESPONSE)]
    assert exchange.receive(RequestBody(b"late", end_of_stream=True)) == []
    actions = exchange.receive(ResponseBody(b"timeout", end_of_stream=True))
    assert actions == [StreamBody(RESPONSE, b"timeout", end_of_stream=True), Close()]


def test_a_message_nobody_can_read_ends_the_exchange() -> None:
    fault, answer, _ = Exchange(ServerConfig()).receive(Unreadable())
    assert fault == Fault("unreadable")
    assert isinstance(answer, Immediate)
    fault, finish, close = steered().receive(Unreadable())
    assert (fault, ending([finish]), close) == (Fault("unreadable"), Ending.ERROR, Close())
