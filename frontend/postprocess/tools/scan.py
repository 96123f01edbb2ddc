"""Finds the end of JSON as it arrives, and the two fields of a call inside an object.

Both scanners are lenient about what they pass over and exact about where it ends: a model's JSON is its own
affair, and what the client is given is the text the model wrote.
"""

import json
import re
from enum import Enum, auto
from typing import Final

from frontend.postprocess.pieces import CallArguments, CallStart, Piece

_CLOSERS: Final = {"{": "}", "[": "]"}
_INTERESTING: Final = re.compile(r'["\\{}\[\]]')
_STRING_END: Final = re.compile(r'["\\]')
_SCALAR_END: Final = re.compile(r"[\s,\]}:;<]")
_SPACE: Final = " \t\r\n"
_MAX_DEPTH: Final = 256
"""Deeper arguments are no arguments; the stack of open brackets stays small."""


class JsonScan:
    """Where one JSON value ends, over any cutting of its text."""

    __slots__ = ("_escaped", "_in_string", "_stack", "_started", "done", "failed")

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._in_string = self._escaped = self._started = False
        self.done = False
        self.failed = False

    def feed(self, text: str, at: int) -> int:
        """Read on from ``at``, which at first is the value's first character; returns where reading stopped:
        behind the value if ``done``."""
        if not self._started:
            self._started = True
            at = self._begin(text, at)
        if self._stack or self._in_string:
            return self._nested(text, at)
        return self._scalar(text, at)

    def _begin(self, text: str, at: int) -> int:
        first = text[at]
        if first == '"':
            self._in_string = True
            return at + 1
        if first in _CLOSERS:
            self._stack.append(_CLOSERS[first])
            return at + 1
        self.failed = not (first.isalnum() or first == "-")
        return at

    def _scalar(self, text: str, at: int) -> int:
        if self.failed or self.done:
            return at
        end = _SCALAR_END.search(text, at)
        self.done = end is not None
        return end.start() if end else len(text)

    def _nested(self, text: str, at: int) -> int:
        size = len(text)
        while at < size and not self.done and not self.failed:
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = (_STRING_END if self._in_string else _INTERESTING).search(text, at)
            if found is None:
                return size
            at = found.end()
            self._mark(found[0])
        return at

    def _mark(self, mark: str) -> None:
        if mark == "\\":
            self._escaped = self._in_string
            self.failed = not self._in_string
        elif mark == '"':
            self._in_string = not self._in_string
        elif mark in _CLOSERS:
            self._stack.append(_CLOSERS[mark])
            self.failed = len(self._stack) > _MAX_DEPTH
        elif self._stack.pop() != mark:
            self.failed = True
        self.done = not self.failed and not self._stack and not self._in_string


class _At(Enum):
    OPEN = auto()
    KEY = auto()
    COLON = auto()
    VALUE = auto()
    INSIDE = auto()
    COMMA = auto()


class CallScan:
    """Reads ``{"name": …, "arguments": …}``, in any order and among other fields.

    The call is announced when its name and the beginning of its arguments are known; from then on the
    arguments flow as written. Before, everything can still turn out to be no call: ``failed``, and ``held``
    is the text.
    ``known`` limits the names; ``bare`` objects (in no tags) are calls only with arguments.
    """

    __slots__ = (
        "_at", "_bare", "_buffer", "_field", "_held_arguments", "_key", "_known", "_name", "_raw", "_scan",
        "_started", "done", "failed",
    )  # fmt: skip

    def __init__(self, known: frozenset[str] | None, *, bare: bool = False) -> None:
        self._known, self._bare = known, bare
        self._at = _At.OPEN
        self._scan = JsonScan()
        self._key = self._field = ""
        self._buffer: list[str] = []
        """Parts of the string or value being read, unless it flows."""
        self._raw: list[str] = []
        self._name: str | None = None
        self._held_arguments: str | None = None
        self._started = False
        self.done = False
        self.failed = False

    @property
    def started(self) -> bool:
        """The call was announced."""
        return self._started

    @property
    def held(self) -> str:
        """All text read while it is no call."""
        return "".join(self._raw)

    def feed(self, text: str, at: int, out: list[Piece]) -> int:
        """Read on from ``at``; returns where reading stopped: behind the object if ``done``."""
        begin, size = at, len(text)
        while at < size and not self.done and not self.failed:
            at = self._inside(text, at, out) if self._at is _At.INSIDE else self._between(text, at, out)
        if not self._started:
            self._raw.append(text[begin:at])
        return at

    def _between(self, text: str, at: int, out: list[Piece]) -> int:
        mark = text[at]
        if mark in _SPACE:
            return at + 1
        match self._at, mark:
            case (_At.OPEN, "{"):
                self._at = _At.KEY
            case (_At.KEY, '"'):
                self._inside_of("")
                return at
            case (_At.COLON, ":"):
                self._at = _At.VALUE
            case (_At.VALUE, _):
                self._value(mark, out)
                return at
            case (_At.COMMA, ","):
                self._at = _At.KEY
            case (_At.COMMA | _At.KEY, "}"):
                self._end(out)
            case _:
                self._broken()
        return at + 1

    def _inside_of(self, field: str) -> None:
        self._field, self._scan, self._buffer, self._at = field, JsonScan(), [], _At.INSIDE

    def _value(self, mark: str, out: list[Piece]) -> None:
        self._inside_of("?" if self._started else self._key)
        if self._field == "arguments" and self._name is not None and mark == "{":
            self._start(out)

    def _inside(self, text: str, at: int, out: list[Piece]) -> int:
        end = self._scan.feed(text, at)
        part = text[at:end]
        if self._field == "arguments" and self._started:
            out.append(CallArguments(part))
        else:
            self._buffer.append(part)
        if self._scan.failed:
            self._broken()
        elif self._scan.done:
            self._read(out)
        return end

    def _read(self, out: list[Piece]) -> None:
        text = "".join(self._buffer)
        if not self._field:
            key = _string(text)
            self._key = "arguments" if key == "parameters" else (key or "?")
            self._at = _At.COLON
            return
        self._at = _At.COMMA
        if self._field == "name" and not self._started:
            self._name = _string(text)
            unknown = self._known is not None and self._name not in self._known
            if not self._name or unknown:
                self._broken()
                return
        elif self._field == "arguments" and not self._started:
            self._held_arguments = _arguments(text)
        if self._name is not None and self._held_arguments is not None and not self._started:
            self._start(out)
            out.append(CallArguments(self._held_arguments))

    def _start(self, out: list[Piece]) -> None:
        self._started = True
        self._raw.clear()
        out.append(CallStart(self._name or ""))

    def _end(self, out: list[Piece]) -> None:
        if not self._started:
            if self._name is None or self._bare:
                self._broken()
                return
            self._start(out)
            out.append(CallArguments("{}"))
        self.done = True

    def _broken(self) -> None:
        """An announced call stays one: its arguments simply end here."""
        self.done = self._started
        self.failed = not self._started


def _string(text: str) -> str | None:
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _arguments(text: str) -> str:
    """Arguments that were read whole: some models write the object inside a string, or null for none."""
    inner = _string(text)
    return ("{}" if text == "null" else text) if inner is None else inner
