"""One ext_proc stream on asyncio: moves messages between a call, the exchange and the engine.

One task owns a stream: the one grpc.aio made for the call. It reads a message, lets the exchange decide and
acts. The pick is awaited in that same task, so there is no moment at which a choice exists that nobody
holds: when the client leaves, the transport cancels the task and with it the pick. A gateway that says
goodbye by half-closing cancels nothing, so a pick that takes long is watched: the next message is read
beside it, and what makes the pick moot cancels it.
"""

import asyncio
import logging
from collections import deque
from typing import Final, Protocol

from epp.config.model import ServerConfig
from epp.core.events import (
    Action,
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    BodyLate,
    Close,
    DetachWanted,
    Event,
    Fault,
    Finish,
    Immediate,
    Pick,
    PickReturned,
    RequestBody,
    RequestTrailers,
    ServedElsewhere,
    StreamBody,
    StreamEnded,
)
from epp.core.exchange import Exchange
from epp.core.outcomes import DropReason, PickInput, PickOutcome, Refused
from epp.extproc.engine_api import PickEngine
from epp.extproc.metrics import DoorMetrics
from epp.wire.extproc_read import read_request
from epp.wire.extproc_write import write_answer
from epp.wire.renaming import ModelRestorer

_log = logging.getLogger(__name__)

WATCH_AFTER_S: Final = 0.005
"""A pick that takes longer is watched for a half-close; most are over long before."""
HEAD_GRACE_S: Final = 0.1
"""How long a gateway that does not tell its body mode is given to send a body before its head is
answered: half of Envoy's default ``message_timeout``, in which a BUFFERED filter wants that answer."""
RESET_GRACE_S: Final = 0.01
"""How long after the last message a cancellation shows that it was a reset (seen: within 0.2 ms)."""
_MAX_EARLY: Final = 16
"""Messages read while a pick runs; beyond it HTTP/2 flow control holds the gateway back."""

_FAILED: Final = Refused(500, "the endpoint picker failed", DropReason.INTERNAL)


class Call(Protocol):
    """The transport's side of one stream: serialized messages in and out (grpc.aio's servicer context)."""

    async def read(self) -> object:
        """The next message as bytes; anything else (``grpc.aio.EOF``) after a half-close."""
        ...

    async def write(self, message: bytes) -> None:
        """Send one message."""
        ...


class Stream:
    """Drives one call to its end; owned by the task that awaits :meth:`run`."""

    def __init__(
        self,
        call: Call,
        engine: PickEngine,
        config: ServerConfig,
        metrics: DoorMetrics,
        shed: Refused | None = None,
    ) -> None:
        self._call = call
        self._engine = engine
        self._metrics = metrics
        self._exchange = Exchange(config, shed, ModelRestorer)
        self._task: asyncio.Task[object] | None = None
        self._reading: asyncio.Task[Event] | None = None
        self._early: deque[Event] = deque()
        self._over = False
        self._idle = False
        self._picking = False
        self._moot = False
        self._detaching = False

    async def run(self) -> None:
        """Serve the stream until either side ends it. Re-raises the transport's cancellation."""
        self._task = asyncio.current_task()
        ended = StreamEnded(clean=False)
        try:
            await self._converse()
        except Exception:  # noqa: BLE001 -- whatever the transport raises, the booking must be released
            _log.debug("stream failed", exc_info=True)
            self._metrics.protocol_error("transport")
        finally:
            self._settle(self._exchange.receive(ended))
            if self._reading is not None:
                self._reading.cancel()

    def detach(self) -> None:
        """Let go of the stream if it is only waiting for the end of a response."""
        if self._idle and self._task is not None and not self._detaching:
            actions = self._exchange.receive(DetachWanted())
            self._settle(actions)
            if self._over:
                self._detaching = True
                self._task.cancel()

    # --- the conversation ----------------------------------------------------------------------------------

    async def _converse(self) -> None:
        while not self._over:
            self._idle = True
            try:
                event = await self._next_event()
            except asyncio.CancelledError:
                if self._detaching and self._task is not None and self._task.uncancel() == 0:
                    return
                raise
            finally:
                self._idle = False
            await self._act(self._exchange.receive(event))
            self._over = self._over or isinstance(event, StreamEnded)

    async def _act(self, actions: list[Action]) -> None:
        self._settle(actions)
        for action in actions:
            if isinstance(action, AnswerHeaders | AnswerBody | StreamBody | AnswerTrailers | Immediate):
                await self._call.write(write_answer(action))
            elif isinstance(action, Pick):
                await self._pick(action.request)

    def _settle(self, actions: list[Action]) -> None:
        """Everything that needs no waiting, so that no cancellation can come in between."""
        for action in actions:
            if isinstance(action, Finish):
                self._metrics.request_finished(action.ending)
                if action.facts.restored is not None:
                    self._metrics.model_restored(action.facts.restored)
                try:
                    self._engine.finish(action.picked, action.ending, action.facts)
                except Exception:  # noqa: BLE001 -- the engine's defect must not stop the stream's end
                    _log.exception("finish failed")
            elif isinstance(action, Close):
                self._over = True
            elif isinstance(action, Immediate):
                self._metrics.immediate_response(action.status, action.reason)
            elif isinstance(action, Fault):
                self._metrics.protocol_error(action.kind)
            elif isinstance(action, ServedElsewhere):
                _log.warning("picked %s, served by %s", action.picked, action.served)
                self._metrics.served_elsewhere()

    # --- reading -------------------------------------------------------------------------------------------

    async def _next_event(self) -> Event:
        if self._early:
            return self._early.popleft()
        if self._exchange.undecided and not await self._comes_soon():
            return BodyLate()
        if self._reading is not None:
            reading, self._reading = self._reading, None
            return await reading
        return await self._read()

    async def _read(self) -> Event:
        message = await self._call.read()
        if isinstance(message, bytes):
            return read_request(message)
        await asyncio.sleep(RESET_GRACE_S)  # a reset reads as the end too, and cancels this task right after
        return StreamEnded(clean=True)

    async def _comes_soon(self) -> bool:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        done, _ = await asyncio.wait((self._reading,), timeout=HEAD_GRACE_S)
        return bool(done)

    # --- picking -------------------------------------------------------------------------------------------

    async def _pick(self, question: PickInput) -> None:
        outcome = await self._watched_pick(question)
        if outcome is not None:
            await self._act(self._exchange.receive(PickReturned(outcome)))

    async def _watched_pick(self, question: PickInput) -> PickOutcome | None:
        """The engine's answer; None: what came meanwhile made the question moot."""
        timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._watch)
        self._picking = True
        try:
            return await self._engine.pick(question)
        except asyncio.CancelledError:
            if self._moot and self._task is not None and self._task.uncancel() == 0:
                return None
            raise
        except Exception:  # noqa: BLE001 -- the engine's defect becomes one client's 500
            _log.exception("pick failed")
            self._metrics.pick_failed()
            return _FAILED
        finally:
            self._picking = False
            timer.cancel()

    def _watch(self) -> None:
        """Read the next message while the pick runs."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(self._came_early)

    def _came_early(self, reading: asyncio.Task[Event]) -> None:
        if not self._picking or reading.cancelled() or reading.exception() is not None:
            return  # the conversation itself takes it
        self._reading = None
        event = reading.result()
        self._early.append(event)
        if not isinstance(event, RequestBody | RequestTrailers):
            self._moot = True
            assert self._task is not None
            self._task.cancel()
        elif len(self._early) < _MAX_EARLY:
            self._watch()
