"""The processes of ``tests.bench.frontend``: one model server behind four ports, and the relays to it."""

import contextlib
import shlex
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from epp.testing.envoy import EnvoyProcess
from epp.testing.envoy_config import EnvoyOptions, Upstream
from epp.testing.load.client import HttpClient
from epp.testing.process import ChildProcess
from epp.testing.vocab import cached_model_dir
from tests.bench.frontend_engine import MODEL

WORKERS: Final = 4
_NAMES: Final = {"relay": "http", "aiohttp": "aiohttp", "pump": "pump"}
"""Relays of :mod:`tests.bench.frontend_relay` by the name of their figures."""
_TOKENIZED: Final = ("--model-path", "{model}", "--model-name", MODEL)
FRONTENDS: Final[Mapping[str, tuple[str, ...]]] = {
    "frontend_direct": ("--router-mode", "direct"),
    "frontend_direct_unlogged": ("--router-mode", "direct", "--access-log", "false"),
    "frontend_discover": ("--router-mode", "round-robin"),
    "frontend_discover_kv": ("--router-mode", "kv", *_TOKENIZED),
    "frontend_discover_ttft": ("--router-mode", "ttft", *_TOKENIZED),
    "frontend_migration": ("--router-mode", "round-robin", "--migration-limit", "3"),
}
"""Flags of ``python -m frontend`` by the name of its figures; everything else is the default. ``{model}`` is
a folder with a tokenizer and a chat template."""
ALL: Final = ("pump", "relay", "aiohttp", "envoy", *FRONTENDS)
USUAL: Final = tuple(name for name in ALL if name not in ("aiohttp", "frontend_direct_unlogged"))


@dataclass(frozen=True, slots=True)
class Relay:
    """One under test."""

    name: str
    pid: int
    """Whose CPU is counted."""
    client: HttpClient


@asynccontextmanager
async def stage(
    folder: Path, names: list[str], commands: Mapping[str, str], extra: list[str]
) -> AsyncGenerator[list[Relay], None]:
    """Start the relays named, and ``commands`` (``{engine}`` is replaced); ``extra``: flags for every
    frontend."""
    async with contextlib.AsyncExitStack() as stack:
        argv = [sys.executable, "-m", "tests.bench.frontend_engine", str(WORKERS)]
        engine = await stack.enter_async_context(ChildProcess("engine", argv, folder / "engine.log"))
        addresses = [f"127.0.0.1:{port}" for port in engine.ready["http_ports"]]
        endpoints = _endpoints(folder, engine.ready["http_ports"])
        relays: list[Relay] = []
        for name in names:
            if name == "envoy":
                options = EnvoyOptions(pickers=(), endpoints=addresses[:1], upstream=Upstream.OVERRIDE_HOST)
                envoy = await stack.enter_async_context(EnvoyProcess(options))
                pid, port = envoy.pid, envoy.port
            else:
                argv = _argv(name, commands, addresses[0], endpoints, extra)
                child = await stack.enter_async_context(ChildProcess(name, argv, folder / f"{name}.log"))
                pid, port = child.pid, int(child.ready["http_port"])
            client = HttpClient("127.0.0.1", port)
            stack.push_async_callback(client.close)
            relays.append(Relay(name, pid, client))
        yield relays


def _argv(
    name: str, commands: Mapping[str, str], address: str, endpoints: Path, extra: list[str]
) -> list[str]:
    if name in commands:
        return [part.format(engine=address) for part in shlex.split(commands[name])]
    if name in _NAMES:
        return [sys.executable, "-m", "tests.bench.frontend_relay", _NAMES[name], address]
    model = cached_model_dir(endpoints.parent.parent / "epp-bench-models", "qwen")
    return [
        *(sys.executable, "-m", "frontend", "--http-host", "127.0.0.1", "--http-port", "0"),
        *("--endpoints-file", str(endpoints), "--router-min-initial-workers", str(WORKERS)),
        *("--scrape-metrics", "false", *(part.format(model=model) for part in FRONTENDS[name]), *extra),
    ]


def _endpoints(folder: Path, ports: list[int]) -> Path:
    """Workers 1, 2, …"""
    path = folder / "endpoints.yaml"
    entries = [
        f"- {{name: w{number}, address: 127.0.0.1, port: '{port}', worker_id: {number}}}"
        for number, port in enumerate(ports, 1)
    ]
    path.write_text("endpoints:\n" + "\n".join(entries) + "\n")
    return path
