"""One connection to a model server, for one exchange after the other."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, cast

import httptools

from frontend.http.api import Failure, Limits, UpstreamError
from frontend.http.exchange import Exchange
from frontend.http.heads import joined_in_response
from frontend.http.limits import PoolLimits

_FIRST_FINAL: Final = 200
_NO_BODY: Final = frozenset((HTTPStatus.NO_CONTENT.value, HTTPStatus.NOT_MODIFIED.value))
_JOIN_BYTES: Final = 16 * 1024
"""Bodies up to this size leave in one piece with their head; larger ones are not copied."""


class UpstreamConnection(asyncio.Protocol):
    """``on_free`` is told when another exchange may follow, ``on_lost`` when the connection is gone.

    What one read brings of a body is pushed on as one piece, however many chunks it came in.
    """

    def __init__(
        self,
        host_port: str,
        limits: PoolLimits,
        clock: Callable[[], float],
        on_free: Callable[["UpstreamConnection"], None],
        on_lost: Callable[["UpstreamConnection"], None],
    ) -> None:
        self.host_port = host_port
        self.now_s = clock
        self._limits = limits
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._keep_alive = False
        self._paused = False
        self._silent_bytes = 0
        self._pieces: list[bytes] = []
        """Of the body, from the read in progress."""
        self._whole = False
        """The response to the exchange was read to its end."""

    @property
    def usable(self) -> bool:
        """Whether a request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def begin(self, method: str, head: bytes, body: bytes, limits: Limits) -> Exchange:
        """Send a request; the connection must be usable and free."""
        assert self._transport is not None
        assert self._exchange is None, "one exchange at a time"
        exchange = self._exchange = Exchange(self, method, limits, self._limits.ahead_bytes)
        self._keep_alive = False
        self._silent_bytes = 0
        self._whole = False
        if len(body) <= _JOIN_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        return exchange

    def sweep(self, now_s: float) -> None:
        """Enforce the deadlines of the exchange."""
        if self._exchange is not None:
            self._exchange.expire(now_s)

    # frontend.http.exchange.Link

    def close(self) -> None:
        """Drop the connection (idempotent); the peer sees it at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read no more."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one only by its methods

    def data_received(self, data: bytes) -> None:
        """Bytes of the response."""
        exchange = self._exchange
        if exchange is None:  # nobody asked: not a peer to go on with
            self.close()
            return
        exchange.heard = True
        if exchange.started:
            exchange.touch()
        error = self._feed(data)
        if self._pieces:
            error = self._push(exchange) or error
        if self._whole:
            exchange.finish()
            self._free(reusable=error is None)
        elif error is not None:
            exchange.fail(error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone; for a body without a length that is its end."""
        self._transport = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            if exchange.until_eof and exc is None:
                exchange.finish()
            reason = f"the connection broke: {exc}" if exc else "the connection was closed"
            exchange.fail(UpstreamError(Failure.RESET, reason, answered=exchange.started))
        self._on_lost(self)

    # callbacks of the parser

    def on_message_begin(self) -> None:
        """A response, or one more than was asked for."""
        if self._whole:
            raise _broken("more than one response", answered=True)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line, or a trailer, which is dropped."""
        exchange = self._expecting()
        self._silent_bytes = 0
        exchange.head_bytes += len(name) + len(value) + 4
        if exchange.head_bytes > self._limits.max_head_bytes:
            raise self._too_large()
        if not exchange.started:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").rstrip(" \t")
            before = exchange.headers.get(key)
            exchange.headers[key] = text if before is None else joined_in_response(key, before, text)

    def on_headers_complete(self) -> None:
        """A head is whole; an interim one is skipped."""
        exchange = self._expecting()
        status = self._parser.get_status_code()
        if status < _FIRST_FINAL:
            exchange.headers.clear()
            return
        exchange.status = status
        self._keep_alive = self._parser.should_keep_alive()
        if exchange.method == "HEAD":
            self._keep_alive = False  # the parser cannot be told that no body follows
            self._whole = True
        elif status not in _NO_BODY:
            exchange.until_eof = _ends_with_connection(exchange.headers)
        exchange.begin_body()

    def on_body(self, piece: bytes) -> None:
        """A piece of the body; what follows a head that has none is not."""
        self._silent_bytes = 0
        if not self._whole:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """The response is whole, if it was a final one."""
        self._whole = self._expecting().started

    def _expecting(self) -> Exchange:
        assert self._exchange is not None, "data without an exchange are not fed"
        return self._exchange

    def _feed(self, data: bytes) -> Exception | None:
        """What ended the reading."""
        self._silent_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            return cause if isinstance(cause, Exception) else error
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            return _broken(f"not HTTP/1.1: {error}", answered=self._expecting().started)
        # header names and values reach a callback when they are whole; until then the parser stores them
        return self._too_large() if self._silent_bytes > self._limits.max_head_bytes else None

    def _push(self, exchange: Exchange) -> Exception | None:
        """What the sink raised."""
        pieces, self._pieces = self._pieces, []
        try:
            exchange.push(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        except Exception as error:  # noqa: BLE001 -- whoever waits for the exchange is told
            self._whole = False
            return error
        return None

    def _too_large(self) -> UpstreamError:
        answered = self._exchange is not None and self._exchange.started
        return UpstreamError(Failure.TOO_LARGE, "the headers are too large", answered=answered)

    def _free(self, *, reusable: bool) -> None:
        assert self._transport is not None
        self._exchange = None
        unsent_bytes = self._transport.get_write_buffer_size()
        if not reusable or not self._keep_alive or unsent_bytes or self._transport.is_closing():
            self.close()
            return
        self.resume()
        self._on_free(self)


def _broken(message: str, *, answered: bool) -> UpstreamError:
    return UpstreamError(Failure.PROTOCOL, message, answered=answered)


def _ends_with_connection(headers: dict[str, str]) -> bool:
    """Whether neither length nor chunks say where the body ends (RFC 9112, section 6.3)."""
    coding = headers.get("transfer-encoding")
    if coding is not None:
        return not coding.lower().endswith("chunked")
    return "content-length" not in headers
