"""Typed header values: by name and aliases, never raising, every unreadable one reported."""

import math
import re
from collections.abc import Mapping
from typing import Final

_U32: Final = range(2**32)
_NO_RANK: Final = 2**32 - 1
"""What Dynamo writes for "no rank"."""
_INTEGER: Final = re.compile(r"-?[0-9]+")
_MAX_DIGITS: Final = 24
"""Longer numbers exceed every range in use; they are not even converted."""


class HeaderValues:
    """Header values by name and aliases; remembers which could not be read."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self.unreadable: list[tuple[str, str]] = []

    def text(self, *names: str) -> str | None:
        """The first of ``names`` that is present and not blank."""
        found = self._find(names)
        return found[1] if found else None

    def integer(self, allowed: range, *names: str) -> int | None:
        """A decimal number in a range."""
        found = self._find(names)
        if found is None:
            return None
        name, text = found
        if not _INTEGER.fullmatch(text):
            self.unreadable.append((name, "not-a-number"))
            return None
        if len(text) > _MAX_DIGITS or (value := int(text)) not in allowed:
            self.unreadable.append((name, "out-of-range"))
            return None
        return value

    def rank(self, *names: str) -> int | None:
        """A data-parallel rank; the largest u32 means none."""
        value = self.integer(_U32, *names)
        return None if value == _NO_RANK else value

    def milliseconds(self, *names: str) -> float | None:
        """A positive, finite duration."""
        found = self._find(names)
        if found is None:
            return None
        name, text = found
        try:
            value = float(text)
        except ValueError:
            self.unreadable.append((name, "not-a-number"))
            return None
        if not 0 < value < math.inf:
            self.unreadable.append((name, "out-of-range"))
            return None
        return value

    def _find(self, names: tuple[str, ...]) -> tuple[str, str] | None:
        for name in names:
            if (value := self._headers.get(name)) is not None and (text := value.strip()):
                return name, text
        return None
