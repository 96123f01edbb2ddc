"""Invariant: any bytes are some events, the same ones however they are cut; what we write reads back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.sse import SseEvent, SseReader, event

_PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"data:",
                b"data: x",
                b"data",
                b"event: e",
                b"\n",
                b"\r",
                b"\r\n",
                b":",
                b"\xef\xbb\xbf",
                b"id: 1",
                b" ",
            ]
        ),
        st.binary(max_size=8),
    ),
    max_size=40,
)


@given(_PIECES)
def test_events_do_not_depend_on_the_cuts(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    expected = SseReader().feed(whole)
    by_piece, by_byte = SseReader(), SseReader()
    assert [found for piece in pieces for found in by_piece.feed(piece)] == expected
    assert [found for byte in whole for found in by_byte.feed(bytes([byte]))] == expected


@given(_PIECES, st.integers(min_value=1, max_value=30))
def test_the_bound_does_not_depend_on_the_cuts(pieces: list[bytes], bound: int) -> None:
    def too_large(cuts: list[bytes]) -> bool:
        reader = SseReader(bound)
        try:
            for cut in cuts:
                reader.feed(cut)
        except ValueError:
            return True
        return False

    whole = b"".join(pieces)
    assert too_large([whole]) == too_large([bytes([byte]) for byte in whole])


@given(
    st.binary(max_size=40),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8).map(str.strip),
)
def test_what_is_written_reads_back(data: bytes, name: str) -> None:
    expected = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert SseReader().feed(event(data, name)) == [SseEvent(name, expected)]


def test_a_line_that_never_ends_is_refused() -> None:
    reader = SseReader(max_event_bytes=100)
    for _ in range(100):
        reader.feed(b"x")
    with pytest.raises(ValueError, match="more than 100 bytes"):
        reader.feed(b"x")
