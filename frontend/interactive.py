"""``--interactive``: chat on the terminal, through a frontend of its own on a loopback port.

Every answer takes the way of any client's request, HTTP included. Lines in, answers out as they stream;
earlier turns go along. Ctrl-C stops an answer, Ctrl-D leaves. Works with pipes as with terminals.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final, TextIO

from epp.telemetry.logs import FieldLog
from frontend.app.frontend import Frontend
from frontend.chat import Chat, ChatError
from frontend.config.model import FrontendConfig
from frontend.http.client import UpstreamClient

_READ_BYTES: Final = 64 * 1024
_MAX_LINE_BYTES: Final = 1024 * 1024


class Lines:
    """Lines of a file descriptor as they come. The descriptor stays in blocking mode: a terminal shares its
    mode with the output."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._kept = b""
        self._is_over = False

    async def next(self) -> str | None:
        """The next line without its end; None: there are no more. Raises ChatError for one too long."""
        while b"\n" not in self._kept and not self._is_over:
            if len(self._kept) > _MAX_LINE_BYTES:
                raise ChatError(f"a line of more than {_MAX_LINE_BYTES} bytes")
            await self._readable()
            data = os.read(self._fd, _READ_BYTES)
            self._is_over = not data
            self._kept += data
        if not self._kept:
            return None
        line, _, self._kept = self._kept.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    async def _readable(self) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        try:
            loop.add_reader(self._fd, ready.set)
        except PermissionError:  # a regular file, which is always readable
            return
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._fd)


async def interactive(config: FrontendConfig, log: FieldLog, fd: int = 0, out: TextIO = sys.stdout) -> int:
    """Chat until the input ends; returns the exit status. Raises ConfigError and OSError as serving does."""
    http = replace(
        config.http, host="127.0.0.1", port=0, tls_cert_path=None, tls_key_path=None, tls_client_ca_path=None
    )
    frontend = Frontend(replace(config, http=http), log)
    client = UpstreamClient()
    try:
        await frontend.start()
        port = await frontend.listen()
        terminal = _Terminal(
            Chat(client, f"127.0.0.1:{port}", http.paths), Lines(fd), out, is_tty=os.isatty(fd)
        )
        return await terminal.run()
    finally:
        await client.close()
        await frontend.stop()


class _Terminal:
    """Prompts, answers and signals."""

    def __init__(self, chat: Chat, lines: Lines, out: TextIO, *, is_tty: bool) -> None:
        self._chat = chat
        self._lines = lines
        self._out = out
        self._prompt = "> " if is_tty else ""
        self._work: asyncio.Task[str | None] | None = None
        """What is waited for."""
        self._at_prompt = False
        self._leaving = False

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGTERM, self._leave)
        try:
            model = await self._until_stopped(self._chat.begin(self._waits))
            if model is None:
                return 130
            if self._prompt:
                self._show(f"{model}; Ctrl-C stops an answer, Ctrl-D leaves\n")
            while not self._leaving and await self._turn():
                pass
        except ChatError as error:
            self._show(f"frontend: {error}.\n")
            return 1
        return 0

    async def _turn(self) -> bool:
        """One line and its answer; False: there are no more."""
        self._show(self._prompt)
        self._at_prompt = True
        line = await self._until_stopped(self._lines.next())
        self._at_prompt = False
        if line is None:
            return False
        if line.strip():
            try:
                await self._until_stopped(self._chat.say(line, self._show))
            except ChatError as error:
                self._show(f"[{error}]")
            self._show("\n")
        return True

    async def _until_stopped(self, work: Coroutine[Any, Any, str | None]) -> str | None:
        """The result; None when a signal stopped it."""
        self._work = asyncio.create_task(work)
        with contextlib.suppress(asyncio.CancelledError):
            return await self._work
        return None

    def _interrupt(self) -> None:
        """Ctrl-C: stops what runs; at a terminal's prompt it stops nothing."""
        if self._at_prompt and self._prompt:
            self._show(f"\n(Ctrl-D leaves)\n{self._prompt}")
        elif self._at_prompt:
            self._leave()
        elif self._work is not None:
            self._work.cancel()

    def _leave(self) -> None:
        self._leaving = True
        if self._work is not None:
            self._work.cancel()

    def _waits(self, why: str) -> None:
        """At a terminal; a script reads nothing but answers."""
        if self._prompt:
            self._show(f"waiting: {why}\n")

    def _show(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
