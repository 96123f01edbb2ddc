"""ext_proc messages from the gateway, as core events.

Format: ``envoy.service.ext_proc.v3.ProcessingRequest``. Parsed by upb (8 µs for a head, 1.2 µs for a body
piece); header values come in ``raw_value`` from Envoy and in ``value`` from others. Total: bytes that
are no message, and kinds this picker does not know, become :class:`Unreadable`.
"""

from collections.abc import Callable
from typing import Any, Final

from envoy.service.ext_proc.v3 import external_processor_pb2
from google.protobuf.message import DecodeError

from epp.core.events import (
    BodyMode,
    Event,
    Modes,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Unreadable,
)
from epp.core.headers import LB_NAMESPACE, SERVED, SUBSET, SUBSET_NAMESPACE
from epp.core.subset import parse_subset

_messages: Final[Any] = external_processor_pb2  # built at run time: no checker knows its classes
_parse: Final[Callable[[bytes], Any]] = _messages.ProcessingRequest.FromString


def read_request(message: bytes) -> Event:
    """The event one serialized ``ProcessingRequest`` stands for."""
    try:
        request = _parse(message)
    except DecodeError:
        return Unreadable()
    reader = _READERS.get(request.WhichOneof("request"))
    return reader(request) if reader is not None else Unreadable()


def _request_headers(request: Any) -> Event:
    head = request.request_headers
    return RequestHeaders(_headers(head), head.end_of_stream, _modes(request), _subset(request))


def _request_body(request: Any) -> Event:
    body = request.request_body
    return RequestBody(body.body, body.end_of_stream or body.end_of_stream_without_message, _subset(request))


def _request_trailers(request: Any) -> Event:
    return RequestTrailers(_subset(request))


def _response_headers(request: Any) -> Event:
    head = request.response_headers
    return ResponseHeaders(_headers(head), head.end_of_stream, _served(request))


def _response_body(request: Any) -> Event:
    body = request.response_body
    return ResponseBody(body.body, body.end_of_stream or body.end_of_stream_without_message, _served(request))


def _response_trailers(_request: Any) -> Event:
    return ResponseTrailers()


_READERS: Final[dict[str | None, Callable[[Any], Event]]] = {
    "request_headers": _request_headers,
    "request_body": _request_body,
    "request_trailers": _request_trailers,
    "response_headers": _response_headers,
    "response_body": _response_body,
    "response_trailers": _response_trailers,
}


def _headers(head: Any) -> dict[str, str]:
    # Bytes that are not UTF-8 are kept visible rather than refused: they are the client's, not the gateway's.
    return {
        header.key.lower(): header.raw_value.decode("utf-8", "replace") or header.value
        for header in head.headers.headers
    }


def _modes(request: Any) -> Modes | None:
    if not request.HasField("protocol_config"):
        return None
    config = request.protocol_config
    return Modes(_mode(config.request_body_mode), _mode(config.response_body_mode))


def _mode(number: int) -> BodyMode:
    """The mode; one newer than this picker is as unsupported as GRPC, and is refused like it."""
    return BodyMode(number) if 0 <= number <= BodyMode.GRPC else BodyMode.GRPC


def _subset(request: Any) -> tuple[str, ...] | None:
    value = _metadata(request, SUBSET_NAMESPACE, SUBSET)
    if value is None:
        return None
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return parse_subset(value.string_value)
    if kind == "list_value":
        return parse_subset(item.string_value for item in value.list_value.values)
    return ()  # a hint that cannot be read allows nothing


def _served(request: Any) -> str | None:
    value = _metadata(request, LB_NAMESPACE, SERVED)
    return value.string_value or None if value is not None else None


def _metadata(request: Any, namespace: str, key: str) -> Any:
    """A ``google.protobuf.Value`` of the metadata context, or None. Look-ups must not create entries."""
    if not request.HasField("metadata_context"):
        return None
    namespaces = request.metadata_context.filter_metadata
    if namespace not in namespaces:
        return None
    fields = namespaces[namespace].fields
    return fields[key] if key in fields else None  # noqa: SIM401 -- a protobuf map's get() is not a dict's
