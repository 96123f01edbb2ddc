"""GLM 4.5 and later: ``<tool_call>name``, ``<arg_key>key</arg_key><arg_value>value</arg_value>`` for each
argument, ``</tool_call>``."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final

from frontend.postprocess.tools.base import MAX_HEAD_CHARS, NAME, first_of
from frontend.postprocess.tools.typed import TypedParser

_CALL: Final = "<tool_call>"
_CALL_END: Final = "</tool_call>"
KEY: Final = "<arg_key>"
_KEY_END: Final = "</arg_key>"
_VALUE: Final = "<arg_value>"
_VALUE_END: Final = "</arg_value>"


class _At(Enum):
    TEXT = auto()
    NAME = auto()
    ARGUMENTS = auto()
    KEY = auto()
    VALUE = auto()


class GlmParser(TypedParser):
    """Each call in tags of its own."""

    marks = (_CALL, _CALL_END, KEY, _KEY_END, _VALUE, _VALUE_END)

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__(schemas)
        self._at = _At.TEXT
        self._key = ""

    def _step(self) -> bool:
        match self._at:
            case _At.TEXT:
                return self._text()
            case _At.NAME:
                return self._name()
            case _At.ARGUMENTS:
                return self._next()
            case _At.KEY:
                return self._key_name()
            case _At.VALUE:
                return self._value()

    def _text(self) -> bool:
        if self._said_until((_CALL,)) is None:
            return False
        self._at = _At.NAME
        return True

    def _name(self) -> bool:
        """A name ends where a key begins, or the call; a line end alone is not enough of a sign."""
        found = first_of(self._buffer[:MAX_HEAD_CHARS], (KEY, _CALL_END))
        if found is None and not self._ended and len(self._buffer) < MAX_HEAD_CHARS:
            return False
        name = "" if found is None else self._buffer[: found[0]].strip()
        if NAME.fullmatch(name) is None:
            self._at = _At.TEXT
            self._say(_CALL)
            return True
        assert found is not None
        self._take(found[0])
        self._at = _At.ARGUMENTS
        self._begin(name)
        return True

    def _next(self) -> bool:
        """A key, or the end; anything else between them is nobody's."""
        mark = self._dropped_until((KEY, _CALL_END))
        if mark is None and not self._ended:
            return False
        if mark == KEY:
            self._at = _At.KEY
        else:
            self._close_arguments()
            self._at = _At.TEXT
        return True

    def _key_name(self) -> bool:
        """The key, and the opening of its value; what is too long for both is nobody's."""
        found = first_of(self._buffer[:MAX_HEAD_CHARS], (_VALUE, _CALL_END))
        if found is None and len(self._buffer) < MAX_HEAD_CHARS:
            return False
        if found is None:
            self._at = _At.ARGUMENTS
            return True
        at, mark = found
        self._key = self._take(at).partition(_KEY_END)[0].strip()
        if mark == _VALUE:
            self._take(len(mark))
            self._at = _At.VALUE
        else:
            self._at = _At.ARGUMENTS
        return True

    def _value(self) -> bool:
        mark = self._passed_until((_VALUE_END, _CALL_END), self._collected.add)
        if mark is None:
            return self._no_value()
        self._put(self._key, self._collected.taken())
        if mark == _VALUE_END:
            self._take(len(mark))
        self._at = _At.ARGUMENTS
        return True
