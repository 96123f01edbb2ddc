"""A reply on its way to one client: heads, chunked framing, and the promise of a content-length."""

import asyncio
from http import HTTPStatus
from typing import Final

from epp.core.outcomes import HeaderPairs
from frontend.http.api import Flow
from frontend.http.heads import LAST_CHUNK, Dates, content_length, response_head

_NO_BODY: Final = frozenset((HTTPStatus.NO_CONTENT.value, HTTPStatus.NOT_MODIFIED.value))
_CLOSE: Final = "connection: close\r\n"


class ReplyError(RuntimeError):
    """The handler uses its reply wrongly; the client is cut off, never given a wrong length."""


class Responder:
    """Implements :class:`frontend.http.api.Reply`. Pieces pushed after the client left are dropped.

    The head waits for the first piece and leaves with it in one write, or by itself before the loop looks
    at its sockets again.
    """

    __slots__ = (
        *(
            "_chunked",
            "_dates",
            "_full",
            "_head",
            "_head_only",
            "_left",
            "_loop",
            "_silent",
            "_source",
            "_transport",
        ),
        *("_version", "ended", "keep_alive", "started"),
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        dates: Dates,
        *,
        method: str = "GET",
        version: str = "1.1",
        keep_alive: bool = True,
        full: bool = False,
    ) -> None:
        """``full``: the client's socket takes nothing at the moment."""
        self._transport: asyncio.Transport | None = transport
        self._loop = loop
        self._dates = dates
        self._version = version
        self._head_only = method == "HEAD"
        self._silent = False
        self._full = full
        self._source: Flow | None = None
        self._head = b""
        self._left: int | None = None
        self._chunked = False
        self.started = False
        self.ended = False
        self.keep_alive = keep_alive
        """Whether the connection may serve another request after this one."""

    def start(self, status: int, headers: HeaderPairs) -> None:
        """See :class:`Reply`. Raises ReplyError, and HeadError for headers that cannot be sent."""
        if self.started:
            raise ReplyError("start() comes once")
        length = content_length(headers)
        head = response_head(status, headers, self._frame(status, length), self._dates.line())
        self.started = True
        self._head = head
        self._loop.call_soon(self._flush)

    def data(self, piece: bytes) -> None:
        """See :class:`Reply`. Raises ReplyError."""
        if not self.started or self.ended:
            raise ReplyError("data() comes between start() and end()")
        if self._left is not None:
            self._left -= len(piece)
            if self._left < 0:
                self.abort()
                raise ReplyError("more bytes than content-length")
        if self._transport is None or self._silent or not piece:
            return
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        if self._head:
            piece, self._head = self._head + piece, b""
        self._transport.write(piece)

    def end(self) -> None:
        """See :class:`Reply`. Raises ReplyError."""
        if not self.started or self.ended:
            raise ReplyError("end() comes once, after start()")
        if self._left and not self._silent:
            self.abort()
            raise ReplyError(f"{self._left} bytes less than content-length")
        rest = self._head + LAST_CHUNK if self._chunked and not self._silent else self._head
        self._head = b""
        self.ended = True
        self._source = None
        if rest and self._transport is not None:
            self._transport.write(rest)

    def abort(self) -> None:
        """Cut the client off: it sees a broken answer, not a short one (idempotent)."""
        self.ended = True
        self.keep_alive = False
        self._source = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def attach(self, source: Flow | None) -> None:
        """See :class:`Sink`."""
        self._source = source
        if source is not None and self._full:
            source.pause()

    # for the connection

    def hold(self) -> None:
        """The client's socket is full."""
        self._full = True
        if self._source is not None:
            self._source.pause()

    def release(self) -> None:
        """The client's socket takes bytes again."""
        self._full = False
        if self._source is not None:
            self._source.resume()

    def lose(self) -> None:
        """The client is gone."""
        self._transport = None
        self._source = None

    def _frame(self, status: int, length: int | None) -> str:
        """The framing lines, by RFC 9112, section 6.3."""
        close = "" if self.keep_alive else _CLOSE
        no_body = status in _NO_BODY
        self._silent = no_body or self._head_only
        self._left = None if no_body else length
        self._chunked = False
        if no_body:
            return close
        if length is not None:
            return f"content-length: {length}\r\n{close}"
        if self._version == "1.1":
            self._chunked = True
            return f"transfer-encoding: chunked\r\n{close}"
        self.keep_alive = False
        return _CLOSE

    def _flush(self) -> None:
        if self._head and self._transport is not None:
            self._transport.write(self._head)
        self._head = b""
