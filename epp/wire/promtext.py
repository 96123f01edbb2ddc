"""A few series out of a Prometheus text page, without reading the rest.

A model server's page is tens to hundreds of kilobytes of histogram buckets, of which a picker needs some
six lines, from every worker, every second. So nothing here parses the page: :func:`find` jumps to the
lines of one metric with ``bytes.find`` and reads only those. A page is text format 0.0.4, in which all
lines of a metric stand together; lines that do not parse are left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

_LABEL: Final = re.compile(rb'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?')
_ESCAPES: Final = re.compile(r"\\(.)")
_PLAIN: Final = {"n": "\n"}
_MAX_SERIES: Final = 4096
"""Series read of one metric; a page with more is not a model server's."""
_DRIFT_BYTES: Final = 4096
"""How far a group may move towards the page's begin between two pages before the search widens."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line: labels and value."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Group:
    """All lines of one metric."""

    series: tuple[Series, ...]
    position: int
    """Where the first one begins on the page; 0 also if there is none."""


def find(page: bytes, metric: str, near: int = 0) -> Group:
    """The series of ``metric``, in the order of the page. Never raises.

    ``near`` is where the group began on an earlier page of the same worker; pages hardly change their
    layout, so the search starts a little before it and covers the whole page only if that fails.
    """
    name = metric.encode()
    position = _first_line(page, name, max(near - _DRIFT_BYTES, 0))
    if position < 0 and near > _DRIFT_BYTES:
        position = _first_line(page, name, 0)
    series: list[Series] = []
    start = position
    while start >= 0 and _is_ours(page, name, start) and len(series) < _MAX_SERIES:
        end = page.find(b"\n", start)
        parsed = _parse(page[start + len(name) : end if end >= 0 else len(page)])
        if parsed is not None:
            series.append(parsed)
        start = end + 1 if end >= 0 else -1
    return Group(tuple(series), max(position, 0))


def _first_line(page: bytes, name: bytes, start: int) -> int:
    """Where the first line of ``name`` at or after ``start`` begins; -1: nowhere."""
    if start == 0 and _is_ours(page, name, 0):
        return 0
    while (start := page.find(b"\n" + name, start)) >= 0:
        start += 1
        if _is_ours(page, name, start):
            return start
    return -1


def _is_ours(page: bytes, name: bytes, start: int) -> bool:
    """Whether a line of ``name`` begins here, not of a longer name that begins alike."""
    after = start + len(name)
    return page.startswith(name, start) and page[after : after + 1] in (b"{", b" ", b"\t")


def _parse(rest: bytes) -> Series | None:
    """A line without its metric name: ``{label="v",...} value [timestamp]``."""
    closing = rest.rfind(b"}") + 1
    labels = _labels(rest[:closing])
    fields = rest[closing:].split(None, 1)
    if labels is None or not fields:
        return None
    try:
        return Series(labels, float(fields[0]))
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _labels(text: bytes) -> Mapping[str, str] | None:
    """``{label="v",...}`` or nothing at all; None: neither. Workers repeat theirs on every page."""
    labels: dict[str, str] = {}
    if not text:
        return MappingProxyType(labels)
    position = 1
    while (match := _LABEL.match(text, position)) is not None:
        labels[match[1].decode()] = _unescape(match[2].decode("utf-8", "replace"))
        position = match.end()
    return MappingProxyType(labels) if text[:1] == b"{" and text[position:].strip() == b"}" else None


def _unescape(value: str) -> str:
    if "\\" not in value:
        return value
    return _ESCAPES.sub(lambda match: _PLAIN.get(match[1], match[1]), value)
