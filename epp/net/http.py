"""A keep-alive HTTP/1.1 client for one URL, one request at a time.

A picker reads a hundred pages a second from a hundred servers, forever, on the loop that also picks. This
client costs one protocol object per server and, per page, one write and a few reads; the reading itself is
``epp.wire.http1``. It is not a general client: no redirects, no cookies, no proxies.
"""

import asyncio
import ssl
from enum import StrEnum
from typing import cast

from epp.wire.http1 import BodyTooLargeError, HttpFormatError, Response, ResponseReader, build_request
from epp.wire.urls import Url


class FetchFailure(StrEnum):
    """Why there is no response: a metric label."""

    CONNECT = "connect"
    """No connection, or it broke before the response was whole."""
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    """The peer does not speak HTTP/1.x."""
    TOO_LARGE = "too-large"


class FetchError(Exception):
    """A request without a response."""

    def __init__(self, failure: FetchFailure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class _Connection(asyncio.Protocol):
    """One TCP connection; ``exchange`` answers once per request."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._answer: asyncio.Future[Response] | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def answering(self) -> bool:
        """Whether the peer had begun to answer the current request."""
        return self._reader is not None and self._reader.started

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one only by its methods

    def data_received(self, data: bytes) -> None:
        if self._reader is None:  # nobody asked: not a peer to go on with
            self.close()
            return
        try:
            response = self._reader.feed(data)
        except (HttpFormatError, BodyTooLargeError) as error:
            self._fail(error)
            return
        if response is not None:
            self._finish(response)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._reader is None or exc is not None:
            self._fail(exc or ConnectionResetError("closed by the peer"))
            return
        try:
            self._finish(self._reader.eof())
        except HttpFormatError as error:
            self._fail(error if self._reader.started else ConnectionResetError("closed by the peer"))

    async def exchange(self, request: bytes) -> Response:
        assert self._answer is None, "one request at a time"
        if self._transport is None:
            raise ConnectionResetError("closed by the peer")
        self._reader = ResponseReader(self._max_body_bytes)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def _finish(self, response: Response) -> None:
        self._reader = None
        if not response.keep_alive:
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(response)

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class HttpClient:
    """Asks one URL again and again over one connection, reopened when needed."""

    def __init__(self, url: Url, *, max_body_bytes: int, tls: ssl.SSLContext | None = None) -> None:
        """``tls`` verifies ``https`` servers; None: the system's certificate authorities."""
        self._url = url
        self._max_body_bytes = max_body_bytes
        self._tls = (tls or ssl.create_default_context()) if url.tls else None
        self._connection: _Connection | None = None

    async def fetch(self, method: str, timeout_s: float, body: bytes = b"") -> Response:
        """One response, whatever its status; raises FetchError."""
        request = build_request(method, self._url.target, self._url.host_header, body)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(request)
        except TimeoutError:
            raise self._broken(FetchFailure.TIMEOUT, f"no answer within {timeout_s:g} s") from None
        except BodyTooLargeError as error:
            raise self._broken(FetchFailure.TOO_LARGE, str(error)) from error
        except HttpFormatError as error:
            raise self._broken(FetchFailure.PROTOCOL, str(error)) from error
        except OSError as error:
            raise self._broken(FetchFailure.CONNECT, str(error) or type(error).__name__) from error
        except BaseException:
            self.close()  # cancelled in the middle of an answer
            raise

    def close(self) -> None:
        """Drop the connection; a later fetch opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _exchange(self, request: bytes) -> Response:
        kept = self._connection
        if kept is not None and kept.usable:
            try:
                return await kept.exchange(request)
            except OSError:
                if kept.answering:
                    raise
                # an idle connection the server closed as we wrote: ask again on a fresh one
        self._connection = await self._connect()
        return await self._connection.exchange(request)

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._max_body_bytes), self._url.host, self._url.port, ssl=self._tls
        )
        return connection

    def _broken(self, failure: FetchFailure, message: str) -> FetchError:
        self.close()
        return FetchError(failure, message)
