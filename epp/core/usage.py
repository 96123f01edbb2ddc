"""Token usage read from a response that passes by, whatever it is cut into.

Reads ``usage`` of OpenAI's and Anthropic's answers, unary JSON or server-sent events, without keeping
the body: at most 64 KiB of it at a time. Total: a body that says nothing readable leaves nothing.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

MAX_KEPT_BYTES: Final = 64 * 1024
"""Longest line of an event stream that is read, and how much of a unary body's end is kept: model
servers write ``usage`` behind the text, and a usage object is a few hundred bytes."""

_KEY: Final = b'"usage"'  # inside a JSON string it would be written with backslashes
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the model server states them; None: not stated."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None


def find_usage(text: bytes) -> Usage | None:
    """The last usage object in a piece of JSON; None: there is no readable one."""
    at = text.rfind(_KEY)
    while at >= 0:
        value = text[at + len(_KEY) :].lstrip()
        if value[:1] == b":" and (rest := value[1:].lstrip())[:1] == b"{":
            return _read_object(rest)
        at = text.rfind(_KEY, 0, at)
    return None


class UsageReader:
    """Takes a response body in pieces and remembers the last usage it saw."""

    __slots__ = ("_events", "_kept", "_skipping", "_usage")

    def __init__(self, content_type: str) -> None:
        self._events = content_type.startswith("text/event-stream")
        self._kept = bytearray()
        self._skipping = False
        self._usage: Usage | None = None

    def feed(self, data: bytes) -> None:
        """The next piece of the body."""
        if self._events:
            self._feed_events(data)
            return
        self._kept += data
        if len(self._kept) > MAX_KEPT_BYTES:
            del self._kept[:-MAX_KEPT_BYTES]

    def result(self) -> Usage:
        """What has been learnt so far."""
        if self._kept and not self._skipping:
            self._usage = find_usage(bytes(self._kept)) or self._usage
        return self._usage or Usage()

    def _feed_events(self, data: bytes) -> None:
        head, newline, rest = data.partition(b"\n")
        if not newline:
            self._keep(head)
            return
        if not self._skipping:
            self._line(bytes(self._kept) + head if self._kept else head)
        self._skipping = False
        self._kept.clear()
        whole, _, tail = rest.rpartition(b"\n")
        if _KEY in whole:
            for line in whole.split(b"\n"):
                self._line(line)
        self._keep(tail)

    def _keep(self, piece: bytes) -> None:
        if self._skipping or len(self._kept) + len(piece) > MAX_KEPT_BYTES:
            self._skipping = True
            self._kept.clear()
        else:
            self._kept += piece

    def _line(self, line: bytes) -> None:
        if _KEY in line and len(line) <= MAX_KEPT_BYTES:
            self._usage = find_usage(line) or self._usage


def _read_object(text: bytes) -> Usage | None:
    try:
        found, _ = _DECODER.raw_decode(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    details = found.get("prompt_tokens_details") or found.get("input_tokens_details")
    return Usage(
        prompt_tokens=_count(found, "prompt_tokens", "input_tokens"),
        cached_tokens=_count(details, "cached_tokens")
        if isinstance(details, dict)
        else _cached_at_top(found),
        completion_tokens=_count(found, "completion_tokens", "output_tokens"),
    )


def _cached_at_top(found: Any) -> int | None:
    return _count(found, "cache_read_input_tokens")


def _count(found: Any, *names: str) -> int | None:
    """The first of ``names`` that holds a token count; None: none does."""
    for name in names:
        value = found.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53:
            return value
    return None
