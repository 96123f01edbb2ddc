"""Structs of the core as rows of numbers: one call packs or reads a row, where cffi takes one per field."""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from cabi._native import ffi

_CODES: Final = {"uint32_t": "I", "int32_t": "i", "uint64_t": "Q", "double": "d"}


def fields(struct: str) -> tuple[str, ...]:
    """Names of a struct's fields, in order."""
    return tuple(name for name, _ in ffi.typeof(struct).fields)


def row(struct: str, names: Sequence[str]) -> Struct:
    """Some fields of a struct as they lie side by side in memory.

    Raises ValueError if they do not: the names are out of order, one is left out, or there is padding.
    """
    known = dict(ffi.typeof(struct).fields)
    begin = end = known[names[0]].offset
    for name in names:
        if known[name].offset != end:
            raise ValueError(f"{struct}.{name} does not follow the field named before it")
        end += ffi.sizeof(known[name].type)
    made = Struct("=" + "".join(_CODES[known[name].type.cname] for name in names))
    assert made.size == end - begin
    return made
