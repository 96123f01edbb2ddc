"""Reads every worker's metrics page, about once a second, over one kept connection each.

A page that cannot be read costs its worker nothing but freshness: the last sample ages, and whoever reads
load asks for its age. Reads of a failing worker grow rarer, up to ``MAX_PAUSE_S``, so that a worker which
comes back is noticed soon and a dead one costs little.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

from epp.config.model import ScrapeConfig
from epp.core.endpoints import Endpoint, PoolSnapshot, WorkerRank
from epp.net.http import FetchError, HttpClient
from epp.net.tasks import KeyedTasks
from epp.scrape.sink import LoadSink, NullScrapeMetrics, ScrapeMetrics
from epp.wire.enginemetrics import PageReader, WorkerFacts
from epp.wire.urls import parse_url

MAX_PAUSE_S = 15.0
"""Longest pause between two tries of a worker that does not answer."""

_OK = 200
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Target:
    """One worker being read."""

    endpoint: Endpoint
    client: HttpClient
    reader: PageReader
    facts: WorkerFacts | None = None
    failures: int = 0
    """Failed reads since the last good one."""
    read_at_s: float | None = None


class Scraper:
    """Follows the pool and feeds a sink; all methods run on the event loop."""

    def __init__(
        self,
        config: ScrapeConfig,
        sink: LoadSink,
        metrics: ScrapeMetrics | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``tls`` verifies ``https`` pages; None: the system's certificate authorities."""
        self._config = config
        self._sink = sink
        self._metrics = metrics or NullScrapeMetrics()
        self._tls = tls
        self._clock = clock
        self._random = random.Random()
        self._targets: dict[int, _Target] = {}
        self._tasks = KeyedTasks[int]()

    def follow(self, snapshot: PoolSnapshot) -> None:
        """Read the workers of this snapshot and no others."""
        for worker_id in self._targets.keys() - snapshot.by_worker.keys():
            self._tasks.stop(worker_id)
            self._metrics.forgotten(self._targets.pop(worker_id).endpoint)
        for endpoint in snapshot.endpoints:
            known = self._targets.get(endpoint.worker_id)
            if known is None or _page_of(known.endpoint) != _page_of(endpoint):
                self._start(endpoint)
            else:
                known.endpoint = endpoint

    async def run(self) -> None:
        """Keep reading until cancelled; raises if a reading task broke."""
        try:
            await self._tasks.watch()
        finally:
            await self._tasks.close()

    def age_s(self, worker_id: int, now_s: float) -> float | None:
        """Seconds since the worker's page was last read; None: never."""
        target = self._targets.get(worker_id)
        return None if target is None or target.read_at_s is None else now_s - target.read_at_s

    def fresh(self, worker_id: int, now_s: float) -> bool:
        """Whether the worker's last sample still means something (``stale_after_s``)."""
        age_s = self.age_s(worker_id, now_s)
        return age_s is not None and age_s <= self._config.stale_after_s

    def _start(self, endpoint: Endpoint) -> None:
        try:
            url = parse_url(endpoint.metrics_url)
        except ValueError as error:
            _log.warning("%s: metrics are not read: %s", endpoint.name, error)
            self._metrics.failed(endpoint, "url")
            return
        if url.tls and self._tls is None:
            self._tls = ssl.create_default_context()
        client = HttpClient(url, max_body_bytes=self._config.max_page_bytes, tls=self._tls)
        target = _Target(endpoint, client, PageReader(endpoint.engine, endpoint.dp_size))
        self._targets[endpoint.worker_id] = target
        self._tasks.start(endpoint.worker_id, self._read_forever(target))

    async def _read_forever(self, target: _Target) -> None:
        try:
            await asyncio.sleep(self._random.random() * self._config.interval_s)  # spread the workers
            while True:
                await self._read(target)
                await asyncio.sleep(self._pause_s(target.failures))
        finally:
            target.client.close()

    def _pause_s(self, failures: int) -> float:
        spread = 1.0 + self._config.jitter * (2.0 * self._random.random() - 1.0)
        interval_s = self._config.interval_s
        return spread * max(interval_s, min(interval_s * 2.0 ** min(failures, 16), MAX_PAUSE_S))

    async def _read(self, target: _Target) -> None:
        began_s = self._clock()
        try:
            response = await target.client.fetch("GET", self._config.timeout_s)
        except FetchError as error:
            self._failed(target, error.failure, str(error))
            return
        if response.status != _OK:
            self._failed(target, "status", f"status {response.status}")
            return
        self._take(target, response.body, began_s)

    def _take(self, target: _Target, page: bytes, began_s: float) -> None:
        facts = target.reader.read(page)
        if not facts.loads:
            self._failed(target, "no-figures", f"no {target.endpoint.engine} figures on the page")
            return
        now_s = self._clock()
        worker_id = target.endpoint.worker_id
        for rank, load in facts.loads.items():
            self._sink.update_load(WorkerRank(worker_id, rank), load, now_s)
        if facts.worker != target.facts:
            target.facts = facts.worker
            self._sink.worker_facts(worker_id, facts.worker)
        if target.failures:
            _log.info("%s: metrics are read again", target.endpoint.name)
        target.failures, target.read_at_s = 0, now_s
        self._metrics.page_read(target.endpoint, len(page), now_s - began_s)

    def _failed(self, target: _Target, reason: str, message: str) -> None:
        target.failures += 1
        self._metrics.failed(target.endpoint, reason)
        if target.failures == 1:  # the rest of an outage is in the metric
            _log.warning("%s: metrics cannot be read: %s", target.endpoint.name, message)


def _page_of(endpoint: Endpoint) -> tuple[str, str, int]:
    """What makes an endpoint another one to the scraper."""
    return endpoint.metrics_url, endpoint.engine, endpoint.dp_size
