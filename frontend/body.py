"""A JSON request body whose values stay bytes until somebody asks for one.

The frontend changes two or three fields of a body that may hold a hundred thousand tokens of text. One pass
finds the top-level fields; a value is decoded only when it is read, and a changed body is joined from the
old bytes. An unchanged one is forwarded byte for byte.
"""

from collections.abc import KeysView
from typing import Any, Final, TypeVar

import msgspec

from frontend.errors import ApiError, bad_request

T = TypeVar("T")
REFUSED: Final = "Failed to deserialize the JSON body into the target type"
"""How messages about bodies begin."""
_FIELDS: "msgspec.json.Decoder[dict[str, msgspec.Raw]]" = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Body:
    """An object; immutable, ``replace`` makes another."""

    __slots__ = ("_fields", "_raw")

    def __init__(self, raw: bytes) -> None:
        """Raises ApiError (400) for what is no JSON object."""
        try:
            self._fields = _FIELDS.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _undecodable(error) from error
        self._raw: bytes | None = raw

    @classmethod
    def of(cls, value: dict[str, Any]) -> "Body":
        """A body made here."""
        return cls(msgspec.json.encode(value))

    @classmethod
    def opaque(cls, raw: bytes) -> "Body":
        """Bytes of another kind (a form, audio), forwarded as they are."""
        body = object.__new__(cls)
        body._fields = {}
        body._raw = raw
        return body

    def names(self) -> KeysView[str]:
        """The top-level fields."""
        return self._fields.keys()

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def get(self, name: str, kind: type[T]) -> T | None:
        """A field's value as ``kind``; None: absent or null. Raises ApiError (400) for another type."""
        raw = self._fields.get(name)
        if raw is None or bytes(raw) == b"null":
            return None
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bad_request(f"{REFUSED}: `{name}`: {error}") from error

    def raw(self, name: str) -> bytes | None:
        """A field's JSON text."""
        raw = self._fields.get(name)
        return None if raw is None else bytes(raw)

    def view(self, name: str) -> memoryview:
        """A field's JSON text without a copy; empty: absent."""
        raw = self._fields.get(name)
        return memoryview(b"") if raw is None else memoryview(raw)

    def replace(self, **changes: Any) -> "Body":
        """A copy with fields set; ``msgspec.UNSET`` takes one away, ``msgspec.Raw`` is kept as it is."""
        copy = object.__new__(Body)
        fields = dict(self._fields)
        for name, value in changes.items():
            if value is msgspec.UNSET:
                fields.pop(name, None)
            else:
                fields[name] = (
                    value if isinstance(value, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(value))
                )
        copy._fields = fields
        copy._raw = None
        return copy

    def encode(self) -> bytes:
        """The bytes to send: those that came, if nothing changed."""
        if self._raw is None:
            self._raw = msgspec.json.encode(self._fields)
        return self._raw


def _undecodable(error: Exception) -> ApiError:
    return bad_request(f"{REFUSED}: {error}")
