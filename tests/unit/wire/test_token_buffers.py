"""Flat token buffers: four little-endian bytes per id, both ways."""

import pytest

from epp.wire.tokens import TokenRangeError, flat_tokens, token_ids


def test_ids_become_bytes_and_ids_again() -> None:
    ids = [0, 1, 258, 2**32 - 1]
    assert flat_tokens(ids) == b"\0\0\0\0\1\0\0\0\2\1\0\0\xff\xff\xff\xff"
    assert token_ids(flat_tokens(ids)) == ids
    assert token_ids(b"") == []


@pytest.mark.parametrize("beyond", [-1, 2**32])
def test_ids_beyond_32_bits_are_refused(beyond: int) -> None:
    with pytest.raises(TokenRangeError):
        flat_tokens([beyond])


def test_half_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple of item size"):
        token_ids(b"\0\0\0\0\1")
