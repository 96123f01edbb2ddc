"""Borrowing Python buffers for a call, without copying."""

from array import array
from typing import TypeAlias

from cabi._native import ffi
from cabi.cdata import CData

Buffer: TypeAlias = "bytes | bytearray | memoryview | array[int]"
"""Anything contiguous with the buffer protocol; numpy arrays too."""


def view(data: Buffer) -> CData:
    """What a ``const void *`` parameter takes; the caller keeps ``data`` alive during the call."""
    return data if isinstance(data, bytes) else ffi.from_buffer(data)
