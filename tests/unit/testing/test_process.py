"""The parts of child handling that need no child."""

import os
from pathlib import Path

import pytest

from epp.testing.process import cpu_s, log_tail, parse_ready


def test_a_ready_line_is_json_with_the_event() -> None:
    assert parse_ready(b'{"event": "ready", "port": 3}\n') == {"event": "ready", "port": 3}


@pytest.mark.parametrize("line", [b"", b"starting\n", b"{}", b'{"event": "other"}', b"[1]", b"\xff\xfe"])
def test_other_output_is_not(line: bytes) -> None:
    assert parse_ready(line) is None


def test_the_tail_is_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(log) == ""
    log.write_text("".join(f"line {number}\n" for number in range(1000)))
    lines = log_tail(log).splitlines()
    assert lines[-1] == "line 999"
    assert len(lines) == 20


def test_cpu_time_of_a_process_grows_with_work() -> None:
    before = cpu_s(os.getpid())
    while cpu_s(os.getpid()) == before:
        sum(range(100_000))
    assert cpu_s(os.getpid()) > before


def test_no_process_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        cpu_s(2**30)
