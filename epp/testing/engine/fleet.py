"""Several engines in one process: one event loop, one tokenizer, every engine its own ports and cache."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import yaml
import zmq
from aiohttp import web

from epp.testing.engine.config import EngineConfig
from epp.testing.engine.dock import Dock
from epp.testing.engine.http import EngineServer
from epp.testing.engine.publisher import Publisher
from epp.testing.engine.runner import EngineRunner
from epp.testing.engine.text import AnswerBook
from epp.testing.engine.tokenizer import ByteTokenizer, EngineTokenizer

_HOST = "127.0.0.1"
_BACKLOG = 512
_PORT_TRIES = 50
_SHUTDOWN_S = 1.0


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine of a fleet."""

    name: str
    config: EngineConfig = field(default_factory=EngineConfig)
    port: int = 0
    """HTTP port; 0: the kernel chooses."""
    role: str = "aggregated"
    """aggregated | prefill | decode: written to the endpoints file; SGLang's engines act by it."""
    engine: str = "vllm"
    """vllm | sglang | trtllm: whose contract hands a computed prompt over."""
    kv_events: bool = True
    """Publish KV events and serve their replay."""
    topic: str | None = None
    """Topic of the events; None: ``kv@host:port@model`` as vLLM charts set it."""
    replay_batches: int = 10_000
    """Batches kept for replay (``buffer_steps``)."""


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where a started engine can be reached. Ports of rank r are the given ones + r."""

    name: str
    port: int
    kv_events_port: int | None
    kv_replay_port: int | None
    role: str
    dp_size: int
    engine: str = "vllm"

    @property
    def host_port(self) -> str:
        """``ip:port`` of the HTTP server."""
        return f"{_HOST}:{self.port}"

    def entry(self) -> dict[str, Any]:
        """The engine's entry in an endpoints file."""
        entry: dict[str, Any] = {
            "name": self.name,
            "address": _HOST,
            "port": str(self.port),
            "engine": self.engine,
            "role": self.role,
            "dp_size": self.dp_size,
        }
        if self.engine == "sglang" and self.role == "prefill":
            entry["bootstrap"] = self.host_port
        if self.kv_events_port is not None:
            entry["kv_events"] = f"tcp://{_HOST}:{self.kv_events_port}"
            entry["kv_replay"] = f"tcp://{_HOST}:{self.kv_replay_port}"
        return entry


def endpoints_file(addresses: Sequence[EngineAddress]) -> str:
    """The text of an endpoints file naming ``addresses``."""
    return yaml.safe_dump({"endpoints": [address.entry() for address in addresses]}, sort_keys=False)


class Fleet:
    """Engines as an async context manager; entering starts them, leaving stops them.

    Raises OSError or zmq.ZMQError if a port cannot be had, ValueError for a bad configuration. A replay
    server that dies ends ``wait`` with its exception.
    """

    def __init__(self, specs: Sequence[EngineSpec], tokenizer: EngineTokenizer | None = None) -> None:
        self._specs = specs
        self._tokenizer = tokenizer or ByteTokenizer()
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._books: dict[int, AnswerBook] = {}
        self.runners: list[EngineRunner] = []
        self.docks: list[Dock] = []
        self.addresses: tuple[EngineAddress, ...] = ()

    async def __aenter__(self) -> Self:
        try:
            self.addresses = tuple([await self._start(spec) for spec in self._specs])
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def wait(self) -> None:
        """Run until something of the fleet fails or the caller is cancelled."""
        if not self._tasks:
            await asyncio.Event().wait()
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _start(self, spec: EngineSpec) -> EngineAddress:
        listener = socket.create_server((_HOST, spec.port), backlog=_BACKLOG)
        self._stack.callback(listener.close)
        port = int(listener.getsockname()[1])
        publishers = self._publishers(spec, port)
        runner = EngineRunner(spec.config, publishers)
        self.runners.append(runner)
        self._stack.callback(runner.stop)
        dock = Dock(spec.engine, spec.role, spec.name, port, spec.config)
        self.docks.append(dock)
        await self._serve(spec, runner, dock, listener)
        return EngineAddress(
            name=spec.name,
            port=port,
            kv_events_port=publishers[0].pub_port if publishers else None,
            kv_replay_port=publishers[0].replay_port if publishers else None,
            role=spec.role,
            dp_size=spec.config.dp_size,
            engine=spec.engine,
        )

    def _publishers(self, spec: EngineSpec, port: int) -> tuple[Publisher, ...]:
        if not spec.kv_events:
            return ()
        topic = spec.topic if spec.topic is not None else f"kv@{_HOST}:{port}@{spec.config.model}"
        publishers = open_publishers(spec.config.dp_size, topic, spec.replay_batches)
        for publisher in publishers:
            self._stack.callback(publisher.close)
            task = asyncio.create_task(publisher.serve_replay(), name=f"{spec.name}-replay")
            self._tasks.append(task)
            self._stack.push_async_callback(_cancel, task)
        return publishers

    async def _serve(
        self, spec: EngineSpec, runner: EngineRunner, dock: Dock, listener: socket.socket
    ) -> None:
        server = EngineServer(spec.name, runner, self._tokenizer, self._book(spec.config.seed), dock)
        app_runner = web.AppRunner(
            server.app(), access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S
        )
        await app_runner.setup()
        self._stack.push_async_callback(app_runner.cleanup)
        await web.SockSite(app_runner, listener, backlog=_BACKLOG).start()

    def _book(self, seed: int) -> AnswerBook:
        if seed not in self._books:
            self._books[seed] = AnswerBook(lambda text: self._tokenizer.encode(text, special=False), seed)
        return self._books[seed]


def open_publishers(count: int, topic: str, replay_batches: int) -> tuple[Publisher, ...]:
    """Publishers for ranks 0 .. count - 1 on consecutive ports, as vLLM numbers them. Raises zmq.ZMQError
    if no run of free ports is found."""
    for attempt in range(_PORT_TRIES):
        opened: list[Publisher] = []
        try:
            for rank in range(count):
                ports = (opened[0].pub_port + rank, opened[0].replay_port + rank) if rank else (0, 0)
                opened.append(
                    Publisher(
                        topic=topic, buffer_batches=replay_batches, pub_port=ports[0], replay_port=ports[1]
                    )
                )
        except zmq.ZMQError:
            for publisher in opened:
                publisher.close()
            if attempt + 1 == _PORT_TRIES:
                raise
        else:
            return tuple(opened)
    raise AssertionError("unreachable: the last attempt raises")


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
