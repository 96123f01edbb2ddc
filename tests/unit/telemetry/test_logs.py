"""Log lines: one fact each, whatever is in them."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.telemetry.logs import FieldLog, LineWriter, configure, render_json, render_text

ANYTHING = st.text(st.characters(exclude_categories=[]))
"""Lone surrogates too."""
EVIL = 'x"\n12:00:00.000 info    picked request_id=forged reason="\x1b[2J\u2028\x85\ud800'


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


@given(ANYTHING, ANYTHING)
def test_no_value_can_forge_a_line_or_a_field(first: str, second: str) -> None:
    line = render_text("info", "picked", {"a": first, "b": second})
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    head, a, b = _fields(line)
    assert head.endswith("info    picked")
    assert (a.partition("=")[0], b.partition("=")[0]) == ("a", "b")


def _fields(line: str) -> list[str]:
    """Split at spaces outside quotes, as a reader of such lines does."""
    parts, quoted, escaped = [""], False, False
    for character in line:
        if character == " " and not quoted:
            parts.append("")
            continue
        parts[-1] += character
        if not escaped and character == '"':
            quoted = not quoted
        escaped = character == "\\" and not escaped
    return [" ".join(parts[:-2]), *parts[-2:]]


@given(ANYTHING)
def test_json_lines_hold_any_value(value: str) -> None:
    line = render_json("info", "picked", {"a": value, "level": "forged"})
    assert "\n" not in line
    record = json.loads(line)
    assert (record["a"], record["level"], record["msg"]) == (value, "info", "picked")


def test_plain_values_stay_plain() -> None:
    line = render_text("info", "picked", {"answer": "10.0.0.1:8000", "cost": 0.5, "why": "a b", "none": ""})
    assert line.endswith('picked answer=10.0.0.1:8000 cost=0.5 why="a b" none=""')


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_records_of_logging_take_the_same_way(log_format: str, root: logging.Logger) -> None:
    stream = io.StringIO()
    writer, picks = configure("info", log_format, stream)
    assert root.level == logging.INFO
    log = logging.getLogger("epp.test")
    log.info("said %s", EVIL, extra={"path": EVIL})
    log.debug("not shown")
    log.error("failed", exc_info=ValueError(EVIL))
    picks.line("picked", {"request_id": EVIL})
    writer.flush()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "ValueError" in lines[1]


def test_warnings_are_written_at_once(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure("info", "text", stream)
    root.warning("now")
    assert "now" in stream.getvalue()


def test_picks_are_not_rendered_below_their_level(root: logging.Logger) -> None:
    stream = io.StringIO()
    writer, picks = configure("warning", "text", stream)
    picks.line("picked", {})
    writer.flush()
    assert root.level == logging.WARNING
    assert not picks.enabled
    assert stream.getvalue() == ""


def test_a_log_can_be_silenced_for_one_part() -> None:
    stream = io.StringIO()
    writer = LineWriter(stream)
    log = FieldLog(writer, json=False)
    log.silent().line("picked", {})
    log.line("request", {})
    writer.flush()
    assert stream.getvalue().split()[2:] == ["request"]


def test_lines_wait_for_a_batch() -> None:
    stream = io.StringIO()
    log = FieldLog(LineWriter(stream), json=False)
    for _ in range(255):
        log.line("picked", {})
    assert stream.getvalue() == ""
    log.line("picked", {})
    assert len(stream.getvalue().splitlines()) == 256


class _Full(io.StringIO):
    def write(self, _text: Any) -> int:
        raise OSError("no space left")


def test_a_stream_that_cannot_be_written_costs_lines_not_requests() -> None:
    writer = LineWriter(_Full())
    writer.write_line("one")
    writer.write_line("two")
    writer.flush()
    assert writer.lost_lines == 2
