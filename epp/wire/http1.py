"""HTTP/1.1 responses as a client reads them: bytes in, one response out, no I/O.

Just what reading a metrics page from a model server takes (RFC 9112): status, ``Content-Length``, chunked
or until-close bodies, keep-alive. No pipelining, no content codings (none are asked for), no trailers kept.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_CHUNK_LINE_BYTES: Final = 4096
_MAX_LENGTH_DIGITS: Final = 15
_BODILESS: Final = frozenset({204, 304})


class HttpFormatError(ValueError):
    """The peer does not speak HTTP/1.x; the text says where."""


class BodyTooLargeError(ValueError):
    """The body exceeds the reader's bound."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    status: int
    body: bytes
    keep_alive: bool
    """The connection can carry another request."""


def build_request(method: str, target: str, host: str, body: bytes = b"") -> bytes:
    """A request as it goes on the wire; all arguments are already safe text (see ``epp.wire.urls``)."""
    length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n{length}\r\n"
    return head.encode("ascii") + body


@dataclass(frozen=True, slots=True)
class _Head:
    status: int
    length: int | None
    chunked: bool
    keep_alive: bool


class _Stage(Enum):
    HEAD = auto()
    CHUNK_SIZE = auto()
    DATA = auto()
    """Body bytes, ``_want`` more of them."""
    CHUNK_END = auto()
    TRAILERS = auto()
    DONE = auto()


class ResponseReader:
    """Reads one response; make a new one for the next.

    Body bytes are kept as they came and joined once: a page of 100 KB is copied as rarely as can be.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._stage = _Stage.HEAD
        self._pending = b""
        self._head: _Head | None = None
        self._want: int | None = 0
        """Body or chunk bytes still to come; None: until the peer closes."""
        self._parts: list[bytes] = []
        self._body_bytes = 0

    @property
    def started(self) -> bool:
        """Whether any byte of a response has come."""
        return self._head is not None or bool(self._pending)

    def feed(self, data: bytes) -> Response | None:
        """More bytes; the response once it is whole. Raises HttpFormatError, BodyTooLargeError."""
        self._pending = self._pending + data if self._pending else data
        while self._stage is not _Stage.DONE and self._advance():
            pass
        return self._response() if self._stage is _Stage.DONE else None

    def eof(self) -> Response:
        """The peer closed; raises HttpFormatError unless that is how this body ends."""
        if self._stage is not _Stage.DATA or self._want is not None:
            raise HttpFormatError("closed in the middle of a response")
        return self._response()

    def _advance(self) -> bool:
        """Take one element off the pending bytes; False: it is not all there yet."""
        if self._stage is _Stage.DATA:
            return self._take_data()
        if self._stage is _Stage.HEAD:
            return self._take_head()
        if self._stage is _Stage.CHUNK_SIZE:
            return self._take_chunk_size()
        return self._take_line_end() if self._stage is _Stage.CHUNK_END else self._take_trailer()

    def _take_head(self) -> bool:
        text = self._take_until(b"\r\n\r\n", _MAX_HEAD_BYTES)
        if text is None:
            return False
        head = _parse_head(text.split(b"\r\n"))
        if head.status < 200:  # 1xx announce the real one
            return True
        self._head = head
        if head.chunked:
            self._stage = _Stage.CHUNK_SIZE
        else:
            self._expect(head.length)
        return True

    def _take_chunk_size(self) -> bool:
        line = self._take_until(b"\r\n", _MAX_CHUNK_LINE_BYTES)
        if line is None:
            return False
        size = _chunk_size(line)
        if size:
            self._expect(size)
        else:
            self._stage = _Stage.TRAILERS
        return True

    def _expect(self, length: int | None) -> None:
        if self._body_bytes + (length or 0) > self._max_body_bytes:
            raise BodyTooLargeError(f"more than {self._max_body_bytes} bytes")
        self._want = length
        self._stage = _Stage.DATA if length != 0 else _Stage.DONE

    def _take_data(self) -> bool:
        data = self._pending if self._want is None else self._pending[: self._want]
        self._pending = self._pending[len(data) :]
        self._parts.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > self._max_body_bytes:
            raise BodyTooLargeError(f"more than {self._max_body_bytes} bytes")
        if self._want is None:
            return False
        self._want -= len(data)
        if self._want:
            return False
        self._stage = _Stage.CHUNK_END if self._head is not None and self._head.chunked else _Stage.DONE
        return True

    def _take_line_end(self) -> bool:
        if len(self._pending) < 2:
            return False
        if not self._pending.startswith(b"\r\n"):
            raise HttpFormatError("a chunk longer than it says")
        self._pending = self._pending[2:]
        self._stage = _Stage.CHUNK_SIZE
        return True

    def _take_trailer(self) -> bool:
        line = self._take_until(b"\r\n", _MAX_HEAD_BYTES)
        if line is None:
            return False
        if not line:
            self._stage = _Stage.DONE
        return True

    def _take_until(self, mark: bytes, bound: int) -> bytes | None:
        """What stands before ``mark``, both taken off; None: no mark yet."""
        end = self._pending.find(mark)
        if end > bound or (end < 0 and len(self._pending) > bound):
            raise HttpFormatError("a line or head that does not end")
        if end < 0:
            return None
        text = self._pending[:end]
        self._pending = self._pending[end + len(mark) :]
        return text

    def _response(self) -> Response:
        assert self._head is not None
        reusable = self._stage is _Stage.DONE and not self._pending and self._head.keep_alive
        return Response(self._head.status, b"".join(self._parts), reusable)


def _parse_head(lines: list[bytes]) -> _Head:
    version, _, rest = lines[0].partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not rest[:3].isdigit() or len(rest[:3]) != 3:
        raise HttpFormatError("no status line of HTTP/1.x")
    status = int(rest[:3])
    fields = _fields(lines[1:])
    chunked = fields.get(b"transfer-encoding", b"").lower() == b"chunked"
    length = None if chunked else _content_length(status, fields)
    connection = fields.get(b"connection", b"").lower()
    keep_alive = connection == b"keep-alive" if version == b"HTTP/1.0" else connection != b"close"
    return _Head(status, length, chunked, keep_alive and (chunked or length is not None))


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise HttpFormatError("a header line without a colon")
        fields[name.strip().lower()] = value.strip()
    if fields.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise HttpFormatError("a transfer coding other than chunked")
    return fields


def _content_length(status: int, fields: dict[bytes, bytes]) -> int | None:
    if status in _BODILESS:
        return 0
    text = fields.get(b"content-length")
    if text is None:
        return None
    if not text.isdigit() or len(text) > _MAX_LENGTH_DIGITS:
        raise HttpFormatError("a Content-Length that is no number")
    return int(text)


def _chunk_size(line: bytes) -> int:
    text = line.partition(b";")[0].strip()
    if not text or len(text) > _MAX_LENGTH_DIGITS or any(c not in b"0123456789abcdefABCDEF" for c in text):
        raise HttpFormatError("a chunk size that is no number")
    return int(text, 16)
