"""Reading ext_proc messages: header values, modes, metadata."""

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from epp.core.events import (
    BodyMode,
    Modes,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)
from epp.wire.extproc_read import read_request

HINT, HINT_KEY = "envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset"
SERVED = "x-gateway-destination-endpoint-served"


def head() -> pb.ProcessingRequest:
    request = pb.ProcessingRequest()
    request.request_headers.SetInParent()
    return request


def test_header_values_come_raw_or_not() -> None:
    request = head()
    headers = request.request_headers.headers.headers
    headers.add(key="X-Raw", raw_value="é".encode())
    headers.add(key="x-plain", value="b")
    headers.add(key="x-twice", raw_value=b"1")
    headers.add(key="x-twice", raw_value=b"2")
    headers.add(key="x-odd", raw_value=b"a\xff")
    event = read_request(request.SerializeToString())
    expected = {"x-raw": "é", "x-plain": "b", "x-twice": "2", "x-odd": "a\ufffd"}
    assert event == RequestHeaders(expected, end_of_stream=False)


@pytest.mark.parametrize(
    ("request_mode", "response_mode", "expected"),
    [
        (4, 0, Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE)),
        (2, 1, Modes(BodyMode.BUFFERED, BodyMode.STREAMED)),
        (0, 0, Modes(BodyMode.NONE, BodyMode.NONE)),
        (9, 5, Modes(BodyMode.GRPC, BodyMode.GRPC)),
    ],
)
def test_modes(request_mode: int, response_mode: int, expected: Modes) -> None:
    request = head()
    request.protocol_config.SetInParent()
    request.protocol_config.request_body_mode = request_mode
    request.protocol_config.response_body_mode = response_mode
    event = read_request(request.SerializeToString())
    assert isinstance(event, RequestHeaders)
    assert event.modes == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["10.0.0.1:80", "[::1]:81"], ("10.0.0.1:80", "[::1]:81")),
        ("10.0.0.1:80,10.0.0.2", ("10.0.0.1:80", "10.0.0.2")),
        ([], ()),
        ("", ()),
        (7, ()),
        (None, ()),
        ({"a": "b"}, ()),
    ],
)
@pytest.mark.parametrize("kind", ["request_headers", "request_body", "request_trailers"])
def test_the_hint_on_any_request_message(kind: str, value: object, expected: tuple[str, ...]) -> None:
    request = pb.ProcessingRequest()
    getattr(request, kind).SetInParent()
    request.metadata_context.filter_metadata[HINT].update({HINT_KEY: value})
    event = read_request(request.SerializeToString())
    assert isinstance(event, RequestHeaders | RequestBody | RequestTrailers)
    assert event.subset == expected


@pytest.mark.parametrize("namespace", ["other", HINT])
def test_other_metadata_is_no_hint(namespace: str) -> None:
    request = head()
    request.metadata_context.filter_metadata[namespace].update({"other": "x"})
    event = read_request(request.SerializeToString())
    assert isinstance(event, RequestHeaders)
    assert event.subset is None


@pytest.mark.parametrize(("value", "expected"), [("10.0.0.1:80", "10.0.0.1:80"), ("", None), (["x"], None)])
@pytest.mark.parametrize("kind", ["response_headers", "response_body"])
def test_who_served(kind: str, value: object, expected: str | None) -> None:
    request = pb.ProcessingRequest()
    getattr(request, kind).end_of_stream = True
    request.metadata_context.filter_metadata["envoy.lb"].update({SERVED: value})
    event = read_request(request.SerializeToString())
    assert isinstance(event, ResponseHeaders | ResponseBody)
    assert (event.served, event.end_of_stream) == (expected, True)


def test_bodies_and_trailers() -> None:
    body = pb.ProcessingRequest(request_body={"body": b"a", "end_of_stream_without_message": True})
    assert read_request(body.SerializeToString()) == RequestBody(b"a", end_of_stream=True)
    trailers = pb.ProcessingRequest()
    trailers.response_trailers.SetInParent()
    assert read_request(trailers.SerializeToString()) == ResponseTrailers()
