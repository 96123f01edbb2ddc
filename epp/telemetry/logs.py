"""Logs: one line per fact, with fields; text for people, JSON for machines.

Lines about picks come at request rate, so they are buffered and written in batches by
:class:`LineWriter`; everything else goes through :mod:`logging` and the same writer.

Clients choose request ids and model names, so nothing in a field may end a line, start a field or reach a
terminal as a control code: in text such values are quoted and escaped, in JSON they are strings.
"""

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Mapping
from copy import copy
from functools import lru_cache
from typing import Any, TextIO

import orjson

_FLUSH_LINES = 256
"""Write out after this many lines even before the next periodic flush: bounds what a crash loses."""

_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")
"""What needs no quotes: visible ASCII but for the quote, the equals sign and the backslash."""
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class LineWriter:
    """Collects finished lines and writes them in batches; safe from any thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self.lost_lines = 0
        """Lines that could not be written."""

    def after_fork(self) -> None:
        """In a child after a fork: somebody may have been writing, and what is collected is the parent's."""
        self._lock = threading.Lock()
        self._lines = []

    def write_line(self, line: str) -> None:
        """Take one line without its newline."""
        with self._lock:
            self._lines.append(line)
            full = len(self._lines) >= _FLUSH_LINES
        if full:
            self.flush()

    def flush(self) -> None:
        """Write what has been collected. A closed or full stream loses lines, never a request."""
        with self._lock:
            lines, self._lines = self._lines, []
            if lines:
                self._write(lines)

    def _write(self, lines: list[str]) -> None:
        try:
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self.lost_lines += len(lines)


def render_text(level: str, message: str, fields: Mapping[str, Any]) -> str:
    """``12:03:11.042 info  picked endpoint=10.0.0.1:8000 reason="…"``."""
    now_ms = time.time_ns() // 1_000_000
    parts = [f"{_time_of_day(now_ms // 1000)}.{now_ms % 1000:03d} {level:<7} {message}"]
    for name, value in fields.items():
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        parts.append(f"{name}={text}" if _PLAIN.fullmatch(text) else f"{name}={_quoted(text)}")
    return " ".join(parts)


def render_json(level: str, message: str, fields: Mapping[str, Any]) -> str:
    """One JSON object with ``ts``, ``level``, ``msg`` and the fields."""
    record = {**fields, "ts": round(time.time(), 3), "level": level, "msg": message}
    try:
        return orjson.dumps(record, default=str).decode()
    except TypeError:  # a lone surrogate, which orjson refuses
        return json.dumps(record, default=str)


@lru_cache(maxsize=4)
def _time_of_day(unix_s: int) -> str:
    """Thousands of lines share a second."""
    return time.strftime("%H:%M:%S", time.localtime(unix_s))


def _quoted(text: str) -> str:
    """In double quotes, with everything that is not printable, quotes and backslashes as escapes."""
    return '"' + _one_line(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class FieldLog:
    """Writes lines with fields at one level, without building a LogRecord."""

    def __init__(self, writer: LineWriter, *, json: bool, enabled: bool = True) -> None:
        self._writer = writer
        self._render = render_json if json else render_text
        self.enabled = enabled

    def silent(self) -> "FieldLog":
        """The same, disabled."""
        other = copy(self)
        other.enabled = False
        return other

    def line(self, message: str, fields: Mapping[str, Any]) -> None:
        """Write one line unless disabled."""
        if self.enabled:
            self._writer.write_line(self._render("info", message, fields))


class _Handler(logging.Handler):
    """Renders records like :class:`FieldLog`, fields from ``extra=``."""

    def __init__(self, writer: LineWriter, *, json: bool) -> None:
        super().__init__()
        self._writer = writer
        self._render = render_json if json else render_text

    def emit(self, record: logging.LogRecord) -> None:
        fields = {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        if record.exc_info:
            fields["exception"] = logging.Formatter().formatException(record.exc_info)
        message = _one_line(f"{record.name}: {record.getMessage()}")
        line = self._render(record.levelname.lower(), message, fields)
        self._writer.write_line(line)
        if record.levelno >= logging.WARNING:
            self._writer.flush()


def configure(level: str, log_format: str, stream: TextIO | None = None) -> tuple[LineWriter, FieldLog]:
    """Set up logging for the process; returns the shared writer and the log of picks."""
    json = log_format == "json"
    writer = LineWriter(stream or sys.stderr)
    root = logging.getLogger()
    root.handlers[:] = [_Handler(writer, json=json)]
    root.setLevel(level.upper())
    return writer, FieldLog(writer, json=json, enabled=root.isEnabledFor(logging.INFO))
