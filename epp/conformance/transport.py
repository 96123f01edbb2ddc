"""How the picker is reached: plaintext HTTP/2, or TLS as gateways really do it.

gRPC's Python library can not skip the verification of a certificate, which is what gateways do with
pickers that sign their own (no name in it, no CA). So TLS ends in a relay on loopback: plaintext on our side,
Python's own TLS on the picker's.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

_READ_BYTES: Final = 256 * 1024


class Security(StrEnum):
    """What the connection is protected by."""

    PLAINTEXT = "plaintext"
    UNVERIFIED = "TLS, certificate not verified"
    VERIFIED = "TLS, certificate verified"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the picker listens, and how to speak to it."""

    host: str
    port: int
    security: Security = Security.UNVERIFIED
    ca_path: str | None = None
    """PEM file of the CAs that must have signed the certificate; with :attr:`Security.VERIFIED`."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a TLS handshake agreed on."""

    version: str
    alpn: str | None


def parse_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, IPv6 in brackets. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not (colon and bare and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ValueError(f"{text!r} is not HOST:PORT")
    if ":" in bare and not host.startswith("["):
        raise ValueError(f"{text!r}: an IPv6 address needs brackets")
    return bare, int(port)


async def shake_hands(address: Address, timeout_s: float) -> Handshake:
    """One handshake. Raises OSError (ssl.SSLError among them) and TimeoutError."""
    async with asyncio.timeout(timeout_s):
        _, writer = await _connect(address)
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    agreed = Handshake(tls.version() or "?", tls.selected_alpn_protocol())
    writer.transport.abort()
    return agreed


@asynccontextmanager
async def reached(address: Address) -> AsyncGenerator[str]:
    """An address that gRPC can speak plaintext to, for as long as the block lasts."""
    if address.security is Security.PLAINTEXT:
        yield str(address)
        return
    relays: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(partial(_relay, address, relays), "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)


def _context(address: Address) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=address.ca_path)
    if address.security is Security.UNVERIFIED:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        address.host, address.port, ssl=_context(address), server_hostname=address.host
    )


async def _relay(
    address: Address,
    relays: set[asyncio.Task[None]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    task = asyncio.current_task()
    assert task is not None
    relays.add(task)
    try:
        far_reader, far_writer = await _connect(address)
        try:
            await _until_one_ends(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.transport.abort()
    except (OSError, asyncio.CancelledError):
        pass  # gRPC sees the closed connection and says so; a cancellation comes from the end of the block
    finally:
        writer.transport.abort()
        relays.discard(task)


async def _until_one_ends(*ways: Coroutine[None, None, None]) -> None:
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
