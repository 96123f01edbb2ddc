"""The picker's messages, ``envoy.service.ext_proc.v3.ProcessingResponse``, as records."""

from dataclasses import dataclass
from typing import Any, Final

from envoy.service.ext_proc.v3 import external_processor_pb2
from google.protobuf.message import DecodeError

from epp.conformance.model import FailedError
from epp.conformance.names import DESTINATION, LB_NAMESPACE

_messages: Final[Any] = external_processor_pb2  # built at run time: no checker knows its classes


@dataclass(frozen=True, slots=True)
class SetHeader:
    """One header a picker sets."""

    name: str
    """Lower case."""
    value: str
    both_forms: bool
    """Whether ``value`` and ``raw_value`` are both given; only one may be."""
    keeps_the_old: bool
    """Whether a header that is already there survives: ``append``. Envoy 1.40 replaces it whatever
    ``append_action`` says."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """What a picker does to a head."""

    set_headers: tuple[SetHeader, ...] = ()
    removed: tuple[str, ...] = ()

    def value(self, name: str) -> str | None:
        """The value a header is set to; None: it is not set."""
        values = [header.value for header in self.set_headers if header.name == name]
        return values[-1] if values else None


@dataclass(frozen=True, slots=True)
class Answer:
    """One message of the picker."""

    kind: str
    """The ``oneof``'s field: ``request_headers`` … ``response_trailers``, ``immediate_response``."""
    mutation: Mutation
    piece: bytes | None
    """``streamed_response.body``; None: the answer is no streamed one."""
    ends_body: bool
    """``streamed_response.end_of_stream``."""
    replacement: bytes | None
    """``body_mutation.body`` (b"" when the body is cleared); None: the body is left as it is."""
    destination: str | None
    """The destination in the dynamic metadata of this message."""
    status: int | None
    """HTTP status of an immediate response."""


def read_answer(message: bytes) -> Answer:
    """Reads one message. Raises FailedError for bytes that are none."""
    try:
        response = _messages.ProcessingResponse.FromString(message)
    except DecodeError as error:
        raise FailedError("the picker sent bytes that are no ProcessingResponse") from error
    kind: str = response.WhichOneof("response") or "nothing"
    destination = _destination(response)
    if kind == "immediate_response":
        immediate = response.immediate_response
        mutation = _mutation(immediate.headers)
        return Answer(kind, mutation, None, False, None, destination, int(immediate.status.code))
    if kind in ("request_trailers", "response_trailers"):
        mutation = _mutation(getattr(response, kind).header_mutation)
        return Answer(kind, mutation, None, False, None, destination, None)
    if kind == "nothing":
        return Answer(kind, Mutation(), None, False, None, destination, None)
    return _common_answer(kind, getattr(response, kind).response, destination)


def _common_answer(kind: str, common: Any, destination: str | None) -> Answer:
    change = common.body_mutation
    form = change.WhichOneof("mutation")
    streamed = form == "streamed_response"
    replacement = {"body": change.body, "clear_body": b""}.get(form)
    return Answer(
        kind=kind,
        mutation=_mutation(common.header_mutation),
        piece=change.streamed_response.body if streamed else None,
        ends_body=streamed and change.streamed_response.end_of_stream,
        replacement=replacement,
        destination=destination,
        status=None,
    )


def _mutation(change: Any) -> Mutation:
    names = tuple(name.lower() for name in change.remove_headers)
    return Mutation(tuple(_set_header(option) for option in change.set_headers), names)


def _set_header(option: Any) -> SetHeader:
    header = option.header
    raw: bytes = header.raw_value
    return SetHeader(
        name=header.key.lower(),
        value=raw.decode("utf-8", "replace") or header.value,
        both_forms=bool(raw and header.value),
        keeps_the_old=option.append.value,
    )


def _destination(response: Any) -> str | None:
    namespaces = response.dynamic_metadata.fields
    if LB_NAMESPACE not in namespaces:  # a look-up would create the entry
        return None
    entries = namespaces[LB_NAMESPACE].struct_value.fields
    if DESTINATION not in entries:
        return None
    value: str = entries[DESTINATION].string_value
    return value
