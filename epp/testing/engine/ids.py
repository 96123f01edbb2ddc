"""The type of token ids inside the engine."""

from array import array
from collections.abc import Iterable
from typing import TypeAlias

TokenIds: TypeAlias = "array[int]"
"""``array("I")``: unsigned 32-bit ids, whose bytes hash fast (subscripted arrays exist since 3.12)."""


def ids(tokens: Iterable[int] = ()) -> TokenIds:
    """Token ids from anything that yields them; OverflowError beyond 32 bits."""
    return array("I", tokens)
