"""Asks workers which models they serve: when they appear, then rarely, and when a request names a model that
nobody is known to have, so that an adapter loaded a moment ago is found."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from epp.core.endpoints import Endpoint, PoolSnapshot
from frontend.http.api import Limits, Upstream, UpstreamError, UpstreamRequest
from frontend.serving.catalogue import ModelCatalogue, WorkerModels
from frontend.serving.modelpage import read_models

_PATH: Final = "/v1/models"
_MAX_PAGE_BYTES: Final = 4 << 20
_LIMITS: Final = Limits(connect_s=2.0, head_s=5.0, idle_s=5.0)
_AT_ONCE: Final = 16
_log = logging.getLogger(__name__)


class ModelPoller:
    """Feeds a catalogue. ``run`` is its task; ``refresh`` may be awaited by requests."""

    def __init__(
        self,
        upstream: Upstream,
        catalogue: ModelCatalogue,
        snapshot: Callable[[], PoolSnapshot],
        *,
        clock: Callable[[], float],
        again_after_s: float = 60.0,
        retry_after_s: float = 2.0,
        refresh_after_s: float = 2.0,
    ) -> None:
        """A worker that answered is asked again after ``again_after_s``, one that did not after
        ``retry_after_s``; ``refresh`` asks everybody at most every ``refresh_after_s``."""
        self._upstream = upstream
        self._catalogue = catalogue
        self._snapshot = snapshot
        self._clock = clock
        self._again_after_s = again_after_s
        self._retry_after_s = retry_after_s
        self._refresh_after_s = refresh_after_s
        self._due_s: dict[tuple[int, str], float] = {}
        self._refreshed_s = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.failures = 0
        """Times a worker could not be asked."""

    def pool_changed(self, _: PoolSnapshot | None = None) -> None:
        """Somebody came or left."""
        self._changed.set()

    async def run(self) -> None:
        """Ask whoever is due, until cancelled."""
        while True:
            self._changed.clear()
            await self._ask(self._due(self._clock()))
            left_s = min(self._due_s.values(), default=float("inf")) - self._clock()
            try:
                async with asyncio.timeout(max(0.05, min(left_s, self._again_after_s))):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def refresh(self, deadline_s: float = 1.5) -> None:
        """Ask everybody now, unless that was done a moment ago; returns at the deadline at the latest."""
        now_s = self._clock()
        if self._refreshing is None or self._refreshing.done():
            if now_s - self._refreshed_s < self._refresh_after_s:
                return
            self._refreshed_s = now_s
            self._refreshing = asyncio.create_task(self._ask(self._snapshot().endpoints), name="ask-models")
        await asyncio.wait({self._refreshing}, timeout=deadline_s)
        if self._refreshing.done():
            self._refreshing.result()

    async def close(self) -> None:
        """End a refresh that is still under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait({self._refreshing})

    def _due(self, now_s: float) -> tuple[Endpoint, ...]:
        endpoints = self._snapshot().endpoints
        here = {(e.worker_id, e.host_port) for e in endpoints}
        self._due_s = {key: at_s for key, at_s in self._due_s.items() if key in here}
        self._catalogue.forget_gone()
        return tuple(e for e in endpoints if self._due_s.get((e.worker_id, e.host_port), now_s) <= now_s)

    async def _ask(self, endpoints: tuple[Endpoint, ...]) -> None:
        await asyncio.gather(*(self._ask_one(endpoint) for endpoint in endpoints))

    async def _ask_one(self, endpoint: Endpoint) -> None:
        async with self._slots:
            said = await self._page(endpoint)
        self._catalogue.learn(endpoint.worker_id, said)
        wait_s = self._retry_after_s if said.problem else self._again_after_s
        self._due_s[endpoint.worker_id, endpoint.host_port] = self._clock() + wait_s
        if said.problem:
            self.failures += 1
            _log.debug("%s does not say which models it serves: %s", endpoint.host_port, said.problem)

    async def _page(self, endpoint: Endpoint) -> WorkerModels:
        host_port = endpoint.host_port
        request = UpstreamRequest(host_port, "GET", _PATH, (("accept", "application/json"),), limits=_LIMITS)
        try:
            response = await self._upstream.send(request)
            page = await response.read(_MAX_PAGE_BYTES)
            if response.status != 200:
                return WorkerModels(host_port, None, f"status {response.status}")
            return WorkerModels(host_port, read_models(page))
        except (UpstreamError, ValueError) as error:
            return WorkerModels(host_port, None, str(error))
