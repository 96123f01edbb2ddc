"""Bytes of a connection → whole requests. No I/O; llhttp (by httptools) reads, this adds what it leaves open.

Strict where requests get smuggled (RFC 9112, sections 5.2, 6.1 and 11.2): one ``content-length`` or one
``transfer-encoding: chunked``, never both; one ``host``; no folded lines. All sizes are bounded, also those
of pieces the parser holds back until they are whole.
"""

from typing import Final, Protocol

import httptools

from frontend.http.bodies import BodyBudget
from frontend.http.heads import joined_in_request
from frontend.http.limits import ServerLimits

_SINGLE: Final = frozenset(("content-length", "transfer-encoding", "host"))
_EXPECTED: Final = "100-continue"
_TINY_BYTES: Final = 4096
_MAX_DIGITS: Final = 19
"""Of a length: what Python takes for a number has a bound, too."""


class RefusedError(Exception):
    """What a client sent is not served, and nothing after it can be trusted: answer, then close."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Incoming:
    """One request while it is read."""

    __slots__ = (
        "body",
        "body_bytes",
        "expects",
        "head_bytes",
        "header_lines",
        "headers",
        "keep_alive",
        "method",
        "target",
        "version",
    )

    def __init__(self) -> None:
        self.method = ""
        self.target = ""
        """Path and query as sent."""
        self.version = ""
        """``1.1`` or ``1.0``."""
        self.headers: dict[str, str] = {}
        self.keep_alive = False
        self.expects = False
        """The client waits for ``100 Continue`` before it sends the body."""
        self.head_bytes = 0
        self.header_lines = 0
        self.body: list[bytes | bytearray] = []
        self.body_bytes = 0


class Listener(Protocol):
    """Who is told."""

    def head_read(self, incoming: Incoming) -> None:
        """A head is whole; its body follows."""
        ...

    def request_read(self, incoming: Incoming) -> None:
        """A request is whole."""
        ...


class RequestReader:
    """Feed it what arrives; it tells the listener. After a refusal it takes nothing more."""

    __slots__ = (
        "_bodies",
        "_incoming",
        "_limits",
        "_listener",
        "_parser",
        "_reading_body",
        "_replaying",
        "_silent_bytes",
        "_upgrade",
    )

    def __init__(self, limits: ServerLimits, listener: Listener, bodies: BodyBudget | None = None) -> None:
        """``bodies``: what is held of bodies is taken from it; whoever is told of a request gives it back."""
        self._bodies = bodies or BodyBudget(limits.max_bodies_bytes)
        self._limits = limits
        self._listener = listener
        self._parser = httptools.HttpRequestParser(self)
        self._incoming: Incoming | None = None
        self._reading_body = False
        self._replaying = False
        self._upgrade = False
        self._silent_bytes = 0

    @property
    def idle(self) -> bool:
        """Between two requests."""
        return self._incoming is None

    @property
    def in_body(self) -> bool:
        """The head of a request was read, its body is awaited."""
        return self._incoming is not None and self._reading_body

    def feed(self, data: bytes) -> None:
        """Raises RefusedError."""
        while data:
            data = self._feed(data)
        if self._incoming is None:
            self._silent_bytes = 0

    def abandon(self) -> None:
        """Nothing more will be read: forget the request that was under way (idempotent)."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            self._bodies.give(incoming.body_bytes)

    def _feed(self, data: bytes) -> bytes:
        """What is left for a fresh parser."""
        self._silent_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, RefusedError):
                raise error.__context__ from None
            raise
        except httptools.HttpParserError as error:
            raise RefusedError(400, f"The request is not HTTP/1.1: {error}.") from error
        # header names and values reach a callback when they are whole; until then the parser stores them
        if self._silent_bytes > self._limits.max_head_bytes and self._incoming is not None:
            raise RefusedError(431, "The headers are too large.")
        return b""

    def _ignore_upgrade(self, rest: bytes) -> bytes:
        """Go on in HTTP/1.1, as a server may (RFC 9110, section 7.8): the parser took the head to be the
        last of it, so another one is told of the body to come."""
        incoming = self._incoming
        self._parser = httptools.HttpRequestParser(self)
        if incoming is not None:
            self._replaying = True
            name = "content-length" if "content-length" in incoming.headers else "transfer-encoding"
            head = f"POST / HTTP/1.1\r\n{name}: {incoming.headers[name]}\r\n\r\n"
            self._parser.feed_data(head.encode("latin-1"))
            self._replaying = False
        return rest

    # callbacks of the parser

    def on_message_begin(self) -> None:
        """A request line begins."""
        if not self._replaying:
            self._incoming = Incoming()
            self._reading_body = False
            self._upgrade = False

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        if self._replaying:
            return
        incoming = self._expecting()
        incoming.target += url.decode("latin-1")
        self._grow(incoming, len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line, or a trailer, which is dropped."""
        if self._replaying:
            return
        incoming = self._expecting()
        self._silent_bytes = 0
        self._grow(incoming, len(name) + len(value) + 4)
        if self._reading_body:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").rstrip(" \t")
        incoming.header_lines += 1
        if incoming.header_lines > self._limits.max_headers:
            raise RefusedError(431, "There are too many headers.")
        before = incoming.headers.get(key)
        if before is not None and key in _SINGLE:
            raise RefusedError(400, f"There is more than one {key}.")
        incoming.headers[key] = text if before is None else joined_in_request(key, before, text)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._replaying:
            return
        incoming = self._expecting()
        self._silent_bytes = 0
        self._reading_body = True
        parser = self._parser
        incoming.method = parser.get_method().decode("latin-1")
        incoming.version = parser.get_http_version()
        incoming.keep_alive = incoming.version == "1.1" and parser.should_keep_alive()
        _check_head(incoming)
        has_body = _check_framing(incoming.headers, self._limits.max_body_bytes)
        self._upgrade = has_body and parser.should_upgrade()
        self._listener.head_read(incoming)

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        incoming = self._expecting()
        self._silent_bytes = 0
        if incoming.body_bytes + len(piece) > self._limits.max_body_bytes:
            raise _too_large(self._limits.max_body_bytes)
        if not self._bodies.take(len(piece)):
            raise RefusedError(503, "Too many request bodies are held at the moment.")
        incoming.body_bytes += len(piece)
        pieces = incoming.body
        if pieces and isinstance(last := pieces[-1], bytearray):
            last += piece
        else:
            # an object of its own for every tiny chunk would cost far more than what is in it
            pieces.append(bytearray(piece) if pieces and len(piece) < _TINY_BYTES else piece)

    def on_message_complete(self) -> None:
        """The request is whole, unless an upgrade hides its body."""
        if self._upgrade:
            self._upgrade = False
            return
        incoming = self._expecting()
        self._incoming = None
        self._listener.request_read(incoming)

    def _expecting(self) -> Incoming:
        assert self._incoming is not None, "the parser reports a message's begin first"
        return self._incoming

    def _grow(self, incoming: Incoming, size: int) -> None:
        incoming.head_bytes += size
        if incoming.head_bytes > self._limits.max_head_bytes:
            raise RefusedError(431, "The headers are too large.")


def _check_head(incoming: Incoming) -> None:
    if incoming.version not in ("1.1", "1.0"):
        raise RefusedError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    if incoming.version == "1.1" and "host" not in incoming.headers:
        raise RefusedError(400, "There is no host header.")
    incoming.target = _origin_form(incoming.target)
    expect = incoming.headers.get("expect")
    if expect is not None and incoming.version == "1.1":
        if expect.lower() != _EXPECTED:
            raise RefusedError(417, f"Only {_EXPECTED} can be expected.")
        incoming.expects = True


def _origin_form(target: str) -> str:
    """``/path?query``, also of an absolute URL (RFC 9112, section 3.2.2)."""
    if target.startswith("/") or target == "*":
        return target
    scheme, found, rest = target.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        raise RefusedError(400, "The request target is no path.")
    start = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    path = rest[start:]
    return path if path.startswith("/") else "/" + path


def _check_framing(headers: dict[str, str], max_body_bytes: int) -> bool:
    """Whether a body follows."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise RefusedError(400, "There are both content-length and transfer-encoding.")
        if coding.lower() != "chunked":
            raise RefusedError(501, "The only transfer-encoding is chunked.")
        return True
    if length is None:
        return False
    if not (length.isascii() and length.isdigit() and len(length) <= _MAX_DIGITS):
        raise RefusedError(400, "The content-length is no number.")
    if int(length) > max_body_bytes:
        raise _too_large(max_body_bytes)
    return length != "0"


def _too_large(max_body_bytes: int) -> RefusedError:
    return RefusedError(413, f"The body is larger than {max_body_bytes} bytes.")
