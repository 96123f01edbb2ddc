"""HTTP/1.1 responses, whole and in every possible pair of pieces."""

import pytest

from epp.wire.http1 import (
    BodyTooLargeError,
    HttpFormatError,
    Response,
    ResponseReader,
    build_request,
)

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\n\r\n"
TRAILERS = CHUNKED[:-2] + b"X-Checksum: 1\r\n\r\n"
ANNOUNCED = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + SIZED
WHOLE = {"sized": SIZED, "chunked": CHUNKED, "trailers": TRAILERS, "announced": ANNOUNCED}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE.keys())
def test_whole_and_split_anywhere(data: bytes) -> None:
    expected = Response(200, b"hello", keep_alive=True)
    assert ResponseReader(100).feed(data) == expected
    for cut in range(1, len(data)):
        reader = ResponseReader(100)
        assert reader.feed(data[:cut]) is None
        assert reader.feed(data[cut:]) == expected


def test_until_close() -> None:
    reader = ResponseReader(100)
    assert reader.feed(b"HTTP/1.0 200 OK\r\n\r\nhel") is None
    assert reader.feed(b"lo") is None
    assert reader.eof() == Response(200, b"hello", keep_alive=False)


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0", True),
        (b"HTTP/1.1 204 No Content", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0", True),
    ],
)
def test_keep_alive(head: bytes, keep_alive: bool) -> None:
    response = ResponseReader(100).feed(head + b"\r\n\r\n")
    assert response is not None
    assert response.keep_alive is keep_alive


def test_bytes_behind_the_response_end_the_connection() -> None:
    assert ResponseReader(100).feed(SIZED + b"x") == Response(200, b"hello", keep_alive=False)


@pytest.mark.parametrize("data", [SIZED, CHUNKED, b"HTTP/1.1 200 OK\r\n\r\nhello"])
def test_bodies_are_bounded(data: bytes) -> None:
    with pytest.raises(BodyTooLargeError):
        ResponseReader(4).feed(data)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello",
        b"H" * 70_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 5000,
    ],
)
def test_what_is_no_http(data: bytes) -> None:
    with pytest.raises(HttpFormatError):
        ResponseReader(1 << 20).feed(data)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200", SIZED[:-1], CHUNKED[:-2]])
def test_closed_too_early(data: bytes) -> None:
    reader = ResponseReader(100)
    assert reader.feed(data) is None
    assert reader.started is bool(data)
    with pytest.raises(HttpFormatError):
        reader.eof()


def test_requests() -> None:
    assert (
        build_request("GET", "/metrics", "h:1")
        == b"GET /metrics HTTP/1.1\r\nHost: h:1\r\nAccept: */*\r\n\r\n"
    )
    assert build_request("POST", "/e", "h:1").endswith(b"Content-Length: 0\r\n\r\n")
