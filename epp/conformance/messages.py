"""The gateway's messages, ``envoy.service.ext_proc.v3.ProcessingRequest``, as bytes.

Shaped as Envoy 1.40 sends them: header values raw, the body modes on the first message, the metadata
context on every one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from envoy.service.ext_proc.v3 import external_processor_pb2

from epp.conformance.names import DESTINATION, LB_NAMESPACE, SERVED, SUBSET, SUBSET_NAMESPACE

_messages: Final[Any] = external_processor_pb2  # built at run time: no checker knows its classes


class Mode(IntEnum):
    """``ProcessingMode.BodySendMode`` by number."""

    NONE = 0
    STREAMED = 1
    BUFFERED = 2
    BUFFERED_PARTIAL = 3
    FULL_DUPLEX_STREAMED = 4


@dataclass(frozen=True, slots=True)
class Modes:
    """How bodies are sent, as the first message announces it."""

    request: Mode = Mode.FULL_DUPLEX_STREAMED
    response: Mode = Mode.FULL_DUPLEX_STREAMED


DUPLEX: Final = Modes()
BUFFERED: Final = Modes(Mode.BUFFERED, Mode.BUFFERED)
NO_BODIES_BACK: Final = Modes(Mode.FULL_DUPLEX_STREAMED, Mode.NONE)
RESPONSE_STREAMED: Final = Modes(Mode.FULL_DUPLEX_STREAMED, Mode.STREAMED)


def request_head(
    headers: Mapping[str, str],
    *,
    end_of_stream: bool,
    modes: Modes | None,
    subset: Sequence[str] | str | None = None,
) -> bytes:
    """The head of a request. ``modes`` None: they are not announced, as by older gateways."""
    message = _messages.ProcessingRequest()
    _add_headers(message.request_headers.headers, headers)
    message.request_headers.end_of_stream = end_of_stream
    if modes is not None:
        message.protocol_config.request_body_mode = int(modes.request)
        message.protocol_config.response_body_mode = int(modes.response)
    return _with_subset(message, subset)


def request_body(data: bytes, *, end_of_stream: bool, subset: Sequence[str] | str | None = None) -> bytes:
    """A piece of a request's body."""
    message = _messages.ProcessingRequest()
    message.request_body.body = data
    message.request_body.end_of_stream = end_of_stream
    return _with_subset(message, subset)


def request_trailers(trailers: Mapping[str, str]) -> bytes:
    """The trailers of a request."""
    message = _messages.ProcessingRequest()
    message.request_trailers.SetInParent()
    _add_headers(message.request_trailers.trailers, trailers)
    return _serialized(message)


def response_head(headers: Mapping[str, str], served: str | None, *, end_of_stream: bool = False) -> bytes:
    """The head of a response, with who served it in the metadata."""
    message = _messages.ProcessingRequest()
    _add_headers(message.response_headers.headers, headers)
    message.response_headers.end_of_stream = end_of_stream
    return _with_served(message, served)


def response_body(data: bytes, served: str | None, *, end_of_stream: bool) -> bytes:
    """A piece of a response's body."""
    message = _messages.ProcessingRequest()
    message.response_body.body = data
    message.response_body.end_of_stream = end_of_stream
    return _with_served(message, served)


def response_trailers(trailers: Mapping[str, str]) -> bytes:
    """The trailers of a response."""
    message = _messages.ProcessingRequest()
    message.response_trailers.SetInParent()
    _add_headers(message.response_trailers.trailers, trailers)
    return _serialized(message)


def _add_headers(target: Any, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        target.headers.add(key=name, raw_value=value.encode())


def _with_subset(message: Any, subset: Iterable[str] | str | None) -> bytes:
    if subset is not None:
        hint = message.metadata_context.filter_metadata[SUBSET_NAMESPACE].fields[SUBSET]
        if isinstance(subset, str):
            hint.string_value = subset
        else:
            hint.list_value.SetInParent()
            hint.list_value.extend(subset)
    return _serialized(message)


def _with_served(message: Any, served: str | None) -> bytes:
    if served is not None:
        fields = message.metadata_context.filter_metadata[LB_NAMESPACE].fields
        fields[DESTINATION].string_value = served
        fields[SERVED].string_value = served
    return _serialized(message)


def _serialized(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
