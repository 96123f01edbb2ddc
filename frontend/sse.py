"""Server-sent events, read and written without I/O.

Format: WHATWG HTML, "Server-sent events" (§9.2.5-9.2.6). Lines end with LF, CR or CRLF; an empty line ends an
event; lines that begin with a colon are comments; ``id`` and ``retry`` mean nothing here. The reader is
total: every byte sequence is some list of events, however it is cut into pieces.
"""

from dataclasses import dataclass
from typing import Final

DONE: Final = b"data: [DONE]\n\n"
"""What OpenAI's APIs end a stream with."""
DONE_DATA: Final = b"[DONE]"
"""The data of :data:`DONE`."""
COMMENT: Final = b": \n\n"
"""Keeps a connection alive and means nothing."""
MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""One event of a model server: larger than any chunk seen (a whole answer with log-probabilities in one
piece), small enough that a server that never ends a line cannot exhaust memory."""

_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event that has data."""

    event: str
    """Its type; empty: none was named."""
    data: bytes
    """Its ``data`` lines, joined by LF."""


def event(data: bytes, name: str = "") -> bytes:
    """One event as bytes. ``data`` that holds line ends becomes several ``data`` lines."""
    head = b"event: %b\n" % name.encode() if name else b""
    if b"\n" not in data and b"\r" not in data:
        return b"%bdata: %b\n\n" % (head, data)
    lines = b"".join(b"data: %b\n" % line for line in _lines(data))
    return b"%b%b\n" % (head, lines)


class SseReader:
    """Bytes as they arrive to events. What follows the last empty line at the end of a stream is no event
    (the format says so) and is dropped by dropping the reader."""

    __slots__ = (
        "_after_cr",
        "_data",
        "_event_bytes",
        "_first",
        "_max_event_bytes",
        "_name",
        "_rest",
        "_rest_bytes",
    )

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest: list[bytes] = []
        """Pieces of the line that has not ended."""
        self._rest_bytes = 0
        self._after_cr = False
        self._first = True
        self._name = ""
        self._data: list[bytes] = []
        self._event_bytes = 0
        """Bytes of the event's lines so far, without line ends."""

    def feed(self, piece: bytes) -> list[SseEvent]:
        """The events that ``piece`` completes, in order. Raises ValueError for an event of more than
        ``max_event_bytes``; the reader is of no use after that."""
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        if b"\n" not in piece and b"\r" not in piece:
            self._keep(piece)
            return []
        self._after_cr = piece.endswith(b"\r")
        lines = piece.splitlines()
        lines[0] = b"".join((*self._rest, lines[0]))
        self._rest, self._rest_bytes = [], 0
        if not piece.endswith((b"\n", b"\r")):
            tail = lines.pop()
            found = self._read(lines)
            self._keep(tail)
            return found
        return self._read(lines)

    def _keep(self, piece: bytes) -> None:
        self._rest.append(piece)
        self._rest_bytes += len(piece)
        self._bound(self._rest_bytes)

    def _read(self, lines: list[bytes]) -> list[SseEvent]:
        found: list[SseEvent] = []
        for line in lines:
            self._bound(len(line))
            if self._first:
                line = line.removeprefix(_BOM)  # noqa: PLW2901 -- the same line without its mark
                self._first = False
            if line:
                self._field(line)
            else:
                if self._data:
                    found.append(SseEvent(self._name, b"\n".join(self._data)))
                self._name, self._data, self._event_bytes = "", [], 0
        return found

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._event_bytes += len(line)
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._name = value.removeprefix(b" ").decode("utf-8", "replace")

    def _bound(self, line_bytes: int) -> None:
        if self._event_bytes + line_bytes > self._max_event_bytes:
            raise ValueError(f"a server-sent event of more than {self._max_event_bytes} bytes")


def _lines(data: bytes) -> list[bytes]:
    """``data`` by lines, the empty one after a last line end included."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
