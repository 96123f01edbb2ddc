"""What formats share that write arguments as bare text, one by one: the function's JSON schema says which of
them are strings. A parameter is passed on when it is complete, because only then is its type certain."""

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from frontend.postprocess.pieces import CallArguments
from frontend.postprocess.tools.base import BlockParser, Parts

_PYTHON_WORDS: Final = {"True": "true", "False": "false", "None": "null"}


class TypedParser(BlockParser):
    """Base of these formats; ``schemas`` are the arguments' JSON schemas by function."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__(None)
        self._schemas = schemas or {}
        self._function = ""
        self._parameters = 0
        self._collected = Parts()
        """The value being read."""

    def _begin(self, name: str) -> None:
        self._function, self._parameters = name, 0
        self._start_call(name)

    def _put(self, key: str, value: str, *, is_text: bool | None = None) -> None:
        """One argument; ``is_text``: whether the model itself says that it is a string."""
        before = ", " if self._parameters else "{"
        self._parameters += 1
        known = self._is_text(key) if is_text is None else is_text
        written = _quoted(value) if known else _typed(value)
        self._out.append(CallArguments(f"{before}{_quoted(key)}: {written}"))

    def _dropped_until(self, marks: tuple[str, ...]) -> str | None:
        """Take off the first of ``marks``, and what stands before it, which is nobody's; None: it is yet to
        come."""
        mark = self._passed_until(marks, lambda _: None)
        self._take(len(mark or ""))
        return mark

    def _no_value(self) -> bool:
        """Its end is not there; if none comes any more, what there is of it is text."""
        if self._ended:
            self._say(self._collected.taken())
        return False

    def _close_arguments(self) -> None:
        self._out.append(CallArguments("}" if self._parameters else "{}"))

    def _is_text(self, key: str) -> bool:
        """What the schema says; a parameter it does not have is text."""
        properties: Any = self._schemas.get(self._function, {}).get("properties", {})
        schema: Any = properties.get(key) if isinstance(properties, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- foreign JSON
        if not isinstance(schema, dict):
            return True
        kind: Any = schema.get("type")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- foreign JSON
        return isinstance(kind, str) and kind == "string"


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _typed(value: str) -> str:
    """``value`` as the JSON it is; as a string if it is none."""
    text = _PYTHON_WORDS.get(value.strip(), value.strip())
    try:
        json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return _quoted(value)
    return text


def _not_json(constant: str) -> NoReturn:
    """Python's ``json`` would take NaN and the infinities, which no other reader has to."""
    raise ValueError(constant)
