"""Dynamo's wheel at arm's length: a child process under its own interpreter, asked over a pipe."""

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

_CHILD = Path(__file__).with_name("oracle_child.py")
_ANSWER_S = 60.0
_STOP_S = 5.0


class OracleError(RuntimeError):
    """The child answered with an error, went away, or took too long."""


class Oracle:
    """The child, as a context manager. Calls raise OracleError."""

    def __init__(
        self, python: str, log_path: Path, *, script: Path = _CHILD, settings: Mapping[str, str] | None = None
    ) -> None:
        """``settings`` are environment variables of the wheel, ``DYN_ROUTER_…``."""
        self._argv = [python, str(script)]
        self._environment = {**os.environ, "DYN_LOG": "error", **(settings or {})}
        self._log_path = log_path
        self._partial = b""

    def __enter__(self) -> Self:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=self._environment,
            )
        return self

    def __exit__(self, *_: object) -> None:
        pipe(self._process.stdin).close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        pipe(self._process.stdout).close()

    def ask(self, op: str, *, deadline_s: float = _ANSWER_S, **arguments: Any) -> Any:
        """One call."""
        to_child = pipe(self._process.stdin)
        line = memoryview(json.dumps({"op": op, **arguments}).encode() + b"\n")
        while line:
            line = line[to_child.write(line) :]
        answer = json.loads(self._line(time.monotonic() + deadline_s))
        if "error" in answer:
            raise OracleError(answer["error"])
        return answer["ok"]

    def service(self, method: str, *calls: tuple[Any, ...]) -> list[Any]:
        """The results of one method of the selection service, one per tuple of arguments; a call that the
        service refused gives ``{"error": text}``."""
        return list(self.ask("service", method=method, calls=calls))

    def _line(self, deadline_s: float) -> bytes:
        from_child = pipe(self._process.stdout)
        while b"\n" not in self._partial:
            wait_s = deadline_s - time.monotonic()
            ready = select.select([from_child], [], [], max(0.0, wait_s))[0]
            part = os.read(from_child.fileno(), 1 << 20) if ready else b""
            if not part:
                raise OracleError(f"{'no answer' if wait_s <= 0 else 'it went away'}: {self._log()}")
            self._partial += part
        line, _, self._partial = self._partial.partition(b"\n")
        return line

    def _log(self) -> str:
        return self._log_path.read_text(errors="replace")[-2000:]


def pipe(end: IO[bytes] | None) -> IO[bytes]:
    """A pipe that was asked for is there."""
    assert end is not None
    return end
