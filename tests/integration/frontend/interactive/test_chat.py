"""``frontend --interactive`` as a person or a script uses it: a process, its input, its output."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.frontend.conftest import ScriptedWorker, Site, until

DEADLINE_S = 60.0


class Terminal:
    """The process; what it has shown so far."""

    def __init__(self, endpoints: Path, stdin: int, *flags: str) -> None:
        argv = [sys.executable, "-m", "frontend", "-i", "--endpoints-file", str(endpoints), *flags]
        self._process = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.shown = b""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 65536):
            self.shown += data

    def type(self, text: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def shows(self, text: bytes, times: int = 1) -> None:
        until(lambda: self.shown.count(text) >= times, f"{text!r}, only {self.shown!r}", DEADLINE_S)

    def leave(self) -> int:
        """The end of the input; the exit status."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        status = self._process.wait(DEADLINE_S)
        self._reading.join(DEADLINE_S)
        return status

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reading.join(DEADLINE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@contextlib.contextmanager
def terminal(endpoints: Path, *flags: str, stdin: int = subprocess.PIPE) -> Iterator[Terminal]:
    started = Terminal(endpoints, stdin, *flags)
    try:
        yield started
    finally:
        started.end()


@pytest.fixture
def endpoints(site: Site, pool: list[dict[str, Any]]) -> Path:
    return site.endpoints(*pool)


def test_lines_of_a_pipe_are_answered_in_turn(endpoints: Path) -> None:
    with terminal(endpoints) as chat:
        chat.type(b"hello there\n\nand again\n")
        assert chat.leave() == 0
        answers = chat.shown.decode().splitlines()
        assert len(answers) == 2, chat.shown
        assert all(answers)


def test_a_file_as_input(endpoints: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes(b"hello there")
    with script.open("rb") as file, terminal(endpoints, stdin=file.fileno()) as chat:
        assert chat.leave() == 0
        assert len(chat.shown.decode().splitlines()) == 1


def test_earlier_turns_go_along(site: Site, scripted: ScriptedWorker) -> None:
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"so it is"}}]}\n\ndata: [DONE]\n\n'
    scripted.answers["/v1/chat/completions"] = (200, "text/event-stream", chunk)
    scripted.answers["/metrics"] = (200, "text/plain", b"vllm:num_requests_running 0\n")
    with terminal(site.endpoints(scripted.entry())) as chat:
        chat.type(b"first\nsecond\n")
        assert chat.leave() == 0
    assert chat.shown == b"so it is\nso it is\n"
    body = scripted.last("/v1/chat/completions")[1]
    assert body.index(b"first") < body.index(b"so it is") < body.index(b"second")


def test_an_error_is_shown_and_forgotten(site: Site, scripted: ScriptedWorker) -> None:
    scripted.answers["/v1/chat/completions"] = (400, "application/json", b'{"message":"not like this"}')
    with terminal(site.endpoints(scripted.entry())) as chat:
        chat.type(b"wrong\nwrong\n")
        assert chat.leave() == 0
    assert chat.shown.count(b"[not like this]") == 2
    assert scripted.last("/v1/chat/completions")[1].count(b"wrong") == 1


def test_ctrl_c_stops_an_answer_and_the_chat_goes_on(site: Site) -> None:
    slow = site.engines(1, "--decode-tokens-per-s", "5")
    with terminal(site.endpoints(*slow)) as chat:
        chat.type(b"hello there\n")
        until(lambda: bool(chat.shown), "the first word", DEADLINE_S)
        chat.signal(signal.SIGINT)
        chat.shows(b"\n")
        chat.type(b"more\n")
        until(lambda: not chat.shown.endswith(b"\n"), "the next answer", DEADLINE_S)
        chat.signal(signal.SIGTERM)
        assert chat.leave() == 0


def test_a_terminal_has_a_prompt(site: Site, scripted: ScriptedWorker) -> None:
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"yes"}}]}\n\ndata: [DONE]\n\n'
    scripted.answers["/v1/chat/completions"] = (200, "text/event-stream", chunk)
    mine, theirs = os.openpty()
    try:
        with terminal(site.endpoints(scripted.entry()), stdin=theirs) as chat:
            chat.shows(b"scripted; Ctrl-C stops an answer, Ctrl-D leaves\n> ")
            chat.signal(signal.SIGINT)
            chat.shows(b"(Ctrl-D leaves)")
            os.write(mine, b"well?\n")
            chat.shows(b"yes\n> ")
            os.write(mine, b"\x04")
            assert chat.leave() == 0
    finally:
        os.close(mine)
        os.close(theirs)
