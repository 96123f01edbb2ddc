from typing import Any

import pytest

from frontend.http.bodies import BodyBudget
from frontend.http.limits import ServerLimits
from frontend.http.reader import Incoming, RefusedError, RequestReader


class Heard:
    def __init__(self) -> None:
        self.heads: list[str] = []
        self.requests: list[Incoming] = []

    def head_read(self, incoming: Incoming) -> None:
        self.heads.append(incoming.target)

    def request_read(self, incoming: Incoming) -> None:
        self.requests.append(incoming)


def read(data: bytes, *, piece_bytes: int = 1 << 20, **limits: Any) -> list[Incoming]:
    heard = Heard()
    reader = RequestReader(ServerLimits(**limits), heard)
    for start in range(0, len(data), piece_bytes):
        reader.feed(data[start : start + piece_bytes])
    return heard.requests


def refused(data: bytes, **limits: Any) -> int:
    with pytest.raises(RefusedError) as caught:
        read(data, **limits)
    return caught.value.status


POST = b"POST /v1/x?a=1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a:  2 \r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\ntrailer: dropped\r\n\r\n"
)


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 1000])
def test_requests_in_pieces_of_any_size(piece_bytes: int) -> None:
    first, second, third = read(POST + CHUNKED + b"GET / HTTP/1.0\r\n\r\n", piece_bytes=piece_bytes)
    assert (first.method, first.target, b"".join(first.body)) == ("POST", "/v1/x?a=1", b"hello")
    assert first.headers == {"host": "h", "x-a": "1, 2", "content-length": "5"}
    assert first.keep_alive
    assert (second.target, b"".join(second.body)) == ("/c", b"abcde")
    assert "trailer" not in second.headers
    assert (third.version, third.keep_alive) == ("1.0", False)


def test_headers_that_come_twice_are_one_list() -> None:
    (request,) = read(
        b"GET / HTTP/1.1\r\nhost: h\r\nx-forwarded-for: a\r\nCookie: a=1\r\nX-Forwarded-For: b\r\n"
        b"cookie: b=2\r\nContent-Type: x\r\ncontent-type: y\r\n\r\n"
    )
    assert request.headers == {
        "host": "h",
        "x-forwarded-for": "a, b",
        "cookie": "a=1; b=2",
        "content-type": "y",
    }


def test_headers_are_counted_by_lines() -> None:
    assert refused(b"GET / HTTP/1.1\r\nhost: h\r\n" + b"a: b\r\n" * 9 + b"\r\n", max_headers=9) == 431


def test_bodies_have_a_bound_together() -> None:
    head, heard = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 6\r\n\r\n", Heard()
    bodies = BodyBudget(10)
    one, other = (RequestReader(ServerLimits(), heard, bodies) for _ in range(2))
    one.feed(head + b"123456")
    other.feed(head + b"1234")
    assert bodies.held_bytes == 10
    with pytest.raises(RefusedError) as caught:
        other.feed(b"56")
    assert (caught.value.status, bodies.held_bytes) == (503, 10)
    other.abandon()
    other.abandon()
    one.abandon()
    assert bodies.held_bytes == 6, "of the request that was read, whoever was told of it"


def test_connection_close_is_heeded() -> None:
    (request,) = read(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
    assert not request.keep_alive


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3, 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: +3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: -3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0x3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length:\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked, identity\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx: 1\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx : 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: h\r\n: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx: a\0b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx: a\rb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nhost: h\n\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: h\r\nhost: i\r\n\r\n", 400),
        (b"GET nowhere HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"GET ftp://h/ HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"FETCH / HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nhost: h\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (b"GET / HTTP/1.1\r\nhost: h\r\nexpect: miracles\r\n\r\n", 417),
    ],
)
def test_doubtful_heads_are_refused(head: bytes, status: int) -> None:
    assert refused(head) == status


@pytest.mark.parametrize(
    ("target", "origin"),
    [
        (b"http://h/p?q", "/p?q"),
        (b"HTTP://h", "/"),
        (b"https://h?q=/", "/?q=/"),
        (b"*", "*"),
        (b"//h/p", "//h/p"),
    ],
)
def test_forms_of_a_target(target: bytes, origin: str) -> None:
    (request,) = read(b"OPTIONS " + target + b" HTTP/1.1\r\nhost: h\r\n\r\n")
    assert request.target == origin


def test_a_body_too_large_by_its_length_is_refused_before_it_comes() -> None:
    assert refused(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 11\r\n\r\n", max_body_bytes=10) == 413


def test_a_chunked_body_is_refused_when_it_grows_too_large() -> None:
    head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    assert refused(head + b"6\r\nabcdef\r\n5\r\nabcde\r\n", max_body_bytes=10) == 413
    assert read(head + b"5\r\nabcde\r\n5\r\nabcde\r\n0\r\n\r\n", max_body_bytes=10)[0].body_bytes == 10


def test_a_length_of_more_digits_than_a_number_has_is_refused() -> None:
    head = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: "
    assert refused(head + b"0" * 5000 + b"5\r\n\r\nhello") == 400
    assert read(head + b"0005\r\n\r\nhello")[0].body_bytes == 5


def test_a_body_in_tiny_chunks_is_not_kept_as_tiny_objects() -> None:
    head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    large = b"x" * 5000
    pieces = [b"ab", b"cd", b"ef", large, b"gh"] * 20
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    (request,) = read(head + chunks + b"0\r\n\r\n")
    assert b"".join(request.body) == b"".join(pieces)
    assert len(request.body) == 2


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 300,
        b"GET / HTTP/1.1\r\nhost: h\r\n" + b"x" * 300,
        b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"x" * 300,
        b"GET / HTTP/1.1\r\nhost: h\r\n" + b"x: 12345678\r\n" * 30,
        b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x" * 300,
        b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: 12345678\r\n" * 30,
        b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x" * 300,
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 100])
def test_endless_heads_are_refused(head: bytes, piece_bytes: int) -> None:
    with pytest.raises(RefusedError) as caught:
        read(head, piece_bytes=piece_bytes, max_head_bytes=200)
    assert caught.value.status == 431


def test_many_headers_are_refused() -> None:
    lines = b"".join(b"x-%d: 1\r\n" % number for number in range(5))
    assert refused(b"GET / HTTP/1.1\r\nhost: h\r\n" + lines + b"\r\n", max_headers=5) == 431


@pytest.mark.parametrize("piece_bytes", [1, 11, 1000])
def test_an_upgrade_is_ignored_and_its_body_read(piece_bytes: int) -> None:
    asks = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: A\r\n"
    sized = b"POST /1 HTTP/1.1\r\nhost: h\r\n" + asks + b"content-length: 5\r\n\r\nhello"
    chunked = (
        b"POST /2 HTTP/1.1\r\nhost: h\r\n" + asks + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    )
    bare = b"GET /3 HTTP/1.1\r\nhost: h\r\n" + asks + b"\r\n"
    requests = read(sized + chunked + bare + POST, piece_bytes=piece_bytes)
    assert [r.target for r in requests] == ["/1", "/2", "/3", "/v1/x?a=1"]
    assert [b"".join(r.body) for r in requests] == [b"hello", b"ab", b"", b"hello"]


def test_idle_between_requests() -> None:
    reader = RequestReader(ServerLimits(), Heard())
    assert reader.idle
    reader.feed(b"\r\n")
    assert reader.idle
    reader.feed(POST[:-5])
    assert reader.in_body
    reader.feed(POST[-5:])
    assert reader.idle
    assert not reader.in_body
