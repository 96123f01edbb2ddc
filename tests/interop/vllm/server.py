"""A real ``vllm serve`` as a child process, found by ``EPP_VLLM_PYTHON``."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from epp.testing.process import log_tail

BLOCK_TOKENS = 32
"""The smallest block vLLM's CPU attention takes."""
_START_S = 300.0
_STOP_S = 30.0
_POLL_S = 0.25
_ENVIRONMENT = {
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_SERVER_DEV_MODE": "1",  # /reset_prefix_cache
}


def vllm_python() -> str:
    """The interpreter that has vLLM; skips the test when none is named."""
    python = os.environ.get("EPP_VLLM_PYTHON")
    if python is None:
        pytest.skip("EPP_VLLM_PYTHON does not name an interpreter with vLLM; see docs/interop.md")
    return python


@dataclass(frozen=True, slots=True)
class Ports:
    """Where one server listens, on loopback."""

    http: int
    events: int
    replay: int

    @classmethod
    def free(cls) -> "Ports":
        """Ports nobody had a moment ago: vLLM cannot tell which ones it chose itself."""
        sockets = [socket.socket() for _ in range(3)]
        try:
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            return cls(*(one.getsockname()[1] for one in sockets))
        finally:
            for one in sockets:
                one.close()


class VllmServer:
    """One engine with prefix caching, KV events and replay; :meth:`start`, :meth:`healthy`, :meth:`stop`."""

    def __init__(
        self,
        name: str,
        model: Path,
        log: Path,
        *,
        blocks: int,
        context: int,
        topic: str = "",
        extra: tuple[str, ...] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.ports = Ports.free()
        self.blocks = blocks
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            *(vllm_python(), "-m", "vllm.entrypoints.cli.main", "serve", str(model)),
            *("--served-model-name", "m", "--host", "127.0.0.1", "--port", str(self.ports.http)),
            *("--load-format", "dummy", "--enforce-eager", "--max-num-seqs", "16"),
            *("--max-model-len", str(context), "--block-size", str(BLOCK_TOKENS)),
            *("--num-gpu-blocks-override", str(blocks)),
            *("--enable-prefix-caching", "--enable-prompt-tokens-details"),
            *("--kv-events-config", json.dumps(_events(self.ports, topic))),
            *extra,
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.http}"

    @property
    def host_port(self) -> str:
        return f"127.0.0.1:{self.ports.http}"

    def endpoint(self) -> dict[str, Any]:
        """This server as an entry of an endpoints file."""
        return {
            "name": self.name,
            "address": "127.0.0.1",
            "port": self.ports.http,
            "kv_events": f"tcp://127.0.0.1:{self.ports.events}",
            "kv_replay": f"tcp://127.0.0.1:{self.ports.replay}",
        }

    def start(self) -> None:
        """Begin to start; several servers start together faster than one by one."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **_ENVIRONMENT, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def healthy(self) -> None:
        """Wait until it serves."""
        assert self._process is not None
        end_s = time.monotonic() + _START_S
        while time.monotonic() < end_s and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(_POLL_S)
        pytest.fail(f"vLLM did not start: {log_tail(self._log)}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL, to its own process group."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(_STOP_S)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
            break
        process.wait(_STOP_S)


def _events(ports: Ports, topic: str) -> dict[str, Any]:
    """Loopback in the one form vLLM binds: it connects to endpoints that hold neither ``*`` nor ``::``."""
    return {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": f"tcp://[::ffff:127.0.0.1]:{ports.events}",
        "replay_endpoint": f"tcp://[::ffff:127.0.0.1]:{ports.replay}",
        "topic": topic,
        "buffer_steps": 10_000,
    }
