"""Reading a picker's messages is total: an answer, or a failure of the picker."""

from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from epp.conformance.answers import read_answer
from epp.conformance.bench import entries
from epp.conformance.contract import Direction
from epp.conformance.messages import Mode
from epp.conformance.model import FailedError

_KINDS = {field.name for field in pb.ProcessingResponse.DESCRIPTOR.oneofs_by_name["response"].fields}


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    try:
        answer = read_answer(data)
    except FailedError:
        return
    assert answer.kind in _KINDS | {"nothing"}


@given(st.text())
def test_any_destination(value: str) -> None:
    try:
        found = entries(value)
    except FailedError:
        return
    assert all(entry.rpartition(":")[2].isdigit() for entry in found)


@given(st.lists(st.sampled_from(sorted(_KINDS)), max_size=8), st.sampled_from(Mode), st.data())
def test_any_order_of_answers(kinds: list[str], mode: Mode, data: st.DataObject) -> None:
    side = Direction("request", mode)
    for kind in kinds:
        side.sent_head() if data.draw(st.booleans()) else side.sent_body()
        message = pb.ProcessingResponse()
        getattr(message, kind).SetInParent()
        if not kind.startswith("request_"):
            continue
        try:
            side.take(read_answer(message.SerializeToString()))
        except FailedError:
            return
