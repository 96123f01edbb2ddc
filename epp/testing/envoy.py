"""A real Envoy as a child process, on ports the kernel chose, for tests, the demo and benches."""

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from epp.testing.envoy_config import EnvoyOptions, build_config

_START_DEADLINE_S: Final = 90.0
_STOP_DEADLINE_S: Final = 10.0
_POLL_S: Final = 0.02


class EnvoyError(Exception):
    """Envoy is missing, refused its configuration, or did not come up."""


def find_envoy() -> str:
    """Path of the ``envoy`` program: beside the running Python, else on PATH."""
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise EnvoyError("envoy is not installed beside Python nor on PATH")
    return found


class EnvoyProcess:
    """Runs Envoy for as long as the ``async with`` block lasts."""

    def __init__(
        self, options: EnvoyOptions, *, log_level: str = "warning", extra: Sequence[str] = ()
    ) -> None:
        """``extra``: further command-line arguments of Envoy, as they are."""
        self._options = options
        self._log_level = log_level
        self._extra = extra
        self._process: asyncio.subprocess.Process | None = None
        self._folder: Path | None = None
        self.port = 0
        """Port clients connect to."""
        self.admin_port = 0
        """Port of the admin pages."""

    @property
    def pid(self) -> int:
        """Process id, for measuring."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What Envoy has logged so far."""
        path = self._folder / "envoy.log" if self._folder else None
        return path.read_text(errors="replace") if path and path.exists() else ""

    async def __aenter__(self) -> Self:
        self._folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="envoy-"))
        config = _write_config(self._folder, self._options)
        self._process = await asyncio.create_subprocess_exec(
            find_envoy(),
            *("--config-path", str(config)),
            *("--admin-address-path", str(self._folder / "admin")),
            *("--log-path", str(self._folder / "envoy.log"), "--log-level", self._log_level),
            *("--disable-hot-restart", "--concurrency", "1", *self._extra),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(_START_DEADLINE_S):
                await self._learn_ports()
        except BaseException as error:
            log = self.log
            await self._stop()
            if isinstance(error, TimeoutError):
                raise EnvoyError(f"Envoy did not come up:\n{log[-4000:]}") from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def admin(self, path: str) -> str:
        """An admin page, for example ``/stats``."""
        return await asyncio.to_thread(self._fetch, path)

    async def stat(self, name: str) -> int:
        """One counter or gauge."""
        for line in (await self.admin(f"/stats?filter=^{name}$")).splitlines():
            key, _, value = line.partition(": ")
            if key == name:
                return int(value)
        return 0

    async def _learn_ports(self) -> None:
        assert self._folder is not None
        assert self._process is not None
        address_file = self._folder / "admin"
        while self.port == 0:
            if self._process.returncode is not None:
                raise EnvoyError(f"Envoy ended with {self._process.returncode}:\n{self.log[-4000:]}")
            if address_file.exists() and (address := address_file.read_text().strip()):
                self.admin_port = int(address.rpartition(":")[2])
                with contextlib.suppress(OSError, KeyError, IndexError):  # not ready, or no listener yet
                    await self.admin("/ready")  # until then the listener may be bound without listening
                    self.port = _listener_port(json.loads(await self.admin("/listeners?format=json")))
            await asyncio.sleep(_POLL_S)

    def _fetch(self, path: str) -> str:
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        with urllib.request.urlopen(url, timeout=30) as page:
            text: str = page.read().decode()
        return text

    async def _stop(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_DEADLINE_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _write_config(folder: Path, options: EnvoyOptions) -> Path:
    config = folder / "envoy.json"
    config.write_text(json.dumps(build_config(options)))
    return config


def _listener_port(listeners: dict[str, Any]) -> int:
    return int(listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"])


async def validate(options: EnvoyOptions) -> None:
    """``envoy --mode validate``; raises :class:`EnvoyError` with its words when it refuses."""
    with tempfile.TemporaryDirectory(prefix="envoy-") as folder:
        config = _write_config(Path(folder), options)
        process = await asyncio.create_subprocess_exec(
            *(find_envoy(), "--mode", "validate", "--config-path", str(config)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), _START_DEADLINE_S)
        if process.returncode != 0:
            raise EnvoyError(output.decode(errors="replace")[-4000:])
