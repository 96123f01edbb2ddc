"""Kinds of values: what a setting accepts, and how its text becomes a value.

A kind reads text (command line, environment) and scalars of a file alike: a file's ``5`` and a flag's
``"5"`` meet in the same parser. Parsers raise ValueError whose text completes "NAME ...", for example
"must be a whole number, not 'x'"; :mod:`epp.config.load` adds the name and where the value came from.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_SECONDS_PER = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?", re.ASCII | re.IGNORECASE)
_BYTES_PER = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12} | {
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_HTTP_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?", re.ASCII)
_TRUE = frozenset({"true", "t", "1", "yes", "on"})
_FALSE = frozenset({"false", "f", "0", "no", "off"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting accepts."""

    says: str
    """The accepted values in words, for help and the reference page."""
    parse: Callable[[str], object]
    """Text to value; raises ValueError."""
    scalars: tuple[type, ...] = (str,)
    """Types a file may use for it."""
    repeats: bool = False
    """A list: the flag may be repeated, the environment separates by commas."""

    @property
    def is_boolean(self) -> bool:
        """A yes-or-no question, whose flag needs no value."""
        return bool in self.scalars

    def read_scalar(self, value: object) -> object:
        """A scalar of a file as a value; raises ValueError."""
        if not isinstance(value, self.scalars) or (isinstance(value, bool) and not self.is_boolean):
            raise ValueError(f"must be {self.says}, not {show(value)}")
        return self.parse(_text_of(value))


def show(value: object) -> str:
    """A value as an error message quotes it: short, on one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _text_of(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _refuse(says: str, text: str) -> ValueError:
    return ValueError(f"must be {says}, not {show(text)}")


def _number(text: str, says: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise _refuse(says, text)
    value = float(text)
    if not math.isfinite(value):
        raise _refuse(says, text)
    return value


def _parse_boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise _refuse("true or false", text)


BOOLEAN = Kind("true or false", _parse_boolean, (bool, str))


def _parse_text(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain a NUL character")
    return text


TEXT = Kind("text", _parse_text)


def _parse_http_url(text: str) -> str:
    if not _HTTP_URL.fullmatch(text):
        raise _refuse("http://HOST:PORT or https://HOST:PORT", text)
    return text.rstrip("/")


HTTP_URL = Kind("http://HOST:PORT or https://HOST:PORT", _parse_http_url)
"""A server: without a path, a query or a user."""


def whole(low: int, high: int) -> Kind:
    """A whole number within bounds, ends included."""
    says = f"a whole number from {low} to {high}"

    def parse(text: str) -> int:
        if len(text) > 20 or not re.fullmatch(r"\s*[+-]?[0-9]+\s*", text):
            raise _refuse(says, text)
        value = int(text)
        if not low <= value <= high:
            raise _refuse(says, text)
        return value

    return Kind(says, parse, (int, str))


PORT = whole(0, 65535)


def real(low: float, high: float = math.inf) -> Kind:
    """A finite number within bounds, ends included."""
    says = f"a number from {low:g} to {high:g}" if math.isfinite(high) else f"a number of at least {low:g}"

    def parse(text: str) -> float:
        value = _number(text, says)
        if not low <= value <= high:
            raise _refuse(says, text)
        return value

    return Kind(says, parse, (int, float, str))


def seconds(low: float, high: float = 86_400.0, *, bare_unit: str = "s") -> Kind:
    """A duration in seconds: ``30s``, ``50ms``, ``1m30s`` (Go's spelling), or a number of ``bare_unit``."""
    says = (
        f"a duration from {low:g} to {high:g} seconds, as in 30s, 50ms or a number of {_UNIT_WORD[bare_unit]}"
    )

    def parse(text: str) -> float:
        value = _duration_s(text.strip(), bare_unit, says)
        if not low <= value <= high:
            raise _refuse(says, text)
        return value

    return Kind(says, parse, (int, float, str))


_UNIT_WORD = {"s": "seconds", "ms": "milliseconds"}


def _duration_s(text: str, bare_unit: str, says: str) -> float:
    parts = _DURATION_PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return math.fsum(float(number) * _SECONDS_PER[unit] for number, unit in parts)
    return _number(text, says) * _SECONDS_PER[bare_unit]


def size_bytes(low: int, high: int = 2**50) -> Kind:
    """A size in bytes: ``10MiB``, ``25MB``, ``64Ki`` (Kubernetes' spelling), or a number of bytes."""
    says = f"a size from {low} to {high} bytes, as in 64MiB or 1000000"

    def parse(text: str) -> int:
        match = _SIZE.fullmatch(text.strip())
        if match is None or len(text) > 40:
            raise _refuse(says, text)
        value = int(float(match[1]) * _BYTES_PER[(match[2] or "").lower()])
        if not low <= value <= high:
            raise _refuse(says, text)
        return value

    return Kind(says, parse, (int, str))


def choice(*words: str) -> Kind:
    """One of a few words."""
    says = "one of " + ", ".join(words)

    def parse(text: str) -> str:
        if text not in words:
            raise _refuse(says, text)
        return text

    return Kind(says, parse)


def many(item: Kind, most: int) -> Kind:
    """A tuple of items: a list in a file, commas in text, repeated flags."""
    says = f"up to {most} items separated by commas, each {item.says}"

    def parse(text: str) -> tuple[object, ...]:
        items = tuple(item.parse(part.strip()) for part in text.split(",") if part.strip())
        if not items or len(items) > most:
            raise _refuse(says, text)
        return items

    return Kind(says, parse, item.scalars, repeats=True)
