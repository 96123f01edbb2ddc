"""The model's name in one JSON text that passes by in pieces.

Looked for is a string at ``model``, at ``response.model`` (events of the Responses API) or at
``message.model`` (Anthropic's ``message_start``), from the top; the first one found is the one, and what
follows is not read. Keys pass before it is known what they are, and the new name takes the old one's place as
soon as its opening quote was seen: no byte waits for a later one. What is remembered is the first bytes of a
key and a depth.

Total: what is no JSON object, or stops being one, passes as it is. Keys spelt with escapes are not known.
Format: RFC 8259.
"""

import re
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

_SPACE: Final = re.compile(rb"[ \t\n\r]*+")
_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""The inside of a string: to its closing quote, to the end, or to a backslash that is the last byte."""
_SCALAR: Final = re.compile(rb"[-+.0-9A-Za-z]*+")
_FLAT: Final = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+', re.DOTALL)
"""Inside a container: to a bracket, or to a string that is not complete."""
_MEMBERS: Final = re.compile(
    rb"""(?: [ \t\n\r]*+ "(?!model"|response"|message") [^"\\]*+"
             [ \t\n\r]*+ : [ \t\n\r]*+ (?: "[^"\\]*+(?:\\.[^"\\]*+)*+" | [-0-9tfn][-+.0-9A-Za-z]*+ )
             [ \t\n\r]*+ , )*+""",
    re.DOTALL | re.VERBOSE,
)
"""Whole members that mean nothing here and hold no others: what the steps below would pass one by one."""

_QUOTE, _BACKSLASH, _COLON, _COMMA, _OPEN, _CLOSE = b'"\\:,{}'
_OPENING: Final = frozenset(b"{[")
_SCALARS: Final = frozenset(b"-0123456789tfn")
"""What numbers, true, false and null begin with."""

_NAME: Final = b"model"
_HOLDERS: Final = frozenset({b"response", b"message"})
_MAX_KEY_BYTES: Final = 8
"""Of the longest key that means something here."""


class _State(IntEnum):
    START = 0
    KEY = 1
    """Before a key, or the end of the object."""
    IN_KEY = 2
    COLON = 3
    VALUE = 4
    AFTER = 5
    """Before a comma, or the end of the object."""
    SCALAR = 6
    STRING = 7
    CONTAINER = 8
    CONTAINER_STRING = 9
    OLD_NAME = 10
    PASS = 11
    """Nothing more is read."""


_IN_STRING: Final = frozenset({_State.IN_KEY, _State.STRING, _State.CONTAINER_STRING, _State.OLD_NAME})


class Cut(NamedTuple):
    """A part of a piece, and what stands there instead."""

    start: int
    end: int
    new: bytes


class Document:
    """One JSON text at a time; the parts of it are given to :meth:`scan` in order."""

    __slots__ = ("_depth", "_escaped", "_key", "_level", "_name", "_state")

    def __init__(self, name: bytes) -> None:
        """``name``: the inside of the JSON string to put there."""
        self._name = name
        self.begin()

    def begin(self) -> None:
        """Another text follows."""
        self._state = _State.START
        self._level = 0
        """Open objects in which the name may stand."""
        self._depth = 0
        """Open containers in which it may not."""
        self._key = b""
        self._escaped = False

    @property
    def fresh(self) -> bool:
        """Nothing but space has come."""
        return self._state == _State.START

    @property
    def passing(self) -> bool:
        """Nothing more of this text is read."""
        return self._state == _State.PASS

    def leave(self) -> None:
        """Read no more of this text."""
        self._state = _State.PASS

    def end_line(self) -> None:
        """The text goes on in another line, which no string does."""
        if self._state in _IN_STRING:
            self._state = _State.PASS

    def scan(self, piece: bytes, at: int, end: int) -> Cut | None:
        """Read ``piece[at:end]``; returns what changes in it."""
        start, new = (at, b"") if self._state == _State.OLD_NAME else (-1, self._name)
        while at < end and self._state != _State.PASS:
            at = _STEPS[self._state](self, piece, at, end)
            if start < 0 and self._state == _State.OLD_NAME:
                start = at
        return Cut(start, at, new) if start >= 0 and (new or at > start) else None

    # --- steps: read something at a place, and say how far -------------------------------------------------

    def _mark(self, piece: bytes, at: int, end: int) -> int:
        """Punctuation, after space."""
        if self._state == _State.KEY:
            at = _end(_MEMBERS, piece, at, end)
        at = _end(_SPACE, piece, at, end)
        if at == end:
            return end
        mark, state = piece[at], self._state
        following = _MARKS.get((state, mark), _State.PASS)
        if state == _State.VALUE:
            following = self._value(mark)
        elif mark == _CLOSE and state in _ENDING:
            self._level -= 1
            following = _State.AFTER if self._level else _State.PASS
        elif state == _State.START:
            self._level = 1
        self._state = following
        self._key = b"" if following == _State.IN_KEY else self._key
        return at if following == _State.SCALAR else at + 1

    def _value(self, mark: int) -> _State:
        if mark == _QUOTE:
            return _State.OLD_NAME if self._key == _NAME else _State.STRING
        if mark == _OPEN and self._level == 1 and self._key in _HOLDERS:
            self._level = 2
            return _State.KEY
        if mark in _OPENING:
            self._depth = 1
            return _State.CONTAINER
        return _State.SCALAR if mark in _SCALARS else _State.PASS

    def _scalar(self, piece: bytes, at: int, end: int) -> int:
        at = _end(_SCALAR, piece, at, end)
        if at < end:
            self._state = _State.AFTER
        return at

    def _in_key(self, piece: bytes, at: int, end: int) -> int:
        stop = self._string(piece, at, end)
        if len(self._key) <= _MAX_KEY_BYTES:
            self._key += piece[at : min(stop, at + _MAX_KEY_BYTES + 1)]
        return self._closed(stop, end, _State.COLON)

    def _in_string(self, piece: bytes, at: int, end: int) -> int:
        return self._closed(self._string(piece, at, end), end, _State.AFTER)

    def _old_name(self, piece: bytes, at: int, end: int) -> int:
        stop = self._string(piece, at, end)
        if stop < end:
            self._state = _State.PASS
        return stop

    def _container(self, piece: bytes, at: int, end: int) -> int:
        at = _end(_FLAT, piece, at, end)
        if at == end:
            return end
        if piece[at] == _QUOTE:
            self._state = _State.CONTAINER_STRING
        else:
            self._depth += 1 if piece[at] in _OPENING else -1
            self._state = _State.CONTAINER if self._depth else _State.AFTER
        return at + 1

    def _container_string(self, piece: bytes, at: int, end: int) -> int:
        return self._closed(self._string(piece, at, end), end, _State.CONTAINER)

    def _closed(self, stop: int, end: int, following: _State) -> int:
        """A string ended at ``stop``, if that is before ``end``."""
        if stop < end:
            self._state = following
            return stop + 1
        return end

    def _string(self, piece: bytes, at: int, end: int) -> int:
        """Where the closing quote stands; ``end``: not yet."""
        if self._escaped:
            self._escaped = False
            at += 1
        stop = _end(_STRING, piece, at, end)
        if stop < end and piece[stop] == _BACKSLASH:
            self._escaped = True
            return end
        return stop


def _end(pattern: re.Pattern[bytes], piece: bytes, at: int, end: int) -> int:
    """How far a pattern goes that matches at least nothing."""
    found = pattern.match(piece, at, end)
    assert found is not None
    return found.end()


_ENDING: Final = frozenset({_State.KEY, _State.AFTER})
_MARKS: Final = {
    (_State.START, _OPEN): _State.KEY,
    (_State.KEY, _QUOTE): _State.IN_KEY,
    (_State.COLON, _COLON): _State.VALUE,
    (_State.AFTER, _COMMA): _State.KEY,
}
"""(state, mark) → what follows; anything else is not understood."""
_Step: TypeAlias = Callable[[Document, bytes, int, int], int]
_STEP_OF: Final = {
    _State.IN_KEY: "_in_key",
    _State.SCALAR: "_scalar",
    _State.STRING: "_in_string",
    _State.CONTAINER: "_container",
    _State.CONTAINER_STRING: "_container_string",
    _State.OLD_NAME: "_old_name",
}
_STEPS: Final[tuple[_Step, ...]] = tuple(
    getattr(Document, _STEP_OF.get(state, "_mark")) for state in _State if state != _State.PASS
)
"""By state, of which PASS, the last, takes none."""
