"""One open picker: an engine on an event loop in a thread of its own, asked from the host's threads.

A host's thread hands a coroutine to the loop and waits on a future with a deadline. Whoever comes first
decides: a future that was cancelled by its deadline takes no result, so a choice that comes too late is
unbooked at once; one that has its result can no longer be cancelled. Calls and the wish to stop reach the
loop in one order, so after a close no call is left waiting.
"""

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import uvloop
from msgspec.structs import replace

from epp.core.endpoints import PoolSnapshot
from epp.core.headers import untrusted
from epp.core.outcomes import Ending, PickInput, Refused, ResponseFacts
from epp.core.refusal import too_large
from epp.discovery.memory import MemoryDiscovery
from epp.embedding.answer import Answer, of_choice, of_refusal
from epp.embedding.configuration import Given
from epp.embedding.status import CallError, Status, closed, unknown_booking
from epp.engine import Engine
from epp.net.background import Background, every
from epp.telemetry.logs import FieldLog, LineWriter

START_DEADLINE_S: Final = 60.0
"""Longest an engine may take to start: it reads files and opens sockets, it waits for nobody."""
CALL_DEADLINE_S: Final = 10.0
"""Of calls that need no time, whose caller names none."""
CLOSE_DEADLINE_S: Final = 15.0
_READY_GRACE_S: Final = 1.0
"""Left to say what is not ready."""
_FLUSH_S: Final = 0.2

_FAULTS: Final = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP}

T = TypeVar("T")
Work = Callable[[Engine], Awaitable[T]]


class Session:
    """See the module's preface."""

    def __init__(self, given: Given, writer: LineWriter, log: FieldLog) -> None:
        """Start; raises what the engine raises, and CallError when it is not up in time."""
        self._given = given
        self._writer = writer
        self._log = log
        self._lock = threading.Lock()
        self._calls: dict[Future[Any], asyncio.Task[None]] = {}
        self._started: Future[tuple[asyncio.AbstractEventLoop, Engine]] = Future()
        self._is_open = True
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="epp-picker", daemon=True)
        self._thread.start()
        try:
            self._loop, self._engine = self._started.result(START_DEADLINE_S)
        except TimeoutError as error:
            if not self._started.cancel():
                self._loop, self._engine = self._started.result()  # it has just come
            else:
                raise CallError(Status.DEADLINE, "The picker did not start in time.") from error

    # --- the host's threads ---------------------------------------------------------------------------

    def select(self, request: PickInput, *, book: bool, deadline_s: float, record: bool = True) -> Answer:
        """Choose for one request; ``record`` False: it is a question and counts as no request. Raises
        CallError."""
        removed = untrusted(request.headers, trust_client=self._engine.config.server.trust_client_headers)
        believed = {name: value for name, value in request.headers.items() if name not in removed}
        request = replace(request, headers=believed)

        async def work(engine: Engine) -> Answer:
            if len(request.body or b"") > engine.config.server.max_body_bytes:
                return of_refusal(too_large(engine.config.server.max_body_bytes))
            chosen = await engine.picker.choose(request, book=book, record=record)
            if isinstance(chosen, Refused):
                return of_refusal(chosen)
            if chosen.picked.booking is not None:
                # No stream of ours keeps this booking alive: events do, the host does, or it expires.
                engine.picker.finish(chosen.picked, Ending.DETACHED, ResponseFacts())
            return of_choice(chosen, removed, engine.fleet.snapshot)

        return self._ask(work, deadline_s, undo=self._unbook)

    def finish(self, booking: int, ending: Ending) -> None:
        """A booked request ended. Raises CallError."""

        async def work(engine: Engine) -> None:
            if booking not in engine.active:
                raise unknown_booking(booking)
            engine.active.finish(booking, ending, ResponseFacts(), time.monotonic())

        self._ask(work, CALL_DEADLINE_S)

    def renew(self, booking: int) -> None:
        """A booked request goes on. Raises CallError."""

        async def work(engine: Engine) -> None:
            if booking in engine.active:
                engine.active.finish(booking, Ending.DETACHED, ResponseFacts(), time.monotonic())
            if booking not in engine.active:
                raise unknown_booking(booking)

        self._ask(work, CALL_DEADLINE_S)

    def metrics(self) -> bytes:
        """The Prometheus text page. Raises CallError."""

        async def work(engine: Engine) -> Engine:
            await engine.inspector.refresh()
            return engine

        return self._ask(work, CALL_DEADLINE_S).inspector.metrics_page()

    def wait_ready(self, deadline_s: float) -> None:
        """Wait until somebody can be picked and every model was tried. Raises CallError."""

        async def work(engine: Engine) -> None:
            try:
                async with asyncio.timeout(deadline_s):
                    await engine.tokenizer.tried()
                    await _somebody(engine)
            except TimeoutError as error:
                parts = engine.readiness().parts.items()
                late = "; ".join(f"{name}: {state}" for name, state in parts if state != "ok")
                raise CallError(Status.DEADLINE, f"Not ready in time: {late}.") from error

        self._ask(work, deadline_s + _READY_GRACE_S)

    def close(self) -> None:
        """Stop and wait for it; raises CallError when it was closed or takes too long."""
        with self._lock:
            if not self._is_open:
                raise closed()
            self._is_open = False
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CLOSE_DEADLINE_S)
        if self._thread.is_alive():
            raise CallError(Status.DEADLINE, "The picker is still ending.")

    def _ask(self, work: Work[T], deadline_s: float, undo: Callable[[T], None] | None = None) -> T:
        """Run ``work`` on the loop; ``undo`` takes back a value nobody waits for any more."""
        future: Future[T] = Future()
        with self._lock:
            if not self._is_open:
                raise closed()
            self._loop.call_soon_threadsafe(self._begin, work, future, undo)
        try:
            return future.result(deadline_s)
        except TimeoutError as error:
            if not future.cancel():
                return future.result()  # it has just come
            self._loop.call_soon_threadsafe(self._abandon, future)
            raise CallError(Status.DEADLINE, f"Not done within {deadline_s:g} s.") from error

    # --- the loop's thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        # The host's signals are the host's; a write to a closed connection is an error, no SIGPIPE. Threads
        # started from here inherit this.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        background = Background(lambda _part: None)
        try:
            engine = self._make_engine()
            await engine.start()
        except Exception as error:  # noqa: BLE001 -- raised by the thread that waits for it
            if self._started.set_running_or_notify_cancel():
                self._started.set_exception(error)
            return
        background.start("log", every(_FLUSH_S, self._writer.flush))
        if self._started.set_running_or_notify_cancel():
            self._started.set_result((asyncio.get_running_loop(), engine))
            await self._stop.wait()
        tasks = list(self._calls.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await engine.stop()
        await background.stop()
        self._writer.flush()

    def _make_engine(self) -> Engine:
        endpoints = self._given.endpoints
        discovery = None if endpoints is None else MemoryDiscovery(endpoints)
        return Engine(self._given.loaded.config, self._log, discovery=discovery, clock=time.monotonic)

    def _begin(self, work: Work[T], future: Future[T], undo: Callable[[T], None] | None) -> None:
        task = self._loop.create_task(self._carry_out(work, future, undo), name="call")
        self._calls[future] = task
        task.add_done_callback(lambda _task: self._calls.pop(future, None))

    async def _carry_out(self, work: Work[T], future: Future[T], undo: Callable[[T], None] | None) -> None:
        try:
            value = await work(self._engine)
        except asyncio.CancelledError:
            if future.set_running_or_notify_cancel():
                future.set_exception(closed())
            raise
        except Exception as error:  # noqa: BLE001 -- raised by the thread that waits for it
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
            return
        if future.set_running_or_notify_cancel():
            future.set_result(value)
        elif undo is not None:
            undo(value)

    def _abandon(self, future: Future[T]) -> None:
        task = self._calls.get(future)
        if task is not None:
            task.cancel()

    def _unbook(self, answer: Answer) -> None:
        if answer.booking:
            now_s = time.monotonic()
            self._engine.active.finish(answer.booking, Ending.CLIENT_GONE, ResponseFacts(), now_s)


async def _somebody(engine: Engine) -> None:
    """Wait for the first endpoint; the fleet hears of it before we do."""
    found = asyncio.Event()

    def look(snapshot: PoolSnapshot) -> None:
        if snapshot.endpoints:
            found.set()

    unsubscribe = engine.discovery.subscribe(look)
    try:
        await found.wait()
    finally:
        unsubscribe()
