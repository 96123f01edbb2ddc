"""ext_proc bytes: reading is total, writing is what the generated messages read back."""

from collections.abc import Iterable
from typing import Any

from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from google.protobuf import json_format
from hypothesis import example, given, settings
from hypothesis import strategies as st

from epp.config.model import ServerConfig
from epp.core.events import (
    Answer,
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    BodyMode,
    Immediate,
    Modes,
    Pick,
    PickReturned,
    RequestBody,
    RequestHeaders,
    Side,
    Steering,
    StreamBody,
    Unreadable,
)
from epp.core.exchange import Exchange
from epp.core.outcomes import Picked
from epp.wire.extproc_read import read_request
from epp.wire.extproc_write import write_answer

text = st.text(max_size=30)
pairs = st.lists(st.tuples(text, text), max_size=4).map(tuple)
steerings = st.builds(
    Steering,
    st.lists(text, min_size=1, max_size=3).map(tuple),
    pairs,
    st.lists(text, max_size=3).map(tuple),
    st.dictionaries(text, text, max_size=3).map(lambda d: tuple(d.items())),
)
sides = st.sampled_from(Side)
modes = st.builds(Modes, st.sampled_from(BodyMode), st.sampled_from(BodyMode))
bodies = st.one_of(st.binary(max_size=400), st.sampled_from([62_000, 20_000]).map(bytes))
answers = st.one_of(
    st.builds(AnswerHeaders, sides, st.none() | steerings, st.just(())),
    st.builds(AnswerHeaders, st.just(Side.RESPONSE), st.none(), pairs, st.booleans(), st.none() | modes),
    st.builds(AnswerBody, sides, st.none() | steerings, st.none() | bodies),
    st.builds(AnswerBody, sides, st.none(), bodies, st.booleans()),
    st.builds(StreamBody, sides, bodies, st.booleans()),
    st.builds(AnswerTrailers, sides, st.none() | steerings),
    st.builds(Immediate, st.integers(400, 599), pairs, bodies, st.just("too-large")),
)
OVERWRITE_OR_ADD = 2
SEND = 1


def set_in(mutation: Any, pairs: Iterable[tuple[str, str]]) -> None:
    for name, value in pairs:
        option = mutation.set_headers.add(append_action=OVERWRITE_OR_ADD)
        option.header.key, option.header.raw_value = name, value.encode()


def steer(common: Any, response: Any, steering: Steering) -> None:
    destination = ",".join(steering.destinations)
    if common is not None:
        common.clear_route_cache = True
        set_in(
            common.header_mutation, [("x-gateway-destination-endpoint", destination), *steering.set_headers]
        )
        common.header_mutation.remove_headers.extend(steering.remove_headers)
    lb = {k: v for k, v in steering.metadata if k != "x-gateway-destination-endpoint"}
    response.dynamic_metadata.update({"envoy.lb": {**lb, "x-gateway-destination-endpoint": destination}})


def expected(answer: Answer) -> Any:
    """The same answer, built with the generated messages."""
    response = pb.ProcessingResponse()
    if isinstance(answer, Immediate):
        response.immediate_response.status.code = answer.status
        response.immediate_response.headers.SetInParent()
        set_in(response.immediate_response.headers, answer.headers)
        response.immediate_response.body = answer.body
        response.immediate_response.details = "epp_too_large"
        return response
    kind = {AnswerHeaders: "headers", AnswerTrailers: "trailers"}.get(type(answer), "body")
    part = getattr(response, f"{answer.side}_{kind}")
    part.SetInParent()
    if isinstance(answer, StreamBody):
        streamed = part.response.body_mutation.streamed_response
        streamed.body, streamed.end_of_stream = bytes(answer.data), answer.end_of_stream
    elif answer.steering is not None:
        steer(None if kind == "trailers" else part.response, response, answer.steering)
    if isinstance(answer, AnswerBody) and answer.replacement is not None:
        if answer.steering is not None:
            part.response.header_mutation.remove_headers.append("content-length")
        part.response.body_mutation.body = answer.replacement
    if isinstance(answer, AnswerHeaders) and answer.set_headers:
        set_in(part.response.header_mutation, answer.set_headers)
    if isinstance(answer, AnswerHeaders | AnswerBody) and answer.drops_length:
        part.response.header_mutation.remove_headers.append("content-length")
    if isinstance(answer, AnswerHeaders) and answer.asks_bodies is not None:
        wish = response.mode_override
        wish.request_body_mode, wish.response_body_mode = (
            answer.asks_bodies.request,
            answer.asks_bodies.response,
        )
        wish.request_header_mode = wish.response_header_mode = SEND
        wish.request_trailer_mode = wish.response_trailer_mode = SEND
    return response


@given(answers)
@settings(deadline=None)
def test_what_is_written_reads_back(answer: Answer) -> None:
    written = pb.ProcessingResponse.FromString(write_answer(answer))
    assert json_format.MessageToDict(written) == json_format.MessageToDict(expected(answer))


@given(st.binary(max_size=300))
@example(b"")
@example(b"\x12\xff\xff\xff\xff\x0f")
def test_reading_is_total(message: bytes) -> None:
    Exchange(ServerConfig()).receive(read_request(message))


@given(st.data())
@settings(deadline=None)
def test_reading_damaged_messages_is_total(data: st.DataObject) -> None:
    request = pb.ProcessingRequest()
    request.request_headers.headers.headers.add(key="A", raw_value=b"\xff\xfe")
    hint = {"x-gateway-destination-endpoint-subset": ["10.0.0.1:80", 3, None]}
    request.metadata_context.filter_metadata["envoy.lb.subset_hint"].update(hint)
    request.protocol_config.request_body_mode = 77
    message = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(0, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    read_request(bytes(message))


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=8))
def test_a_body_read_in_pieces_asks_the_same(pieces: list[bytes]) -> None:
    whole = ask([b"".join(pieces)])
    assert ask(pieces) == whole == ask([bytes((byte,)) for byte in b"".join(pieces)])


def ask(pieces: list[bytes]) -> tuple[object, bytes]:
    exchange = Exchange(ServerConfig())
    exchange.receive(RequestHeaders({}))
    for piece in pieces:
        exchange.receive(RequestBody(piece))
    (pick,) = exchange.receive(RequestBody(b"", end_of_stream=True))
    assert isinstance(pick, Pick)
    _, *pieces_back = exchange.receive(PickReturned(Picked(("10.0.0.1:80",), "")))
    assert pieces_back[-1].end_of_stream
    return pick, b"".join(bytes(piece.data) for piece in pieces_back)


def test_an_unknown_kind_is_unreadable() -> None:
    assert read_request(pb.ProcessingRequest(observability_mode=True).SerializeToString()) == Unreadable()
