"""Runs a kubeconfig's credential plugin, seldom: what it hands out is kept until it expires or is refused.

Of all who ask at once one runs it and the others wait. A plugin that fails, or whose fresh credentials are
refused or have expired, is left alone for a while, so that attempts to reach the API do not become a row of
processes.
"""

import asyncio
import os
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from epp.discovery.kubernetes.access import AccessError
from epp.wire.kubernetes.execplugin import (
    INFO_VARIABLE,
    Credential,
    ExecPlugin,
    PluginError,
    exec_info,
    read_credential,
)

RUN_S: Final = 30.0
"""Clouds answer within a few seconds, a slow one that has to log in first within ten."""
REST_S: Final = 10.0
"""Between two runs that help nobody."""
MAX_OUTPUT_BYTES: Final = 1024 * 1024
_MAX_COMPLAINT_BYTES: Final = 4096
_SHOWN: Final = 300
_STDERR: Final = 2
_EARLY_S: Final = 10.0
"""Credentials are renewed so long before they expire, for the API server's clock may be ahead."""


class PluginRunner:
    """See the module's preface."""

    def __init__(
        self,
        plugin: ExecPlugin,
        folder: Path,
        authority: Callable[[], bytes | None],
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``folder``: what a relative path of the command is relative to. ``authority`` reads the cluster's
        certificates (PEM), for plugins that are told of the cluster; ``clock`` counts from the epoch,
        ``steady`` from anywhere."""
        self._plugin = plugin
        self._folder = folder
        self._authority = authority
        self._clock, self._steady = clock, steady
        self._lock = asyncio.Lock()
        self._kept: Credential | None = None
        self._ran_s = -REST_S
        self._failed: str | None = None
        """Why the last run helped nobody; None: it did, or there was none."""

    async def credential(self) -> Credential:
        """The one that holds now; raises AccessError."""
        async with self._lock:
            rests = self._rests()
            if self._kept is not None and (rests or not _expired(self._kept, self._clock())):
                return self._kept
            if self._failed is not None and rests:
                raise AccessError(self._failed)
            self._kept = None
            try:
                self._kept = await self._run()
                self._failed = None
            except (OSError, PluginError) as error:
                self._failed = f"the credential plugin {self._plugin.command!r} cannot be used: {error}"
                raise AccessError(self._failed) from error
            finally:
                self._ran_s = self._steady()
            return self._kept

    def refused(self, credential: Credential) -> bool:
        """The API does not take it, or it cannot be used; whether to ask for another one at once."""
        if self._kept is not credential:
            return self._kept is not None  # somebody has another one already
        if self._rests():
            return False
        self._kept = None
        return True

    def _rests(self) -> bool:
        return self._steady() - self._ran_s < REST_S

    async def _run(self) -> Credential:
        authority = await asyncio.to_thread(self._authority) if self._plugin.cluster is not None else None
        encoded = None if authority is None else b64encode(authority).decode()
        environment = {
            **os.environ,
            **dict(self._plugin.env),
            INFO_VARIABLE: exec_info(self._plugin, encoded),
        }
        run = await self._start(environment)
        try:
            async with asyncio.timeout(RUN_S):
                await run.over
        except TimeoutError:
            raise PluginError(f"no answer within {RUN_S:g} s") from None
        finally:
            run.end()
        if run.status != 0:
            said = " ".join(run.complaint.decode(errors="replace").split())[-_SHOWN:]
            raise PluginError(f"it ended with status {run.status}: {said or 'no word why'}")
        return read_credential(bytes(run.output), self._plugin.api_version)

    async def _start(self, environment: dict[str, str]) -> "_Run":
        command = self._plugin.command
        if os.sep in command:
            command = str(self._folder / command)
        loop = asyncio.get_running_loop()
        try:
            _, run = await loop.subprocess_exec(
                _Run,
                command,
                *self._plugin.args,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                start_new_session=True,  # so that it ends with all it started
            )
        except OSError as error:
            hint = f" ({self._plugin.hint})" if self._plugin.hint else ""
            raise PluginError(f"{error.strerror or error}{hint}") from error
        return run


class _Run(asyncio.SubprocessProtocol):
    """One process, and what it says."""

    def __init__(self) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it has ended and closed its output; fails with PluginError when it says too much."""
        self.output = bytearray()
        self.complaint = b""
        """The end of its standard error."""

    @property
    def status(self) -> int | None:
        """Its exit status; negative: the signal that ended it."""
        return self._transport.get_returncode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)  # uvloop's is no subclass

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _STDERR:
            self.complaint = (self.complaint + data)[-_MAX_COMPLAINT_BYTES:]
            return
        self.output += data
        if len(self.output) > MAX_OUTPUT_BYTES and not self.over.done():
            self.over.set_exception(PluginError(f"more than {MAX_OUTPUT_BYTES} bytes of output"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the pipes' trouble is in what they said
        if not self.over.done():
            self.over.set_result(None)

    def end(self) -> None:
        """If it goes on: end it with what it started, and hear no more of it."""
        if not self.over.done() or self.over.cancelled() or self.over.exception() is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._transport.get_pid(), signal.SIGKILL)
        self._transport.close()


def _expired(credential: Credential, now_s: float) -> bool:
    return credential.expires is not None and credential.expires.timestamp() - _EARLY_S <= now_s
