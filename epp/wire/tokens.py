"""Token ids as the flat little-endian u32 buffers the core works on."""

import sys
from array import array
from collections.abc import Iterable

_U32_BYTES = 4
assert array("I").itemsize == _U32_BYTES


class TokenRangeError(ValueError):
    """A token id does not fit into 32 bits."""


def flat_tokens(token_ids: Iterable[int]) -> bytes:
    """``token_ids`` as flat little-endian u32; raises TokenRangeError."""
    try:
        flat = array("I", token_ids)
    except OverflowError:
        raise TokenRangeError("a token id does not fit into 32 bits") from None
    if sys.byteorder == "big":
        flat.byteswap()
    return flat.tobytes()


def token_ids(flat: bytes) -> list[int]:
    """Flat little-endian u32 as numbers; raises ValueError if the buffer ends within one."""
    ids = array("I")
    ids.frombytes(flat)
    if sys.byteorder == "big":
        ids.byteswap()
    return ids.tolist()
