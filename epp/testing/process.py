"""Child processes that cannot be forgotten: started with a deadline, watched, stopped, their log kept."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

_LINE_BYTES = 1 << 20
_TAIL_LINES = 20
_TAIL_BYTES = 16 << 10
_REAP_S = 30.0


class ChildError(RuntimeError):
    """A child process did not do its part; the message ends with the tail of its log."""


class ChildProcess:
    """One child with its log file, as an async context manager: entering starts it and waits until it says
    that it is ready, by a line ``{"event": "ready", …}`` on standard output; leaving stops it.

    The child gets a session of its own, so that a Ctrl-C reaches the parent alone, which then stops its
    children in order. Raises ChildError if it exits or stays silent for ``ready_deadline_s``.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        log_path: Path,
        *,
        environment: Mapping[str, str] | None = None,
        ready_deadline_s: float = 90.0,
        stop_grace_s: float = 5.0,
    ) -> None:
        self.name = name
        self.ready: Mapping[str, Any] = {}
        """The child's ready line."""
        self.log_path = log_path
        self._argv = [str(part) for part in argv]
        self._environment = {**os.environ, **(environment or {})}
        self._ready_deadline_s = ready_deadline_s
        self._stop_grace_s = stop_grace_s
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None
        self._is_ready: asyncio.Future[Mapping[str, Any]] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """Process id of the started child."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not exited."""
        return self._process is not None and self._process.returncode is None

    def log_tail(self) -> str:
        """The last lines the child wrote to either output."""
        return log_tail(self.log_path)

    def failure(self, what: str) -> ChildError:
        """An error that says what happened and shows the log's tail."""
        return ChildError(f"{self.name} {what}; the end of {self.log_path.name}:\n{self.log_tail()}")

    async def failed(self) -> None:
        """Wait until the child exits by itself, then raise ChildError."""
        assert self._process is not None
        status = await self._process.wait()
        raise self.failure(f"ended unexpectedly with status {status}")

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after the grace; safe to call again."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            await _terminate(process, self._stop_grace_s)
        output, self._output = self._output, None
        if output is not None:
            output.cancel()
            with suppress(asyncio.CancelledError):
                await output

    async def _start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                limit=_LINE_BYTES,
            )
        self._is_ready = asyncio.get_running_loop().create_future()
        self._output = asyncio.create_task(self._read_output(), name=f"{self.name}-output")
        try:
            async with asyncio.timeout(self._ready_deadline_s):
                self.ready = await self._is_ready
        except TimeoutError as error:
            raise self.failure(f"was not ready within {self._ready_deadline_s:g} s") from error

    async def _read_output(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._is_ready is not None
        with self.log_path.open("ab", buffering=0) as log:
            while line := await self._process.stdout.readline():
                log.write(line)
                ready = parse_ready(line)
                if ready is not None and not self._is_ready.done():
                    self._is_ready.set_result(ready)
        if not self._is_ready.done():
            status = await self._process.wait()
            self._is_ready.set_exception(self.failure(f"exited with status {status} before it was ready"))


def parse_ready(line: bytes) -> Mapping[str, Any] | None:
    """The object of a ready line; None for any other output."""
    try:
        value: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if isinstance(value, dict) and value.get("event") == "ready":  # pyright: ignore[reportUnknownMemberType] -- any JSON
        return value  # pyright: ignore[reportUnknownVariableType] -- any JSON
    return None


def log_tail(path: Path) -> str:
    """The last lines of a log; empty if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, all threads of a process so far (``/proc/PID/stat``, fields 14 and 15;
    proc(5)). Raises OSError if there is no such process, or no /proc."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _terminate(process: asyncio.subprocess.Process, grace_s: float) -> None:
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, _REAP_S)):
        with suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            async with asyncio.timeout(patience_s):
                await process.wait()
        except TimeoutError:
            continue
        return
    raise ChildError(f"process {process.pid} did not end after SIGKILL")
