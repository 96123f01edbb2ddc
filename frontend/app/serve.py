"""The frontend as a process: from a configuration to the end of the drain."""

import asyncio
import contextlib
import gc
import json
import logging
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack

from epp.core.endpoints import PoolSnapshot
from epp.telemetry.logs import FieldLog, LineWriter
from frontend.app.frontend import Frontend
from frontend.config.model import FrontendConfig
from frontend.pipeline.knobs import Routing, knobs_of

_FLUSH_S = 0.2
_log = logging.getLogger(__name__)


async def serve(
    config: FrontendConfig,
    writer: LineWriter,
    log: FieldLog,
    *,
    warnings: Sequence[str] = (),
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status.

    When the port listens, one line of JSON on standard output says so, with ``http_port``.
    Raises ConfigError, TlsError and OSError for what cannot be started.
    """
    for warning in warnings:
        _log.warning(warning)
    stopping = _stop_on_signals()
    frontend = Frontend(config, log)
    async with AsyncExitStack() as stack:
        flushing = asyncio.create_task(_flush(writer), name="flush-logs")
        stack.push_async_callback(_end, flushing)
        stack.push_async_callback(frontend.stop)
        await frontend.start()
        if not await _workers_there(frontend, stopping, config.min_initial_workers):
            return 0
        port = await frontend.listen()
        _freeze()
        _log.info("%s", _said(config, port, len(frontend.engine.fleet.snapshot.endpoints)))
        print(json.dumps({"event": "ready", "http_port": port}), flush=True)  # noqa: T201 -- for whoever waits
        await stopping.wait()
        _log.info("draining for at most %g s", config.http.graceful_shutdown_timeout_s)
        await frontend.drain()
    _log.info("stopped")
    return 0


def _said(config: FrontendConfig, port: int, workers: int) -> str:
    """What an operator wants to know first: where it listens, how it routes, whom it has found."""
    http, knobs = config.http, knobs_of(config)
    scheme = "https" if http.tls_cert_path is not None else "http"
    host = f"[{http.host}]" if ":" in http.host else http.host
    mode = "" if knobs.routing is Routing.DIRECT else f" by {knobs.mode}"
    return f"listening on {scheme}://{host}:{port}, routing {knobs.routing}{mode}, {workers} workers so far"


async def _workers_there(frontend: Frontend, stopping: asyncio.Event, wanted: int) -> bool:
    """Wait until that many workers are known; False: the process is to stop first."""
    there = asyncio.Event()

    def look(snapshot: PoolSnapshot) -> None:
        if len(snapshot.endpoints) >= wanted:
            there.set()

    unsubscribe = frontend.engine.discovery.subscribe(look)
    look(frontend.engine.fleet.snapshot)
    try:
        if not there.is_set():
            _log.info("waiting for %d workers", wanted)
        waits = {asyncio.create_task(there.wait()), asyncio.create_task(stopping.wait())}
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            await _end(task)
    finally:
        unsubscribe()
    return not stopping.is_set()


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def _flush(writer: LineWriter) -> None:
    while True:
        writer.flush()
        await asyncio.sleep(_FLUSH_S)


async def _end(task: asyncio.Task[object]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _freeze() -> None:
    """Keep what start-up made out of garbage collection: a full pass over it would stall requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
