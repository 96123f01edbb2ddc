"""Listens to every rank of the pool and keeps the views of what they hold.

Engines that publish over ZMQ get one :class:`RankLink` per rank; TensorRT-LLM, which is asked over HTTP,
one :class:`TrtllmPoller` per worker. A stream that cannot be followed costs its rank's view, never the
picker: it is counted, logged once and tried again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, TypeAlias

import zmq

from epp.config.model import EventsConfig
from epp.core.endpoints import Endpoint, PoolSnapshot, WorkerRank
from epp.core.router import ApplyReport
from epp.kvevents.link import Addresses, OnReport, RankLink, Surroundings
from epp.kvevents.silence import SilenceWatch
from epp.kvevents.sink import EventMetrics, EventSink, NullEventMetrics
from epp.kvevents.sockets import new_context
from epp.kvevents.trtllm import TrtllmPoller
from epp.net.tasks import KeyedTasks
from epp.wire.zmqframes import rank_address

MAX_RANKS: Final = 4096
"""Ranks listened to; more are refused and counted."""
_SOCKETS_PER_RANK: Final = 4
"""Live, replay, and the two ends of the monitor."""
_SILENCE_CHECK_S: Final = 5.0

_log = logging.getLogger(__name__)

_Plan: TypeAlias = dict[WorkerRank, Addresses]


def _ignore(target: WorkerRank, report: ApplyReport) -> None:
    """Nobody wants the reports."""


class EventSubscriber:
    """Follows the pool and feeds a sink; all methods run on the event loop."""

    def __init__(
        self,
        config: EventsConfig,
        sink: EventSink,
        metrics: EventMetrics | None = None,
        *,
        on_report: OnReport = _ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._sink = sink
        self._metrics = metrics or NullEventMetrics()
        self._on_report = on_report
        self._clock = clock
        self._silence = SilenceWatch(config.silent_after_s)
        self._context = new_context(MAX_RANKS * _SOCKETS_PER_RANK)
        self._links: dict[WorkerRank, RankLink] = {}
        self._pollers: dict[int, Endpoint] = {}
        self._tasks = KeyedTasks[int]()
        self._refused: set[WorkerRank] = set()
        self._broken: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    def follow(self, snapshot: PoolSnapshot) -> None:
        """Listen to the ranks of this snapshot and no others."""
        plan: _Plan = {}
        polled: dict[int, Endpoint] = {}
        for endpoint in snapshot.endpoints:
            if endpoint.kv_events is None:
                continue
            if endpoint.kv_events.startswith("http"):
                polled[endpoint.worker_id] = endpoint
            else:
                self._plan(endpoint, plan)
        self._follow_links(plan)
        self._follow_pollers(polled)

    def note_sent(self, target: WorkerRank, now_s: float) -> None:
        """A prompt that should store blocks was sent to this rank: silence is now worth noticing."""
        if target in self._links or target.worker_id in self._pollers:
            self._silence.sent(target, now_s)

    @property
    def silent_ranks(self) -> int:
        """Ranks that were sent prompts and publish nothing."""
        return self._silence.silent_ranks

    @property
    def links(self) -> int:
        """Ranks listened to over ZMQ."""
        return len(self._links)

    async def run(self) -> None:
        """Listen until cancelled, then close everything; raises if the sink or a task broke."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tasks.watch())
                group.create_task(self._watch_links())
                group.create_task(self._watch_silence())
        finally:
            await self._close()

    async def _close(self) -> None:
        for target in list(self._links):
            self._links.pop(target).close()
        await self._tasks.close()
        self._context.destroy(linger=0)

    # --- ranks over ZMQ --------------------------------------------------------------------------------

    def _plan(self, endpoint: Endpoint, plan: _Plan) -> None:
        for rank in range(endpoint.dp_size):
            target = WorkerRank(endpoint.worker_id, rank)
            if len(plan) >= MAX_RANKS:
                self._refuse(target, "capacity", f"more than {MAX_RANKS} ranks")
                return
            try:
                plan[target] = _addresses(endpoint, rank)
            except ValueError as error:
                self._refuse(target, "address", str(error))

    def _follow_links(self, plan: _Plan) -> None:
        for target in self._links.keys() - plan.keys():
            self._links.pop(target).close()
            self._forget(target)
        for target, addresses in plan.items():
            link = self._links.get(target)
            if link is None or link.addresses != addresses:
                self._open(target, addresses)

    def _open(self, target: WorkerRank, addresses: Addresses) -> None:
        old = self._links.pop(target, None)
        if old is not None:
            old.close()
            self._metrics.dropped(target, "readdressed", self._sink.drop_blocks(target))
        around = Surroundings(
            self._context,
            self._config,
            self._sink,
            self._metrics,
            self._reported,
            self._break,
            self._clock,
        )
        try:
            self._links[target] = RankLink(target, addresses, around)
        except zmq.ZMQError as error:
            self._refuse(target, "address", f"{addresses.live}: {error}")

    def _refuse(self, target: WorkerRank, reason: str, message: str) -> None:
        self._metrics.refused(target, reason)
        if target not in self._refused:
            self._refused.add(target)
            _log.warning("worker %d rank %d: events are not read: %s", *target, message)

    def _forget(self, target: WorkerRank) -> None:
        self._silence.forget(target)
        self._refused.discard(target)
        self._metrics.forgotten(target)

    # --- workers over HTTP -----------------------------------------------------------------------------

    def _follow_pollers(self, wanted: dict[int, Endpoint]) -> None:
        for worker_id in self._pollers.keys() - wanted.keys():
            gone = self._pollers.pop(worker_id)
            self._tasks.stop(worker_id)
            for rank in range(gone.dp_size):
                self._forget(WorkerRank(worker_id, rank))
        for worker_id, endpoint in wanted.items():
            known = self._pollers.get(worker_id)
            if known is None or (known.kv_events, known.dp_size) != (endpoint.kv_events, endpoint.dp_size):
                poller = TrtllmPoller(
                    endpoint, self._config, self._sink, self._metrics, self._reported, self._clock
                )
                self._tasks.start(worker_id, poller.run())
            self._pollers[worker_id] = endpoint

    # --- findings --------------------------------------------------------------------------------------

    def _reported(self, target: WorkerRank, report: ApplyReport) -> None:
        if self._silence.heard(target):
            self._metrics.silent(target, silent=False)
            _log.info("worker %d rank %d: events come again", *target)
        self._on_report(target, report)

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(_SILENCE_CHECK_S)
            self.check_silence()

    def check_silence(self) -> None:
        """Report the ranks that have now been silent for too long; :meth:`run` does it by itself."""
        for target in self._silence.newly_silent(self._clock()):
            self._metrics.silent(target, silent=True)
            _log.warning(
                "worker %d rank %d was sent prompts and has published no event for %g s: "
                "check that its engine publishes KV events and that the address is right",
                *target,
                self._config.silent_after_s,
            )

    async def _watch_links(self) -> None:
        self._broken = asyncio.get_running_loop().create_future()
        if self._error is not None:
            raise self._error
        await self._broken

    def _break(self, error: Exception) -> None:
        """A callback failed; :meth:`run` raises it."""
        self._error = error
        if self._broken is not None and not self._broken.done():
            self._broken.set_exception(error)


def _addresses(endpoint: Endpoint, rank: int) -> Addresses:
    assert endpoint.kv_events is not None
    replay = endpoint.kv_replay
    return Addresses(
        live=rank_address(endpoint.kv_events, rank, endpoint.address),
        replay=None if replay is None else rank_address(replay, rank, endpoint.address),
    )
