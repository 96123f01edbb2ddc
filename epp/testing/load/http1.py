"""Reading HTTP/1.1 responses and server-sent events, sans-IO: bytes in, bytes out, as they come.

Small on purpose: what a load generator needs of RFC 9112 (content-length, chunked, read-to-close) and of
the HTML standard's event streams (``data`` lines). Anything else is a :class:`ResponseError`.
"""

from collections.abc import Mapping
from enum import Enum, auto

_MAX_HEAD_BYTES = 64 << 10
_MAX_EVENT_BYTES = 4 << 20
_HAS_NO_BODY = frozenset({204, 304})


class ResponseError(ValueError):
    """The bytes are not a response this reader understands."""


class _State(Enum):
    HEAD = auto()
    SIZED = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    TO_CLOSE = auto()
    DONE = auto()


class ResponseReader:
    """One response. Feed it until ``done``; ``rest`` is what follows the response."""

    def __init__(self) -> None:
        self.status = 0
        """0 until the head is complete."""
        self.headers: Mapping[str, str] = {}
        """Names in lower case."""
        self._state = _State.HEAD
        self._buffer = b""
        self._left = 0

    @property
    def done(self) -> bool:
        """The response is complete."""
        return self._state is _State.DONE

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may carry another request."""
        return self.done and self.headers.get("connection", "").lower() != "close"

    def feed(self, data: bytes) -> bytes:
        """Take bytes; returns the body bytes among them. Raises ResponseError."""
        self._buffer += data
        body: list[bytes] = []
        while self._advance(body):
            pass
        return b"".join(body)

    def closed(self) -> None:
        """The connection ended. Raises ResponseError if the response needed more."""
        if self._state is _State.TO_CLOSE:
            self._state = _State.DONE
        elif not self.done:
            raise ResponseError("the connection closed within the response")

    def _advance(self, body: list[bytes]) -> bool:
        """One move; False when more bytes are needed."""
        match self._state:
            case _State.HEAD:
                return self._head()
            case _State.SIZED | _State.CHUNK:
                return self._content(body)
            case _State.CHUNK_SIZE | _State.CHUNK_END | _State.TRAILER:
                return self._line_state()
            case _State.TO_CLOSE:
                body.append(self._buffer)
                self._buffer = b""
                return False
            case _State.DONE:
                return False

    def _head(self) -> bool:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            if len(head) > _MAX_HEAD_BYTES:
                raise ResponseError("the response head is too long")
            return False
        self._buffer = rest
        status_line, *lines = head.decode("latin-1").split("\r\n")
        self.status = _status(status_line)
        self.headers = dict(_header(line) for line in lines)
        if self.status < 200:
            return True
        self._state = self._body_state()
        return True

    def _body_state(self) -> _State:
        if self.status in _HAS_NO_BODY:
            return _State.DONE
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return _State.CHUNK_SIZE
        length = self.headers.get("content-length")
        if length is None:
            return _State.TO_CLOSE
        if not (length.isascii() and length.isdigit()):
            raise ResponseError(f"content-length is {length!r}")
        self._left = int(length)
        return _State.SIZED if self._left else _State.DONE

    def _content(self, body: list[bytes]) -> bool:
        if not self._buffer:
            return False
        part, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._left -= len(part)
        body.append(part)
        if self._left:
            return False
        self._state = _State.DONE if self._state is _State.SIZED else _State.CHUNK_END
        return True

    def _line_state(self) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            if len(line) > _MAX_HEAD_BYTES:
                raise ResponseError("a chunk's line is too long")
            return False
        self._buffer = rest
        if self._state is _State.CHUNK_SIZE:
            self._left = _chunk_size(line)
            self._state = _State.CHUNK if self._left else _State.TRAILER
        elif self._state is _State.CHUNK_END:
            if line:
                raise ResponseError("a chunk is longer than it said")
            self._state = _State.CHUNK_SIZE
        elif not line:
            self._state = _State.DONE
        return True


def _status(line: str) -> int:
    version, _, rest = line.partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
        raise ResponseError(f"not a status line: {line[:80]!r}")
    return int(code)


def _header(line: str) -> tuple[str, str]:
    name, found, value = line.partition(":")
    if not found:
        raise ResponseError(f"not a header: {line[:80]!r}")
    return name.lower(), value.strip()


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        size = int(digits, 16)
    except ValueError as error:
        raise ResponseError(f"not a chunk size: {line[:40]!r}") from error
    if size < 0:
        raise ResponseError("a chunk size is negative")
    return size


class EventReader:
    """The ``data`` of server-sent events, in order."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; returns the data of each event completed by them. Raises ResponseError."""
        *events, self._buffer = (self._buffer + data).replace(b"\r\n", b"\n").split(b"\n\n")
        if len(self._buffer) > _MAX_EVENT_BYTES:
            raise ResponseError("an event is too long")
        return [found for event in events if (found := _data(event)) is not None]


def _data(event: bytes) -> bytes | None:
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
