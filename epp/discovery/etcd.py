"""Endpoints from etcd: workers register with a lease, and are gone when it ends.

Below a prefix every key holds one endpoint as JSON, in the form of an entry of the endpoints file. The range
is listed once, then watched from the revision after it. A watch that falls silent is opened anew where it
ended; after a break, a compaction or a revision that went back, everything is listed again. While etcd
cannot be reached the last known set stays, and ``problem``, a metric and one log line say so.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from epp.config.model import EtcdConfig
from epp.core.endpoints import PoolSnapshot
from epp.discovery.etcd_client import EtcdClient
from epp.discovery.file import RESOLVE_AGAIN_S
from epp.discovery.registered import Registered
from epp.discovery.resolve import Resolver
from epp.discovery.source import DiscoveryMetrics, Listener, NullDiscoveryMetrics, Publisher, Unsubscribe
from epp.net.http import FetchError
from epp.wire.endpointsfile import is_literal
from epp.wire.etcd import (
    RANGE_PATH,
    WATCH_PATH,
    Changes,
    EtcdError,
    EtcdFormatError,
    range_request,
    read_changes,
    read_page,
    watch_request,
)

_PAGE_KEYS: Final = 500
_FIRST_PAUSE_S: Final = 0.1
_MAX_PAUSE_S: Final = 5.0

_log = logging.getLogger(__name__)


class EtcdDiscovery:
    """See the module's preface; fills the Discovery seam."""

    def __init__(
        self,
        config: EtcdConfig,
        metrics: DiscoveryMetrics | None = None,
        *,
        resolver: Resolver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises OSError for certificates that cannot be read."""
        self._prefix = config.prefix.encode()
        self._client = EtcdClient(config)
        self._metrics = metrics or NullDiscoveryMetrics()
        self._publisher = Publisher(self._metrics)
        self._resolver = resolver or Resolver()
        self._clock = clock
        self._registered = Registered()
        self._revision = 0
        """The last one that is known whole; 0: nothing is."""
        self._resolved_at_s = clock()
        self._outage: str | None = "etcd was not asked yet"
        self._told: str | None = None
        self._name_problem: str | None = None

    @property
    def snapshot(self) -> PoolSnapshot:
        """The pool now; empty until the first list."""
        return self._publisher.snapshot

    @property
    def problem(self) -> str | None:
        """What is wrong with etcd, a registration or a name, in one sentence; None: nothing."""
        return self._outage or self._registered.problem or self._name_problem

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """See Discovery."""
        return self._publisher.subscribe(listener)

    async def run(self) -> None:
        """List and watch until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            began_s = self._clock()
            try:
                await self._follow()
                if self._clock() - began_s < _FIRST_PAUSE_S:
                    await asyncio.sleep(_FIRST_PAUSE_S)  # a member that ends every watch is not stormed
            except (FetchError, EtcdError, EtcdFormatError) as error:
                if self._clock() - began_s > _MAX_PAUSE_S:
                    pause_s = _FIRST_PAUSE_S
                self._report(f"etcd at {self._client.member}: {error}", error)
                self._client.move_on()
                self._revision = 0
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    async def _follow(self) -> None:
        """List if need be, then watch until the watch ends; raises what a call raises."""
        if not self._revision:
            await self._list()
        request = watch_request(self._prefix, self._revision + 1)
        lines = self._client.lines(WATCH_PATH, request, RESOLVE_AGAIN_S)
        async with aclosing(lines):
            async for line in lines:
                changes = read_changes(line)
                if not self._continues(changes):
                    self._revision = 0
                    return
                await self._take(changes)
        await self._look_up_again()

    async def _list(self) -> None:
        """Everything below the prefix as of one revision."""
        listed, revision, after = Registered(), 0, None
        while True:
            request = range_request(self._prefix, after, revision, _PAGE_KEYS)
            page = read_page(await self._client.call(RANGE_PATH, request))
            revision = revision or page.header.revision
            for kv in page.kvs:
                listed.put(kv)
            if not page.more or not page.kvs:
                break
            after = page.kvs[-1].name
        self._registered = listed
        self._revision = revision
        self._reachable()
        await self._publish()

    def _continues(self, changes: Changes) -> bool:
        """Whether a message goes on from what is known; otherwise everything is listed again."""
        if changes.compact_revision:
            _log.info("endpoints: etcd compacted what was to be watched; listing again")
            return False
        if changes.canceled:
            raise EtcdError(f"the watch was ended: {changes.cancel_reason or 'no reason given'}")
        return changes.header.revision >= self._revision  # else another store than the one that was listed

    async def _take(self, changes: Changes) -> None:
        for event in changes.events:
            self._registered.apply(event)
            # The header's revision may be ahead of what a watch that catches up has delivered.
            self._revision = max(self._revision, event.kv.mod_revision)
        self._reachable()
        if changes.events:
            await self._publish()

    async def _look_up_again(self) -> None:
        """Names may have moved; called about once in ``RESOLVE_AGAIN_S`` while nothing happens."""
        names = any(not is_literal(endpoint.address) for endpoint in self._registered.endpoints())
        if names and self._clock() - self._resolved_at_s >= RESOLVE_AGAIN_S:
            await self._publish()

    async def _publish(self) -> None:
        endpoints, failed = await self._resolver.resolve(self._registered.endpoints())
        self._resolved_at_s = self._clock()
        self._name_problem = f"cannot be resolved: {', '.join(failed)}" if failed else None
        if failed:
            self._metrics.failed("resolve")
            _log.warning("endpoints: names that %s", self._name_problem)
        if self._registered.problem:
            self._metrics.failed("format")
            _log.warning("endpoints: a registration that cannot be used: %s", self._registered.problem)
        try:
            self._publisher.publish(endpoints)
        except ValueError as error:  # two names, one address
            self._metrics.failed("resolve")
            self._name_problem = str(error)

    def _reachable(self) -> None:
        if self._told is not None:
            _log.info("endpoints: etcd answers again")
        self._outage = self._told = None

    def _report(self, problem: str, error: Exception) -> None:
        self._metrics.failed("format" if isinstance(error, EtcdFormatError) else "read")
        self._outage = problem
        if self._told is None:
            _log.error("endpoints: %s; the last known set of %d stays", problem, len(self.snapshot.endpoints))
        self._told = problem
