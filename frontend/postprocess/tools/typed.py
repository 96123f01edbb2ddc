"""What formats share that write arguments as bare text, one by one: the function's JSON schema says which of
them are strings. A parameter is passed on when it is complete, because only then is its type certain."""

import json
from collections.abc import Mapping
from typing import Any, Final

from frontend.postprocess.pieces import CallArguments
from frontend.postprocess.tools.base import BlockParser

_PYTHON_WORDS: Final = {"True": "true", "False": "false", "None": "null"}


class TypedParser(BlockParser):
    """Base of these formats; ``schemas`` are the arguments' JSON schemas by function."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__(None)
        self._schemas = schemas or {}
        self._function = ""
        self._parameters = 0

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
        json.loads(text)
    except (ValueError, RecursionError):
        return _quoted(value)
    return text
