"""Responses and event streams however their bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.testing.load.http1 import EventReader, ResponseError, ResponseReader

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nX-Served-By: e-0\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n7\r\n, world\r\n0\r\ntrailer: 1\r\n\r\n"
)
SIZED = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngone"
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.lists(st.integers(0, 1000), max_size=20))
def test_a_chunked_response_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    reader = ResponseReader()
    body = b"".join(reader.feed(piece) for piece in pieces(CHUNKED, cuts))
    assert (reader.status, body, reader.done, reader.keep_alive) == (200, b"hello, world", True, True)
    assert reader.headers["x-served-by"] == "e-0"


@given(st.lists(st.integers(0, 1000), max_size=20))
def test_a_sized_response_after_an_interim_one(cuts: list[int]) -> None:
    reader = ResponseReader()
    body = b"".join(reader.feed(piece) for piece in pieces(SIZED, cuts))
    assert (reader.status, body, reader.done, reader.keep_alive) == (404, b"gone", True, False)


def test_a_response_without_length_ends_with_its_connection() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") == b"abc"
    assert not reader.done
    reader.closed()
    assert reader.done


def test_a_connection_that_closes_too_early_is_an_error() -> None:
    reader = ResponseReader()
    reader.feed(CHUNKED[:-10])
    with pytest.raises(ResponseError, match="closed"):
        reader.closed()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_response_or_a_response_error(data: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"):
        reader = ResponseReader()
        try:
            reader.feed(prefix + data)
            reader.closed()
        except ResponseError:
            continue


@given(st.lists(st.integers(0, 1000), max_size=20))
def test_events_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    stream = b'data: {"a":1}\n\n: comment\n\ndata: two\ndata: lines\n\ndata:[DONE]\r\n\r\n'
    whole = EventReader().feed(stream)
    assert whole == [b'{"a":1}', b"two\nlines", b"[DONE]"]
    reader = EventReader()
    assert [event for piece in pieces(stream, cuts) for event in reader.feed(piece)] == whole
