"""What a picker says, read."""

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from epp.conformance.answers import read_answer
from epp.conformance.model import FailedError
from epp.core.events import AnswerHeaders, Immediate, Side, Steering, StreamBody
from epp.core.outcomes import DropReason
from epp.wire.extproc_write import write_answer


def test_a_steered_head() -> None:
    steering = Steering(("10.0.0.1:80", "10.0.0.2:80"), remove_headers=("x-pin",))
    answer = read_answer(write_answer(AnswerHeaders(Side.REQUEST, steering)))
    assert answer.kind == "request_headers"
    assert answer.mutation.value("x-gateway-destination-endpoint") == "10.0.0.1:80,10.0.0.2:80"
    assert answer.destination == "10.0.0.1:80,10.0.0.2:80"
    assert answer.mutation.removed == ("x-pin",)
    assert answer.piece is None


def test_a_streamed_piece() -> None:
    answer = read_answer(write_answer(StreamBody(Side.RESPONSE, b"data", end_of_stream=True)))
    assert (answer.kind, answer.piece, answer.ends_body) == ("response_body", b"data", True)


def test_a_refusal() -> None:
    answer = read_answer(write_answer(Immediate(503, (("x-a", "b"),), b"{}", DropReason.NO_ENDPOINTS)))
    assert (answer.kind, answer.status, answer.mutation.value("x-a")) == ("immediate_response", 503, "b")


@pytest.mark.parametrize(
    ("mutation", "replacement", "piece"),
    [
        ({"body": b"new"}, b"new", None),
        ({"clear_body": True}, b"", None),
        ({"streamed_response": {"body": b"x"}}, None, b"x"),
        ({}, None, None),
    ],
)
def test_body_mutations(mutation: dict[str, object], replacement: bytes | None, piece: bytes | None) -> None:
    message = pb.ProcessingResponse(request_body={"response": {"body_mutation": mutation}})
    answer = read_answer(message.SerializeToString())
    assert (answer.replacement, answer.piece) == (replacement, piece)


@pytest.mark.parametrize(
    ("option", "both_forms", "keeps_the_old"),
    [
        ({"header": {"key": "X-A", "value": "b"}}, False, False),
        ({"header": {"key": "X-A", "value": "b", "raw_value": b"b"}}, True, False),
        ({"header": {"key": "X-A", "raw_value": b"b"}, "append_action": 1}, False, False),
        ({"header": {"key": "X-A", "raw_value": b"b"}, "append": {"value": True}}, False, True),
        ({"header": {"key": "X-A", "raw_value": b"b"}, "append": {"value": False}}, False, False),
    ],
)
def test_set_headers(option: dict[str, object], both_forms: bool, keeps_the_old: bool) -> None:
    common = {"response": {"header_mutation": {"set_headers": [option]}}}
    (header,) = read_answer(
        pb.ProcessingResponse(request_headers=common).SerializeToString()
    ).mutation.set_headers
    assert (header.name, header.value) == ("x-a", "b")
    assert (header.both_forms, header.keeps_the_old) == (both_forms, keeps_the_old)


def test_nothing_and_nonsense() -> None:
    assert read_answer(b"").kind == "nothing"
    with pytest.raises(FailedError, match="no ProcessingResponse"):
        read_answer(b"\xff\xff")
