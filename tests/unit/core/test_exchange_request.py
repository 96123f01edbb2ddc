"""The request side of the exchange: what is asked, when, and how it is answered."""

import dataclasses

import pytest

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
    Event,
    Fault,
    Immediate,
    Modes,
    Pick,
    PickReturned,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    Side,
    Steering,
    StreamBody,
)
from epp.core.exchange import Exchange
from epp.core.exchange_states import State
from epp.core.outcomes import DropReason, Picked, Refused

CONFIG = ServerConfig(max_body_bytes=200_000)
HEADERS = {
    ":method": "POST",
    ":path": "/v1/chat/completions",
    "x-request-id": "r1",
    "content-type": "application/json",
}
TO_A = Steering(("10.0.0.1:8000",))
PICKED = PickReturned(Picked(("10.0.0.1:8000",), "r1"))
REQUEST = Side.REQUEST
EMPTY_HEAD = AnswerHeaders(REQUEST)
EMPTY_BODY = AnswerBody(REQUEST)
EMPTY_TRAILERS = AnswerTrailers(REQUEST)


def head(
    mode: BodyMode | None = BodyMode.FULL_DUPLEX_STREAMED, *, end: bool = False, **more: str
) -> RequestHeaders:
    modes = Modes(mode, BodyMode.NONE) if mode is not None else None
    return RequestHeaders(HEADERS | {k.replace("_", "-"): v for k, v in more.items()}, end, modes)


def run(
    *events: Event, config: ServerConfig = CONFIG, shed: Refused | None = None
) -> tuple[Exchange, list[list[Action]]]:
    exchange = Exchange(config, shed)
    return exchange, [exchange.receive(event) for event in events]


def asked_body(actions: list[Action]) -> bytes | None:
    (pick,) = actions
    assert isinstance(pick, Pick)
    return pick.request.body


def flat(data: list[Action]) -> tuple[bytes, list[bool]]:
    pieces = [action for action in data if isinstance(action, StreamBody)]
    assert len(pieces) == len(data)
    return b"".join(bytes(p.data) for p in pieces), [p.end_of_stream for p in pieces]


# --- FULL_DUPLEX_STREAMED ---------------------------------------------------------------------------------


def test_the_heads_answer_waits_for_the_whole_body() -> None:
    exchange, (first, second, third, answers) = run(
        head(), RequestBody(b"ab"), RequestBody(b"cd", end_of_stream=True), PICKED
    )
    assert (first, second) == ([], [])
    assert asked_body(third) == b"abcd"
    assert answers == [AnswerHeaders(REQUEST, TO_A), StreamBody(REQUEST, b"abcd", end_of_stream=True)]
    assert exchange.state is State.STEERED


def test_what_is_asked() -> None:
    _, (_, asked) = run(head(), RequestBody(b"{}", end_of_stream=True, subset=("1.1.1.1",)))
    (pick,) = asked
    assert isinstance(pick, Pick)
    assert (pick.request.method, pick.request.path, pick.request.request_id) == (
        "POST",
        HEADERS[":path"],
        "r1",
    )
    assert pick.request.headers["content-type"] == "application/json"
    assert pick.request.subset == ("1.1.1.1",)


def test_an_empty_last_piece_ends_the_body() -> None:
    _, (_, _, asked, answers) = run(head(), RequestBody(b"abc"), RequestBody(b"", end_of_stream=True), PICKED)
    assert asked_body(asked) == b"abc"
    assert flat(answers[1:]) == (b"abc", [True])


def test_an_empty_body_is_one_empty_piece() -> None:
    _, (_, asked, answers) = run(head(), RequestBody(b"", end_of_stream=True), PICKED)
    assert asked_body(asked) == b""
    assert answers[1:] == [StreamBody(REQUEST, b"", end_of_stream=True)]


@pytest.mark.parametrize(
    ("size", "pieces"), [(61_999, 1), (62_000, 1), (62_001, 2), (124_000, 2), (186_001, 4)]
)
def test_long_bodies_come_back_in_pieces_of_62000(size: int, pieces: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    _, (_, _, answers) = run(head(), RequestBody(body, end_of_stream=True), PICKED)
    data, ends = flat(answers[1:])
    assert data == body
    assert ends == [False] * (pieces - 1) + [True]


def test_a_second_end_of_the_body_is_ignored() -> None:
    exchange, (*_, again, _, more) = run(
        head(),
        RequestBody(b"{}", end_of_stream=True),
        RequestBody(b"", end_of_stream=True),
        PICKED,
        RequestBody(b"{}", end_of_stream=True),
    )
    assert (again, more) == ([], [])
    assert exchange.state is State.STEERED


def test_trailers_end_the_body_and_are_answered_last() -> None:
    _, (_, _, asked, answers) = run(head(), RequestBody(b"ab"), RequestTrailers(), PICKED)
    assert asked_body(asked) == b"ab"
    assert answers == [
        AnswerHeaders(REQUEST, TO_A),
        StreamBody(REQUEST, b"ab", end_of_stream=False),
        EMPTY_TRAILERS,
    ]


def test_trailers_without_a_body() -> None:
    _, (_, asked, answers) = run(head(), RequestTrailers(), PICKED)
    assert asked_body(asked) == b""
    assert answers == [AnswerHeaders(REQUEST, TO_A), EMPTY_TRAILERS]


def test_trailers_during_the_pick_are_answered_after_it() -> None:
    # The body ended already, so this is a gateway's oddity; it still gets its answer.
    _, (_, _, during, answers) = run(head(), RequestBody(b"a", end_of_stream=True), RequestTrailers(), PICKED)
    assert during == []
    assert answers[-1] == EMPTY_TRAILERS


def test_a_replacement_takes_the_bodys_place() -> None:
    picked = PickReturned(Picked(("10.0.0.1:8000",), "r1", body=b"new"))
    _, (_, _, answers) = run(head(), RequestBody(b"old", end_of_stream=True), picked)
    assert flat(answers[1:]) == (b"new", [True])


@pytest.mark.parametrize("mode", list(BodyMode)[:5])
def test_a_head_that_ends_the_request_is_asked_and_answered_at_once(mode: BodyMode) -> None:
    exchange, (asked, answers) = run(head(mode, end=True), PICKED)
    assert asked_body(asked) is None
    assert answers == [AnswerHeaders(REQUEST, TO_A)]
    assert exchange.state is State.STEERED


# --- BUFFERED ---------------------------------------------------------------------------------------------


def test_buffered_steers_with_the_bodys_answer() -> None:
    exchange, (first, asked, answers) = run(
        head(BodyMode.BUFFERED), RequestBody(b"{}", end_of_stream=True), PICKED
    )
    assert first == [EMPTY_HEAD]
    assert asked_body(asked) == b"{}"
    assert answers == [AnswerBody(REQUEST, TO_A)]
    assert exchange.state is State.STEERED


def test_buffered_bodies_are_whole_even_when_trailers_follow() -> None:
    _, (_, asked, answers, trailers) = run(
        head(BodyMode.BUFFERED), RequestBody(b"{}"), PICKED, RequestTrailers()
    )
    assert asked_body(asked) == b"{}"
    assert answers == [AnswerBody(REQUEST, TO_A)]
    assert trailers == [EMPTY_TRAILERS]


def test_buffered_trailers_without_a_body_carry_the_metadata() -> None:
    _, (_, asked, answers) = run(head(BodyMode.BUFFERED), RequestTrailers(), PICKED)
    assert asked_body(asked) == b""
    assert answers == [AnswerTrailers(REQUEST, TO_A)]


def test_buffered_replacement() -> None:
    picked = PickReturned(Picked(("10.0.0.1:8000",), "r1", body=b"new"))
    _, (*_, answers) = run(head(BodyMode.BUFFERED), RequestBody(b"old", end_of_stream=True), picked)
    assert answers == [AnswerBody(REQUEST, TO_A, b"new")]


def test_a_partly_buffered_body_is_not_read() -> None:
    _, (_, asked, answers) = run(head(BodyMode.BUFFERED_PARTIAL), RequestBody(b'{"model": "a'), PICKED)
    assert asked_body(asked) is None
    assert answers == [AnswerBody(REQUEST, TO_A)]


def test_a_partly_buffered_body_that_is_whole_is_read() -> None:
    _, (_, asked) = run(head(BodyMode.BUFFERED_PARTIAL), RequestBody(b"{}", end_of_stream=True))
    assert asked_body(asked) == b"{}"


# --- modes in which the body cannot steer -----------------------------------------------------------------


def test_streamed_is_asked_from_the_head() -> None:
    exchange, (asked, answers, piece, last) = run(
        head(BodyMode.STREAMED), PICKED, RequestBody(b"a"), RequestBody(b"b", end_of_stream=True)
    )
    assert asked_body(asked) is None
    assert answers == [AnswerHeaders(REQUEST, TO_A)]
    assert (piece, last) == ([EMPTY_BODY], [EMPTY_BODY])
    assert exchange.state is State.STEERED


def test_streamed_pieces_during_the_pick_get_one_answer_each() -> None:
    _, (_, _, _, answers) = run(
        head(BodyMode.STREAMED), RequestBody(b"a"), RequestBody(b"b", end_of_stream=True), PICKED
    )
    assert answers == [AnswerHeaders(REQUEST, TO_A), EMPTY_BODY, EMPTY_BODY]


def test_without_bodies_the_head_decides() -> None:
    exchange, (asked, answers) = run(head(BodyMode.NONE), PICKED)
    assert asked_body(asked) is None
    assert answers == [AnswerHeaders(REQUEST, TO_A)]
    assert exchange.state is State.STEERED


def test_grpc_passes_piece_by_piece() -> None:
    exchange, (asked, held, answers, piece, trailers) = run(
        head(content_type="application/grpc+proto", content_length="99999999"),
        RequestBody(b"a"),
        PICKED,
        RequestBody(b"b"),
        RequestTrailers(),
    )
    assert asked_body(asked) is None
    assert held == []
    assert answers == [AnswerHeaders(REQUEST, TO_A), StreamBody(REQUEST, b"a", end_of_stream=False)]
    assert piece == [StreamBody(REQUEST, b"b", end_of_stream=False)]
    assert trailers == [EMPTY_TRAILERS]
    assert exchange.state is State.STEERED


def test_grpc_in_buffered_mode() -> None:
    _, (asked, answers, body) = run(
        head(BodyMode.BUFFERED, content_type="application/grpc"),
        PICKED,
        RequestBody(b"a", end_of_stream=True),
    )
    assert asked_body(asked) is None
    assert answers == [AnswerHeaders(REQUEST, TO_A)]
    assert body == [EMPTY_BODY]


@pytest.mark.parametrize(
    "modes", [Modes(BodyMode.GRPC, BodyMode.NONE), Modes(BodyMode.BUFFERED, BodyMode.GRPC)]
)
def test_a_mode_nobody_speaks_is_refused_in_words(modes: Modes) -> None:
    exchange, ((refused, close),) = run(RequestHeaders(HEADERS, modes=modes))
    assert isinstance(refused, Immediate)
    assert (refused.status, b"GRPC" in refused.body, close) == (503, True, Close())
    assert exchange.state is State.CLOSED


# --- a gateway that does not tell its mode ----------------------------------------------------------------


def test_untold_means_duplex_when_a_body_follows() -> None:
    exchange, (first,) = run(head(None))
    assert first == []
    assert exchange.undecided
    assert exchange.receive(RequestBody(b"a")) == []
    assert not exchange.undecided
    assert exchange.receive(BodyLate()) == []
    assert asked_body(exchange.receive(RequestBody(b"", end_of_stream=True))) == b"a"


def test_untold_means_buffered_when_nothing_follows() -> None:
    exchange, (_, late, asked, answers) = run(
        head(None), BodyLate(), RequestBody(b"{}", end_of_stream=True), PICKED
    )
    assert late == [EMPTY_HEAD]
    assert not exchange.undecided
    assert asked_body(asked) == b"{}"
    assert answers == [AnswerBody(REQUEST, TO_A)]


def test_told_modes_are_never_undecided() -> None:
    exchange, (_, late) = run(head(), BodyLate())
    assert late == []
    assert exchange.state is State.COLLECT


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", ["200001", "9" * 40])
@pytest.mark.parametrize("mode", [BodyMode.FULL_DUPLEX_STREAMED, BodyMode.BUFFERED, BodyMode.STREAMED])
def test_a_length_over_the_bound_is_refused_at_the_head(length: str, mode: BodyMode) -> None:
    _, ((refused, close),) = run(head(mode, content_length=length))
    assert isinstance(refused, Immediate)
    assert (refused.status, refused.reason, close) == (413, "too-large", Close())


@pytest.mark.parametrize("length", ["200000", "-1", "x", "", "\N{ARABIC-INDIC DIGIT NINE}" * 20])
def test_other_lengths_are_not(length: str) -> None:
    _, (first,) = run(head(content_length=length))
    assert first == []


@pytest.mark.parametrize(
    "mode", [BodyMode.FULL_DUPLEX_STREAMED, BodyMode.BUFFERED_PARTIAL, BodyMode.BUFFERED]
)
def test_a_body_over_the_bound_is_refused_on_the_way(mode: BodyMode) -> None:
    exchange, (*_, (refused, close)) = run(head(mode), RequestBody(b"x" * 200_001))
    assert isinstance(refused, Immediate)
    assert (refused.status, close, exchange.state) == (413, Close(), State.CLOSED)


def test_a_body_over_the_bound_during_a_pick_cancels_it() -> None:
    _, (_, actions) = run(head(BodyMode.STREAMED), RequestBody(b"x" * 200_001))
    assert actions[0] == CancelPick()
    assert isinstance(actions[1], Immediate)


def test_a_refused_pick_becomes_an_immediate_response() -> None:
    refused = Refused(429, "busy", DropReason.SATURATED, (("Retry-After", "2"), ("content-length", "9")))
    _, (_, _, (answer, close)) = run(head(), RequestBody(b"{}", end_of_stream=True), PickReturned(refused))
    assert isinstance(answer, Immediate)
    assert answer.status == 429
    assert dict(answer.headers) == {
        "content-type": "application/json",
        "x-llm-d-request-dropped-reason": "rejected-saturated",
        "retry-after": "2",
    }
    assert close == Close()


def test_a_shed_stream_is_refused_at_its_head() -> None:
    _, ((answer, _),) = run(head(), shed=Refused(503, "full", DropReason.UNAVAILABLE))
    assert isinstance(answer, Immediate)
    assert answer.status == 503


# --- headers ----------------------------------------------------------------------------------------------

PINS = {
    "x-gateway-destination-endpoint-served": "a",
    "x-gateway-destination-endpoint-subset": "a",
    "x-gateway-inference-objective": "a",
    "x-dynamo-worker-instance-id": "7",
    "x-prefiller-host-port": "a:1",
    "x-encoder-hosts-ports": "a:1",
    "x-dynamo-something-new": "1",
    "x-dp-rank": "1",
}
WORDS = {"x-ok": "1", "x-dynamo-session-id": "s", "x-llm-d-slo-ttft-ms": "200", "x-prefilled": "no"}


@pytest.mark.parametrize("trusted", [False, True])
def test_what_a_client_may_not_say_is_hidden_and_removed(trusted: bool) -> None:
    config = dataclasses.replace(CONFIG, trust_client_headers=trusted)
    exchange = Exchange(config)
    (pick,) = exchange.receive(RequestHeaders(HEADERS | PINS | WORDS, end_of_stream=True))
    assert isinstance(pick, Pick)
    (answer,) = exchange.receive(PICKED)
    assert isinstance(answer, AnswerHeaders)
    assert answer.steering is not None
    assert pick.request.headers.keys() >= WORDS.keys()
    hidden = set(PINS) - set(pick.request.headers)
    assert hidden == set(answer.steering.remove_headers)
    assert hidden == ({k for k in PINS if k.startswith("x-gateway-dest")} if trusted else set(PINS))


def test_only_harmless_headers_are_set_or_removed() -> None:
    picked = Picked(
        ("10.0.0.1:8000",),
        "r1",
        set_headers=(
            ("Content-Length", "1"),
            ("transfer-encoding", "chunked"),
            (":path", "/"),
            ("x-envoy-upstream-alt-stat-name", "a"),
            ("x-gateway-destination-endpoint", "b:1"),
            ("x-split", "a\r\nb: c"),
            ("X-Dynamo-Worker-Instance-Id", "9"),
        ),
        remove_headers=("x-gone", "host", ":method", "content-length"),
        metadata={"reason": "cached"},
    )
    exchange = Exchange(CONFIG)
    exchange.receive(RequestHeaders(HEADERS | {"x-dynamo-worker-instance-id": "7"}, end_of_stream=True))
    (answer,) = exchange.receive(PickReturned(picked))
    assert answer == AnswerHeaders(
        REQUEST,
        Steering(
            ("10.0.0.1:8000",),
            set_headers=(("x-dynamo-worker-instance-id", "9"),),
            remove_headers=("x-gone",),
            metadata=(("reason", "cached"),),
        ),
    )


@pytest.mark.parametrize(
    ("hint", "selection", "expected"),
    [
        (None, "", None),
        (None, "10.0.0.1, 10.0.0.2:80", ("10.0.0.1", "10.0.0.2:80")),
        (("10.0.0.1:80", "10.0.0.3:80"), "10.0.0.1,10.0.0.2", ("10.0.0.1:80",)),
        ((), "10.0.0.1", ()),
    ],
)
def test_conformance_selection(
    hint: tuple[str, ...] | None, selection: str, expected: tuple[str, ...] | None
) -> None:
    headers = HEADERS | {"test-epp-endpoint-selection": selection}
    for conformance in (True, False):
        exchange = Exchange(dataclasses.replace(CONFIG, conformance=conformance))
        (pick,) = exchange.receive(RequestHeaders(headers, end_of_stream=True, subset=hint))
        assert isinstance(pick, Pick)
        assert pick.request.subset == (expected if conformance else hint)


def test_the_latest_hint_counts() -> None:
    exchange, (_, asked) = run(
        dataclasses.replace(head(), subset=("1.1.1.1",)), RequestBody(b"", end_of_stream=True, subset=())
    )
    (pick,) = asked
    assert isinstance(pick, Pick)
    assert pick.request.subset == ()
    assert exchange.state is State.PICKING


def test_a_body_before_its_head_is_a_fault() -> None:
    exchange, ((fault, answer, close),) = run(RequestBody(b"a"))
    assert fault == Fault("out-of-order")
    assert isinstance(answer, Immediate)
    assert (answer.status, close, exchange.state) == (503, Close(), State.CLOSED)
