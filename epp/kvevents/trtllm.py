"""TensorRT-LLM's KV-cache events, asked for over HTTP.

``POST /kv_cache_events`` of ``trtllm-serve`` hands out what happened since anyone last asked and forgets
it. So each worker is asked by one picker only; a second one would find gaps (missing event ids) and, like
this one then, drop its view again and again. Current servers answer at once, older ones hold the answer
for up to two seconds; both are asked again after ``POLL_S``.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from epp.config.model import EventsConfig
from epp.core.endpoints import Endpoint, WorkerRank
from epp.kvevents.link import OnReport
from epp.kvevents.sink import EventMetrics, EventSink
from epp.net.http import FetchError, HttpClient
from epp.wire.trtllm import RankEvents, Translator
from epp.wire.urls import Url, parse_url

POLL_S: Final = 0.1
"""Pause between two questions; how late a view may be."""
_HELD_ANSWER_S: Final = 2.0
"""Older servers wait this long for an event before they answer."""
_MAX_PAUSE_S: Final = 5.0
_EVENTS_PATH: Final = "/kv_cache_events"
_OK: Final = 200

_log = logging.getLogger(__name__)


class TrtllmPoller:
    """One worker's events, for as long as :meth:`run` runs."""

    def __init__(
        self,
        endpoint: Endpoint,
        config: EventsConfig,
        sink: EventSink,
        metrics: EventMetrics,
        on_report: OnReport,
        clock: Callable[[], float],
    ) -> None:
        """Raises ValueError if the endpoint's ``kv_events`` is no usable URL."""
        self._endpoint = endpoint
        self._sink = sink
        self._metrics = metrics
        self._on_report = on_report
        self._clock = clock
        self._timeout_s = config.replay_timeout_s + _HELD_ANSWER_S
        self._client = HttpClient(events_url(endpoint), max_body_bytes=config.max_message_bytes)
        self._translator = Translator()
        self._failures = 0

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                pause_s = POLL_S if await self._ask() else min(POLL_S * 2.0**self._failures, _MAX_PAUSE_S)
                await asyncio.sleep(pause_s)
        finally:
            self._client.close()

    async def _ask(self) -> bool:
        try:
            response = await self._client.fetch("POST", self._timeout_s)
        except FetchError as error:
            return self._failed(str(error))
        if response.status != _OK:
            return self._failed(f"status {response.status}")
        try:
            translated = self._translator.read(response.body)
        except ValueError as error:
            return self._failed(str(error))
        self._recovered()
        if translated.ignored:
            _log.debug("%s: events ignored: %s", self._endpoint.name, translated.ignored)
        for events in translated.ranks:
            if events.rank < self._endpoint.dp_size:
                self._apply(events)
        return True

    def _apply(self, events: RankEvents) -> None:
        target = WorkerRank(self._endpoint.worker_id, events.rank)
        if events.lost:
            self._metrics.dropped(target, "lost", self._sink.drop_blocks(target))
        if events.events:
            report = self._sink.apply(target, events.events, self._clock())
            self._metrics.applied(target, report, replayed=False)
            self._on_report(target, report)

    def _failed(self, message: str) -> bool:
        """An answer that was lost on the way took its events with it, so nothing known is still true."""
        if self._failures == 0:
            _log.warning("%s: events cannot be read: %s", self._endpoint.name, message)
            self._translator.forget()
            for rank in range(self._endpoint.dp_size):
                target = WorkerRank(self._endpoint.worker_id, rank)
                self._metrics.connected(target, up=False)
                self._metrics.dropped(target, "lost", self._sink.drop_blocks(target))
        self._failures = min(self._failures + 1, 16)
        return False

    def _recovered(self) -> None:
        if self._failures:
            _log.info("%s: events are read again", self._endpoint.name)
            for rank in range(self._endpoint.dp_size):
                self._metrics.connected(WorkerRank(self._endpoint.worker_id, rank), up=True)
        self._failures = 0


def events_url(endpoint: Endpoint) -> Url:
    """Where to ask: ``kv_events``, with the server's path if it names none; raises ValueError."""
    base = endpoint.kv_events or ""
    url = parse_url(base)
    return parse_url(base.rstrip("/") + _EVENTS_PATH) if url.target == "/" else url
