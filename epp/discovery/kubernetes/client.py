"""Calls to the Kubernetes API: one answer, or the lines of a lasting one. A connection for each.

Calls are rare (a watch lasts minutes), so nothing is kept between them: every call reads the token and the
certificates anew and finds the server anew behind its name. Only what a credential plugin hands out is kept,
by who runs it; if the server refuses it, the call is made once more with what the plugin says then.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import httptools

from epp.discovery.kubernetes.access import Access, AccessError
from epp.discovery.kubernetes.execplugin import PluginRunner
from epp.net.http import FetchError, FetchFailure
from epp.net.reading import feed, read_some
from epp.wire.kubernetes.api import Status, read_status
from epp.wire.kubernetes.execplugin import Credential

MAX_PAGE_BYTES: Final = 64 * 1024 * 1024
"""A page of 500 objects of ordinary size has 5 MB; an object has 1.5 MB at most."""
MAX_LINE_BYTES: Final = 8 * 1024 * 1024
"""An event holds one object."""
_MAX_REFUSAL_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 256 * 1024
_CONNECT_S: Final = 5.0
_UNAUTHORIZED: Final = 401
_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A server that vanished without a word is missed after half a minute."""


class RefusedError(Exception):
    """The API answered, and refuses."""

    def __init__(self, status: int, said: Status, retry_after_s: float) -> None:
        super().__init__(said.message or f"status {status}")
        self.status = status
        self.retry_after_s = retry_after_s
        """How long the API asks to be left alone; 0: it does not."""


class _Answer:
    """Parser callbacks: the head, and the pieces of the body as they come."""

    def __init__(self) -> None:
        self.status = 0
        """0: the head is not whole yet."""
        self.is_over = False
        self.retry_after_s = 0.0
        self._pieces: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 5:
            self.retry_after_s = float(value)

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self.is_over = True

    def feed(self, data: bytes) -> bytes:
        """The part of the body in ``data``; raises FetchError for what is not HTTP."""
        feed(self._parser, data)
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class ApiClient:
    """Asks one API server."""

    def __init__(self, access: Access) -> None:
        self._access = access
        plugin = access.config.plugin
        self._plugin = None if plugin is None else PluginRunner(plugin, access.folder, access.authority)

    @property
    def host(self) -> str:
        """Who is asked, for messages."""
        return self._access.host

    async def get(self, target: str, timeout_s: float) -> bytes:
        """One answer; raises RefusedError, FetchError, AccessError."""
        body = bytearray()
        try:
            async with asyncio.timeout(timeout_s), aclosing(self._pieces(target, None)) as pieces:
                async for piece in pieces:
                    body += piece
                    _limit(len(body), MAX_PAGE_BYTES, "an answer")
        except TimeoutError:
            raise FetchError(FetchFailure.TIMEOUT, f"no answer within {timeout_s:g} s") from None
        return bytes(body)

    async def lines(self, target: str, idle_s: float) -> AsyncGenerator[list[bytes], None]:
        """The lines of the answer, in batches as they come, until the server ends it or ``idle_s`` pass
        without a byte; an empty batch first, as soon as the server agrees. Raises as :meth:`get`; close the
        iterator (``contextlib.aclosing``)."""
        rest = bytearray()
        async with aclosing(self._pieces(target, idle_s)) as pieces:
            async for piece in pieces:
                rest += piece
                *lines, rest = rest.split(b"\n") if b"\n" in piece else (rest,)
                if lines or not piece:
                    yield [bytes(line) for line in lines if line]
                _limit(len(rest), MAX_LINE_BYTES, "a line")

    async def _pieces(self, target: str, idle_s: float | None) -> AsyncGenerator[bytes, None]:
        """The body of a 200 as it comes, after an empty piece; a silence of ``idle_s`` ends it."""
        while True:
            handed_out = None if self._plugin is None else await self._plugin.credential()
            try:
                async with aclosing(self._answer(target, idle_s, handed_out)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except RefusedError as error:
                if error.status != _UNAUTHORIZED or not self._has_others(handed_out):
                    raise

    def _has_others(self, refused: Credential | None) -> bool:
        """Whether there are other credentials to try at once; not twice in a row, see PluginRunner."""
        return self._plugin is not None and refused is not None and self._plugin.refused(refused)

    async def _answer(
        self, target: str, idle_s: float | None, handed_out: Credential | None
    ) -> AsyncGenerator[bytes, None]:
        """See :meth:`_pieces`; ``handed_out`` by the plugin, if there is one."""
        reader, writer = await self._connect(target, handed_out)
        try:
            answer, refusal, agreed = _Answer(), bytearray(), False
            while not answer.is_over:
                data = await read_some(reader, idle_s, _READ_BYTES)
                if data is None:
                    return
                piece = answer.feed(data)
                if answer.status == 200:
                    if not agreed:
                        yield b""
                    agreed = True
                    if piece:
                        yield piece
                elif piece and len(refusal) < _MAX_REFUSAL_BYTES:
                    refusal += piece
            if answer.status != 200:
                raise RefusedError(answer.status, read_status(bytes(refusal)), answer.retry_after_s)
        finally:
            writer.transport.abort()

    async def _connect(
        self, target: str, handed_out: Credential | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        server = self._access.config.server
        try:
            token, tls = await asyncio.to_thread(self._credentials, handed_out)
        except (OSError, ssl.SSLError) as error:
            self._has_others(handed_out)
            raise AccessError(f"the credentials cannot be read: {error}") from error
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(
                    server.host,
                    server.port,
                    ssl=tls,
                    server_hostname=self._access.config.server_name if tls else None,
                )
        except OSError as error:  # TimeoutError and ssl.SSLError are
            raise FetchError(FetchFailure.CONNECT, str(error) or "no connection in time") from error
        _keep_alive(writer)
        writer.write(_request(server.target.rstrip("/") + target, server.host_header, token))
        return reader, writer

    def _credentials(self, handed_out: Credential | None) -> tuple[str | None, ssl.SSLContext | None]:
        token = self._access.token() if handed_out is None else handed_out.token
        return token, self._access.tls(handed_out)


def _request(target: str, host: str, token: str | None) -> bytes:
    asked = [f"GET {target} HTTP/1.1", f"Host: {host}", "Accept: application/json", "User-Agent: epp"]
    if token is not None:
        asked.append(f"Authorization: Bearer {token}")
    return "\r\n".join((*asked, "", "")).encode("ascii")


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    peer: socket.socket = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):  # not on every system
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _limit(size: int, limit: int, what: str) -> None:
    if size > limit:
        raise FetchError(FetchFailure.TOO_LARGE, f"{what} of more than {limit} bytes")
