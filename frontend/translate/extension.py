"""``nvext`` of an answer that came in pieces, put together for the one place where its translation has it."""

from typing import Any, Final, TypeAlias

import msgspec

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_Told: TypeAlias = msgspec.Raw | list[msgspec.Raw]


class Extension:
    """Fields by name, as last told; lists (token ids) grow from piece to piece."""

    __slots__ = ("_fields",)

    def __init__(self) -> None:
        self._fields: dict[str, _Told] = {}

    def add(self, nvext: msgspec.Raw) -> None:
        """The ``nvext`` of another piece; what is no object is passed over."""
        try:
            fields = _FIELDS.decode(nvext)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        for name, value in fields.items():
            self._add(name, value)

    def fields(self) -> dict[str, Any]:
        """``nvext`` for an object or event; empty if there is nothing to tell."""
        return {"nvext": self._fields} if self._fields else {}

    def _add(self, name: str, value: msgspec.Raw) -> None:
        if not bytes(value).startswith(b"["):
            self._fields[name] = value
            return
        told = self._fields.get(name)
        grown = told if isinstance(told, list) else []
        grown += _LIST.decode(value)
        self._fields[name] = grown
