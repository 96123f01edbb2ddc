"""A door with a scripted engine behind a real Envoy, and model servers that say what they received."""

import asyncio
import contextlib
import dataclasses
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import httpx
import pytest

from epp.config.model import ServerConfig, TlsConfig
from epp.core.outcomes import PickInput, PickOutcome
from epp.extproc.aio.server import BoundPorts, ExtProcServer
from epp.testing.backend import EchoBackend
from epp.testing.envoy import EnvoyError, EnvoyProcess, find_envoy
from epp.testing.envoy_config import EnvoyOptions
from epp.testing.picks import ScriptedEngine, always

Answering: TypeAlias = Callable[[PickInput], PickOutcome]

PLAIN = ServerConfig(bind_address="127.0.0.1", grpc_port=0, grpc_health_port=0, tls=TlsConfig(enabled=False))


class CountingMetrics:
    """DoorMetrics that can be read back."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def stream_opened(self) -> None:
        self.counts["opened"] += 1

    def stream_closed(self) -> None:
        self.counts["closed"] += 1

    def request_finished(self, ending: str) -> None:
        self.counts[f"finished {ending}"] += 1

    def model_restored(self, outcome: str) -> None:
        self.counts[f"model {outcome}"] += 1

    def immediate_response(self, status: int, reason: str) -> None:
        self.counts[f"immediate {status} {reason}"] += 1

    def protocol_error(self, kind: str) -> None:
        self.counts[f"error {kind}"] += 1

    def served_elsewhere(self) -> None:
        self.counts["elsewhere"] += 1

    def pick_failed(self) -> None:
        self.counts["pick failed"] += 1


@dataclass
class Door:
    """A running door."""

    engine: ScriptedEngine
    server: ExtProcServer
    ports: BoundPorts
    metrics: CountingMetrics = field(default_factory=CountingMetrics)

    async def settled(self, endings: int, deadline_s: float = 60.0) -> list[str]:
        """The endings of all picks, once that many have come and none is open."""
        await until(
            lambda: len(self.engine.finished) >= endings and self.server.open_streams == 0, deadline_s
        )
        assert self.engine.unfinished == 0
        return [str(finished.ending) for finished in self.engine.finished]


@contextlib.asynccontextmanager
async def running_door(
    answer: Answering, config: ServerConfig = PLAIN, *, quiet_s: float = 0.2
) -> AsyncIterator[Door]:
    engine, metrics = ScriptedEngine(answer), CountingMetrics()
    server = ExtProcServer(engine, config, metrics, quiet_s=quiet_s)
    door = Door(engine, server, await server.start(), metrics)
    server.set_ready(True)
    try:
        yield door
    finally:
        await server.stop()


@dataclass
class Stage:
    """Everything between a client and a model server."""

    door: Door
    envoy: EnvoyProcess
    client: httpx.AsyncClient


@contextlib.asynccontextmanager
async def staged(door: Door, options: EnvoyOptions) -> AsyncIterator[Stage]:
    options = dataclasses.replace(options, pickers=options.pickers or [door.ports.grpc])
    async with EnvoyProcess(options) as envoy:
        base = f"http://127.0.0.1:{envoy.port}"
        http2 = options.downstream_h2
        async with httpx.AsyncClient(base_url=base, timeout=60, http2=http2, http1=not http2) as client:
            yield Stage(door, envoy, client)


async def until(true: Callable[[], bool], deadline_s: float = 60.0) -> None:
    """Poll until a condition holds; fails at the deadline."""
    end_s = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end_s, "the condition never came true"
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def envoy_at_hand(request: pytest.FixtureRequest) -> None:
    """Skip what needs Envoy where there is none, unless everything is required."""
    if request.node.get_closest_marker("envoy") and not os.environ.get("EPP_REQUIRE_ALL"):
        try:
            find_envoy()
        except EnvoyError as error:
            pytest.skip(str(error))


@pytest.fixture
async def backend() -> AsyncIterator[EchoBackend]:
    async with EchoBackend() as server:
        yield server


@pytest.fixture
async def other_backend() -> AsyncIterator[EchoBackend]:
    async with EchoBackend() as server:
        yield server


@pytest.fixture
def destination(backend: EchoBackend) -> Answering:
    return always(backend.host_port)
