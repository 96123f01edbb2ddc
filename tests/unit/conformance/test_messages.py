"""Our gateway's messages are what the picker of this repository reads, written by nobody who knew it."""

import pytest

from epp.conformance import messages
from epp.conformance.messages import BUFFERED, DUPLEX, Modes
from epp.core.events import (
    BodyMode,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)
from epp.core.events import Modes as CoreModes
from epp.wire.extproc_read import read_request


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (None, None),
        (DUPLEX, CoreModes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.FULL_DUPLEX_STREAMED)),
        (BUFFERED, CoreModes(BodyMode.BUFFERED, BodyMode.BUFFERED)),
    ],
)
def test_heads_tell_the_modes(modes: Modes | None, expected: CoreModes | None) -> None:
    message = messages.request_head({":method": "POST"}, end_of_stream=False, modes=modes)
    assert read_request(message) == RequestHeaders({":method": "POST"}, modes=expected)


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        (None, None),
        ([], ()),
        (["10.0.0.1:80", "[::1]:80"], ("10.0.0.1:80", "[::1]:80")),
        ("10.0.0.1:80, 10.0.0.2:80", ("10.0.0.1:80", "10.0.0.2:80")),
    ],
)
def test_hints_come_with_heads_and_bodies(subset: list[str] | str | None, expected: object) -> None:
    head = read_request(messages.request_head({}, end_of_stream=True, modes=None, subset=subset))
    body = read_request(messages.request_body(b"x", end_of_stream=True, subset=subset))
    assert isinstance(head, RequestHeaders)
    assert isinstance(body, RequestBody)
    assert (head.subset, body.subset) == (expected, expected)


def test_the_other_messages() -> None:
    served = "10.0.0.1:80"
    assert read_request(messages.request_body(b"x", end_of_stream=False)) == RequestBody(b"x")
    assert isinstance(read_request(messages.request_trailers({})), RequestTrailers)
    head = read_request(messages.response_head({":status": "200"}, served))
    assert head == ResponseHeaders({":status": "200"}, served=served)
    body = read_request(messages.response_body(b"x", None, end_of_stream=True))
    assert body == ResponseBody(b"x", end_of_stream=True)
    assert isinstance(read_request(messages.response_trailers({"a": "b"})), ResponseTrailers)
