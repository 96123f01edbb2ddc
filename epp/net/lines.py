"""An HTTP/1.1 response whose body is lines that come as they happen, for as long as both sides like."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from typing import Final

import httptools

from epp.net.http import FetchError, FetchFailure
from epp.net.reading import feed, read_some
from epp.wire.http1 import build_request
from epp.wire.urls import Url

_READ_BYTES: Final = 64 * 1024


class _Body:
    """Parser callbacks: the status, and the body cut into lines."""

    def __init__(self) -> None:
        self.status = 0
        self.is_over = False
        self.rest_bytes = 0
        """Of the line that has not ended."""
        self._rest: list[bytes] = []
        self._lines: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        first, *more = piece.split(b"\n")
        self._keep(first)
        for line in more:
            self._lines.append(b"".join(self._rest))
            self._rest, self.rest_bytes = [], 0
            self._keep(line)

    def on_message_complete(self) -> None:
        self.is_over = True

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes; raises FetchError for what is not HTTP."""
        feed(self._parser, data)
        lines, self._lines = self._lines, []
        return lines

    def _keep(self, part: bytes) -> None:
        self._rest.append(part)
        self.rest_bytes += len(part)


async def post_for_lines(
    url: Url,
    body: bytes,
    *,
    tls: ssl.SSLContext | None,
    connect_s: float,
    idle_s: float,
    max_line_bytes: int,
) -> AsyncGenerator[bytes, None]:
    """The lines of the answer, until the peer ends it or ``idle_s`` pass without a byte of it.

    Raises FetchError when it cannot be had, breaks, is not a 200 or has a longer line. Close the iterator
    (``contextlib.aclosing``): that closes the connection.
    """
    try:
        async with asyncio.timeout(connect_s):
            reader, writer = await asyncio.open_connection(url.host, url.port, ssl=tls)
    except OSError as error:  # TimeoutError is one
        raise FetchError(FetchFailure.CONNECT, str(error) or "no connection in time") from error
    try:
        writer.write(build_request("POST", url.target, url.host_header, body))
        content = _Body()
        while not content.is_over:
            data = await read_some(reader, idle_s, _READ_BYTES)
            if data is None:
                return
            lines = content.feed(data)
            if content.status not in (0, 200):
                raise FetchError(FetchFailure.PROTOCOL, f"status {content.status}")
            for line in lines:
                yield line
            if content.rest_bytes > max_line_bytes:
                raise FetchError(FetchFailure.TOO_LARGE, f"a line of more than {max_line_bytes} bytes")
    finally:
        writer.transport.abort()
