"""``epp serve``: the picker behind ext_proc, until SIGTERM."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import orjson
import uvloop

from epp.admin.server import AdminServer
from epp.cli.options import build_parser, load, wants_help
from epp.config.errors import ConfigError
from epp.config.load import Loaded
from epp.config.validate import require_endpoints
from epp.engine import Engine
from epp.extproc.aio.server import BoundPorts, ExtProcServer
from epp.telemetry.logs import FieldLog, LineWriter, configure

_READINESS_POLL_S = 0.2
"""How often the health service is told whether there is anybody to pick."""

_log = logging.getLogger(__name__)


def run(argv: Sequence[str]) -> int:
    """Serve; returns the exit status."""
    if wants_help(argv):
        build_parser("epp serve").print_help()
        return 0
    try:
        loaded = load(argv)
        require_endpoints(loaded.config)
    except ConfigError as error:
        print(f"epp: {error}", file=sys.stderr)
        return 2
    telemetry = loaded.config.telemetry
    writer, picks = configure(telemetry.log_level, telemetry.log_format)
    try:
        return uvloop.run(_serve(loaded, writer, picks))
    except (ConfigError, OSError) as error:
        print(f"epp: {error}", file=sys.stderr)
        return 2
    finally:
        writer.flush()


async def _serve(loaded: Loaded, writer: LineWriter, picks: FieldLog) -> int:
    config = loaded.config
    for warning in loaded.warnings:
        _log.warning(warning)
    stopping = _stop_on_signals()
    engine = Engine(config, picks)
    door = ExtProcServer(engine.picker, config.server, engine.door_metrics)
    admin = AdminServer(engine.inspector, config.server.bind_address, config.server.metrics_port)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(admin.stop)
        stack.push_async_callback(engine.stop)
        stack.push_async_callback(door.stop)
        ports = await door.start()
        admin.start()
        await engine.start()
        helper = asyncio.create_task(_look_after(engine, door, writer, stopping), name="look-after")
        stack.push_async_callback(_end, helper)
        _freeze()
        _announce(ports, admin.port)
        await _wait(stopping, helper)
        _log.info("draining for at most %g s", config.server.drain_timeout_s)
        await door.drain(config.server.drain_timeout_s)
    _log.info("stopped")
    return 0


def _announce(ports: BoundPorts, metrics_port: int) -> None:
    """One line of JSON on standard output for whoever started the process: the ports that listen."""
    ready = {
        "event": "ready",
        "grpc_port": ports.grpc,
        "health_port": ports.health,
        "metrics_port": metrics_port,
    }
    print(orjson.dumps(ready).decode(), flush=True)


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def _wait(stopping: asyncio.Event, helper: asyncio.Task[None]) -> None:
    """Wait for a signal; a helper that fails ends the process with its error."""
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({stopped, helper}, return_when=asyncio.FIRST_COMPLETED)
    await _end(stopped)
    if helper.done():
        helper.result()


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for it; how it ended is its owner's business before this."""
    task.cancel()
    await asyncio.wait({task})


async def _look_after(
    engine: Engine, door: ExtProcServer, writer: LineWriter, stopping: asyncio.Event
) -> None:
    """Write out buffered log lines, and until the drain begins tell the health service about readiness."""
    told: bool | None = None
    while True:
        ready = engine.readiness().ready
        if ready is not told and not stopping.is_set():
            door.set_ready(ready)
            _log.info("ready" if ready else "not ready: no endpoints")
            told = ready
        writer.flush()
        await asyncio.sleep(_READINESS_POLL_S)


def _freeze() -> None:
    """Keep what start-up made out of garbage collection: a full pass over it would stall requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
