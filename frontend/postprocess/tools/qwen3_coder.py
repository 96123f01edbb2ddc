"""Qwen3-Coder: ``<tool_call><function=name><parameter=key>value</parameter></function></tool_call>``.

Values are bare text; the function's JSON schema says which of them are strings. A parameter is passed on when
it is complete, because only then is its type certain.
"""

import json
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final

from frontend.postprocess.pieces import CallArguments
from frontend.postprocess.tools.base import MAX_NAME_CHARS, NAME, BlockParser

_TOOL: Final = "<tool_call>"
_TOOL_END: Final = "</tool_call>"
_FUNCTION: Final = "<function="
_FUNCTION_END: Final = "</function>"
_PARAMETER: Final = "<parameter="
_PARAMETER_END: Final = "</parameter>"
_VALUE_ENDS: Final = (_PARAMETER_END, _PARAMETER, _FUNCTION_END)
_PYTHON_WORDS: Final = {"True": "true", "False": "false", "None": "null"}


class _At(Enum):
    TEXT = auto()
    OPENED = auto()
    FUNCTION = auto()
    PARAMETERS = auto()
    KEY = auto()
    VALUE = auto()
    CLOSING = auto()


class Qwen3CoderParser(BlockParser):
    """``schemas`` are the arguments' JSON schemas by function."""

    marks = (_TOOL, _TOOL_END)

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__(None)
        self._schemas = schemas or {}
        self._at = _At.TEXT
        self._opened = ""
        self._function = self._key = ""
        self._parameters = 0

        self._steps = {
            _At.TEXT: self._text,
            _At.OPENED: self._inner,
            _At.FUNCTION: self._name,
            _At.PARAMETERS: self._next,
            _At.KEY: self._key_name,
            _At.VALUE: self._value,
            _At.CLOSING: self._close,
        }

    def _step(self) -> bool:
        return self._steps[self._at]()

    def _text(self) -> bool:
        mark = self._said_until((_TOOL, _FUNCTION))
        if mark is None:
            return False
        self._opened = mark
        self._at = _At.OPENED if mark == _TOOL else _At.FUNCTION
        return True

    def _inner(self) -> bool:
        self._opened += self._skip_space()
        if self._unsure(_FUNCTION):
            return False
        if not self._buffer.startswith(_FUNCTION):
            return self._give_up()
        self._opened += self._take(len(_FUNCTION))
        self._at = _At.FUNCTION
        return True

    def _name(self) -> bool:
        end = self._buffer.find(">")
        if end < 0 and len(self._buffer) <= MAX_NAME_CHARS and not self._ended:
            return False
        name = self._buffer[: max(0, end)]
        if NAME.fullmatch(name) is None:
            return self._give_up()
        self._take(end + 1)
        self._function, self._parameters, self._at = name, 0, _At.PARAMETERS
        self._start_call(name)
        return True

    def _next(self) -> bool:
        """A parameter, or the end; anything else between them is nobody's."""
        found = [(at, mark) for mark in (_PARAMETER, _FUNCTION_END) if (at := self._buffer.find(mark)) >= 0]
        if not found:
            if not self._ended:
                return False
            self._take(len(self._buffer))
            return self._end()
        at, mark = min(found)
        self._take(at + len(mark))
        if mark == _FUNCTION_END:
            return self._end()
        self._at = _At.KEY
        return True

    def _key_name(self) -> bool:
        end = self._buffer.find(">")
        if end < 0:
            return False
        self._key = self._take(end)
        self._take(1)
        self._at = _At.VALUE
        return True

    def _value(self) -> bool:
        found = [(at, mark) for mark in _VALUE_ENDS if (at := self._buffer.find(mark)) >= 0]
        if not found:
            return False
        at, mark = min(found)
        value = self._take(at)
        if mark == _PARAMETER_END:
            self._take(len(mark))
        self._put(value.removeprefix("\n").removesuffix("\n"))
        self._at = _At.PARAMETERS
        return True

    def _put(self, value: str) -> None:
        before = ", " if self._parameters else "{"
        self._parameters += 1
        key = json.dumps(self._key, ensure_ascii=False)
        self._out.append(CallArguments(f"{before}{key}: {self._json(value)}"))

    def _json(self, value: str) -> str:
        """``value`` as JSON of the type the schema names; as a string if it is not of that type."""
        properties: Any = self._schemas.get(self._function, {}).get("properties", {})
        schema: Any = properties.get(self._key) if isinstance(properties, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- foreign JSON
        kind: Any = schema.get("type", "any") if isinstance(schema, dict) else "string"  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- foreign JSON
        if kind == "string":
            return json.dumps(value, ensure_ascii=False)
        text = _PYTHON_WORDS.get(value.strip(), value.strip())
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return json.dumps(value, ensure_ascii=False)
        return text

    def _end(self) -> bool:
        self._out.append(CallArguments("}" if self._parameters else "{}"))
        self._at = _At.CLOSING
        return True

    def _close(self) -> bool:
        self._skip_space()
        if self._unsure(_TOOL_END):
            return False
        if self._buffer.startswith(_TOOL_END):
            self._take(len(_TOOL_END))
        self._at = _At.TEXT
        return True

    def _unsure(self, mark: str) -> bool:
        return not self._ended and self._may_be(mark)

    def _give_up(self) -> bool:
        self._say(self._opened)
        self._at = _At.TEXT
        return True
