"""Names of Services, as a cluster's DNS answers for them: A records and nothing else (RFC 1035 section 4)."""

import asyncio
import ipaddress
import struct
from collections.abc import Mapping
from typing import Final, cast

_HEAD: Final = struct.Struct(">HHHHHH")
_A: Final = 1
_ANSWER_FLAGS: Final = 0x8580
"""A response, authoritative, recursion asked for and offered."""
_NO_SUCH_NAME: Final = 3
_TTL_S: Final = 5


class ClusterDns(asyncio.DatagramProtocol):
    """Answers out of ``table``: fully qualified name without the last dot, in lower case, to addresses."""

    def __init__(self, table: Mapping[str, tuple[str, ...]]) -> None:
        self._table = table
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to answer."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One query, one answer; what is no query is dropped."""
        assert self._transport is not None
        said = answer(data, self._table)
        if said:
            self._transport.sendto(said, addr)


def answer(query: bytes, table: Mapping[str, tuple[str, ...]]) -> bytes:
    """The answer to a query with one question; empty for anything else."""
    try:
        number, _flags, questions, *_ = _HEAD.unpack_from(query)
        name, end = _name(query)
        kind, _class = struct.unpack_from(">HH", query, end)
    except (struct.error, IndexError, UnicodeDecodeError):
        return b""
    if questions != 1:
        return b""
    found = table.get(name)
    addresses = found if found and kind == _A else ()
    flags = _ANSWER_FLAGS | (_NO_SUCH_NAME if found is None else 0)
    head = _HEAD.pack(number, flags, 1, len(addresses), 0, 0)
    records = b"".join(
        struct.pack(">HHHIH", 0xC000 | _HEAD.size, _A, 1, _TTL_S, 4) + ipaddress.ip_address(address).packed
        for address in addresses
    )
    return head + query[_HEAD.size : end + 4] + records


def _name(query: bytes) -> tuple[str, int]:
    at, labels = _HEAD.size, list[str]()
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode("ascii"))
        at += 1 + size
    return ".".join(labels).lower(), at + 1
