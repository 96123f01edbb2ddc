"""Model names in a stream of server-sent events: the data of each event is a JSON text of its own.

Events of one stream begin alike, mostly up to and with the model's name. So the beginning of the last line
that held one is kept: a line with the same beginning says the same, and is changed without being read.

Format: WHATWG HTML, "Server-sent events" (§9.2.5): lines end with LF, CR or CRLF, an empty one ends an event.
"""

import re
from enum import Enum, auto
from typing import Final

from epp.wire.renaming.document import Cut, Document

_LINE: Final = re.compile(rb"[^\r\n]*+\Z")
_LINE_END: Final = re.compile(rb"[\r\n]")
_LF, _CR = b"\n\r"
_DATA: Final = b"data:"
_MENTION: Final = b'"model"'
_MAX_KNOWN_BYTES: Final = 1024
"""Longest beginning kept; ids, a date and a name take about 200."""
_UNKNOWN: Final = b"\n"
"""No line begins like this."""


class _Line(Enum):
    FIELD = auto()
    """In a field's name that may become ``data:``."""
    DATA = auto()
    OTHER = auto()


class EventRenamer:
    """Pieces of a stream in, the same with another name out."""

    __slots__ = ("_after_cr", "_change", "_document", "_instead", "_known", "_line", "_matched", "found")

    def __init__(self, name: bytes) -> None:
        """``name``: the inside of the JSON string to put there."""
        self.found = False
        """A name was replaced."""
        self._document = Document(name)
        self._line = _Line.FIELD
        self._matched = 0
        """How much of ``data:`` this line has begun with."""
        self._after_cr = False
        self._known = _UNKNOWN
        """How the last line with a name began, from its first byte to the name's closing quote."""
        self._change = Cut(0, 0, b"")
        """What changes in it."""
        self._instead = b""
        """What it becomes."""

    def feed(self, piece: bytes) -> bytes:
        """The next piece; the very same object if nothing changes in it."""
        if piece.endswith(b"\n\n") and self._at_line_start and not self._after_cr:
            if _MENTION not in piece:
                return piece
            if piece.startswith(self._known) and _LINE.match(piece, 0, len(piece) - 2):
                return self._instead + piece[len(self._known) :]
        cuts: list[Cut] = []
        at, size = 0, len(piece)
        if self._after_cr and size:
            at = int(piece[0] == _LF)
            self._after_cr = False
        while at < size:
            at = self._read_line(piece, at, cuts)
        if not cuts:
            return piece
        self.found = True
        return spliced(piece, cuts)

    @property
    def _at_line_start(self) -> bool:
        """Of an event's first data line, perhaps."""
        return self._line is _Line.FIELD and not self._matched and self._document.fresh

    def _read_line(self, piece: bytes, at: int, cuts: list[Cut]) -> int:
        """What there is of one line, and its end; returns where the next one begins."""
        found = _LINE_END.search(piece, at)
        stop = len(piece) if found is None else found.start()
        if at < stop:
            self._read_part(piece, at, stop, cuts)
        if stop == len(piece):
            return stop
        self._end_line()
        if piece[stop] == _LF:
            return stop + 1
        self._after_cr = stop + 1 == len(piece)
        return stop + 1 + piece.startswith(b"\n", stop + 1)

    def _read_part(self, piece: bytes, at: int, stop: int, cuts: list[Cut]) -> None:
        start = at if self._at_line_start else -1
        if start >= 0 and piece.startswith(self._known, at):
            cuts.append(_moved(self._change, at))
            self._line = _Line.DATA
            self._document.leave()
            return
        if self._line is _Line.FIELD:
            at = self._read_field(piece, at, stop)
        if self._line is not _Line.DATA:
            return
        cut = self._document.scan(piece, at, stop)
        if cut is not None:
            cuts.append(cut)
            if start >= 0:
                self._remember(piece, start, cut)

    def _read_field(self, piece: bytes, at: int, stop: int) -> int:
        end = min(stop, at + len(_DATA) - self._matched)
        if not _DATA.startswith(piece[at:end], self._matched):
            self._line = _Line.OTHER
            return stop
        self._matched += end - at
        if self._matched == len(_DATA):
            self._line = _Line.DATA
        return end

    def _remember(self, piece: bytes, start: int, cut: Cut) -> None:
        """A line that began at ``start`` with a fresh text; worth keeping if its name is whole."""
        end = cut.end + 1
        if self._document.passing and end - start <= _MAX_KNOWN_BYTES:
            self._known = piece[start:end]
            self._change = _moved(cut, -start)
            self._instead = spliced(self._known, [self._change])

    def _end_line(self) -> None:
        if self._line is _Line.DATA:
            self._document.end_line()
        elif not self._matched and self._line is _Line.FIELD:
            self._document.begin()
        self._line = _Line.FIELD
        self._matched = 0


def spliced(piece: bytes, cuts: list[Cut]) -> bytes:
    """``piece`` with every cut replaced; they stand in order."""
    parts: list[bytes] = []
    at = 0
    for cut in cuts:
        parts += (piece[at : cut.start], cut.new)
        at = cut.end
    parts.append(piece[at:])
    return b"".join(parts)


def _moved(cut: Cut, by: int) -> Cut:
    return Cut(cut.start + by, cut.end + by, cut.new)
